"""The Hessian study: its norms against dense blocks, its smoke size, and verdicts that turn when a number does."""

import dataclasses
import functools
import os
from collections.abc import Callable

import jax
import numpy as np
import plotly.graph_objects as go
import pytest
from scipy.optimize import brentq

from descentlab._describe import replace_at
from descentlab._tree import block_of, is_meant
from descentlab.attention import Gaussian, Linear, NormalizedGaussian, Softmax
from descentlab.axis import Axis
from descentlab.curvature import Hessian
from descentlab.experiment import Experiment, start
from descentlab.models import LinearNetwork, PreNorm
from descentlab.probes.block_norms import PARTS
from descentlab.runs import Run, Runs, case_of
from descentlab.status import Status
from descentlab.store import Store
from descentlab.studies.ormaniec2024_hessian import depth, growth, heterogeneity, recorded, study
from descentlab.studies.ormaniec2024_hessian.heterogeneity import Entries
from descentlab.studies.ormaniec2024_hessian.recorded import PUBLISHED
from descentlab.studies.ormaniec2024_hessian.setting import with_kernel
from descentlab.study import Size, requests, run_study
from descentlab.trajectory import Series, Trajectory

GROWTH, DEPTH, ENTRIES = (part.section for part in (growth, depth, heterogeneity))
KERNELS = ("softmax", "gaussian")


# --- what is measured ----------------------------------------------------------------------------------


def test_paper_and_quick_sizes_look_where_numbers_are_published():
    for size in (Size.QUICK, Size.PAPER):
        for scale in recorded.SCALES:
            assert np.isclose(growth.grid(size), scale).sum() == 1
    assert len(growth.grid(Size.PAPER)) == 20


# --- the smoke size ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    store = Store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ormaniec2024_hessian")
    own = dataclasses.replace(study, sections=(ENTRIES, GROWTH, DEPTH))
    return run_study(own, Size.SMOKE, requests(own, Size.SMOKE), store)


def test_every_claim_says_something_and_has_a_verdict(outcome):
    assert len({claim.id for claim in outcome.claims}) == len(outcome.claims)
    for claim in outcome.claims:
        assert claim.text
        assert claim.source
        assert claim.case in {None, *KERNELS, "linear"}
        assert claim.checked or claim.verdict == "not applicable"


def test_what_does_not_depend_on_the_size_holds(outcome):
    found = {claim.id: claim.verdict for claim in outcome.claims}
    exact = ("value-functional-softmax", "value-functional-gaussian", "deep-last-softmax", "linear-functional-2")
    for key in (*exact, "linear-outer-2", "network-slope", "slope-query-outer-softmax"):
        assert found[key] == "holds"
    for key in ("values-value-small", "values-query-large", "pre-norm-ratio-softmax"):
        assert found[key] == "not applicable"


def test_figures_have_traces_and_captions(outcome):
    for section in (ENTRIES, GROWTH, DEPTH):
        for figure in section.figures:
            title, caption = (figure.__doc__ or "").split("\n", 1)
            assert title.strip()
            assert caption.strip()
            drawn = figure(outcome.runs[section.name])
            assert isinstance(drawn, go.Figure)
            absent = figure.__name__ in {"gaussian", "gaussian_normed"} and (section, figure.__name__) != (
                GROWTH,
                "gaussian",
            )
            assert bool(drawn.data) is not absent


def test_another_kernel_is_measured_and_not_compared(tmp_path):
    own = dataclasses.replace(study, sections=(GROWTH,), overrides={"model.attention": NormalizedGaussian()})
    wanted = requests(own, Size.SMOKE)
    few = {s: {f: family for f, family in families.items() if f == "plain"} for s, families in wanted.items()}
    claims = run_study(own, Size.SMOKE, {"growth": few["growth"] | {"pre-norm": []}}, Store(tmp_path)).claims
    compared = {claim.id for claim in claims if claim.verdict != "not applicable"}
    assert compared == {"value-functional-normalizedgaussian", "span-plain-normalizedgaussian"}


# --- norms that follow laws, and laws that are wrong ---------------------------------------------------

Law = Callable[[Experiment, str, str, np.ndarray], np.ndarray]


@functools.cache
def falling(last: float, whole: float) -> float:
    """The scale at which a norm that falls with one power has that slope over all scales."""
    x = np.log(growth.grid(Size.PAPER))

    def slope(knee: float) -> float:
        return np.polyfit(x, last / 4 * np.log1p(np.exp(4 * x) / knee**4), 1)[0] - whole

    return brentq(slope, 1e-3, 10)


@functools.cache
def printed(table: str) -> dict:
    """The published numbers of a table by block and part."""
    found = PUBLISHED.of(table=table)
    of = dict.fromkeys(zip(found.column("block"), found.column("part"), strict=True))
    return {(block, part): found.of(block=block, part=part).values for block, part in of}


