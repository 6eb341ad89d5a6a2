"""How a model is run: the circumstances of a cost."""

import dataclasses
import re
from typing import Literal

from descentlab._check import counted, short
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.model import EXACT, check_lengths
from descentlab.mistake import Mistake

__all__ = ["Setting"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """How a model is run.

    Attributes:
        seq: tokens of a sequence, separated by commas.
        kernel: softmax, gaussian, normalized-gaussian, linear or relu, in the place of the model's own.
        hardware: gemmini, v100, a100, h100, h200, or here to measure this machine; `None` is gemmini, and h100 for
            training.
        precision: of all entries: int8, fp8, bfloat16, float16, float32, ...; `None` is int8, bfloat16 for training.
        weights: precision of the weights, int4 for instance; `None` is what the file says, else as all entries.
        activations: precision of what is computed.
        cache: precision of cached keys and values.
        batch: sequences, or images, at once.
        phase: one pass over the sequence, generating it token by token, or a step of training; auto generates if the
            model is causal.
        prompt: tokens that are cached before generation starts.
        images: for every sequence, of a model that sees images beside tokens.
        by: rows of the table, classes of operators or kinds of layers.
        recompute: what a step of training computes again instead of keeping it: none, attention or layers.
        optimizer: of a step of training: sgd, momentum or adam.
        measured_ms: measured milliseconds of a step of training, for the utilisation.
        accelerator: sizes of the modelled accelerator, for gemmini.
    """

    seq: str | int | tuple[int, ...] = "128,512,4096"
    kernel: str | None = None
    hardware: str | None = None
    precision: str | None = None
    weights: str | None = None
    activations: str | None = None
    cache: str | None = None
    batch: int = 1
    phase: Literal["auto", "pass", "generate", "train"] = "auto"
    prompt: int = 0
    images: int = 0
    by: Literal["class", "layer"] = "class"
    recompute: Literal["none", "attention", "layers"] = "none"
    optimizer: Literal["sgd", "momentum", "adam"] = "adam"
    measured_ms: float | None = None
    accelerator: Accelerator = Accelerator()

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of a sequence, each length once.

        Raises:
            Mistake: if one is not a whole number above 0, or too long to be counted.
        """
        given = (self.seq,) if isinstance(self.seq, int) else self.seq
        words = given.split(",") if isinstance(given, str) else list(map(str, given))
        words = [word.strip() for word in words if word.strip()]
        if not words or not all(re.fullmatch("[0-9]{1,9}", word) and int(word) for word in words):
            said = "--seq wants whole numbers from 1 to 999999999, separated by commas"
            raise Mistake(f"{said}, got {short(str(given))!r}")
        return tuple(dict.fromkeys(map(int, words)))

    def check(self) -> None:
        """Raise unless sizes are in range and fit each other.

        Raises:
            Mistake: if one is not.
        """
        check_lengths(1, self.batch, self.prompt)
        counted("images", self.images, EXACT)
        if self.measured_ms is None:
            return
        if not 0 < self.measured_ms < float("inf"):
            raise Mistake(f"--measured-ms must be a number above 0, got {self.measured_ms}")
        if not self.trains:
            raise Mistake("--measured-ms is the time of a step of training; add --phase train")

    @property
    def trains(self) -> bool:
        """Whether a step of training is asked for."""
        return self.phase == "train"
