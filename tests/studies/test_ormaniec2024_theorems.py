"""The section on theory in its smoke size: complete, and every claim fails when it is shown a wrong quantity."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.claims import About, Verdict
from descentlab.runs import Runs
from descentlab.studies.ormaniec2024_hessian import signs, study, theorems
from descentlab.studies.ormaniec2024_hessian.constructed import POWERS, Theory, _merged
from descentlab.studies.ormaniec2024_hessian.heads import KERNELS, PAIRS, SCALES, SMALL
from descentlab.studies.ormaniec2024_hessian.theorems import section
from descentlab.study import Size

Edit = Callable[[Theory], Theory]
COMPARISONS = [f"theorem-{name}-{scale}" for name in ("apart", "query", "all") for scale in ("0.1", "1", "3.2")]


def judged(seen):
    return section.judged(seen, ["softmax", "gaussian"], study.axis[0])


@pytest.fixture(scope="module")
def told():
    """What progress was told."""
    return []


@pytest.fixture(scope="module")
def theory(told):
    assert section.requests([], Size.SMOKE) == {}
    return section.seen(Runs({}), Size.SMOKE, lambda *news: told.append(news))


def test_every_claim_says_something_and_has_a_verdict(theory):
    claims = judged(theory)
    assert len({claim.id for claim in claims}) == len(claims) == 53
    for claim in claims:
        assert claim.text
        assert claim.source
        assert claim.checked
        assert claim.case in {None, *KERNELS}


def test_all_but_the_comparison_of_kernels_holds_whatever_the_size(theory):
    open_questions = {claim.id for claim in judged(theory) if claim.verdict != Verdict.HOLDS}
    assert open_questions <= set(COMPARISONS)


def test_figures_have_traces_and_captions(theory):
    for figure in section.figures:
        title, caption = (figure.__doc__ or "").split("\n", 1)
        assert title.strip()
        assert caption.strip()
        drawn = figure(theory)
        assert isinstance(drawn, go.Figure)
        assert drawn.data


def test_progress_is_told_kernel_by_kernel(theory, told):
    assert told == [(done + 1, len(KERNELS) + 1, kernel) for done, kernel in enumerate(KERNELS)]


def test_larger_sizes_measure_more():
    for sizes in (theorems.HEADS, theorems.LAYERS, theorems.DEPTHS):
        counts = [sizes[size] if isinstance(sizes[size], int) else len(sizes[size]) for size in Size]
        assert counts == sorted(counts)
        assert counts[0] < counts[-1]


# Measured numbers, tampered with.


def heads(field: str, change: Callable, part: str | None = None, kernel: str | None = None) -> Edit:
    """Change an array of one kernel's heads, or of every kernel's."""

    def of(seen: Theory) -> Theory:
        found = dict(seen.heads)
        for name in [kernel] if kernel else KERNELS:
            old = getattr(found[name], field)
            new = change(old) if part is None else {**old, part: change(old[part])}
            found[name] = dataclasses.replace(found[name], **{field: new})
        return dataclasses.replace(seen, heads=found)

    return of


def built(field: str, change: Callable) -> Edit:
    return lambda seen: dataclasses.replace(
        seen, built=dataclasses.replace(seen.built, **{field: change(getattr(seen.built, field))})
    )


def untouched(seen: Theory) -> Theory:
    return seen


def tilted(power: float, name: str | None = None) -> Callable:
    """Norms times a power of the scale, those of all blocks or of one."""

    def change(norms: np.ndarray) -> np.ndarray:
        norms, which = norms.copy(), slice(None) if name is None else [list(PAIRS).index(name)]
        norms[..., which] *= SCALES[: norms.shape[1], None] ** power
        return norms

    return change


def lowered(matrix: np.ndarray, share: float = 1e-6) -> np.ndarray:
    """Every eigenvalue less by a share of the largest entry."""
    return matrix - share * np.abs(matrix).max() * np.eye(matrix.shape[-1])


def off(numbers: np.ndarray) -> np.ndarray:
    """More by 1e-9."""
    return numbers + 1e-9


def just_above(numbers: np.ndarray) -> np.ndarray:
    return numbers + 1e-30


def square(matrix: np.ndarray) -> np.ndarray:
    """A matrix of one sign."""
    return matrix @ matrix


def later(factor: float) -> Callable:
    """Growth by more than the layers allow."""
    return lambda by_depth: {n: norms * POWERS**factor for n, norms in by_depth.items()}


def merged(kernel: str, change: Callable, part: str) -> Edit:
    return built("merged", lambda found: found | {kernel: found[kernel] | {part: change(found[kernel][part])}})


def ratio(decades: float) -> Callable:
    """Norms of which H(V,V) is so many decades above H(Q,Q)."""

    def change(norms):
        norms = norms.copy()
        names = list(PAIRS)
        norms[..., names.index("VV")] = norms[..., names.index("QQ")] * 10**decades
        return norms

    return change


def both(*edits: Edit) -> Edit:
    def apply(seen: Theory) -> Theory:
        for one in edits:
            seen = one(seen)
        return seen

    return apply


def level(share: float) -> Callable:
    return lambda shares: np.full_like(shares, share)


@dataclasses.dataclass(frozen=True)
class Fault:
    """Claims, what is done to the numbers so that they hold, and what then so that they fail."""

    claims: list[str]
    wrong: Edit
    right: Edit = untouched


def each(name: str, kernels=tuple(KERNELS)) -> list[str]:
    return [f"theorem-{name}-{kernel}" for kernel in kernels]


def compared(name: str) -> list[str]:
    return [one for one in COMPARISONS if one.startswith(f"theorem-{name}-")]


def share(name: str, softmax: float, gaussian: float) -> Edit:
    """Shares of negative eigenvalues of both kernels."""
    levels = {"softmax": softmax, "gaussian": gaussian}
    return both(*(heads("negative", level(number), name, kernel) for kernel, number in levels.items()))


FAULTS = {
    "H_o of another head": Fault(each("closed"), heads("automatic", lambda m: (1 + 1e-9) * m, "outer")),
    "H_f of another head": Fault(each("closed"), heads("automatic", lambda m: (1 + 1e-9) * m, "functional")),
    "a zero that is none": Fault(each("closed"), heads("closed", just_above, "functional")),
    "H_o grows faster": Fault(each("outer"), heads("norms", tilted(0.2), "outer")),
    "one block grows faster": Fault(each("outer"), heads("norms", tilted(0.1, "QK"), "outer")),
    "H_f grows faster": Fault(each("bent"), heads("norms", tilted(0.2), "functional")),
    "H_f at the outputs grows faster": Fault(each("residual"), heads("fitted", tilted(0.2))),
    "H_f(V,V) is not zero": Fault(each("zero"), heads("automatic", just_above, "functional")),
    "H_o has a negative eigenvalue": Fault(each("outer-sign"), heads("automatic", lowered, "whole")),
    "H_f is too large": Fault(each("outer-sign"), heads("automatic", lambda m: 1.001 * m + np.eye(32), "functional")),
    "blocks part faster": Fault(each("ratio"), heads("norms", tilted(0.2, "VV"), "whole")),
    "scores bend upwards": Fault(
        each("pairs", ("softmax", "linear")), heads("automatic", lambda m: lowered(m, -1e-3), "functional")
    ),
    "the link bends otherwise": Fault(
        each("pairs", ("softmax", "linear")), heads("closed", lambda m: m + square(m + np.eye(32)), "weights")
    ),
    "H is positive": Fault(each("indefinite", ("softmax", "gaussian")), heads("closed", square, "whole")),
    "a diagonal block bends down": Fault(["theorem-diagonal-linear"], heads("automatic", lowered, "whole")),
    "bent down below targets": Fault(["theorem-below-gaussian"], built("below", lambda m: -m)),
    "merged scores bend": Fault(["theorem-merged-scores-softmax"], merged("softmax", off, "scores")),
    "merged linear scores bend": Fault(["theorem-merged-scores-linear"], merged("linear", off, "scores")),
    "merged softmax is positive": Fault(["theorem-merged-softmax"], merged("softmax", square, "whole")),
    "merged linear bends down": Fault(["theorem-merged-linear"], merged("linear", lambda m: lowered(m, 0.1), "whole")),
    "one-hot attention bends": Fault(["theorem-one-hot"], built("one_hot", just_above)),
    "another covariance": Fault(["theorem-uniform"], built("uniform", off)),
    "centred tokens": Fault(["theorem-raw"], built("raw", off)),
    "another peak": Fault(["theorem-peak"], built("peak", off)),
    "blocks further apart": Fault(
        compared("apart"),
        heads("norms", ratio(-3), "whole", "gaussian"),
        both(heads("norms", ratio(2), "whole", "softmax"), heads("norms", ratio(1), "whole", "gaussian")),
    ),
    "layers grow faster": Fault(["theorem-layers"], built("linear", later(0.5))),
    "a network grows faster": Fault(["theorem-network"], built("network", later(0.2))),
    "H(Q,Q) bends down more": Fault(compared("query"), share("query", 0.5, 0.75), share("query", 0.5, 0.25)),
    "H bends down more": Fault(compared("all"), share("all", 0.5, 0.6), share("all", 0.5, 0.4)),
}


def verdicts(seen: Theory) -> dict[str, Verdict]:
    return {claim.id: claim.verdict for claim in judged(seen)}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_wrong_quantity_turns_the_verdict(theory, fault):
    sound = fault.right(theory)
    before, after = verdicts(sound), verdicts(fault.wrong(sound))
    for claim in fault.claims:
        assert before[claim] == "holds"
        assert after[claim] == "fails"


def test_every_claim_has_a_fault(theory):
    known = {claim for fault in FAULTS.values() for claim in fault.claims}
    assert {claim.id for claim in judged(theory)} == known


def test_slopes_are_read_off_small_scales_only(theory):
    """Whatever happens where kernels are compared is no matter of orders."""

    def disturbed(norms):
        return np.concatenate([norms[:, : len(SMALL)], 7 * norms[:, len(SMALL) :]], axis=1)

    changed = verdicts(heads("norms", disturbed, "outer")(theory))
    assert all(changed[name] == "holds" for name in each("outer"))


def test_scores_of_a_distance_do_bend_with_one_matrix():
    """What the claims on one matrix compare is not zero by construction: with the Gaussian kernel it is far from it."""
    with jax.enable_x64(True):
        parts = _merged("gaussian", 2)
    left, whole = (np.linalg.norm(parts[part], axis=(1, 2)) for part in ("scores", "whole"))
    assert np.all(left / whole > 1e-3)


def test_half_of_the_heads_is_not_most_of_them(theory):
    """Of many heads that are split evenly the interval covers one half."""
    mixed = np.stack([np.diag([1.0, 1.0]), np.diag([1.0, -1.0])] * 10)
    about = About("made", "most", "a test")
    assert signs.mostly(about, mixed).verdict == "undecided"
    assert signs.mostly(about, mixed[1:2]).verdict == "undecided"
    assert signs.mostly(about, mixed[1::2]).verdict == "holds"
    assert signs.mostly(about, mixed[::2]).verdict == "fails"


def test_heads_that_agree_are_no_less_indefinite_beyond_one_eigenvalue(theory):
    for name, size in (("query", 8), ("all", 32)):
        found = {claim.id: claim for claim in judged(share(name, 0.5, 0.5)(theory))}
        for one in compared(name):
            assert (found[one].verdict, found[one].uncertainty) == ("undecided", 1 / size)