def normed(part: str, block: str, x: np.ndarray) -> np.ndarray:
    """One layer with pre-norm: level, then falling."""
    last = printed("pre-norm large slope").get((block, part), [-2.0 if block == "value" else -1.0])[0]
    knee = falling(last, printed("pre-norm slope")[block, part][0])
    level = PUBLISHED.of(table="pre-norm ratio").values[0] if block == "value" else 1.0
    return level * (1 + (x / knee) ** 4) ** (last / 4)


def plain(part: str, block: str, x: np.ndarray) -> np.ndarray:
    """One layer of softmax: through the published values."""
    known = printed("norm")
    if (block, part) not in known:
        return 0 * x
    values = np.log(known[block, part])
    return np.exp(np.interp(np.log(x), np.log(recorded.SCALES), values))


def linear(model, part: str, layer: int, x: np.ndarray) -> np.ndarray:
    power = 2 * 3**model.depth
    last = layer == model.depth - 1
    if part == "functional":
        return 0 * x if last else x ** (power / 2)
    return x**power if part == "outer" or last else x ** (power / 2)


def sound(experiment: Experiment, part: str, array: str, x: np.ndarray) -> np.ndarray:
    """What the paper says, and of the Gaussian kernel what follows from its second derivative."""
    model = experiment.model
    block = block_of(array)
    if isinstance(model, LinearNetwork):
        return PUBLISHED.of(table="linear network", block=model.depth).values / 128 * (x / recorded.SCALES[2]) ** 2
    layer = int(array.split(".")[1])
    if isinstance(model.attention, Linear):
        return linear(model, part, layer, x)
    if isinstance(model.norm, PreNorm):
        return normed(part, block, x)
    if model.depth == 1 and isinstance(model.attention, Softmax):
        return plain(part, block, x)
    if (block, part) == ("value", "functional"):
        return 0 * x if layer == model.depth - 1 else x**3
    # Vanishing at large scales, as they do.
    powers = {power[:2]: power.exponent for power in growth.POWERS[case_of(experiment)]}
    return x ** powers[block, part] * np.exp(-(x**2) * (block == "value"))


def made(experiment: Experiment, seeds: tuple[int, ...], law: Law) -> Run:
    """A run whose norms follow a law, a little different from seed to seed."""
    x = np.asarray(experiment.probes["growth"].scales)
    model = experiment.model
    forms = ("weight.{}",) if isinstance(model, LinearNetwork) else ("layers.{}.query", "layers.{}.value")
    arrays = [form.format(layer) for layer in range(model.depth) for form in forms]
    axes = Axis("part", PARTS), Axis("array", tuple(arrays)), Axis("scale")
    one = np.stack([[law(experiment, part, array, x) for array in arrays] for part in PARTS])
    values = one * (1 + 1e-3 * np.asarray(seeds, dtype=float).reshape(-1, 1, 1, 1, 1))
    series = {"growth": Series(np.zeros(1, dtype=int), values, axes)}
    count = len(seeds)
    return Run(experiment, Trajectory(seeds, series, {}, (Status.FINISHED,) * count, (-1,) * count))


def runs(section, law: Law, size: Size = Size.PAPER):
    wanted = requests(study, size)[section.name]
    found = {family: [made(one.experiment, one.seeds, law) for one in some] for family, some in wanted.items()}
    return section.seen(Runs(found), size, None)


def times(factor: Callable, *, kernel: str, part: str, block: str = "*", where: Callable = lambda model: True) -> Law:
    """The sound law with some norms multiplied by a function of the scale."""

    def law(experiment: Experiment, of: str, array: str, x: np.ndarray) -> np.ndarray:
        values = sound(experiment, of, array, x)
        own = "network" if isinstance(experiment.model, LinearNetwork) else case_of(experiment)
        meant = own == kernel and of == part and is_meant(array, block) and where(experiment.model)
        return values * factor(x) if meant else values

    return law


def nonzero(**chosen) -> Law:
    """The sound law with norms where there should be none."""

    def law(experiment: Experiment, of: str, array: str, x: np.ndarray) -> np.ndarray:
        values = sound(experiment, of, array, x)
        return np.maximum(values, 1e-300) if of == "functional" else values

    return law


def steeper(x: np.ndarray) -> np.ndarray:
    return x**0.25


def is_deep(model) -> bool:
    return model.depth > 1


def is_plain(model) -> bool:
    return model.depth == 1 and not isinstance(model.norm, PreNorm)


def is_normed(model) -> bool:
    return isinstance(model.norm, PreNorm)


def layers(count: int) -> Callable:
    return lambda model: model.depth == count


