"""Do our operation counts agree with a public profiler, and where not, why?

The same BERT-Base pass under PyTorch's own counter (`torch.utils.flop_counter`), module by module, on tensors without
data. Every difference is derived from what either counts, and the script stops if one remains unexplained.

    python benchmarks/cost_anchors.py [length]
"""

import sys

import common

LAYERS, WIDTH, HEADS, FFN = 12, 768, 12, 3072


def model():
    import torch
    from torch import nn
    from torch.nn import functional

    class Scores(nn.Module):
        def forward(self, query, key):
            return query @ key.transpose(-1, -2)

    class Mixing(nn.Module):
        def forward(self, weights, value):
            return weights @ value

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.scores, self.mixing = Scores(), Mixing()
            self.ffn_in, self.ffn_out = nn.Linear(WIDTH, FFN), nn.Linear(FFN, WIDTH)
            self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])

        def forward(self, x):
            parts = (one(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in (self.query, self.key, self.value))
            query, key, value = parts
            weights = functional.softmax(self.scores(query, key) / query.shape[-1] ** 0.5, dim=-1)
            x = x + self.norms[0](self.output(self.mixing(weights, value).transpose(1, 2).flatten(-2)))
            return x + self.norms[1](self.ffn_out(functional.gelu(self.ffn_in(x))))

    with torch.device("meta"):
        return nn.Sequential(*(Layer() for _ in range(LAYERS)))


def theirs(length):
    """Operations by PyTorch's counter, by the name of our operator, all layers together."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model()(torch.ones(1, length, WIDTH, device="meta"))
    found = {}
    for place, operations in counter.get_flop_counts().items():
        parts = place.split(".")
        if len(parts) == 3 and parts[1].isdigit():
            name = parts[2].replace("ffn_", "ffn ")
            found[name] = found.get(name, 0) + sum(operations.values())
    return found | {"total": counter.get_total_flops()}


def ours(length):
    """Our operations, and those of them that PyTorch's counter leaves out or adds, with the reason."""
    from descentlab.cost import Matmul, TransformerSizes, encoder

    rows = {}
    for one in encoder(TransformerSizes(LAYERS, WIDTH, HEADS, FFN), length):
        flops = int(one.flops.sum())
        if not isinstance(one, Matmul):
            rows[one.name] = (flops, -flops, "nonlinear operators are not counted")
        elif one.bias:
            rows[one.name] = (flops, 0, "n products, n - 1 additions and the bias here; n and n there, no bias")
        else:
            more = int((one.count * one.rows * one.columns).sum())
            rows[one.name] = (flops, more, "n - 1 additions an entry here, n there")
    return rows


def main(length):
    if not common.has_torch():
        print("PyTorch is not installed: skipped")
        return
    print(f"# Operations of BERT-Base, one pass over {length} tokens\n\n{common.machine()}\n")
    print("| operator | here | PyTorch | difference | why |\n|---|---|---|---|---|")
    mine, other = ours(length), theirs(length)
    for name, (flops, expected, why) in mine.items():
        found = other.get(name, 0)
        if found - flops != expected:
            raise SystemExit(f"{name}: {flops} here, {found} there; the difference is not {expected}")
        print(f"| {name} | {flops:,} | {found:,} | {found - flops:+,} | {why if expected or found else ''} |")
    total, difference = (sum(row[i] for row in mine.values()) for i in (0, 1))
    if other["total"] - total != difference:
        raise SystemExit(f"{other['total']} in total there, {total + difference} explained")
    print(f"| total | {total:,} | {other['total']:,} | {difference:+,} | {100 * difference / total:.2f} % |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
