"""Where does the time of a step go: projections, products of attention, or softmax?

The step is made with parts left out. Without attention, queries, keys and values meet entry by entry and are
projected; with linear attention there are all products and no softmax. Differences of the three are the shares. A part
is also compared with the time its products would take at the rate of one large product.

    python benchmarks/where_time_goes.py
"""

import sys

import common
from step_speed import matmul_rate

STEPS = {common.SMALL: 400, common.LARGE: 10}
PARTS = ("projections", "attention products", "softmax")


def outputs(params, inputs, part):
    import jax
    import jax.numpy as jnp

    query, key, value, output = params
    queries, keys, values = (jnp.tensordot(inputs, block, ((2,), (1,))) for block in (query, key, value))
    if part == "projections":
        return jnp.tensordot(queries * keys + values, output, 2)
    scores = jnp.einsum("nthe,nshe->nhts", queries, keys) / query.shape[-1] ** 0.5
    weights = jax.nn.softmax(scores) if part == "softmax" else scores
    return jnp.tensordot(jnp.einsum("nhts,nshe->nthe", weights, values), output, 2)


def program(points, part):
    import jax
    import jax.numpy as jnp

    def run(params, inputs, targets):
        def loss(params):
            return 0.5 * jnp.sum((outputs(params, inputs, part) - targets) ** 2) / inputs.shape[0]

        def step(params, _):
            value, gradient = jax.value_and_grad(loss)(params)
            return jax.tree.map(lambda p, g: p - common.LEARNING_RATE * g, params, gradient), value

        return jax.lax.scan(step, params, length=points)

    return jax.jit(run)


def measure(size, precision, seconds):
    import jax

    from descentlab.training import prepare

    size = common.Size(**size)
    lanes = common.lanes_of(size, precision, STEPS[size])
    lane, _ = prepare(lanes)
    objective, start = lane.objective, lane.start
    with lanes.precision():
        blocks = (start.query, start.key, start.value, start.output)
        arguments = jax.tree.map(lambda leaf: leaf[0], (blocks, objective.inputs, objective.targets))
        programs = {part: program(STEPS[size], part) for part in PARTS}
        calls = {part: lambda part=part: jax.block_until_ready(programs[part](*arguments)) for part in PARTS}
        times = common.compete(calls, seconds=seconds)
    return {"times": times, "rate": max(matmul_rate(precision).values())}


def main(seconds):
    print(f"# Where the time goes, one thread\n\n{common.machine()}\n")
    print("| dtype | size | part | us a step | share | us at the rate of a large product |\n|---|---|---|---|---|---|")
    for precision in ("float64", "float32"):
        for size in STEPS:
            found = common.in_process(__file__, 1, size=vars(size), precision=precision, seconds=seconds)
            upto = [1e6 * found["times"][part]["cpu"] / STEPS[size] for part in PARTS]
            alone = [upto[0], upto[1] - upto[0], upto[2] - upto[1]]
            tokens = size.samples * size.tokens
            least = [18 * tokens * size.dim**2, 12 * tokens * size.tokens * size.dim, 0]
            for part, time, operations in zip(PARTS, alone, least, strict=True):
                ideal = 1e6 * operations / found["rate"]
                print(f"| {precision} | {size} | {part} | {time:.0f} | {100 * time / upto[2]:.0f}% | {ideal:.0f} |")


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
