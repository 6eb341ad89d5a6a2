"""What the study of the Hessian found, where its claims support it."""

from descentlab.claims import Verdict
from descentlab.study import Outcome

__all__ = ["FINDINGS"]


def powers(outcome: Outcome) -> str | None:
    """The powers of the paper."""
    if not (found := outcome.judged(Verdict.HOLDS, "slope-value-hessian-softmax", "slope-query-hessian-softmax")):
        return None
    value, query = found
    return (
        f"With small inputs softmax's Hessian grows with the power {value.measured:.3g} in the value block and "
        f"{query.measured:.3g} in the query block; {value.expected:g} and {query.expected:g} are derived."
    )


def closer(outcome: Outcome) -> str | None:
    """How far the blocks part."""
    if not (found := outcome.judged(Verdict.HOLDS, "theorem-ratio-softmax", "theorem-ratio-gaussian")):
        return None
    softmax, gaussian = found
    return (
        "As tokens shrink the Gaussian kernel's blocks part more slowly: the value block over the query block goes "
        f"with the power {gaussian.measured:.2g} of their size, softmax's with {softmax.measured:.2g}."
    )


def apart(outcome: Outcome) -> str | None:
    """Entries of the blocks."""
    if not (found := outcome.judged(Verdict.HOLDS, "apart-softmax", "apart-gaussian", "apart-linear")):
        return None
    softmax, gaussian, _ = found
    return (
        f"Entries of value and output blocks are {softmax.measured:.0f} times (softmax) and {gaussian.measured:.0f} "
        "times (Gaussian) as large as those of query and key blocks; with linear attention both are alike."
    )


def less_indefinite(outcome: Outcome) -> str | None:
    """What training does to the Hessian."""
    if not (found := outcome.judged(Verdict.HOLDS, "indefinite-gd-softmax", "indefinite-gd-gaussian")):
        return None
    softmax, gaussian = (one.measured for one in found)
    return (
        "Gradient descent makes the Hessian less indefinite: its smallest eigenvalue comes closer to zero by "
        f"{softmax:.2g} (softmax) and {gaussian:.2g} (Gaussian) of the largest."
    )


def edge(outcome: Outcome) -> str | None:
    """Where gradient descent settles."""
    if not (found := outcome.judged(Verdict.HOLDS, "edge-along-softmax", "edge-along-gaussian")):
        return None
    softmax, gaussian = found
    return (
        "Along its own updates gradient descent trains at the edge of stability: critical sharpness settles at "
        f"{softmax.measured:.3g} (softmax) and {gaussian.measured:.3g} (Gaussian), 2 / step size being "
        f"{softmax.expected:g}."
    )


FINDINGS = (powers, closer, apart, less_indefinite, edge)
