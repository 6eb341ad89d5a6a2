"""Malformed inputs by the ten thousand: every reader answers with a value or with one sentence, in little memory.

Inputs are whole files with damage: bits, cut ends, spliced parts, numbers out of range, and what each format has of its
own (heads that claim other shapes, foreign compression, deep nesting). Number and format decide an input, so a fault is
found again by the two. `make fuzz` runs them all.
"""

import argparse
import contextlib
import functools
import gzip
import io
import json
import re
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import platformdirs

from descentlab import Experiment, Mistake, cli, own_arrays
from descentlab._describe import describe
from descentlab.cli.flags import read_given
from descentlab.cost import config
from descentlab.cost.families import families
from descentlab.cost.presets import PUBLISHED
from descentlab.datasets import MNIST, OwnText, folder, own_text
from descentlab.models import Transformer
from support import damage

SECONDS = 20
"""An input that takes longer hangs."""

MEMORY = 2**30
"""Bytes that no input may take."""

LONGEST = 2000
"""Characters of a sentence."""


class Format(NamedTuple):
    """What is damaged, how, and what reads it.

    Attributes:
        whole: files without damage.
        damage: ways of its own.
        name: of the file.
        read: reads it.
    """

    whole: Callable[[], Sequence[bytes]]
    damage: Sequence[Callable[[Random, bytes], bytes]]
    name: str
    read: Callable[[Path], object]


class Fault(NamedTuple):
    """An input that was not answered as it should have been."""

    format: str
    number: int
    what: str


class Counts(NamedTuple):
    """What came of the inputs of one format."""

    read: int
    refused: int
    sentences: int


class Hang(BaseException):
    """An input takes too long; no reader catches this."""


def _arrays() -> list[bytes]:
    numbers = np.random.default_rng(0)
    return [damage.saved(numbers.standard_normal((3, 5, 4))), damage.saved(np.arange(12, dtype=">i4").reshape(3, 4).T)]


def _archives() -> list[bytes]:
    numbers, made = np.random.default_rng(0), []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, inputs=numbers.standard_normal((3, 5, 4)), targets=numbers.standard_normal((3, 5)))
        made.append(buffer.getvalue())
    return made


def _digits() -> list[bytes]:
    images = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (20, 28, 28)) + bytes(20 * 784)
    labels = bytes([0, 0, 8, 1]) + (20).to_bytes(4, "big") + bytes(20)
    return [images, labels, gzip.compress(images, mtime=0)]


def _tables() -> list[bytes]:
    rows = ["text,label", *(f'"{i} is a, ""b""",{word}' for i in range(20) for word in ("a", "b"))]
    return ["\n".join(rows).encode(), "\r\n".join(rows).encode("utf-8-sig"), "\n".join(rows).replace("a", "ä").encode()]


def _tabs() -> list[bytes]:
    rows = ["text\tlabel", *(f'{i} is a, "b"\t{word}' for i in range(20) for word in ("a", "b"))]
    return ["\n".join(rows).encode(), "\r\n".join(rows).encode("utf-8-sig")]


def _lines() -> list[bytes]:
    rows = [{"text": f"{i} is ä", "label": label} for i in range(20) for label in ("a", "b")]
    numbered = [{"label": i % 2, "text": f"{i} is a", "other": [i]} for i in range(20)]
    return ["\n".join(map(json.dumps, several)).encode() for several in (rows, numbered)]


def _tars() -> list[bytes]:
    made = []
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
            for i in range(12):
                long = "n" * 120 if i == 5 and kind != tarfile.USTAR_FORMAT else "é"
                member = tarfile.TarInfo(f"{'ab'[i % 2]}/{i}{long}.txt")
                member.size = 40 * i + 5
                archive.addfile(member, io.BytesIO(b"t" * member.size))
        made.append(buffer.getvalue())
    return made


def _configs() -> list[bytes]:
    bert = {"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    bert |= {"intermediate_size": 128, "vocab_size": 100, "architectures": ["BertForMaskedLM"], "is_decoder": False}
    llama = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
    llama |= {"num_key_value_heads": 2, "intermediate_size": 96, "rms_norm_eps": 1e-5, "vocab_size": 100}
    gpt2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": None, "vocab_size": 100}
    mixtral = llama | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 16}
    t5 = {
        "model_type": "t5",
        "d_model": 64,
        "num_layers": 2,
        "num_heads": 4,
        "d_ff": 128,
        "d_kv": 16,
        "vocab_size": 100,
    }
    nested = {"model_type": "gemma3", "text_config": llama, "vision_config": bert}
    # And a published model of every family of readers.
    each = {families()[one.config["model_type"]].name: one.config for one in PUBLISHED.values()}
    return [json.dumps(one).encode() for one in (bert, llama, gpt2, mixtral, t5, nested, *each.values())]


def _kept() -> list[bytes]:
    made = [Experiment(), Experiment(model=Transformer(vocabulary=256))]
    return [json.dumps({"definition": describe(one), "digest": one.digest, "seeds": [0]}).encode() for one in made]


def _certified(path: Path) -> object:
    return own_arrays.experiment_on(own_arrays.read_arrays(path))


def _costed(path: Path) -> object:
    """Read; and what is read is counted by the command, whose answer is not shown."""
    model = config.read(str(path))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cli.main(["cost", str(path), "--seq", "128"])
    return model


