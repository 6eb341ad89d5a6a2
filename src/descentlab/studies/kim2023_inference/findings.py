"""What the study of inference found, where its claims support it."""

import math

from descentlab.claims import Verdict
from descentlab.study import Outcome

__all__ = ["FINDINGS"]


def tables(outcome: Outcome) -> str | None:
    """Whether the survey's arithmetic is reproducible."""
    if not (found := outcome.judged(Verdict.HOLDS, "table-3", "table-10", "table-11")):
        return None
    return (
        f"The survey's arithmetic is reproducible with three fitted numbers: {sum(one.checked for one in found)} "
        "cells of Tables 3, 10 and 11 are met to the last digit, slips in print left out."
    )


def projection(outcome: Outcome) -> str | None:
    """What its curve of BERT-Large lacks."""
    held, failed = outcome.judged(Verdict.HOLDS, "large-without"), outcome.judged(Verdict.FAILS, "large")
    if not held or not failed:
        return None
    return (
        f"Its curve of BERT-Large lacks one d x d projection a layer: {failed[0].expected:.4g} billion FLOPs are "
        f"printed where {failed[0].measured:.4g} are counted."
    )


def generation(outcome: Outcome) -> str | None:
    """What generation is bound by."""
    if not (found := outcome.judged(Verdict.HOLDS, "gpt2-intensity", "peak")):
        return None
    one, best = found
    return (
        f"Generating token by token does {one.measured:.2f} operations a byte at any length; an encoder that reads "
        f"512 tokens at once {best.measured:.0f}."
    )


def mappings(outcome: Outcome) -> str | None:
    """What a mapping decides."""
    held, failed = outcome.judged(Verdict.HOLDS, "span"), outcome.judged(Verdict.FAILS, "tenth-printed")
    if not held or not failed:
        return None
    return (
        f"Random mappings of one product span {held[0].measured:.1f} decades of energy times delay, and good ones are "
        "rarer here than in the survey: its best tenth reaches further by a factor up to "
        f"{math.exp(failed[0].measured or 0.0):.2g}."
    )


def integers(outcome: Outcome) -> str | None:
    """What integers cost a classifier."""
    if not (found := outcome.judged(Verdict.HOLDS, "integer-softmax", "integer-gaussian")):
        return None
    softmax, gaussian = (100 * (one.measured or 0.0) for one in found)
    return (
        f"In integers only a classifier loses at most {softmax:.2g} points of accuracy with softmax and "
        f"{gaussian:.2g} with the Gaussian kernel."
    )


FINDINGS = (tables, projection, generation, mappings, integers)
