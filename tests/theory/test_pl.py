"""The PL inequality along a run: it holds to rounding, and a bound that is too large by a millionth fails."""

import dataclasses

import numpy as np
import pytest

from descentlab.claims import About
from descentlab.optim import GD
from descentlab.probes import GramSpectrum, Loss, PLRatio
from descentlab.schedule import Every
from descentlab.theory.pl import pl_inequality
from support.problems import SMALL, run

PROBES = {"loss": Loss(), "pl": PLRatio(Every(5)), "gram": GramSpectrum(Every(5))}
ABOUT = About("pl", "The gradient obeys PL", "docs/theory/pl.md", "gaussian")


@pytest.fixture(scope="module")
def trajectory():
    return run([dataclasses.replace(SMALL, probes=PROBES, optimizer=GD(0.05))])[0]


def shifted(trajectory, change):
    """The same run with other smallest eigenvalues, the first entry of the probe."""
    gram = trajectory["gram"]
    values = gram.values.copy()
    values[..., 0] = change(values)
    series = {**trajectory.series, "gram": dataclasses.replace(gram, values=values)}
    return dataclasses.replace(trajectory, series=series)


def test_it_holds_within_the_recorded_errors(trajectory):
    assert pl_inequality(ABOUT, [trajectory]).verdict == "holds"


def test_a_bound_above_the_ratio_fails(trajectory):
    ratio = trajectory["pl"].values
    raised = shifted(trajectory, lambda values: ratio * (1 + 1e-6))
    assert pl_inequality(ABOUT, [raised]).verdict == "fails"
    equal = shifted(trajectory, lambda values: ratio * (1 + 2 * np.finfo(np.float64).eps))
    assert pl_inequality(ABOUT, [equal]).verdict == "holds"
