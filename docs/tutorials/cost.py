"""What does my model cost, and what would the Gaussian kernel change?

Operations, memory traffic and the bound of a Transformer from its shape; a modelled accelerator; the same with another
kernel; and what real integers make of either. Nothing is trained, and but for the last part JAX is not even imported.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from descentlab.cli import main
from descentlab.cost import KERNELS, MACHINES, Setting, TransformerSizes, breakdown, cost, encoder, generation
from descentlab.cost.accelerator import Accelerator, latency
from descentlab.cost.fusion import pair
from descentlab.cost.operators import total

# A model is what its config.json says, as a file, or as the fields themselves. Parameters tell whether it is the one.
config = {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257}
Path("config.json").write_text(json.dumps(config))
found = cost(config, Setting(seq=512, phase="train", measured_ms=100.0))
print(f"{found.anchors.parameters / 1e6:.0f} M parameters; to train holds {found.at[0].memory.total:.3g} bytes")
assert round(found.anchors.parameters / 1e6) == 124

# Or a shape written down, without embeddings and head: here the layers of BERT-base.
model = TransformerSizes(layers=12, width=768, heads=12, ffn=3072)

# One pass over 512 tokens as a list of operators: 97 billion operations, 420 million bytes at one byte an entry.
operators = encoder(model, 512)
print([one.name for one in operators])
assert round(float(total(operators, "flops")) / 1e9) == 97

# On what is it bound? A machine is a rate and a bandwidth; the accelerator is a model with all its sizes as fields.
for row in breakdown(operators, MACHINES["gemmini"], "int8", Accelerator()):
    print(f"{row.group:12} {row.flops:9.3g} FLOPs {row.intensity:6.1f} a byte: {row.bound}, {row.model_seconds:.4f} s")

# Generating token by token reads every weight for every token: two operations a byte, whatever the length.
steps = generation(dataclasses.replace(model, causal=True), 512)
print("generating:", float(total(steps, "flops") / total(steps, "moved")), "operations a byte")

# The Gaussian kernel has the same products and as many operations a score. Alone it is no quicker either: what bounds
# the nonlinear operators is moving the scores, and those are the same.
machine = Accelerator(accumulator=256 * 1024, preload=16)
gaussian = dataclasses.replace(model, kernel=KERNELS["gaussian"])
for length in (512, 4096):
    one, other = (encoder(kind, length) for kind in (model, gaussian))
    flops = float(total(other, "flops") / total(one, "flops"))
    times = [float(latency(machine, found)) for found in (one, other)]
    print(f"{length}: FLOPs x {flops:.4f}, latency x {times[1] / times[0]:.3f}")
    # Fused with the product that makes the scores it is: its rows are not summed, so any tile of scores will do, where
    # softmax needs whole rows in the accumulator and three passes over them.
    fused = [pair(machine, found[4], next(x for x in found if x.name in KERNELS)).fused for found in (one, other)]
    print(f"{length}: scores with their kernel, fused: latency x {fused[1] / fused[0]:.2f}")
    assert fused[1] < fused[0]

# Thousands of candidates at once: sizes may be arrays, the last axis one model's layers.
ffn = np.random.default_rng(0).integers(6, 24, size=(1000, 12)) * 128
every = latency(Accelerator(), encoder(dataclasses.replace(model, layers=np.ones(12, int), ffn=ffn), 512))
print("fastest of", len(every), "candidates:", float(every.min()) / 1e6, "million cycles")

# In integers: softmax divides, and rounds down with every division; the Gaussian kernel does not.
import jax.numpy as jnp  # noqa: E402

from descentlab.cost.integer import gaussian_weights, quantize, softmax  # noqa: E402

tokens = quantize(jnp.asarray(0.4 * np.random.default_rng(1).normal(size=(64, 64))), 1 / 127)
weights, step = softmax(tokens @ tokens.T, 1 / 127**2 / 8)
print("integer softmax: rows sum to", float(weights.sum(axis=1).mean() * step))
kernel, step = gaussian_weights(tokens, tokens, 1 / 127, c=0.5 / 8)
assert bool((kernel.diagonal() * step == 1).all())
print("integer Gaussian kernel: the weight of a token on itself is", float(kernel[0, 0] * step))

# The same on the command line, with a page: descentlab cost config.json --kernel gaussian --page cost.html
assert main(["cost", "config.json", "--seq", "512", "--kernel", "gaussian", "--json", "cost.json"]) == 0
assert json.loads(Path("cost.json").read_text())["lengths"][0]["groups"][-1]["group"] == "total"