def _labelled(path: Path) -> object:
    dataset = OwnText(own_text(path), length=16)
    return dataset.load(), dataset.classes


def _mnist(path: Path) -> object:
    """The file in the place of the images, or of the labels, of a whole data set."""
    kind = "labels" if path.read_bytes()[3:4] == b"\x01" else "images"
    place = path.parent / "digits"
    place.mkdir(exist_ok=True)
    for (other, name), content in zip(
        (("images", "idx3"), ("labels", "idx1")), (_digits()[0], _digits()[1]), strict=True
    ):
        (place / f"t10k-{other}-{name}-ubyte").write_bytes(path.read_bytes() if other == kind else content)
    folder.use(place)
    return MNIST(parts=("test",)).load()


_OF_TREES = (*damage.ANY, *[damage.tree] * 6, damage.deep)
_OF_ARCHIVES = (*damage.ANY, *[damage.headed] * 4, damage.packed)

FORMATS = {
    "npy": Format(_arrays, (*damage.ANY, *[damage.claimed] * 4, damage.another_type), "it.npy", read_given),
    "npz": Format(_archives, (*damage.ANY, *[damage.zipped] * 9), "it.npz", _certified),
    "idx": Format(_digits, (*damage.ANY, damage.idx, damage.packed), "it-ubyte", _mnist),
    "csv": Format(_tables, (*damage.ANY, *[damage.separated] * 3, damage.packed), "it.csv", _labelled),
    "tsv": Format(_tabs, (*damage.ANY, *[damage.separated] * 3, damage.packed), "it.tsv", _labelled),
    "jsonl": Format(_lines, (*damage.ANY, *[damage.separated] * 3, damage.packed), "it.jsonl", _labelled),
    "tar": Format(_tars, _OF_ARCHIVES, "it.tar", _labelled),
    "config": Format(_configs, _OF_TREES, "config.json", _costed),
    "definition": Format(_kept, _OF_TREES, "experiment.json", _costed),
}


@functools.cache
def _whole(name: str) -> Sequence[bytes]:
    return FORMATS[name].whole()


def damaged(name: str, number: int) -> bytes:
    """The input of a number."""
    random = Random(f"{name} {number}")
    chosen = FORMATS[name]
    data = random.choice(_whole(name))
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        data = random.choice(chosen.damage)(random, data)
    return data


def fuzz(name: str, numbers: Sequence[int], place: Path) -> tuple[Counts, list[Fault]]:
    """Read the inputs of some numbers.

    Args:
        name: the format.
        numbers: of the inputs.
        place: an empty folder.

    Returns:
        What came of them, and those that ended otherwise than with a value or a sentence.
    """
    read, faults, sentences = 0, [], []
    chosen, path = FORMATS[name], place / FORMATS[name].name
    for number in numbers:
        path.write_bytes(damaged(name, number))
        what = ""
        try:
            with _limited():
                chosen.read(path)
            read += 1
        except Exception as error:  # noqa: BLE001 what is raised is the question
            sentences.append(re.sub(r"[0-9]+|'.*'|\(.*\)", "_", str(error)))
            what = _wrong(error)
        except Hang:
            what = f"takes more than {SECONDS} s"
        if what:
            faults.append(Fault(name, number, what))
    return Counts(read, len(sentences), len(set(sentences))), faults


def _wrong(error: Exception) -> str:
    """What is wrong with an answer; nothing, if it is one sentence and asked for little memory."""
    said = str(error)
    if not isinstance(error, Mistake):
        return f"a traceback: {type(error).__name__}: {said[:200]}"
    if not said.strip() or len(said) > LONGEST or "\n" in said:
        return f"not one sentence: {said[:200]!r}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MemoryError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    frames = [frame.filename for frame in traceback.extract_tb(cause.__traceback__)]
    parser = bool(frames) and frames[-1].endswith("ast.py")  # how Python's parser refuses what nests too deeply
    return "" if parser else f"asks for more than {MEMORY / 2**20:.0f} MiB"


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """So many seconds, and so much memory above what the process has."""

    def hang(*_: object) -> None:
        raise Hang

    old, limits = signal.signal(signal.SIGALRM, hang), resource.getrlimit(resource.RLIMIT_AS)
    statm = Path("/proc/self/statm")
    if statm.exists():
        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, show what came of it, and say how each fault is found again."""
    parser = argparse.ArgumentParser(prog="python -m support.fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all formats together")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each format")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    options = parser.parse_args(arguments)
    count, found = -(-options.inputs // len(options.formats)), []
    heads = f"{'format':<12}{'inputs':>8}{'read':>8}{'refused':>8}{'sentences':>10}{'faults':>8}"
    print(f"{heads}{'seconds':>9}{'peak MiB':>10}")
    with tempfile.TemporaryDirectory() as place:
        platformdirs.user_cache_dir = lambda name: str(Path(place, "cache"))
        for name in options.formats:
            begun = time.monotonic()
            counts, faults = fuzz(name, range(options.first, options.first + count), Path(place))
            for fault in faults:
                print(f"{fault.format} {fault.number}: {fault.what}", flush=True)
            found += faults
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            numbers = f"{counts.read:>8}{counts.refused:>8}{counts.sentences:>10}{len(faults):>8}"
            print(f"{name:<12}{count:>8}{numbers}{time.monotonic() - begun:>9.0f}{peak:>10.0f}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