FAULTS = {
    **{f"value-functional-{kernel}": (GROWTH, nonzero()) for kernel in KERNELS},
    **{
        f"slope-{block}-{part}-{kernel}": (
            GROWTH,
            times(steeper, kernel=kernel, part=part, block=block, where=is_plain),
        )
        for kernel in KERNELS
        for block, part, _ in growth.POWERS[kernel]
    },
    **{
        f"span-plain-{kernel}": (
            GROWTH,
            times(lambda x: x**3, kernel=kernel, part="hessian", block="value", where=is_plain),
        )
        for kernel in KERNELS[:1]
    },
    "span-plain-gaussian": (
        GROWTH,
        times(lambda x: np.exp(x**2) * x, kernel="gaussian", part="hessian", block="value", where=is_plain),
    ),
    **{
        f"{claim}-{kernel}": (GROWTH, times(factor, kernel=kernel, part="hessian", block="value", where=is_normed))
        for kernel in KERNELS
        for claim, factor in (("span-pre-norm", lambda x: x**-0.5), ("pre-norm-flat", lambda x: x**-0.2))
    },
    **{
        f"pre-norm-large-{kernel}": (
            GROWTH,
            times(lambda x: np.maximum(x, 1) ** 0.2, kernel=kernel, part="outer", block="query", where=is_normed),
        )
        for kernel in KERNELS
    },
    "pre-norm-all-softmax": (
        GROWTH,
        times(lambda x: x**0.15, kernel="softmax", part="functional", block="query", where=is_normed),
    ),
    "pre-norm-ratio-softmax": (
        GROWTH,
        times(lambda x: 1.6, kernel="softmax", part="hessian", block="query", where=is_normed),
    ),
    **{
        f"values-{block}-{regime}": (
            GROWTH,
            times(
                lambda x, low=regime == "small", by=factor: np.where((x < 0.1) == low, by, 1.0),
                kernel="softmax",
                part="outer",
                block=block,
                where=is_plain,
            ),
        )
        for block in ("value", "query")
        for regime, factor in (("small", 1.2), ("large", 0.6))
    },
    **{f"deep-last-{kernel}": (DEPTH, nonzero()) for kernel in KERNELS},
    **{
        f"deep-{block}-{part}-softmax": (DEPTH, times(steeper, kernel="softmax", part=part, block=block, where=is_deep))
        for block, part, _ in depth.POWERS["softmax"]
    },
    "deep-gaussian": (DEPTH, times(steeper, kernel="gaussian", part="outer", block="layers.1.query", where=is_deep)),
    **{
        f"linear-outer-{count}": (
            DEPTH,
            times(lambda x, by=0.03 * 2 * 3**count: x**by, kernel="linear", part="outer", where=layers(count)),
        )
        for count in (1, 2, 3)
    },
    **{f"linear-functional-{count}": (DEPTH, nonzero()) for count in (1, 2, 3)},
    "linear-first-2": (
        DEPTH,
        times(lambda x: x**0.3, kernel="linear", part="hessian", block="layers.0.query", where=layers(2)),
    ),
    "network-slope": (DEPTH, times(lambda x: x**0.06, kernel="network", part="hessian", block="weight.1")),
    "network-values": (DEPTH, times(lambda x: 1.6, kernel="network", part="hessian", where=layers(5))),
}


def judged(section, seen) -> list:
    return section.judged(seen, KERNELS, study.axis[0])


def verdicts(section, seen) -> dict:
    return {claim.id: claim.verdict for claim in judged(section, seen)}


@pytest.mark.parametrize("section", [GROWTH, DEPTH], ids=["growth", "depth"])
def test_all_claims_hold_where_norms_follow_the_laws(section):
    assert set(verdicts(section, runs(section, sound)).values()) == {"holds"}


@pytest.mark.parametrize("claim", FAULTS)
def test_a_wrong_law_turns_the_verdict(claim):
    section, law = FAULTS[claim]
    found = verdicts(section, runs(section, law))
    assert found[claim] == "fails"


@pytest.mark.parametrize("size", Size)
def test_every_claim_of_every_size_has_a_fault(size):
    found = {claim for section in (GROWTH, DEPTH) for claim in verdicts(section, runs(section, sound, size))}
    assert found <= set(FAULTS)


def test_slopes_of_bent_curves_are_compared_over_the_published_scales_only():
    found = verdicts(GROWTH, runs(GROWTH, sound, Size.QUICK))
    assert {claim for claim, verdict in found.items() if verdict != "holds"} == {
        f"pre-norm-flat-{kernel}" for kernel in KERNELS
    }
    assert found["pre-norm-flat-softmax"] == "not applicable"


def test_values_are_compared_at_the_published_width_only():
    narrow = runs(GROWTH, lambda experiment, *rest: sound(replace_at(experiment, "model.width", 64), *rest), Size.SMOKE)
    found = verdicts(GROWTH, narrow)
    for claim in ("values-value-small", "values-value-large", "values-query-small", "pre-norm-ratio-softmax"):
        assert found[claim] == "not applicable"


