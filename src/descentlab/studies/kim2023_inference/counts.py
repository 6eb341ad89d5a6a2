"""What the survey counts: its models, their operators, and the numbers that it prints."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from descentlab.cost.operators import Operator, total
from descentlab.cost.presets import transformer
from descentlab.cost.transformer import TransformerSizes, encoder, generation
from descentlab.published import read_published

PAPER = "Kim et al. (2023), "
PRINTED = read_published(Path(__file__).with_name("published.csv"))
"""Numbers of the tables and figures; a cell that is wrong in print has words for it in the column `slip`."""

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
TABLED = (128, 512, 4096)

GROUPS = ("projections", "attention", "ffn", "other", None)
"""Classes of operators, the rows of the tables; `None` is the total."""


def operators(model: TransformerSizes, length: int) -> list[Operator]:
    """One pass, or the generation of so many tokens by a causal model."""
    return generation(model, length) if model.causal else encoder(model, length)


def model(name: str) -> TransformerSizes:
    """A preset; *four heads* is BERT-Base with four."""
    return dataclasses.replace(transformer("bert-base"), heads=4) if name == "four heads" else transformer(name)


def counted(name: str, length: int) -> np.ndarray:
    """What a table prints for one length: classes of operators by billions, intensity and percent."""
    found = operators(model(name), length)
    flops, moved = (np.array([float(total(found, what, group)) for group in GROUPS]) for what in ("flops", "moved"))
    columns = [flops / 1e9, moved / 1e9, flops / moved, 100 * flops / flops[-1], 100 * moved / moved[-1]]
    return np.stack(columns, axis=1)


def curve(name: str, quantity: str) -> np.ndarray:
    """Billions of operations or bytes at every length of the figures."""
    return np.array([float(total(operators(model(name), length), quantity)) / 1e9 for length in LENGTHS])


class Table(NamedTuple):
    """A table of the survey: its number, model, and what is fitted in it."""

    number: str
    of: str
    fitted: str

    def cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Counted and printed, in units of the last digit, and what is wrong with a cell in print or nothing."""
        printed = PRINTED.of(source=f"Table {self.number}")
        counted_ = np.concatenate([counted(self.of, length).ravel() for length in TABLED])
        unit = 2 * printed.errors
        return counted_ / unit, printed.values / unit, np.asarray(printed.column("slip"))


def drawn(figure: str, *names: str) -> tuple[np.ndarray, np.ndarray]:
    """What a figure prints at its lengths, axes model and length, and half the unit of the last digits."""
    curves = [PRINTED.of(source=f"figure {figure}", of=name) for name in names]
    return np.stack([one.values for one in curves]), np.stack([one.errors for one in curves])
