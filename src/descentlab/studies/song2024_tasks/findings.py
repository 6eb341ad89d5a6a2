"""What the study of real tasks found, where its claims support it."""

import math
from collections.abc import Sequence

from descentlab.claims import Claim, Verdict
from descentlab.study import Outcome

__all__ = ["FINDINGS"]


def _settings(outcome: Outcome) -> list[str]:
    """Task and optimizer of every comparison, as ids begin."""
    return [claim.id.removesuffix("-better") for claim in outcome.claims if claim.id.endswith("-better")]


def _words(setting: str) -> str:
    """Task and optimizer in words."""
    return " with ".join(setting.rsplit("-", 1))


def _percent(claim: Claim) -> str:
    return f"{100 * (claim.measured or 0):.1f} ± {100 * claim.uncertainty:.1f} %"


def _joined(sentences: Sequence[str]) -> str | None:
    return " ".join(sentences) or None


def learnt(outcome: Outcome) -> str | None:
    """Whether both kernels learn."""
    said = []
    for setting in _settings(outcome):
        if found := outcome.judged(Verdict.HOLDS, f"{setting}-learns-softmax", f"{setting}-learns-gaussian"):
            right = "softmax has {} of the test right, the Gaussian kernel {}".format(*map(_percent, found))
            said.append(f"On {_words(setting)} both kernels learn: {right}.")
    return _joined(said)


_BETTER = {
    Verdict.HOLDS: "the Gaussian kernel is the more accurate one, by {}.",
    Verdict.FAILS: "the Gaussian kernel is not the more accurate one: its lead is {}.",
    Verdict.UNDECIDED: "seeds do not decide which kernel is more accurate: the Gaussian one's lead is {}.",
}

_FASTER = {
    Verdict.HOLDS: "the Gaussian kernel learns faster: its development loss is lower by {} nats.",
    Verdict.FAILS: "the Gaussian kernel does not learn faster: its development loss is lower by {} nats.",
    Verdict.UNDECIDED: "seeds do not decide which kernel learns faster: the Gaussian one's loss is lower by {} nats.",
}


def more_accurate(outcome: Outcome) -> str | None:
    """Which kernel is more accurate."""
    return _joined([
        f"On {_words(setting)} {text.format(_percent(claim))}"
        for setting in _settings(outcome)
        for verdict, text in _BETTER.items()
        for claim in outcome.judged(verdict, f"{setting}-better")
        if math.isfinite(claim.uncertainty)
    ])  # fmt: skip


def faster(outcome: Outcome) -> str | None:
    """Which kernel learns faster."""
    return _joined([
        f"On {_words(setting)} {text.format(f'{claim.measured:.3f} ± {claim.uncertainty:.3f}')}"
        for setting in _settings(outcome)
        for verdict, text in _FASTER.items()
        for claim in outcome.judged(verdict, f"{setting}-faster")
        if math.isfinite(claim.uncertainty)
    ])  # fmt: skip


def rows(outcome: Outcome) -> str | None:
    """What rows of Gaussian attention sum to."""
    said = []
    for setting in _settings(outcome):
        for claim in outcome.judged(Verdict.FAILS, f"{setting}-rows-gaussian"):
            said.append(
                f"On {_words(setting)} rows of the Gaussian kernel sum to little at the start, {claim.measured:.2g} "
                "where they are smallest; each token could give up to 1."
            )
    return _joined(said)


FINDINGS = (learnt, more_accurate, faster, rows)
