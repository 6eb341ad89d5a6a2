"""What does a plane of the loss cost against PyTorch, which sets the parameters and evaluates point by point?

The plane has 51 x 51 points. *layer* is the single attention layer, whose compilation is stated apart; *encoder* the
two-layer Transformer on 512 sequences of 128 tokens, where a point takes so long that only some are timed and the time
of the plane is that of a point times their number, to which our compilation is added. PyTorch is a module without
gradients whose parameters are overwritten at each point.

    python benchmarks/landscape.py
"""

import sys
import time

import common
from encoder import Encoder, encoder, fill_encoder, tensor, torch_encoder

SIDE = 51
WANTED = {"layer": 10, "encoder": 1}
TIMED = {"layer": SIDE, "encoder": 2}
"""Rows or points of the plane that are timed; the others take as long."""


def layer(precision):
    """Our loss of the layer, and its parameters."""
    import jax

    from descentlab.experiment import start

    lanes = common.lanes_of(common.SMALL, precision, 1)
    return start(lanes.first, key=jax.random.key(0))


def torch_layer(size):
    """The layer as a module; heads merged in one product."""
    import torch

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            width = size.dim // size.heads
            shape = (size.heads, size.dim, width)
            self.query, self.key, self.value = (torch.nn.Parameter(torch.empty(shape)) for _ in range(3))
            self.output = torch.nn.Parameter(torch.empty(size.heads, width, size.dim))

        def projected(self, tokens, block):
            heads, dim, width = block.shape
            merged = block.transpose(0, 1).reshape(dim, heads * width)
            return (tokens @ merged).reshape(*tokens.shape[:2], heads, width).transpose(1, 2)

        def forward(self, tokens):
            queries, keys, values = (self.projected(tokens, block) for block in (self.query, self.key, self.value))
            weights = torch.softmax(queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5, dim=-1)
            mixed = (weights @ values).transpose(1, 2).flatten(2)
            return mixed @ self.output.flatten(0, 1)

    return Layer()


def fill_layer(module, tree):
    """The tensors of our tree in the order of the module's parameters."""
    return [tensor(getattr(tree, name)) for name, _ in module.named_parameters()]


def torch_plane(module, trees, loss, points):
    """A loop that sets the parameters and evaluates; returns the losses."""
    import torch

    center, first, second = trees
    parameters = list(module.parameters())

    def run():
        with torch.no_grad():
            found = torch.empty(len(points))
            for i, (a, b) in enumerate(points):
                for parameter, at, one, other in zip(parameters, center, first, second, strict=True):
                    parameter.copy_(at + float(a) * one + float(b) * other)
                found[i] = loss(module)
        return found

    return run


def measure(what, precision, seconds):
    import jax
    import numpy as np

    from descentlab.landscape import along, random_plane

    side = np.linspace(-1, 1, SIDE)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    points = grid[: TIMED[what] * (SIDE if what == "layer" else 1)]
    with jax.enable_x64(precision == "float64"):
        objective, params = layer(precision) if what == "layer" else encoder(Encoder())
        plane = random_plane(params, key=jax.random.key(1))

        def ours():
            return along(objective.loss, plane, points)

        begun = time.perf_counter()
        values = ours()
        first = time.perf_counter() - begun
        calls, gap = {"descentlab": ours}, None
        if common.has_torch():
            import torch

            torch.set_default_dtype(getattr(torch, precision))
            module = torch_layer(common.SMALL) if what == "layer" else torch_encoder(Encoder())
            trees = [
                fill_layer(module, tree) if what == "layer" else fill_encoder(module, tree, Encoder())
                for tree in (plane.center, *plane.directions)
            ]
            inputs, targets = tensor(objective.inputs), tensor(objective.targets)
            if what == "layer":
                calls["PyTorch"] = torch_plane(
                    module, trees, lambda m: 0.5 * ((m(inputs) - targets) ** 2).sum() / len(inputs), points
                )
            else:
                inputs, targets = inputs.long(), targets.long()
                calls["PyTorch"] = torch_plane(
                    module, trees, lambda m: torch.nn.functional.cross_entropy(m(inputs), targets), points
                )
            gap = common.agree(values, calls["PyTorch"](), precision)
        times = common.compete(calls, seconds=seconds, least=3)
    compiled = first - times["descentlab"]["wall"]
    return {"points": len(points), "compile": compiled, "gap": gap, "times": times}


def row(what, precision, threads, seconds):
    found = common.in_process(__file__, threads, what=what, precision=precision, seconds=seconds)
    times, planes = found["times"], SIDE**2 / found["points"]
    ours = {clock: planes * times["descentlab"][clock] for clock in ("wall", "cpu")}
    cells = [precision, threads, what, f"{ours['wall']:.3g}", f"{found['compile']:.2f}"]
    if "PyTorch" in times:
        theirs = {clock: planes * times["PyTorch"][clock] for clock in ("wall", "cpu")}
        added = found["compile"] if what == "encoder" else 0.0
        ratios = [theirs["wall"] / (ours["wall"] + added), theirs["cpu"] / (ours["cpu"] + added)]
        cells += [f"{theirs['wall']:.3g}", *(f"{ratio:.3g}" for ratio in ratios), WANTED[what], f"{found['gap']:.0e}"]
    else:
        cells += ["no PyTorch", "skipped", "skipped", WANTED[what], ""]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main(seconds):
    print(f"# A plane of the loss against PyTorch\n\n{common.machine()}\n")
    if not common.has_torch():
        print("PyTorch is not installed, so the comparison is SKIPPED: pip install --group torch\n")
    print("| dtype | threads | what | s a plane | compile s | PyTorch | times faster, wall | CPU | wanted | gap |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for what, precisions in (("layer", ("float64", "float32")), ("encoder", ("float32",))):
        for precision in precisions:
            for threads in common.thread_counts():
                row(what, precision, threads, seconds)


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
