"""The folder of a set of lanes: its three files, and in what state they are.

`experiment.json` holds definition, versions, device, wall time, how each lane ended, and the SHA-256 of the other two
files and of itself. `series.parquet` is in long form: lane, step, probe, index, value. `arrays.safetensors` holds
unlabelled vectors, such as spectra, and the final blocks. A folder that was written before there were checksums is
read, and called unverified.
"""

import dataclasses
import enum
import hashlib
import io
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from safetensors.numpy import load, save

from descentlab import __version__
from descentlab import _files as files
from descentlab._definition import Definition
from descentlab._describe import describe, digest
from descentlab.experiment import Experiment
from descentlab.status import Status
from descentlab.trajectory import Series, Trajectory

__all__ = ["NUMERICS", "Part", "State", "encode", "header_of", "load_lanes", "look", "seen", "tables", "versions"]

NUMERICS = 3
"""Raised when a change of the package changes results; runs of another number are read, and not reused.

3: held-out examples are drawn with the lane, parameters are called by their paths, products of queries and keys are
divided by a definition of their own, the halves of MNIST are shuffled before they are cut, and definitions have public
names, so that their digests are others.
"""

HEADER, SERIES, ARRAYS = "experiment.json", "series.parquet", "arrays.safetensors"

_SERIES = {"seed": pl.Int64, "step": pl.Int64, "index": pl.String, "value": pl.Float64, "probe": pl.String}

AT_ONCE = 500
"""Tables that are read at once: their bytes are in memory together."""

Header = Mapping[str, Any]


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "descentlab": __version__,
        "numerics": str(NUMERICS),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


class State(enum.Enum):
    """Whether the lanes of a folder can be used, and if not, why."""

    WHOLE = "whole"
    UNVERIFIED = "unverified"
    SUPERSEDED = "superseded"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"


