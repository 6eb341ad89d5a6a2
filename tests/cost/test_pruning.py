"""Pruning against a quadratic loss, where the second order is exact, and what goes first."""

import itertools

import numpy as np
import pytest

from descentlab.cost.pruning import CRITERIA, HEADED, heads, pruned, pruned_heads

RNG = np.random.default_rng(0)


def test_on_a_quadratic_the_second_order_score_is_the_loss_of_removing_an_entry():
    """f(w) = sum h (w - w*)^2 / 2 at w*: gradient 0, so removing entry i costs h_i w_i^2 / 2."""
    weights, curvature = RNG.normal(size=6), RNG.uniform(0.1, 5, 6)

    def loss(w):
        return 0.5 * float(np.sum(curvature * (w - weights) ** 2))

    scores = CRITERIA["second order"](weights, np.zeros(6), curvature)
    for at in range(6):
        assert loss(np.where(np.arange(6) == at, 0, weights)) == pytest.approx(scores[at])
    found = pruned({"w": weights}, {"w": scores}, 0.5)["w"]
    best = min(loss(np.where(np.isin(np.arange(6), gone), 0, weights)) for gone in itertools.combinations(range(6), 3))
    assert loss(found) == pytest.approx(best)
    magnitude = pruned({"w": weights}, {"w": CRITERIA["magnitude"](weights, weights, weights)}, 0.5)["w"]
    assert np.abs(magnitude).sum() >= np.abs(found).sum()


def test_the_first_order_score_is_the_linear_change_of_the_loss():
    weights, gradient = RNG.normal(size=5), RNG.normal(size=5)
    assert np.allclose(CRITERIA["first order"](weights, gradient, weights), np.abs(gradient * (0 - weights)))


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.9, 1.0])
def test_so_many_of_the_lowest_scores_go_over_all_arrays(sparsity):
    arrays = {"up": RNG.normal(size=(4, 5)), "down": RNG.normal(size=(5, 4)), "bias": np.ones(3)}
    scores = {name: np.abs(arrays[name]) for name in ("up", "down")}
    found = pruned(arrays, scores, sparsity)
    flat, kept = (np.concatenate([source[name].ravel() for name in scores]) for source in (arrays, found))
    gone = kept == 0
    assert gone.sum() == round(sparsity * 40)
    assert np.array_equal(kept[~gone], flat[~gone])
    assert np.abs(flat[gone]).max(initial=0) <= np.abs(flat[~gone]).min(initial=np.inf)
    assert np.array_equal(found["bias"], arrays["bias"])


LAYERS = ("layers.0", "layers.1")


def test_heads_go_whole_and_by_their_summed_score():
    arrays = {f"{layer}.{name}": RNG.normal(size=(3, 4, 2)) for name in HEADED for layer in LAYERS}
    arrays["layers.0.fed.up"] = RNG.normal(size=(4, 8))
    scores = {name: np.abs(array) for name, array in arrays.items()}
    summed = {
        (layer, head): sum(scores[f"{layer}.{name}"][head].sum() for name in HEADED)
        for layer in LAYERS
        for head in range(3)
    }
    assert heads(scores) == pytest.approx(summed)
    found, gone = pruned_heads(arrays, scores, 2)
    assert list(gone) == sorted(summed, key=summed.__getitem__)[:2]
    for name, array in found.items():
        layer, _, block = name.rpartition(".")
        for head in range(3):
            if block in HEADED:
                assert np.any(array[head]) != ((layer, head) in gone)
    assert np.array_equal(found["layers.0.fed.up"], arrays["layers.0.fed.up"])


def test_impossible_shares_are_refused():
    arrays = {"query": np.ones((2, 1, 1))}
    with pytest.raises(ValueError, match="a sparsity must lie between 0 and 1, got 1.5"):
        pruned(arrays, arrays, 1.5)
    with pytest.raises(ValueError, match="wanted to prune 3 heads, but the model has 2"):
        pruned_heads(arrays, arrays, 3)
