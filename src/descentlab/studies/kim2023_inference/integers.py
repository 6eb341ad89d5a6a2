"""Errors of integer arithmetic, and what the Gaussian kernel gains from it."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
from scipy.special import erf

from descentlab.claims import About, Claim, at_most, close
from descentlab.cost import integer
from descentlab.plots import Axis, add_line, lines
from descentlab.plots.style import case_color
from descentlab.runs import Runs
from descentlab.study import Section, untrained

SOURCE = "I-BERT's arithmetic in Kim et al. (2023), section 4"
DERIVED = f"derived from {SOURCE}"
OURS = "ours, with I-BERT's exponential"
SCALES = (0.1, 0.01, 0.001)
ROWS, WIDTH, KEYS, HEAD = 200, 768, 128, 64
SEED = 2023


def _integers(values: np.ndarray, scale: float) -> np.ndarray:
    return np.round(values / scale).astype(np.int32)


def exponential_error(scale: float) -> float:
    """Largest error of the exponential on [-20, 0], its argument being what the integers stand for."""
    x = _integers(np.linspace(-20, 0, 20_001), scale)
    found, step = integer.exponential(jnp.asarray(x), scale)
    return float(np.abs(np.asarray(found) * step - np.exp(x * scale)).max())


def gelu_error(scale: float) -> float:
    """Largest error of GELU on [-6, 6]."""
    x = _integers(np.linspace(-6, 6, 20_001), scale)
    found, step = integer.gelu(jnp.asarray(x), scale)
    return float(np.abs(np.asarray(found) * step - 0.5 * x * scale * (1 + erf(x * scale / math.sqrt(2)))).max())


@functools.cache
def softmax_rows(scale: float) -> tuple[float, np.ndarray]:
    """Largest error and the sums of rows, of 8-bit softmax of 128 normal scores with standard deviation 2."""
    scores = 2 * np.random.default_rng(SEED).normal(size=(ROWS, KEYS))
    found, step = integer.softmax(jnp.asarray(_integers(scores, scale)), scale)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = np.asarray(found) * step
    return float(np.abs(weights - powers / powers.sum(axis=1, keepdims=True)).max()), weights.sum(axis=1)


def norm_error(scale: float) -> float:
    """Largest error of LayerNorm over 768 normal entries with standard deviation 1.7."""
    x = 1.7 * np.random.default_rng(SEED).normal(size=(ROWS, WIDTH))
    found, step = integer.layer_norm(jnp.asarray(_integers(x, scale)), np.ones(WIDTH), np.zeros(WIDTH))
    exact = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    return float(np.abs(np.asarray(found) * step - exact).max())


@functools.cache
def gaussian_rows() -> tuple[float, np.ndarray]:
    """Largest error and relative errors of the sums of rows, of the 8-bit Gaussian kernel.

    Queries and keys are 8-bit numbers close to each other, so that weights are neither all one nor all zero; the real
    kernel is taken at what the integers stand for.
    """
    scale, c = 1.0 / 127, 0.5 / math.sqrt(HEAD)
    random = np.random.default_rng(SEED)
    query, key = (_integers(np.clip(0.4 * random.normal(size=(n, HEAD)), -1, 1), scale) for n in (ROWS, KEYS))
    found, step = integer.gaussian_weights(jnp.asarray(query), jnp.asarray(key), scale, c=c)
    distance = ((query[:, None] - key[None]) ** 2).sum(axis=-1)
    exact, weights = np.exp(-c * scale**2 * distance), np.asarray(found) * step
    return float(np.abs(weights - exact).max()), weights.sum(axis=1) / exact.sum(axis=1)


def claims(runs: Runs) -> list[Claim]:
    """Claim 10, and the Gaussian kernel."""
    del runs
    sums = np.concatenate([softmax_rows(scale)[1] for scale in (0.1, 0.001)])
    error, kept = gaussian_rows()
    rows = About(
        "softmax-rows",
        "Rows of 8-bit integer softmax sum to between 0.75 and 0.96: every division rounds down",
        DERIVED,
        "softmax",
        f"From {sums.min():.3f} to {sums.max():.3f} over {sums.size} rows.",
    )
    gaussian = About(
        "gaussian",
        "8-bit integer weights of the Gaussian kernel are within 2.2e-3 and half a step of the real ones",
        OURS,
        "gaussian",
        "Squared distances of integers are exact and rows are not divided.",
    )
    mass = About(
        "gaussian-rows",
        "Their rows sum to the real sums within 2.5 %, a tenth of what softmax may lose",
        OURS,
        "gaussian",
        f"Relative sums from {kept.min():.4f} to {kept.max():.4f}.",
    )
    return [
        *_functions(),
        close(rows, sums, 0.855, tolerance=0.105),
        at_most(gaussian, error, 2.2e-3 + 0.5 / 255),
        close(mass, kept, 1.0, tolerance=0.025),
    ]


def _functions() -> list[Claim]:
    exponential = About("exponential", "The integer exponential is within 2.2e-3 at scales 1e-3 to 1e-5", SOURCE)
    gelu = About("gelu", "Integer GELU is within 0.0182 at scale 1e-3", SOURCE)
    softmax = About(
        "softmax", "8-bit integer softmax is within 0.03 at scale 0.1 and 0.006 at 0.001", DERIVED, "softmax"
    )
    norm = About("layer-norm", "Integer LayerNorm is within 0.07, 0.008, 0.001 at scales 0.1, 0.01, 0.001", DERIVED)
    return [
        at_most(exponential, np.array([exponential_error(scale) for scale in (1e-3, 1e-4, 1e-5)]), 2.2e-3),
        at_most(gelu, gelu_error(1e-3), 0.0182),
        at_most(softmax, np.array([softmax_rows(scale)[0] for scale in (0.1, 0.001)]), np.array([0.03, 0.006])),
        at_most(norm, np.array([norm_error(scale) for scale in SCALES]), np.array([0.07, 0.008, 0.001])),
    ]


def errors(runs: Runs) -> go.Figure:
    """Error of the integer exponential.

    The quadratic polynomial of I-BERT is within 0.002 everywhere; halvings repeat its error at half the size. At scale
    0.1 there are only seven integers between two halvings.
    """
    del runs
    chart = lines("", Axis("x"), Axis("integer exponential minus exp(x)"))
    for scale, color in ((0.1, case_color("gaussian")), (0.001, case_color("softmax"))):
        x = _integers(np.linspace(-4, 0, 401), scale)
        found, step = integer.exponential(jnp.asarray(x), scale)
        name = f"scale {scale:g}"
        add_line(chart, x * scale, np.asarray(found) * step - np.exp(x * scale), name, color=color, dash="solid")
    return chart


section = Section("integers", untrained, claims, (errors,))
