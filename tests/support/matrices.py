"""Symmetric matrices of prescribed spectra."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

ROWS = 300
"""More than are formed and diagonalised."""
RANDOM = np.random.default_rng(0)
BASIS = np.linalg.qr(RANDOM.normal(size=(ROWS, ROWS)))[0]
SPECTRA = {
    "even": np.linspace(-1, 1, ROWS),
    "clustered": np.concatenate([10 - 1e-3 * np.arange(5), np.linspace(0, 1, ROWS - 5)]),
    "nearly equal": np.concatenate([3 + 1e-9 * np.arange(4), RANDOM.uniform(-1, 1, ROWS - 4)]),
    "degenerate": np.concatenate([[5.0] * 4, [4.999] * 3, [-2.0] * 2, np.linspace(-1, 1, ROWS - 9)]),
    "graded": np.logspace(-12, 0, ROWS),
    "indefinite": np.concatenate([[-7.0, -6.5, -6.5], RANDOM.normal(size=ROWS - 3)]),
    "negative": -np.logspace(-3, 3, ROWS),
    "low rank": np.concatenate([[1.0, 2.0, 3.0], np.zeros(ROWS - 3)]),
    "zero": np.zeros(ROWS),
    "identity": np.ones(ROWS),
    "tiny": 1e-9 * np.linspace(1, 2, ROWS),
}


class Matrix(eqx.Module):
    """A given symmetric matrix."""

    entries: jax.Array

    @property
    def shape(self):
        return self.entries.shape

    @property
    def dtype(self):
        return self.entries.dtype

    def linear(self):
        return lambda vector: self.entries @ vector


class Diagonal(eqx.Module):
    """A diagonal matrix; to Lanczos steps from a random start it is as good as any other with its spectrum."""

    spectrum: jax.Array

    @property
    def shape(self):
        return 2 * self.spectrum.shape

    @property
    def dtype(self):
        return self.spectrum.dtype

    def linear(self):
        return lambda vector: self.spectrum * vector


def prescribed(spectrum):
    entries = (BASIS * spectrum) @ BASIS.T
    return Matrix(jnp.asarray((entries + entries.T) / 2))
