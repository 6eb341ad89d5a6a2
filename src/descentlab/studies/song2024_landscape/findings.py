"""What the study of landscapes found, where its claims support it."""

from descentlab.claims import Verdict
from descentlab.study import Outcome

__all__ = ["FINDINGS"]


def smoother(outcome: Outcome) -> str | None:
    """Where the Gaussian landscape is the smoother one."""
    names = ("layer-gaussian-first-all-mean-laplacian", "layer-gaussian-first-all-largest-laplacian")
    if not (found := outcome.judged(Verdict.HOLDS, *names)):
        return None
    mean, largest = (claim.measured for claim in found)
    return (
        "After a stage one with the Gaussian kernel its landscape is the smoother one on every kind of plane: its "
        f"mean absolute Laplacian is at most {mean:.2g} times softmax's, its largest at most {largest:.2g} times."
    )


def rougher(outcome: Outcome) -> str | None:
    """Where it is not."""
    if not (found := outcome.judged(Verdict.FAILS, "layer-all-mean-laplacian", "layer-all-largest-laplacian")):
        return None
    mean, largest = (claim.measured for claim in found)
    return (
        "After a stage one with softmax it is not: on the plane least in its favour the mean absolute Laplacian is "
        f"{mean:.2g} times softmax's and the largest {largest:.2g} times. The answer depends on stage one."
    )


def flatter(outcome: Outcome) -> str | None:
    """Ends of Gaussian training."""
    names = [f"layer{first}-{mode}-sharpness" for first in ("", "-gaussian-first") for mode in ("all", "query")]
    if not (found := outcome.judged(Verdict.HOLDS, *names)):
        return None
    ratios = [claim.measured or 0.0 for claim in found]
    return (
        "Ends of the Gaussian kernel are flatter whichever kernel came first: their largest Hessian eigenvalue is "
        f"{min(ratios):.2g} to {max(ratios):.2g} times softmax's."
    )


def less_convex(outcome: Outcome) -> str | None:
    """How much of its planes curves downwards."""
    if not (found := outcome.judged(Verdict.FAILS, "layer-all-negative-share")):
        return None
    return (
        "Yet its planes are less convex: with all weights trained the loss curves downwards on a share of a plane "
        f"that is larger by {found[0].measured:.2g}."
    )


def text_sharper(outcome: Outcome) -> str | None:
    """What text shows."""
    if not (found := outcome.judged(Verdict.FAILS, "text-all-sharpness")):
        return None
    return f"On text the Gaussian kernel's end is the sharper one, {found[0].measured:.2g} times softmax's eigenvalue."


FINDINGS = (smoother, rougher, flatter, less_convex, text_sharper)
