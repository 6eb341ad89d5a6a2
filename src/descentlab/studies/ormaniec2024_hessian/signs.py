"""Signs of eigenvalues, attention of special form, and depth, on random heads."""

from collections.abc import Callable

import numpy as np

from descentlab.claims import About, Claim, Statement, above, at_least, at_most, claim, close
from descentlab.statistics import share_interval
from descentlab.studies.ormaniec2024_hessian.constructed import POWERS, OfKernel, Theory
from descentlab.studies.ormaniec2024_hessian.heads import PAIRS, block, eigenvalues, from_scores
from descentlab.studies.ormaniec2024_hessian.orders import ROUNDING, TABLE, powers_of
from descentlab.studies.ormaniec2024_hessian.recorded import PAGE

SOFTMAX, LINEAR, GAUSSIAN = (("softmax",), ("linear",), ("gaussian",))


@claim(
    "theorem-pairs-{case}",
    "Second derivatives of the scores add an indefinite part: its eigenvalues come in pairs of opposite sign",
    TABLE,
    cases=("softmax", "linear"),
)
def pairs(about: About, seen: OfKernel) -> Claim:
    """What makes the scores' blocks indefinite."""
    exact = seen.heads.automatic
    spectrum = np.linalg.eigvalsh(from_scores(exact, seen.heads.closed))
    size = np.abs(np.linalg.eigvalsh(exact["functional"])).max(axis=1)
    return at_most(about, np.abs(spectrum + spectrum[:, ::-1]).max(axis=1) / size, ROUNDING)


def mostly(about: About, matrix: np.ndarray) -> Claim:
    """That most matrices have eigenvalues of both signs, beyond rounding, by the 95 % interval over heads."""
    found = eigenvalues(matrix)
    both = (found[:, 0] < -1e-10) & (found[:, -1] > 1e-10)
    share = share_interval(int(both.sum()), len(matrix))
    about = about.noting(
        f"Share {share.value:.3g} of {len(matrix)} heads; mean smallest eigenvalue over the largest in size "
        f"{found[:, 0].mean():.2g}."
    )
    return above(about, share, 0.5)


def _indefinite(kernel: str, source: str) -> Statement:
    text = "H(Q,Q) has eigenvalues of both signs in most random heads"

    @claim("theorem-indefinite-{case}", text, source, cases=(kernel,))
    def indefinite(about: About, seen: OfKernel) -> Claim:
        return mostly(about, block(seen.heads.closed["whole"], PAIRS["QQ"]))

    return indefinite


@claim("theorem-diagonal-{case}", "No diagonal block of H has a negative eigenvalue, to rounding", TABLE, cases=LINEAR)
def diagonal(about: About, seen: OfKernel) -> Claim:
    """Linear attention."""
    found = [block(seen.heads.automatic["whole"], PAIRS[name]) for name in ("VV", "QQ", "KK")]
    return at_least(about, np.concatenate([eigenvalues(matrix)[:, 0] for matrix in found]), -ROUNDING)


@claim(
    "theorem-below-{case}",
    "Where values are positive and no output exceeds its target, second derivatives of the scores add no negative "
    "curvature",
    PAGE,
    cases=GAUSSIAN,
)
def below_targets(about: About, seen: OfKernel) -> Claim:
    """Where the Gaussian kernel bends upwards."""
    return at_least(about.noting("For softmax they always do."), eigenvalues(seen.built.below)[:, 0], -ROUNDING)


@claim(
    "theorem-merged-scores-{case}",
    "With one matrix in the place of query and key, second derivatives of the scores add nothing: H_f by automatic "
    "differentiation is what the curvature of the link gives, to a relative 1e-12 of H",
    TABLE,
    cases=("softmax", "linear"),
)
def merged_scores(about: About, seen: OfKernel) -> Claim:
    """One matrix in the place of query and key."""
    parts = seen.built.merged[str(about.case)]
    left, whole = (np.linalg.norm(parts[part], axis=(1, 2)) for part in ("scores", "whole"))
    return at_most(about, left / whole, ROUNDING)


@claim(
    "theorem-merged-{case}",
    "Its block has eigenvalues of both signs in most random heads",
    TABLE,
    cases=SOFTMAX,
)
def merged_softmax(about: About, seen: OfKernel) -> Claim:
    """Its block with softmax."""
    return mostly(about, seen.built.merged["softmax"]["whole"])


@claim("theorem-merged-{case}", "Its block has no negative eigenvalue, to rounding", TABLE, cases=LINEAR)
def merged_linear(about: About, seen: OfKernel) -> Claim:
    """Its block with linear attention."""
    return at_least(about, eigenvalues(seen.built.merged["linear"]["whole"])[:, 0], -ROUNDING)


@claim(
    "theorem-one-hot",
    "Where attention is one-hot, M_2 and every block of query and key vanish exactly",
    TABLE,
    cases=SOFTMAX,
)
def one_hot(about: About, seen: OfKernel) -> Claim:
    """Attention at one token."""
    return at_most(about, seen.built.one_hot, 0.0)


def _special(
    name: str, text: str, source: str, kernel: tuple[str, ...], of: Callable[[OfKernel], np.ndarray]
) -> Statement:
    """Attention at one token, or at all alike: a distance that is zero to rounding."""

    @claim(f"theorem-{name}", text, source, cases=kernel)
    def special(about: About, seen: OfKernel) -> Claim:
        return at_most(about, of(seen), ROUNDING)

    return special


SPECIAL = (
    _special(
        "uniform",
        "Where attention is uniform, M_2 is the covariance of the tokens in every row, to a relative 1e-12",
        TABLE,
        SOFTMAX,
        lambda seen: seen.built.uniform,
    ),
    _special(
        "raw",
        "Where all weights are one, M_2 is the matrix of second moments of the tokens, not centred, to 1e-12",
        PAGE,
        GAUSSIAN,
        lambda seen: seen.built.raw,
    ),
    _special(
        "peak",
        "Where each token sees itself alone, H_o(Q,Q) vanishes but H(Q,Q) is the curvature of the peak, to 1e-12",
        PAGE,
        GAUSSIAN,
        lambda seen: seen.built.peak,
    ),
)


@claim(
    "theorem-layers",
    "With n layers of linear attention every diagonal block of H_o has the order 2 * 3^n, within 2 %",
    TABLE,
    cases=LINEAR,
)
def layers(about: About, seen: OfKernel) -> Claim:
    """Layers of linear attention."""
    powers = {n: powers_of(norms, POWERS) for n, norms in seen.built.linear.items()}
    expected = np.concatenate([np.full(slopes.shape, 2.0 * 3**n) for n, slopes in powers.items()])
    about = about.noting(f"Mean slopes: {', '.join(f'n = {n} {one.mean():.4g}' for n, one in powers.items())}.")
    return close(about, np.concatenate(list(powers.values())), expected, tolerance=0.02 * expected)


@claim(
    "theorem-network",
    "In a deep linear network every diagonal block of H has the order 2 whatever the depth, within 0.05",
    TABLE,
)
def network(about: About, seen: Theory) -> Claim:
    """Layers without attention."""
    about = about.noting(f"Depths {', '.join(map(str, seen.built.network))}.")
    found = [powers_of(norms, POWERS) for norms in seen.built.network.values()]
    return close(about, np.concatenate(found), 2.0, tolerance=0.05)


STATEMENTS = (
    pairs, _indefinite("softmax", TABLE), _indefinite("gaussian", PAGE), diagonal, below_targets, merged_scores,
    merged_softmax, merged_linear, one_hot, *SPECIAL, layers, network,
)  # fmt: skip
