"""Errors of integer arithmetic, and what the Gaussian kernel gains from it."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
from scipy.special import erf

from descentlab.claims import About, Claim, at_most, claim, close
from descentlab.cost import integer
from descentlab.plots import ChartAxis, add_line, lines
from descentlab.plots.style import case_color
from descentlab.runs import Runs
from descentlab.study import Section, Size, untrained
from descentlab.sweep import Progress

SOURCE = "I-BERT's arithmetic in Kim et al. (2023), section 4"
DERIVED = f"derived from {SOURCE}"
OURS = "ours, with I-BERT's exponential"
ROWS, WIDTH, KEYS, HEAD = 200, 768, 128, 64
SEED = 2023


class Rows(NamedTuple):
    """Rows of 8-bit weights: their largest error, and their sums; those of the Gaussian kernel over the real ones."""

    error: float
    sums: np.ndarray


def derive(runs: Runs, size: Size, progress: Progress | None) -> Mapping[str, Mapping[float, Rows]]:
    """Rows by kernel and scale of the integers."""
    del runs, size, progress
    return {"softmax": {scale: softmax_rows(scale) for scale in (0.1, 0.001)}, "gaussian": {1 / 127: gaussian_rows()}}


def _integers(values: np.ndarray, scale: float) -> np.ndarray:
    return np.round(values / scale).astype(np.int32)


def softmax_rows(scale: float) -> Rows:
    """8-bit softmax of 128 normal scores with standard deviation 2."""
    scores = 2 * np.random.default_rng(SEED).normal(size=(ROWS, KEYS))
    found, step = integer.softmax(jnp.asarray(_integers(scores, scale)), scale)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = np.asarray(found) * step
    return Rows(float(np.abs(weights - powers / powers.sum(axis=1, keepdims=True)).max()), weights.sum(axis=1))


def gaussian_rows() -> Rows:
    """The 8-bit Gaussian kernel.

    Queries and keys are 8-bit numbers close to each other, so that weights are neither all one nor all zero; the real
    kernel is taken at what the integers stand for.
    """
    scale, c = 1.0 / 127, 0.5 / math.sqrt(HEAD)
    random = np.random.default_rng(SEED)
    query, key = (_integers(np.clip(0.4 * random.normal(size=(n, HEAD)), -1, 1), scale) for n in (ROWS, KEYS))
    found, step = integer.gaussian_weights(jnp.asarray(query), jnp.asarray(key), scale, c=c)
    distance = ((query[:, None] - key[None]) ** 2).sum(axis=-1)
    exact, weights = np.exp(-c * scale**2 * distance), np.asarray(found) * step
    return Rows(float(np.abs(weights - exact).max()), weights.sum(axis=1) / exact.sum(axis=1))


def error(function: Callable[..., tuple], exact: Callable, ends: tuple[float, float], scale: float) -> float:
    """Largest error of a function of integers over an interval, its argument being what they stand for."""
    x = _integers(np.linspace(*ends, 20_001), scale)
    found, step = function(jnp.asarray(x), scale)
    return float(np.abs(np.asarray(found) * step - exact(x * scale)).max())


def norm_error(scale: float) -> float:
    """Largest error of LayerNorm over 768 normal entries with standard deviation 1.7."""
    x = 1.7 * np.random.default_rng(SEED).normal(size=(ROWS, WIDTH))
    found, step = integer.layer_norm(jnp.asarray(_integers(x, scale)), np.ones(WIDTH), np.zeros(WIDTH))
    exact = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    return float(np.abs(np.asarray(found) * step - exact).max())


@claim("exponential", "The integer exponential is within 2.2e-3 at scales 1e-3 to 1e-5", SOURCE)
def exponential(about: About, _: object) -> Claim:
    """The exponential on [-20, 0]."""
    found = [error(integer.exponential, np.exp, (-20.0, 0.0), scale) for scale in (1e-3, 1e-4, 1e-5)]
    return at_most(about, np.array(found), 2.2e-3)


@claim("gelu", "Integer GELU is within 0.0182 at scale 1e-3", SOURCE)
def gelu(about: About, _: object) -> Claim:
    """GELU on [-6, 6]."""
    return at_most(
        about, error(integer.gelu, lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), (-6.0, 6.0), 1e-3), 0.0182
    )


@claim(
    "{case}",
    "8-bit integer softmax is within 0.03 at scale 0.1 and 0.006 at 0.001",
    DERIVED,
    cases=("softmax",),
)
def softmax(about: About, rows: Mapping[float, Rows]) -> Claim:
    """Softmax at two scales."""
    return at_most(about, np.array([rows[scale].error for scale in (0.1, 0.001)]), np.array([0.03, 0.006]))


@claim("layer-norm", "Integer LayerNorm is within 0.07, 0.008, 0.001 at scales 0.1, 0.01, 0.001", DERIVED)
def layer_norm(about: About, _: object) -> Claim:
    """LayerNorm at three scales."""
    return at_most(about, np.array([norm_error(scale) for scale in (0.1, 0.01, 0.001)]), np.array([0.07, 0.008, 0.001]))


@claim(
    "{case}-rows",
    "Rows of 8-bit integer softmax sum to between 0.75 and 0.96: every division rounds down",
    DERIVED,
    cases=("softmax",),
)
def softmax_sums(about: About, rows: Mapping[float, Rows]) -> Claim:
    """What softmax loses."""
    sums = np.concatenate([one.sums for one in rows.values()])
    about = about.noting(f"From {sums.min():.3f} to {sums.max():.3f} over {sums.size} rows.")
    return close(about, sums, 0.855, tolerance=0.105)


@claim(
    "{case}",
    "8-bit integer weights of the Gaussian kernel are within 2.2e-3 and half a step of the real ones",
    OURS,
    cases=("gaussian",),
)
def gaussian(about: About, rows: Mapping[float, Rows]) -> Claim:
    """The Gaussian kernel."""
    about = about.noting("Squared distances of integers are exact and rows are not divided.")
    return at_most(about, np.array([one.error for one in rows.values()]), 2.2e-3 + 0.5 / 255)


@claim(
    "{case}-rows",
    "Their rows sum to the real sums within 2.5 %, a tenth of what softmax may lose",
    OURS,
    cases=("gaussian",),
)
def gaussian_sums(about: About, rows: Mapping[float, Rows]) -> Claim:
    """What the Gaussian kernel loses."""
    (kept,) = (one.sums for one in rows.values())
    about = about.noting(f"Relative sums from {kept.min():.4f} to {kept.max():.4f}.")
    return close(about, kept, 1.0, tolerance=0.025)


def errors(_: object) -> go.Figure:
    """Error of the integer exponential.

    The quadratic polynomial of I-BERT is within 0.002 everywhere; halvings repeat its error at half the size. At scale
    0.1 there are only seven integers between two halvings.
    """
    chart = lines("", ChartAxis("x"), ChartAxis("integer exponential minus exp(x)"))
    for scale, color in ((0.1, case_color("gaussian")), (0.001, case_color("softmax"))):
        x = _integers(np.linspace(-4, 0, 401), scale)
        found, step = integer.exponential(jnp.asarray(x), scale)
        name = f"scale {scale:g}"
        add_line(chart, x * scale, np.asarray(found) * step - np.exp(x * scale), name, color=color, dash="solid")
    return chart


STATEMENTS = (exponential, gelu, softmax, layer_norm, softmax_sums, gaussian, gaussian_sums)

section = Section("integers", untrained, STATEMENTS, (errors,), derive)