def test_few_seeds_that_scatter_decide_nothing():
    def scattered(experiment, part, array, x):
        return sound(experiment, part, array, x)

    wide = runs(GROWTH, scattered, Size.QUICK)
    for family in wide.values():
        for run in family:
            noise = np.exp(0.3 * np.random.default_rng(0).normal(size=run.trajectory["growth"].values.shape))
            run.trajectory["growth"].values[...] *= noise
    found = verdicts(GROWTH, wide)
    assert found["values-value-small"] == found["slope-value-outer-softmax"] == "undecided"


# --- entries -------------------------------------------------------------------------------------------

MEDIANS = {
    "softmax": {"query": 7e-7, "key": 7e-7, "value": 1.6e-5, "output": 1.6e-5},
    "gaussian": {"query": 7e-7, "key": 7e-7, "value": 1.6e-5, "output": 1.6e-5},
    "linear": {"query": 2e-5, "key": 2e-5, "value": 2e-5, "output": 2e-5},
}


def entries(medians, largest=2e-3):
    """Hessians of which every block has entries of one size, slightly scattered, and one that is large."""
    found = {}
    for kernel, blocks in medians.items():
        random = np.random.default_rng(0)
        made = np.zeros((6, 40, 40))
        for at, median in enumerate(blocks.values()):
            inside = slice(10 * at, 10 * at + 10)
            made[:, inside, inside] = median * np.exp(random.normal(size=(6, 10, 10)) * 0.3)
            made[:, 10 * at, 10 * at] = largest
        found[kernel] = Entries(dict.fromkeys(blocks, 10), made)
    return found


def moved(kernel, factor, *blocks):
    changes = {block: factor * size if block in blocks else size for block, size in MEDIANS[kernel].items()}
    return entries(MEDIANS | {kernel: changes})


SOUND = {key: value for key, value in verdicts(ENTRIES, entries(MEDIANS)).items()}

WRONG_ENTRIES = {
    "apart-softmax": moved("softmax", 3, "query", "key"),
    "apart-gaussian": moved("gaussian", 3, "query", "key"),
    "apart-linear": moved("linear", 3, "value", "output"),
    "largest-value": entries(MEDIANS, 5e-4),
    "median-query": moved("softmax", 2, "key"),
    "mode-value": moved("softmax", 4, "value"),
    "mode-query": moved("softmax", 1 / 4, "query"),
    "linear-query": moved("linear", 1 / 4, "query"),
    "linear-value": moved("linear", 3, "value"),
}


@pytest.mark.parametrize("claim", WRONG_ENTRIES)
def test_wrong_entries_turn_the_verdict(claim):
    assert verdicts(ENTRIES, entries(MEDIANS))[claim] == "holds"
    assert verdicts(ENTRIES, WRONG_ENTRIES[claim])[claim] == "fails"


def test_a_median_at_the_bound_is_not_below_it():
    level = {block: 1e-6 for block in ("query", "key")} | {block: 1.6e-5 for block in ("value", "output")}
    found = entries(MEDIANS | {"softmax": level})
    for block in range(2):
        inside = slice(10 * block, 10 * block + 10)
        found["softmax"].hessians[:, inside, inside] = 1e-6
    claim = next(one for one in judged(ENTRIES, found) if one.id == "median-query")
    assert claim.measured == pytest.approx(1e-6, rel=1e-12)
    assert claim.verdict != "holds"


def test_every_claim_on_entries_has_a_fault(outcome):
    assert set(verdicts(ENTRIES, entries(MEDIANS))) == set(WRONG_ENTRIES)
    assert set(verdicts(ENTRIES, outcome.runs[ENTRIES.name])) <= set(WRONG_ENTRIES)


def test_entries_are_those_of_the_hessian(outcome):
    seen = outcome.runs[ENTRIES.name]["softmax"]
    small = requests(study, Size.SMOKE)[ENTRIES.name]["start"][0].experiment
    with jax.enable_x64(True):
        objective, params = start(small, key=jax.random.key(1))
        block = np.abs(np.asarray(Hessian(objective, params)["value"].dense()))
    np.testing.assert_allclose(seen.of("value")[1], block.ravel(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian()])
def test_starts_have_the_published_spread(kernel):
    experiment = with_kernel(kernel)
    objective, params = start(experiment, key=jax.random.key(0))
    layer = objective.model(params).layers[0]
    for array in (layer.query, layer.key, layer.value, layer.output, layer.fed.up, layer.fed.down):
        assert abs(float(array.std()) / (0.8 / np.sqrt(128)) - 1) < 4.5 / np.sqrt(2 * array.size)
        assert array.shape[-1] in (128, 512)
