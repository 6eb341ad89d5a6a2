"""What fusing a product with the operator after it saves on the modelled accelerator."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from descentlab.claims import About, Claim, above, below, claim, close
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.fusion import Pair, pair
from descentlab.cost.operators import Elementwise, Matmul
from descentlab.cost.transformer import KERNELS
from descentlab.runs import Runs
from descentlab.studies.kim2023_inference.counts import PAPER, model, operators
from descentlab.study import Size
from descentlab.sweep import Progress

KB = 2**10
ARRAY = Accelerator().array
SOURCE = f"{PAPER}section 5"

Fused = Sequence[Mapping[str, Pair]]
"""Pairs that may be fused by the product's name, at lengths 512 and 4096."""


def pairs(kernel: str = "softmax", accumulator: int = 256, preload: int = ARRAY) -> Fused:
    """What fusing saves with an accumulator of so many kB and cycles in which a tile loads into the array."""
    machine = Accelerator(accumulator=accumulator * KB, preload=preload)
    kind = replace(model("bert-base"), kernel=KERNELS[kernel])
    found = [{one.name: one for one in operators(kind, length)} for length in (512, 4096)]
    after = {"scores": kernel, "output": "norm attention", "ffn out": "norm ffn"}
    return [
        {
            name: pair(machine, first, second)
            for name, other in after.items()
            if isinstance(first := named[name], Matmul) and isinstance(second := named[other], Elementwise)
        }
        for named in found
    ]


def derive(runs: Runs, size: Size, progress: Progress | None) -> Mapping[str, Fused]:
    """What fusing saves by kernel."""
    del runs, size, progress
    return {kernel: pairs(kernel) for kernel in ("softmax", "gaussian")}


def _saved(fused: Fused, product: str) -> np.ndarray:
    return np.array([found[product].saved for found in fused])


def _loading(about: About, saved: np.ndarray) -> About:
    """With the parts that are saved."""
    said = " and ".join(f"{100 * part:.0f} %" for part in saved)
    return about.noting(
        f"Tiles take 16 cycles to load into the array; accumulator 256 kB. Parts saved at 512 and 4096: {said}."
    )


@claim("fuse-softmax", "Fusing scores with softmax saves latency at 512 and 4096", SOURCE)
def fuse_softmax(about: About, fused: Mapping[str, Fused]) -> Claim:
    """Scores with softmax."""
    saved = _saved(fused["softmax"], "scores")
    return above(_loading(about, saved), saved, 0.0)


@claim(
    "fuse-norm",
    "Fusing the second feed-forward product with LayerNorm costs latency at 512 and 4096",
    SOURCE,
)
def fuse_norm(about: About, fused: Mapping[str, Fused]) -> Claim:
    """The feed-forward part with LayerNorm."""
    saved = _saved(fused["softmax"], "ffn out")
    return below(_loading(about, saved), saved, 0.0)


@claim("fuse-norm-overlapped", "It costs latency also where tiles load in no time", f"derived from {SOURCE}")
def fuse_norm_overlapped(about: About, _: object) -> Claim:
    """The same without the cost of loading."""
    about = about.noting("Then nothing speaks against holding whole columns: fusing saves the traffic of the result.")
    return below(about, _saved(pairs(preload=0), "ffn out"), 0.0)


@claim(
    "fuse-sizes",
    "Savings are those printed, within 10 points: scores 78 and 22 %, output -83 % at 128 kB and 4 % at 256 kB, "
    "feed-forward -27 %",
    SOURCE,
)
def fuse_sizes(about: About, fused: Mapping[str, Fused]) -> Claim:
    """What the survey measured."""
    scores, output, ffn = (_saved(fused["softmax"], name) for name in ("scores", "output", "ffn out"))
    ours = [*scores, _saved(pairs(accumulator=128), "output")[0], output[0], *ffn]
    expected = np.array([0.78, 0.22, -0.83, 0.04, -0.27, -0.27])
    return close(
        about.noting("The survey measured a generated accelerator."), np.array(ours), np.array(expected), tolerance=0.1
    )


@claim(
    "fuse-{case}",
    "Scores fused with the Gaussian kernel take less than scores fused with softmax at 512 and 4096",
    "ours, on the survey's model",
    cases=("gaussian",),
)
def fuse_gaussian(about: About, fused: Fused) -> Claim:
    """A kernel without sums of rows."""
    about = about.noting(
        "Its rows are not summed, so one pass over any tile does. Not fused, both are bound by moving the same scores."
    )
    ours, theirs = (np.array([one["scores"].fused for one in some]) for some in (fused, pairs("softmax")))
    return below(about, ours / theirs, 1.0)


STATEMENTS = (fuse_softmax, fuse_norm, fuse_norm_overlapped, fuse_sizes, fuse_gaussian)
