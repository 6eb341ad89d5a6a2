"""Counts of whole Transformers against forward passes: what JAX traces, and NumPy loops over tokens."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, Linear, NoScaling, Softmax
from descentlab.cost.operators import Matmul, total
from descentlab.cost.presets import resnet50
from descentlab.cost.transformer import KERNELS, TransformerSizes, encoder, generation
from descentlab.models import AttentionLayer, kernel_cost

SMALL = TransformerSizes(2, 12, 3, 20)


def products(function, *arguments):
    """Twice the multiply-adds of every dot_general that a function traces."""

    def count(jaxpr):
        found = 0
        for equation in jaxpr.eqns:
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", None)
                found += count(getattr(inner, "jaxpr", inner) or value.jaxpr) if inner is not None else 0
            if equation.primitive.name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                inner = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
                found += 2 * inner * equation.outvars[0].aval.size
        return found

    return count(jax.make_jaxpr(function)(*arguments).jaxpr)


def forward(tokens, model):
    """The products of a block with all its heads, as one would write it."""
    width, heads, head, groups = model.width, model.heads, model.head, model.groups
    query, key, value = jnp.ones((width, heads, head)), jnp.ones((width, groups, head)), jnp.ones((width, groups, head))
    output, into = jnp.ones((heads, head, width)), jnp.ones((width, model.ffn))
    back = jnp.ones((model.ffn, width))

    def block(x):
        q = jnp.einsum("td,dhe->the", x, query).reshape(tokens, groups, heads // groups, head)
        k, v = jnp.einsum("td,dge->tge", x, key), jnp.einsum("td,dge->tge", x, value)
        weights = jax.nn.softmax(jnp.einsum("tghe,sge->ghts", q, k))
        mixed = jnp.einsum("ghts,sge->tghe", weights, v).reshape(tokens, heads, head)
        x = x + jnp.einsum("the,hed->td", mixed, output)
        up = jax.nn.gelu(x @ into)
        return x + (up * (x @ into) if model.gated else up) @ back

    return block


def counted(operators):
    """Twice the multiply-adds of all products, whatever is added to them."""
    return sum(float(np.sum(2 * one.count * one.rows * one.inner * one.columns)) for one in operators
               if isinstance(one, Matmul))  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        SMALL,
        TransformerSizes(1, 12, 6, 20, kv_heads=2),
        TransformerSizes(3, 16, 4, 8, head_dim=3, gated=True, norm="rms"),
    ],
)
def test_products_of_a_pass_are_those_that_jax_traces(model):
    tokens = 7
    traced = model.layers * products(forward(tokens, model), jnp.ones((tokens, model.width)))
    assert counted(encoder(model, tokens)) == traced
    assert counted(encoder(model, tokens, batch=5)) == 5 * traced


@pytest.mark.parametrize("attention", [Softmax(), Gaussian()])
@pytest.mark.parametrize("value_dim", [None, 7])
def test_products_of_descentlabs_layer_are_those_that_jax_traces(attention, value_dim):
    tokens, dim = 5, 8
    layer = AttentionLayer(attention, heads=2, head_dim=3, value_dim=value_dim, output_dim=4)
    model = layer.init(jnp.ones((tokens, dim)), key=jax.random.key(0))
    sizes = TransformerSizes(
        1, dim, 2, 0, head_dim=3, value_dim=value_dim, out=4, bias=False, norm="none", residual=False
    )
    assert counted(encoder(sizes, tokens)) == products(model, jnp.ones((tokens, dim)))
    assert sizes.parameters == sum(block.size for block in (model.query, model.key, model.value, model.output))
    assert encoder(layer.cost_model(dim), tokens)[0].flops == encoder(sizes, tokens)[0].flops


def test_a_linear_kernel_without_a_scale_does_not_multiply_by_one():
    assert kernel_cost(Linear()).flops == 1
    assert kernel_cost(Linear(scaling=NoScaling())).flops == 0
    assert kernel_cost(Softmax(scaling=NoScaling())).flops == kernel_cost(Softmax()).flops


def test_operations_of_a_compiled_product_are_those_of_xla():
    one = encoder(SMALL, 8)[0]
    compiled = jax.jit(jnp.matmul).lower(jnp.ones((12, 12)), jnp.ones((12, 8))).compile()
    assert compiled.cost_analysis()["flops"] == one.flops.item() / SMALL.layers


def test_a_causal_generation_is_the_sum_of_its_steps():
    """With keys and values cached a step sees t + 1/2 keys on average, so its products are those of a loop."""
    tokens, prompt, model = 6, 3, TransformerSizes(2, 12, 3, 20, causal=True)
    loop = 0.0
    for t in range(tokens):
        seen = prompt + t + 0.5
        loop += 2 * model.layers * (4 * 12 * 12 + 2 * 12 * 20 + 2 * 12 * seen)
    assert counted(generation(model, tokens, prompt=prompt)) == pytest.approx(loop)
    parts = [generation(model, 2, prompt=prompt + start) for start in (0, 2, 4)]
    for quantity in ("flops", "moved"):
        whole = total(generation(model, tokens, prompt=prompt), quantity)
        assert sum(total(part, quantity) for part in parts) == pytest.approx(whole)


def test_a_batch_reads_weights_once_and_all_else_as_often():
    one, many = encoder(SMALL, 8), encoder(SMALL, 8, batch=5)
    weights = SMALL.parameters
    assert weights == 2 * (4 * 12 * 12 + 2 * 12 * 20)
    for group in ("projections", "ffn"):
        of_group = sum(
            float(np.sum(x.count * x.rows * x.inner)) for x in one if x.group == group and isinstance(x, Matmul)
        )
        assert total(many, "moved", group) - of_group == 5 * (total(one, "moved", group) - of_group)
    assert total(many, "moved", "attention") == 5 * total(one, "moved", "attention")


def test_one_key_head_for_several_queries_moves_less_and_computes_the_same():
    whole, shared = (generation(TransformerSizes(2, 12, 6, 20, kv_heads=n), 9) for n in (6, 2))
    assert total(shared, "flops", "attention") == total(whole, "flops", "attention")
    assert total(shared, "moved", "attention") < total(whole, "moved", "attention")


def test_linear_attention_grows_with_the_length_and_not_with_its_square():
    model = TransformerSizes(2, 12, 3, 20, kernel=KERNELS["linear"])
    short, long = (total(encoder(model, tokens), "flops", "attention") for tokens in (50, 5000))
    assert long / short == pytest.approx(100, rel=0.02)
    steps = generation(model, 4)
    assert all(np.all(np.broadcast_to(one.flops, 4) == np.ravel(one.flops)[0]) for one in steps)


@pytest.mark.parametrize(("kernel", "operations"), [("softmax", 4), ("gaussian", 4), ("normalized-gaussian", 5)])
def test_the_kernel_costs_its_operations_a_score_and_its_lengths(kernel, operations):
    model = TransformerSizes(2, 12, 3, 20, kernel=KERNELS[kernel])
    tokens = 7
    nonlinear = total(encoder(model, tokens), "flops", "other") - 2 * tokens * (10 * 20 + 18 * 12)
    lengths = KERNELS[kernel].lengths * 2 * 12 * tokens
    assert nonlinear == 2 * (operations * 3 * tokens**2 + lengths)


def test_a_thousand_candidates_cost_what_they_cost_one_by_one():
    rng = np.random.default_rng(0)
    heads = rng.integers(1, 5, size=(50, 3))
    ffn = rng.integers(8, 64, size=(50, 3))
    present = np.arange(3) < rng.integers(1, 4, size=(50, 1))
    together = total(encoder(TransformerSizes(present, 12, heads, ffn, head_dim=4), 9), "flops")
    assert together.shape == (50,)
    for at in (0, 17, 49):
        alone = sum(
            total(encoder(TransformerSizes(1, 12, int(heads[at, i]), int(ffn[at, i]), head_dim=4), 9), "flops")
            for i in range(3)
            if present[at, i]
        )
        assert together[at] == alone


def test_resnet50_has_the_operations_and_weights_that_are_known():
    """3.86e9 multiply-adds and 25.5e6 parameters, of which 53 120 belong to normalisations and 1000 are biases."""
    operators = [one for one in resnet50() if isinstance(one, Matmul)]
    assert counted(operators) == pytest.approx(2 * 3.858e9, rel=1e-3)
    weights = sum(one.rows * one.inner * (1 if one.group == "head" else one.count) for one in operators)
    assert weights == 25_557_032 - 53_120 - 1000


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"width": -12}, "width must be at least 1, got -12"),
        ({"heads": 5}, "heads must divide the width, got heads=5 and width=12"),
        ({"kv_heads": 2}, "kv_heads must divide heads"),
        ({"ffn": -1}, "ffn must be at least 0"),
        ({"norm": "batch"}, "norm must be layer, rms or none"),
    ],
)
def test_impossible_sizes_are_refused(sizes, said):
    with pytest.raises(ValueError, match=said):
        TransformerSizes(**({"layers": 1, "width": 12, "heads": 3, "ffn": 20} | sizes))


@pytest.mark.parametrize("call", [lambda: encoder(SMALL, 0), lambda: encoder(SMALL, 4, batch=0)])
def test_impossible_lengths_are_refused(call):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        call()
    with pytest.raises(ValueError, match="prompt must be at least 0"):
        generation(SMALL, 4, prompt=-1)
