"""How many candidates of an architecture search can be costed in a second?

Candidates are those of the survey's search: 3 to 6 layers, each with its own number of heads (4 to 12 by 2) and
feed-forward width (768 to 3072 by 128), token width 384 to 768 by 96, heads of 64. Together they are one call on
arrays, one by one they are a loop. Both must agree.

    python benchmarks/cost_candidates.py [seconds]
"""

import sys

import common

LENGTH, TOGETHER, LAYERS = 512, 4096, 6


def candidates(count):
    import numpy as np

    random = np.random.default_rng(0)
    depth = random.integers(3, LAYERS + 1, size=(count, 1))
    return {
        "layers": (np.arange(LAYERS) < depth).astype(int),
        "width": 96 * random.integers(4, 9, size=(count, 1)),
        "heads": 2 * random.integers(2, 7, size=(count, LAYERS)),
        "ffn": 128 * random.integers(6, 25, size=(count, LAYERS)),
    }


def together(sizes, quantity):
    from descentlab.cost import TransformerSizes, encoder

    return quantity(encoder(TransformerSizes(**sizes, head_dim=64), LENGTH))


def one_by_one(sizes, quantity):
    from descentlab.cost import TransformerSizes, encoder

    found = []
    for layers, width, heads, ffn in zip(*sizes.values(), strict=True):
        found.append(
            sum(
                float(quantity(encoder(TransformerSizes(1, int(width[0]), int(h), int(f), head_dim=64), LENGTH)))
                for present, h, f in zip(layers, heads, ffn, strict=True)
                if present
            )
        )
    return found


def measure(seconds):
    from descentlab.cost import Accelerator, total
    from descentlab.cost.accelerator import energy, latency

    machine = Accelerator(scratchpad=64 * 1024, accumulator=256 * 1024)
    quantities = {
        "FLOPs": lambda operators: total(operators, "flops"),
        "modelled latency": lambda operators: latency(machine, operators),
        "modelled energy": lambda operators: energy(machine, operators),
    }
    many, few = candidates(TOGETHER), candidates(64)
    rows = {}
    for name, quantity in quantities.items():
        common.agree(together(few, quantity), one_by_one(few, quantity), "float64")
        calls = {
            "together": lambda quantity=quantity: together(many, quantity),
            "loop": lambda quantity=quantity: one_by_one(few, quantity),
        }
        best = common.compete(calls, seconds=seconds)
        rows[name] = {"together": TOGETHER / best["together"]["cpu"], "loop": 64 / best["loop"]["cpu"]}
    return rows


def main(seconds):
    print(f"# Candidates of an architecture search, one thread\n\n{common.machine()}\n")
    print("| quantity | candidates a second of CPU time, together | in a loop | ratio |\n|---|---|---|---|")
    for name, row in common.in_process(__file__, 1, seconds=seconds).items():
        print(f"| {name} | {row['together']:,.0f} | {row['loop']:,.0f} | {row['together'] / row['loop']:.0f} |")


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
