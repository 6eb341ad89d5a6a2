"""What the study of convergence found, where its claims support it."""

from descentlab.claims import Verdict
from descentlab.study import Outcome

__all__ = ["FINDINGS"]


def _both(name: str) -> tuple[str, str]:
    return f"{name}-softmax", f"{name}-gaussian"


def threshold(outcome: Outcome) -> str | None:
    """Where zero loss comes into reach."""
    if not (found := outcome.judged(Verdict.HOLDS, *_both("threshold-floor"), *_both("threshold-rank"))):
        return None
    return (
        "The value block alone can reach zero loss exactly from HD = Nn on, with either kernel: in all "
        f"{found[0].checked + found[1].checked} lanes, and in all {found[2].checked + found[3].checked} the features "
        "have the rank min(Nn, HD)."
    )


def rate(outcome: Outcome) -> str | None:
    """How fast it falls."""
    if not (found := outcome.judged(Verdict.HOLDS, *_both("rate-modes"), *_both("rate-bound"))):
        return None
    return (
        f"Its loss is the sum over the modes of K, to {max(one.measured or 0.0 for one in found[:2]):.1g} of itself, "
        f"and never lags (1 - eta mu)^(2t) f_0 in {found[2].checked + found[3].checked} comparisons."
    )


def width(outcome: Outcome) -> str | None:
    """What heads and width buy."""
    if not (found := outcome.judged(Verdict.HOLDS, *_both("width-heads"))):
        return None
    softmax, gaussian = (1 / (one.measured or 0.0) for one in found)
    return (
        f"Width pays by conditioning: with four heads at HD = 4 Nn a millionth of f_0 is reached {softmax:.0f} "
        f"(softmax) and {gaussian:.0f} times (Gaussian) sooner than at equality."
    )


def one_head(outcome: Outcome) -> str | None:
    """How one wide head trains."""
    held = outcome.judged(Verdict.HOLDS, "joint-one-head-gaussian")
    failed = outcome.judged(Verdict.FAILS, "joint-one-head-softmax")
    if not held or not failed:
        return None
    return (
        "With one head of HD = 2 Nn, query, key and value train together from "
        f"{100 * (failed[0].measured or 0.0):.0f} % of the seeds with softmax and from "
        f"{100 * (held[0].measured or 0.0):.0f} % with the Gaussian kernel."
    )


def text(outcome: Outcome) -> str | None:
    """What repeated tokens do."""
    failed = outcome.judged(Verdict.FAILS, *_both("text-threshold"))
    held = outcome.judged(Verdict.HOLDS, *_both("text-rank"))
    if not failed or not held:
        return None
    return (
        "On text HD >= Nn is not enough: the rank of the features goes down to "
        f"{min(one.measured or 0.0 for one in failed):.0f} where Nn = {failed[0].expected:.0f}, and never exceeds the "
        f"bound from the rank of the tokens in {held[0].checked + held[1].checked} windows."
    )


FINDINGS = (threshold, rate, width, one_head, text)
