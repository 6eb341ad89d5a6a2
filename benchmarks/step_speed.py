"""What does a step of gradient descent cost against PyTorch, and which share of the machine's rate is it?

PyTorch runs the same formulas eagerly: one lane through autograd, several through `torch.func.vmap` of
`torch.func.grad_and_value`. It records nothing but the loss, kept as a tensor; descentlab also records gradient norms.
Both may use the same number of threads, or the same GPU where JAX and PyTorch both find one. The machine's rate is that
of one large matrix product; products of float32 are of float32 in both, not of a shorter format.

    python benchmarks/step_speed.py
"""

import sys
import time

import common

STEPS = {common.SMALL: 400, common.SMALL_LANES: 20, common.LARGE: 10, common.LARGE_8: 4}
BOUND = {common.SMALL: 10, common.SMALL_LANES: 2.5, common.LARGE: None, common.LARGE_8: 2}
GPU_STEPS = {common.SMALL: 400, common.LARGE_8: 200, common.LARGE_64: 100, common.LARGE_512: 20}
MATMUL = {"cpu": 1536, "gpu": 8192}


def torch_loss(params, inputs, targets):
    """The objective of one lane."""
    import torch

    query, key, value, output = params
    width = query.shape[-1]
    tokens = inputs[:, None]
    queries, keys, values = (tokens @ block for block in (query, key, value))
    weights = torch.softmax(queries @ keys.transpose(-1, -2) / width**0.5, dim=-1)
    result = (weights @ values @ output).sum(1)
    return 0.5 * ((result - targets) ** 2).sum() / inputs.shape[0]


def torch_merged(params, inputs, targets):
    """The same with heads merged in one product, as PyTorch's own layer does it."""
    import torch

    query, key, value, output = params
    heads, dim, width = query.shape
    samples, tokens, _ = inputs.shape

    def projected(block):
        merged = block.transpose(0, 1).reshape(dim, heads * width)
        return (inputs @ merged).reshape(samples, tokens, heads, width).transpose(1, 2)

    weights = torch.softmax(projected(query) @ projected(key).transpose(-1, -2) / width**0.5, dim=-1)
    mixed = (weights @ projected(value)).transpose(1, 2).reshape(samples, tokens, heads * width)
    return 0.5 * ((mixed @ output.reshape(heads * width, -1) - targets) ** 2).sum() / samples


def autograd_loop(arguments, points, loss):
    """Gradient descent of one lane as a user writes it."""
    import torch

    start, inputs, targets = arguments

    def run():
        params = [block[0].clone().requires_grad_() for block in start]
        losses = []
        for _ in range(points):
            value = loss(params, inputs[0], targets[0])
            gradient = torch.autograd.grad(value, params)
            with torch.no_grad():
                for block, slope in zip(params, gradient, strict=True):
                    block.sub_(slope, alpha=common.LEARNING_RATE)
            losses.append(value.detach())
        return torch.stack(losses)[None]

    return run


def vmap_loop(arguments, points, loss):
    """The same for all lanes at once."""
    import torch

    start, inputs, targets = arguments
    slopes = torch.func.vmap(torch.func.grad_and_value(loss))

    def run():
        params, losses = start, []
        for _ in range(points):
            gradient, value = slopes(params, inputs, targets)
            params = tuple(p - common.LEARNING_RATE * g for p, g in zip(params, gradient, strict=True))
            losses.append(value)
        return torch.stack(losses, dim=1)

    return run


def matmul_rate(precision, seconds=1.5):
    """Operations a second of a large product in NumPy, JAX and, where there is one, PyTorch; the best counts."""
    import jax
    import numpy as np

    size = MATMUL[jax.default_backend()]
    with jax.enable_x64(precision == "float64"), jax.default_matmul_precision("highest"):
        one = np.random.default_rng(0).normal(size=(size, size)).astype(precision)
        program, array = jax.jit(lambda a: a @ a), jax.numpy.asarray(one)
        calls = {"jax": lambda: program(array).block_until_ready()}
        if jax.default_backend() == "cpu":
            calls["numpy"] = lambda: one @ one
        if common.has_torch():
            import torch

            tensor = torch.from_numpy(one).to(common.torch_device())
            calls["torch"] = common.finished(lambda: tensor @ tensor)
        times = common.compete(calls, seconds=seconds)
    return {name: 2 * size**3 / times[name]["wall"] for name in calls}


def measure(size, precision, seconds):
    import jax
    import numpy as np

    from descentlab.training import advance, prepare

    size = common.Size(**size)
    steps = (STEPS if jax.default_backend() == "cpu" else GPU_STEPS)[size]
    points = steps + 1
    lanes = common.lanes_of(size, precision, steps)
    constants, carry = prepare(lanes)
    objective, start = constants.objective, constants.start
    calls = {"descentlab": lambda: jax.block_until_ready(advance(lanes, constants, carry, 0, points))}
    begun = time.perf_counter()
    ours = calls["descentlab"]()
    compiled = time.perf_counter() - begun
    gap = None
    if common.has_torch():
        import torch

        def tensor(array):
            return torch.from_numpy(np.array(array)).to(common.torch_device())

        blocks = tuple(tensor(block) for block in (start.query, start.key, start.value, start.output))
        arguments = blocks, tensor(objective.inputs), tensor(objective.targets)
        loop = autograd_loop if size.lanes == 1 else vmap_loop
        for name, loss in (("per head", torch_loss), ("merged", torch_merged)):
            calls[name] = common.finished(loop(arguments, points, loss))
            gap = common.agree(ours.records["loss"], calls[name]().cpu(), precision)
    times = common.compete(calls, seconds=seconds)
    return {"points": points, "compile": compiled, "gap": gap, "times": times, "rate": matmul_rate(precision)}


def row(size, precision, threads, seconds):
    found = common.in_process(__file__, threads, size=vars(size), precision=precision, seconds=seconds)
    times = found["times"]
    ours = times["descentlab"]
    each = 1e6 / found["points"]
    rate = size.operations * found["points"] / ours["wall"]
    best = max(found["rate"].values())
    cells = [precision, threads, size, f"{ours['wall'] * each:.1f}"]
    torch = [times[name] for name in ("per head", "merged") if name in times]
    if torch:
        wall, cpu = (min(one[clock] for one in torch) for clock in ("wall", "cpu"))
        cells += [f"{wall * each:.1f}", f"{wall / ours['wall']:.1f}", f"{cpu / ours['cpu']:.1f}", BOUND.get(size) or ""]
    else:
        cells += ["no PyTorch", "skipped", "skipped", BOUND.get(size) or ""]
    cells += [f"{size.operations / 1e6:.2f}", f"{rate / 1e9:.1f}", f"{best / 1e9:.0f}", f"{100 * rate / best:.0f}%"]
    print("| " + " | ".join(str(cell) for cell in cells) + f" | {found['compile']:.2f} |", flush=True)


def main(seconds):
    print(f"# A step against PyTorch\n\n{common.machine()}\n")
    if not common.has_torch():
        print("PyTorch is not installed, so the comparison is SKIPPED: pip install --group torch\n")
    print(
        "| dtype | threads | size | us a step | PyTorch | times faster, wall | CPU | wanted "
        "| Mop of products | Gop/s | large product Gop/s | share | compile s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for precision in ("float64", "float32"):
        for threads in ["gpu"] if common.gpu() else common.thread_counts():
            for size in GPU_STEPS if common.gpu() else STEPS:
                row(size, precision, threads, seconds)


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
