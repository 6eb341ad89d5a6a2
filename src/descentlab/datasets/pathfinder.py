"""Pathfinder: are two dots the ends of one dashed path? Images that are drawn, not read."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from descentlab._check import not_negative, positive
from descentlab._describe import digest
from descentlab.datasets import dashes
from descentlab.datasets.base import AbstractDataset
from descentlab.datasets.folder import cached
from descentlab.mistake import Mistake
from descentlab.objective import Examples, Splits

__all__ = ["Pathfinder"]

_WORTH_A_PROCESS = 8
"""Chunks from which on a second process draws faster than one, its start included."""


class Pathfinder(AbstractDataset):
    """Square images with two dots, dashed paths, and the question whether a path leads from dot to dot.

    Every image has two long paths of `path_length` dashes and `distractors` paths of a third of that. In half of the
    images the dots are the ends of one long path, in the others an end of each. Images come in pairs, one of each
    class, whose dots are equally far apart: neither brightness nor the place of the dots tells the classes apart.
    Tokens are pixels, row by row: 1 for black to 256 for white.

    Args:
        side: pixels in a row; an example has side^2 tokens. Everything grows with it.
        path_length: dashes of a long path; 6, 9 and 14 are usual.
        distractors: number of short paths.
        train: number of images to train on; 160,000 in the benchmark of long sequences.
        development: number of images for development.
        test: number of images for the test.
        seed: of the random numbers; the images depend on nothing else, not on the number of processes.

    Raises:
        Mistake: if a number is out of its range, or a count of images is odd.

    References:
        D. Linsley, J. Kim, V. Veerabadran, C. Windolf, T. Serre, *Learning long-range spatial dependencies with
        horizontal gated recurrent units*, NeurIPS 2018.
    """

    side: int = 32
    path_length: int = 14
    distractors: int = 2
    train: int = 40_000
    development: int = 5000
    test: int = 5000
    seed: int = 0

    def __check_init__(self):
        positive(self, "train")
        for name in ("distractors", "development", "test", "seed"):
            not_negative(self, name)
        if self.side < 32:
            raise Mistake(f"Pathfinder.side must be at least 32, got {self.side}: in less, dashes are no longer seen")
        if not 2 <= self.path_length <= 16:
            raise Mistake(
                f"Pathfinder.path_length must be 2 to 16, got {self.path_length}: two longer paths find no place"
            )
        for name, count in self._counts().items():
            if count % 2:
                raise Mistake(f"Pathfinder.{name} must be even, so that classes are balanced, got {count}")

    def _counts(self) -> dict[str, int]:
        return {part: getattr(self, part) for part in Splits._fields}

    def load(self) -> Splits:
        """The images: int16 tokens of axes example and time, int32 classes (0 two paths, 1 one path).

        Raises:
            Mistake: if so many paths do not fit into one image.
        """
        arrays = cached("pathfinder", f"pathfinder {dashes.METHOD} {dashes.CHUNK} {digest(self)}", self._draw)
        return Splits(*(self._examples(arrays, part) for part in Splits._fields))

    def _examples(self, arrays: dict[str, np.ndarray], part: str) -> Examples:
        greys = arrays[f"{part} greys"]
        return Examples(greys.reshape(len(greys), self.side**2).astype(np.int16) + 1, arrays[f"{part} labels"])

    def _draw(self) -> dict[str, np.ndarray]:
        """Grey levels and labels of every part, on all processors."""
        counts = self._counts()
        streams = [
            (self.seed, part, chunk)
            for part, count in enumerate(counts.values())
            for chunk in range(-(-count // dashes.CHUNK))
        ]
        greys, labels = draw(streams, (self.side, self.path_length, self.distractors))
        arrays, begin = {}, 0
        for part, count in counts.items():
            arrays |= {f"{part} greys": greys[begin : begin + count], f"{part} labels": labels[begin : begin + count]}
            begin += -(-count // dashes.CHUNK) * dashes.CHUNK
        return arrays

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return ("two paths", "one path")

    @property
    def vocabulary(self) -> int:
        """Padding and 256 grey levels."""
        return 257


def draw(
    streams: list[tuple[int, int, int]], shape: tuple[int, int, int], processes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels (image, row, column) and labels of all chunks, in their order.

    Processes are started afresh on the file `dashes.py`: a fork beside JAX may deadlock, and one that imports the
    caller's script again would run it.

    Args:
        streams: the chunks.
        shape: side, dashes of a long path, number of distractors.
        processes: how many share the work; `None` takes one for each processor if it is worth it.

    Raises:
        Mistake: if so many paths do not fit into one image.
    """
    chunks = [dashes.images(streams[0], *shape)]  # says at once where this cannot be
    streams = streams[1:]
    if processes is None:
        processes = max(1, min(_processors(), len(streams) // _WORTH_A_PROCESS))
    if processes == 1:
        chunks += [dashes.images(stream, *shape) for stream in streams]
    else:
        chunks += _in_processes(streams, shape, processes)
    greys, labels = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return greys, labels


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    streams: list[tuple[int, int, int]], shape: tuple[int, int, int], processes: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The chunks from several processes, each with a consecutive share of them.

    Raises:
        RuntimeError: if one fails.
    """
    shares = [share.tolist() for share in np.array_split(np.array(streams), processes)]
    one_thread = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{i}.npz") for i in range(processes)]
        orders = [
            json.dumps({"streams": share, "shape": shape, "file": str(file)})
            for share, file in zip(shares, files, strict=True)
        ]
        command = [sys.executable, "-P", str(Path(dashes.__file__))]
        with contextlib.ExitStack() as stack:
            running = []
            for order in orders:
                process = subprocess.Popen([*command, order], env=one_thread, stderr=subprocess.PIPE, text=True)
                running.append(stack.enter_context(process))
                stack.callback(process.kill)
            for process in running:
                _, said = process.communicate()
                if process.returncode:
                    raise RuntimeError(f"a process that drew images failed: {said}")
        return [_read(file) for file in files]


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(file) as part:
        return part["greys"], part["labels"]
