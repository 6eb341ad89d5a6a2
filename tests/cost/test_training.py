"""A step of training against its formulas: products, what is kept, what is computed again, and utilisation."""

import pytest

from descentlab.cost import Setting, cost
from descentlab.cost.config import from_config
from descentlab.cost.operators import Matmul, total
from descentlab.cost.training import products, step

GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 1000, "n_positions": 128}
WIDTH, LAYERS, HEADS = 64, 3, 4
BATCH, LENGTH = 5, 32
TOKENS = BATCH * LENGTH


def trained(**setting):
    return cost(GPT2, Setting(seq=LENGTH, batch=BATCH, phase="train", **setting)).at[0]


def forward():
    rows = from_config(GPT2).one_pass(LENGTH, batch=BATCH)
    return [one for found in rows.values() for one in found]


def test_a_step_has_three_times_the_products_of_a_pass():
    """Backward, a product has two of its size: a and b both have gradients."""
    one = Matmul("x", "ffn", 2, 3, 5, bias=True)
    assert [(x.rows, x.inner, x.columns) for x in step([one])] == [(2, 3, 5), (3, 2, 5), (2, 5, 3)]
    assert total(step([one]), "flops") == 60 + 3 * 5 * 2 * 2 + 2 * 3 * 2 * 5
    at = trained()
    assert at.products + at.head_products == pytest.approx(3 * products(forward()))


@pytest.mark.parametrize(("recompute", "again"), [("attention", {"scores"}), ("layers", None)])
def test_what_is_computed_again_is_added(recompute, again):
    body = [one for one in forward() if one.group != "head"]
    more = products([one for one in body if again is None or one.name in again])
    at = trained(recompute=recompute)
    assert at.products + at.head_products == pytest.approx(3 * products(forward()) + more)


def test_kept_activations_are_those_of_the_published_formula():
    """A layer keeps s b h (34 + 5 a s / h) bytes in 16 bits (Korthikanti et al. 2022, arXiv:2205.05198, eq. 1).

    Of those 2 s b h and 3 a s^2 b are of dropout, which is not counted; with attention computed again a s^2 b go.
    """
    scores, whole = HEADS * LENGTH**2 * BATCH, TOKENS * WIDTH
    outside = 2 * 2 * whole  # the last normalisation, and the head's input
    assert trained().memory.activations == LAYERS * (32 * whole + 2 * scores) + outside
    assert trained(recompute="attention").memory.activations == LAYERS * 32 * whole + outside
    one_layer = 32 * whole + 2 * scores
    assert trained(recompute="layers").memory.activations == LAYERS * 2 * whole + one_layer + outside


def test_memory_of_a_mixed_precision_step():
    """Adam in mixed precision: 2 bytes of weights, 2 of gradients, 12 of optimizer (arXiv:1910.02054, section 3.1)."""
    count = from_config(GPT2).total
    memory = trained().memory
    assert (memory.weights, memory.gradients, memory.optimizer) == (2 * count, 2 * count, 12 * count)
    assert trained(precision="float32", optimizer="momentum").memory.optimizer == 4 * count
    assert memory.total == memory.weights + memory.gradients + memory.optimizer + memory.activations


def test_utilisation_is_the_measured_share_of_the_peak():
    at = trained(measured_ms=2.0, recompute="layers")
    peak = 989e12 * 2e-3
    assert at.utilisation.model == pytest.approx(3 * products(forward()) / peak)
    assert at.utilisation.hardware == pytest.approx((at.products + at.head_products) / peak)
    # The head is the embedding, and is multiplied with; places are looked up.
    assert at.rule == 6 * TOKENS * (from_config(GPT2).total - 128 * WIDTH)
    assert at.utilisation.rule == pytest.approx(at.rule / peak)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"measured_ms": 1e-7}, "times the machine's peak rate"),
        ({"measured_ms": 0.0}, "must be a number above 0, got 0"),
        ({"measured_ms": 1.0, "phase": "pass"}, "add --phase train"),
        ({"precision": "int8"}, "training needs weights of at least 16 bits"),
    ],
)
def test_impossible_steps_are_refused(setting, said):
    with pytest.raises(ValueError, match=said):
        cost(GPT2, Setting(**{"seq": 8, "phase": "train"} | setting))
