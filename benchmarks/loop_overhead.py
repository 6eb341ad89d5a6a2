"""What does the laboratory's loop cost over a hand-written `jit` and `lax.scan` of the same step?

Both train all four blocks of a softmax attention layer by gradient descent and record loss and the norm of each block's
gradient at every step. The other side is written by hand from the formulas, in two layouts: heads contracted in one
product, and the same with samples and tokens flattened. The faster of the two counts.

A last row has large blocks and few samples, so that what a loop does to every parameter counts: two patches of width
2,000, sign gradient descent, the logistic loss, which alone is recorded.

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


PATCHES = {"samples": 20, "dim": 2000, "neurons": 100}
PATCH_STEPS = 60


def patch_lanes():
    """The package's lane for two patches, one with the sign of its target, one of noise."""
    import jax
    import jax.numpy as jnp

    from descentlab.attention import NoScaling, Softmax
    from descentlab.data import FullBatch
    from descentlab.experiment import Experiment
    from descentlab.lanes import Lanes
    from descentlab.losses import AbstractLossFunction, Logistic
    from descentlab.models import AttentionLayer, Normal, Signs, SumPool
    from descentlab.objective import Examples
    from descentlab.optim import SignGD
    from descentlab.probes import Loss
    from descentlab.schedule import Every
    from descentlab.tasks import AbstractTask

    class Patches(AbstractTask):
        """Signal and noise."""

        loss_function: AbstractLossFunction = Logistic()

        @property
        def width(self):
            return PATCHES["dim"]

        def sample(self, count, world, *, key):
            del world
            signs, noise = jax.random.split(key)
            targets = jax.random.rademacher(signs, (count,), jnp.result_type(float))
            signal = targets[:, None] * jnp.zeros(self.width).at[0].set(10.0)
            return Examples(jnp.stack([signal, jax.random.normal(noise, signal.shape)], axis=1), targets)

    start = Normal(0.01)
    experiment = Experiment(
        task=Patches(),
        data=FullBatch(PATCHES["samples"]),
        model=AttentionLayer(
            Softmax(scaling=NoScaling()),
            heads=1,
            head_dim=PATCHES["neurons"],
            value_dim=2 * PATCHES["neurons"],
            output_dim=1,
            query=start,
            key=start,
            value=start,
            output=Signs(),
            readout=SumPool(),
        ),
        optimizer=SignGD(1e-5),
        trained=("query", "key", "value"),
        probes={"loss": Loss(Every(1))},
        steps=PATCH_STEPS,
        precision="float32",
    )
    return Lanes((experiment,), (0,))


def patches_by_hand(points, scanned):
    """A compiled run on two patches over so many points, its losses the outputs of a scan or written in an array."""
    import jax
    import jax.numpy as jnp

    def run(params, inputs, targets):
        def loss(params):
            query, key, value = (jnp.tensordot(inputs, block, 1) for block in params)
            mixed = jax.nn.softmax(jnp.einsum("nte,nse->nts", query, key)) @ value
            ahead, behind = jnp.split(mixed.sum(axis=1), 2, axis=-1)
            outputs = ahead.mean(axis=-1) - behind.mean(axis=-1)
            return jnp.mean(jax.nn.softplus(-targets * outputs))

        def step(params, _=None):
            value, gradient = jax.value_and_grad(loss)(params)
            return tuple(p - 1e-5 * jnp.sign(g) for p, g in zip(params, gradient, strict=True)), value

        def write(i, kept):
            params, value = step(kept[0])
            return params, kept[1].at[i].set(value)

        if scanned:
            return jax.lax.scan(step, params, length=points)
        return jax.lax.fori_loop(0, points, write, (params, jnp.zeros(points, inputs.dtype)))

    return jax.jit(run)


def measure_patches(seconds):
    import jax

    from descentlab.training import advance, prepare

    lanes, points = patch_lanes(), PATCH_STEPS + 1
    constants, carry = prepare(lanes)
    start, objective = constants.start, constants.objective
    arguments = tuple(jax.tree.map(lambda a: a[0], (start.query, start.key, start.value)))
    arguments = (tuple(block[0] for block in arguments), objective.inputs[0], objective.targets[0])
    calls = {"descentlab": lambda: jax.block_until_ready(advance(lanes, constants, carry, 0, points))}
    for name, scanned in (("scan", True), ("loop", False)):
        program = patches_by_hand(points, scanned)
        calls[name] = lambda program=program: jax.block_until_ready(program(*arguments))
    compiled, ends = compile_all(calls)
    gaps = [common.agree(ends["descentlab"].records["loss"][0], ends[name][1], "float32") for name in ("scan", "loop")]
    return {"points": points, "compile": compiled, "gap": max(gaps), "times": common.compete(calls, seconds=seconds)}


def compile_all(calls):
    """Seconds that each first call takes, and what it returns."""
    compiled, ends = {}, {}
    for name, call in calls.items():
        begun = time.perf_counter()
        ends[name] = call()
        compiled[name] = time.perf_counter() - begun
    return compiled, ends


def measure(size, precision, seconds):
    import jax

    from descentlab.training import advance, prepare

    if size is None:
        return measure_patches(seconds)
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
        compiled, ends = compile_all(calls)
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
                print(row(precision, threads, size, found), flush=True)
    patches = ", ".join(f"{name} {value}" for name, value in PATCHES.items())
    for threads in common.thread_counts():
        found = common.in_process(__file__, threads, size=None, precision="float32", seconds=seconds)
        print(row("float32", threads, f"two patches: {patches}", found), flush=True)


def row(precision, threads, size, found):
    """A row of the table; the fastest of what is written by hand counts, and compiles fastest too."""
    times, compiled = found["times"], found["compile"]
    others = [name for name in compiled if name != "descentlab"]
    wall, cpu = (min(times[name][clock] for name in others) for clock in ("wall", "cpu"))
    ours, each = times["descentlab"], 1e6 / found["points"]
    return (
        f"| {precision} | {threads} | {size} | {ours['wall'] * each:.1f} | {wall * each:.1f} "
        f"| {ours['wall'] / wall:.3f} | {ours['cpu'] / cpu:.3f} "
        f"| {compiled['descentlab']:.2f} / {min(compiled[name] for name in others):.2f} |"
    )


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
