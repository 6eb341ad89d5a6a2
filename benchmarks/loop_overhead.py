"""What does the laboratory's loop cost over a hand-written `jit` and `lax.scan` of the same step?

Both train all four blocks of a softmax attention layer by gradient descent and record loss and the norm of each block's
gradient at every step. The other side is written by hand from the formulas, in two layouts: heads contracted in one
product, and the same with samples and tokens flattened. The faster of the two counts.

    python benchmarks/loop_overhead.py
"""

import sys
import time

import common

STEPS = {common.SMALL: 400, common.SMALL_LANES: 20, common.LARGE: 10, common.LARGE_8: 2, common.LARGE_LANES: 2}


def outputs(params, inputs, flat):
    """The layer for all samples, by hand."""
    import jax
    import jax.numpy as jnp

    query, key, value, output = params
    heads, dim, width = query.shape
    samples, tokens, _ = inputs.shape

    def projected(block):
        if not flat:
            return jnp.tensordot(inputs, block, ((2,), (1,)))
        merged = block.transpose(1, 0, 2).reshape(dim, heads * width)
        return (inputs.reshape(samples * tokens, dim) @ merged).reshape(samples, tokens, heads, width)

    scores = jnp.einsum("nthe,nshe->nhts", projected(query), projected(key))
    mixed = jnp.einsum("nhts,nshe->nthe", jax.nn.softmax(scores / width**0.5), projected(value))
    if not flat:
        return jnp.tensordot(mixed, output, 2)
    rows = mixed.reshape(samples * tokens, heads * width) @ output.reshape(heads * width, -1)
    return rows.reshape(samples, tokens, -1)


def by_hand(points, flat):
    """A compiled run over so many points, lanes as the leading axis."""
    import jax
    import jax.numpy as jnp

    def run(params, inputs, targets):
        def loss(params):
            return 0.5 * jnp.sum((outputs(params, inputs, flat) - targets) ** 2) / inputs.shape[0]

        def step(params, _):
            value, gradient = jax.value_and_grad(loss)(params)
            norms = jnp.stack([jnp.sqrt(jnp.sum(block**2)) for block in gradient])
            return tuple(p - common.LEARNING_RATE * g for p, g in zip(params, gradient, strict=True)), (value, norms)

        return jax.lax.scan(step, params, length=points)

    return jax.jit(jax.vmap(run))


def measure(size, precision, seconds):
    import jax

    from descentlab.train import advance, prepare

    size = common.Size(**size)
    steps = STEPS[size]
    lanes = common.lanes_of(size, precision, steps)
    constants, carry = prepare(lanes)
    objective, start = constants.objective, constants.start
    with lanes.precision():
        arguments = ((start.query, start.key, start.value, start.output), objective.inputs, objective.targets)
        programs = {"flattened": by_hand(steps + 1, True), "contracted": by_hand(steps + 1, False)}
        calls = {"descentlab": lambda: jax.block_until_ready(advance(lanes, constants, carry, 0, steps + 1))}
        for name, program in programs.items():
            calls[name] = lambda program=program: jax.block_until_ready(program(*arguments))
        compiled, ends = {}, {}
        for name, call in calls.items():
            begun = time.perf_counter()
            ends[name] = call()
            compiled[name] = time.perf_counter() - begun
        for name in programs:
            gap = common.agree(ends["descentlab"].records["loss"], ends[name][1][0], precision)
            common.agree(ends["descentlab"].records["gradient"], ends[name][1][1], precision)
        times = common.compete(calls, seconds=seconds)
    return {"points": steps + 1, "compile": compiled, "gap": gap, "times": times}


def main(seconds):
    print(f"# Loop against a hand-written one\n\n{common.machine()}\n")
    print("| dtype | threads | size | us a step | hand-written | ratio, wall | ratio, CPU | compile s, ours / hand |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for precision in ("float64", "float32"):
        for threads in common.thread_counts():
            for size in STEPS:
                found = common.in_process(__file__, threads, size=vars(size), precision=precision, seconds=seconds)
                ours, hand = found["times"]["descentlab"], [found["times"][k] for k in ("flattened", "contracted")]
                wall, cpu = (min(one[clock] for one in hand) for clock in ("wall", "cpu"))
                each = 1e6 / found["points"]
                compiled = found["compile"]
                print(
                    f"| {precision} | {threads} | {size} | {ours['wall'] * each:.1f} | {wall * each:.1f} "
                    f"| {ours['wall'] / wall:.3f} | {ours['cpu'] / cpu:.3f} "
                    f"| {compiled['descentlab']:.2f} / {compiled['contracted']:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