@dataclasses.dataclass(frozen=True)
class Part:
    """What is known of a folder of lanes.

    Attributes:
        path: the folder.
        state: whether it can be used.
        reason: what is wrong or to be known, in words; empty where it is whole.
        seeds: of its lanes; empty where that is not known.
    """

    path: Path
    state: State
    reason: str = ""
    seeds: tuple[int, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether its lanes are read."""
        return self.state in (State.WHOLE, State.UNVERIFIED)


def encode(subject: Definition, trajectory: Trajectory, wall_time: float) -> dict[str, bytes]:
    """The files of a folder of finished lanes, by name."""
    table, arrays = _split(trajectory)
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    data = {SERIES: buffer.getvalue(), ARRAYS: save(arrays)}
    header = {
        "sha256": files.BLANK,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in data.items()},
        "definition": describe(subject),
        "digest": digest(subject),
        "versions": versions(),
        "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
        "wall_time": wall_time,
        "seeds": list(trajectory.seeds),
        "status": [status.name for status in trajectory.status],
        "ended": list(trajectory.ended),
        "labels": {name: list(series.labels) for name, series in trajectory.series.items()},
        "blocks": list(trajectory.final),
        "dtypes": {name: str(series.values.dtype) for name, series in trajectory.series.items()},
    }
    return {HEADER: files.seal(json.dumps(header, indent=1).encode()), **data}


def header_of(path: Path) -> Header:
    """The content of `experiment.json`, verified.

    Raises:
        Damage: if it is missing, or not what was written.
        OSError: if it cannot be read.
    """
    with files.decoding(HEADER):
        content = files.read(path / HEADER)
        header = json.loads(content)
        if _is_verified(header) and not files.is_sealed(content, header.get("sha256")):
            raise files.Damage(f"{HEADER} has changed since it was written")
        lanes = len(header["seeds"])
        if header["digest"] != path.parent.name:
            raise files.Damage(f"it is of the experiment {header['digest']}")
        if not lanes or not all(type(one) is int for one in [*header["seeds"], *header["ended"]]):
            raise files.Damage(f"seeds and ends in {HEADER} are no integers")
        if len(header["status"]) != lanes or len(header["ended"]) != lanes:
            raise files.Damage(f"{HEADER} does not say of each lane how it ended")
        if not isinstance(header["definition"], dict) or not isinstance(header["versions"], dict):
            raise files.Damage(f"{HEADER} lacks a definition or versions")
        return header


def _is_verified(header: Header) -> bool:
    """Whether the folder was written with checksums; losing one of both marks is damage, not age."""
    return "sha256" in header or "files" in header


def seen(path: Path) -> Part:
    """The state of a folder as its header says, without a look at the other files; never raises."""
    try:
        return _judged(path, header_of(path))
    except (files.Damage, OSError) as error:
        return _broken(path, error)


def look(path: Path) -> Part:
    """The state of a folder after all its files were verified, each once a process; never raises."""
    try:
        header = header_of(path)
        _verify(path, header)
        return _judged(path, header)
    except (files.Damage, OSError) as error:
        return _broken(path, error)


def _judged(path: Path, header: Header) -> Part:
    """The state of a folder that is as it was written."""
    made, mine, seeds = header["versions"], versions(), tuple(header["seeds"])
    differ = [name for name in ("numerics", "jax") if made.get(name) != mine[name]]
    if differ:
        said = " and ".join(f"{name} {made.get(name)}, here it is {mine[name]}" for name in differ)
        return Part(path, State.SUPERSEDED, f"made with {said}", seeds)
    if not _is_verified(header):
        return Part(path, State.UNVERIFIED, "stored before there were checksums", seeds)
    return Part(path, State.WHOLE, "", seeds)


def _broken(path: Path, error: Exception) -> Part:
    if isinstance(error, files.Damage):
        return Part(path, State.DAMAGED, str(error))
    return Part(path, State.UNREADABLE, f"cannot be read: {error}")


_decoded: set[tuple[str, str]] = set()
"""Files without checksums that could be read, by name and content."""


def _verify(path: Path, header: Header) -> None:
    """Compare files with the header's checksums; those of a folder without any must be in their formats.

    Raises:
        Damage: if one is missing or not what was written.
        OSError: if one cannot be read.
    """
    for name, decode in ((SERIES, _table), (ARRAYS, load)):
        with files.decoding(name):
            if _is_verified(header):
                files.verify(path / name, header["files"][name])
            elif (key := (name, files.checksum(path / name))) not in _decoded:
                decode(files.read(path / name))
                _decoded.add(key)


def _table(content: bytes) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(content))  # from bytes: of a path, polars makes a pattern or an address


def _is_tabular(series: Series) -> bool:
    """Single numbers and labelled vectors go to the table, unlabelled vectors to the arrays."""
    return series.values.ndim == 2 or bool(series.labels)


def _split(trajectory: Trajectory) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    arrays = {f"final/{name}": np.ascontiguousarray(array) for name, array in trajectory.final.items()}
    texts: list[str] = []  # of labels and probes; rows refer to them by their places
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("seed", "step", "index", "value", "probe")}
    for name, series in trajectory.series.items():
        if not _is_tabular(series):
            arrays[f"series/{name}"] = np.ascontiguousarray(series.values)
            continue
        labels = series.labels or ("",)
        shape = (*series.values.shape[:2], len(labels))
        rows = {
            "seed": np.asarray(trajectory.seeds)[:, None, None],
            "step": series.steps[:, None],
            "index": len(texts) + 1 + np.arange(len(labels)),
            "value": series.values.astype(np.float64).reshape(shape),
            "probe": np.asarray(len(texts)),
        }
        texts += [name, *labels]
        for column, values in rows.items():
            columns[column].append(np.broadcast_to(values, shape).ravel())
    if not texts:
        return pl.DataFrame(schema=_SERIES), arrays
    whole = {column: np.concatenate(values) for column, values in columns.items()}
    named = pl.Series(texts)
    strings = {column: named.gather(whole[column]) for column in ("index", "probe")}
    return pl.DataFrame(whole | strings, schema=_SERIES), arrays


def load_lanes(path: Path, experiment: Experiment) -> Trajectory:
    """The lanes of a folder.

    Raises:
        Damage: if a file is missing or not what was written.
        OSError: if one cannot be read.
    """
    header = header_of(path)
    sums = header.get("files", {})
    with files.decoding(SERIES):
        table = _table(files.read(path / SERIES, sums.get(SERIES)))
    with files.decoding(ARRAYS):
        arrays = load(files.read(path / ARRAYS, sums.get(ARRAYS)))
    with files.decoding(path.name):
        columns = {frame["probe"][0]: frame["value"].to_numpy() for frame in table.partition_by("probe")}
        series = {}
        for name, probe in experiment.probes.items():
            steps, labels = probe.when.steps(experiment.steps), tuple(header["labels"][name])
            shape = (len(header["seeds"]), len(steps))
            if (values := arrays.get(f"series/{name}")) is None:
                column = columns.get(name, np.empty(0)).astype(header["dtypes"][name])
                values = column.reshape(*shape, *((len(labels),) if labels else ()))
            if values.shape[:2] != shape:
                raise files.Damage(f"{name} has {values.shape[:2]} lanes and records instead of {shape}")
            series[name] = Series(steps, values, labels)
        blocks = sorted(key.removeprefix("final/") for key in arrays if key.startswith("final/"))
        final = {name: arrays[f"final/{name}"] for name in header.get("blocks", blocks)}  # the reader keeps no order
        if any(array.shape[:1] != (len(header["seeds"]),) for array in final.values()):
            raise files.Damage("the final blocks are of another number of lanes")
        status = tuple(Status[name] for name in header["status"])
        return Trajectory(tuple(header["seeds"]), series, final, status, tuple(header["ended"]))


def tables(paths: Sequence[Path]) -> pl.DataFrame:
    """The series of folders that can be used: digest, seed, step, probe, index, value."""
    schema = {"digest": pl.String, "seed": pl.Int64, "step": pl.Int64, "probe": pl.String, "index": pl.String}
    schema["value"] = pl.Float64
    frames = [pl.DataFrame(schema=schema)]
    for begin in range(0, len(paths), AT_ONCE):
        scans = [
            pl.scan_parquet(io.BytesIO(files.read(path / SERIES)))
            .with_columns(pl.lit(path.parent.name).alias("digest"))
            .select(*schema)
            for path in paths[begin : begin + AT_ONCE]
        ]
        frames += pl.collect_all(scans)
    return pl.concat(frames)
