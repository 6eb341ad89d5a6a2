"""What the study of the query block found, where its claims support it."""

from descentlab.claims import Verdict
from descentlab.study import Outcome

__all__ = ["FINDINGS"]


def _percent(number: float | None) -> str:
    return f"{100 * abs(number or 0.0):.0f}"


def signs(outcome: Outcome) -> str | None:
    """Which kernel is better."""
    held, failed = outcome.judged(Verdict.HOLDS, "edge-positive"), outcome.judged(Verdict.FAILS, "edge")
    if not held or not failed:
        return None
    return (
        "Which kernel is better depends on the values: where they are positive the Gaussian kernel reaches zero loss "
        f"from {_percent(held[0].measured)} of 100 starts more than softmax, where they have either sign from "
        f"{_percent(failed[0].measured)} fewer."
    )


def equal(outcome: Outcome) -> str | None:
    """What softmax cannot leave."""
    found = outcome.judged(Verdict.HOLDS, "s-a-softmax", "s-b-softmax", "s-a-gaussian", "s-b-gaussian")
    if not found:
        return None
    return (
        f"Where keys or values of a sample are equal softmax stays at f_0 from all {found[0].checked} starts; the "
        f"Gaussian kernel leaves it, and with equal keys comes down to {found[2].measured:.1g} f_0 at least."
    )


def minimum(outcome: Outcome) -> str | None:
    """A strict minimum of softmax."""
    found = outcome.judged(Verdict.HOLDS, "s-d-softmax-left-kind", "s-d-softmax-left-loss", "s-d-gaussian-left-loss")
    if not found:
        return None
    return (
        f"With a single query coordinate softmax has a strict local minimum at the loss {found[1].measured:.4g}; from "
        f"the same start the Gaussian kernel goes down to {found[2].measured:.1g}."
    )


def slow(outcome: Outcome) -> str | None:
    """What becomes of large starts."""
    if not (found := outcome.judged(Verdict.HOLDS, "large-slow-softmax", "large-slow-gaussian")):
        return None
    softmax, gaussian = (_percent(one.measured) for one in found)
    return (
        "From large starts both kernels are slow rather than stuck: of the runs that do not reach zero loss "
        f"{softmax} % (softmax) and {gaussian} % (Gaussian) are still on their way after 3,000 steps."
    )


def heads(outcome: Outcome) -> str | None:
    """What heads buy."""
    if not (found := outcome.judged(Verdict.HOLDS, "heads-softmax", "heads-gaussian")):
        return None
    softmax, gaussian = (_percent(one.measured) for one in found)
    return (
        f"Eight heads of width 2 reach zero loss from {softmax} (softmax) and {gaussian} (Gaussian) of 100 starts "
        "more than one head."
    )


FINDINGS = (signs, equal, minimum, slow, heads)
