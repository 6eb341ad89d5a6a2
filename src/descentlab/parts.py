"""The folder of a set of lanes: its three files, and in what state they are.

`experiment.json` holds definition, versions, device, wall time, how each lane ended, the axes of each series, and the
SHA-256 of the other two files and of itself. `series.parquet` is in long form: seed, step, probe, value, and a column
an axis, in which labels are texts and the entries of numbered axes integers. `arrays.safetensors` holds series of many
numbers a record, such as all parameters, and the final blocks. A folder that was written before there were checksums
is read, and called unverified; one from before axes had names has one column for labels, `index`.
"""

import dataclasses
import enum
import hashlib
import io
import json
import math
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
from descentlab.axis import TAKEN, Axis, axes_data, axes_of
from descentlab.experiment import Experiment
from descentlab.status import Status
from descentlab.trajectory import Series, Trajectory

__all__ = ["NUMERICS", "Part", "State", "encode", "header_of", "load_lanes", "look", "seen", "tables", "versions"]

NUMERICS = 3
"""Raised when a change of the package changes results; runs of another number are read, and not reused.

3: held-out examples are drawn with the lane, parameters are called by their paths, products of queries and keys are
divided by a definition of their own, the halves of MNIST are shuffled before they are cut, and definitions have public
names, so that their digests are others; probes name the axes of what they record.
"""

HEADER, SERIES, ARRAYS = "experiment.json", "series.parquet", "arrays.safetensors"

_SERIES = {"seed": pl.Int64, "step": pl.Int64, "probe": pl.String, "value": pl.Float64}

LISTED = 1024
"""A series of up to so many numbers a record is in the table; one of more is among the arrays."""

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
        "axes": {name: axes_data(series.axes, series.values.shape[2:]) for name, series in trajectory.series.items()},
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


def _is_listed(series: Series) -> bool:
    """Whether a series is in the table, and not among the arrays."""
    return math.prod(series.values.shape[2:]) <= LISTED


def _split(trajectory: Trajectory) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    listed = {name: series for name, series in trajectory.series.items() if _is_listed(series)}
    arrays = {f"final/{name}": array for name, array in trajectory.final.items()}
    arrays |= {f"series/{name}": one.values for name, one in trajectory.series.items() if name not in listed}
    return _long(listed, trajectory.seeds), {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _long(listed: Mapping[str, Series], seeds: tuple[int, ...]) -> pl.DataFrame:
    """The table of some series, one row a number; an axis that a probe has not is null in its rows."""
    if not listed:
        return pl.DataFrame(schema=_SERIES)
    names = ("probe", *dict.fromkeys(axis.name for series in listed.values() for axis in series.axes))
    entries: dict[str, list[str | int | None]] = {name: [None] for name in names}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("seed", "step", "value", *names)}
    for name, series in listed.items():
        shape = series.values.shape
        rows["seed"].append(_along(seeds, 0, shape))
        rows["step"].append(_along(series.steps, 1, shape))
        rows["value"].append(series.values.astype(np.float64).ravel())
        own = {axis.name: (2 + i, series.entries(axis.name)) for i, axis in enumerate(series.axes)}
        for column in names:  # holds places in the list of its entries
            dimension, found = (0, (name,)) if column == "probe" else own.get(column, (0, ()))
            numbers = len(entries[column]) + np.arange(len(found)) if found else np.zeros(1)
            rows[column].append(_along(numbers, dimension, shape))
            entries[column] += found
    whole = {column: np.concatenate(parts) for column, parts in rows.items()}
    return pl.DataFrame(whole | {name: _column(entries[name]).gather(whole[name]) for name in names})


def _along(numbers: Sequence[int] | np.ndarray, dimension: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers along one dimension of an array of some shape, repeated along the others, in one row."""
    one = [-1 if i == dimension else 1 for i in range(len(shape))]
    return np.broadcast_to(np.asarray(numbers, dtype=np.int64).reshape(one), shape).ravel()


def _column(entries: Sequence[str | int | None]) -> pl.Series:
    """Entries as a column: of texts if one of them is a text, of integers otherwise."""
    if any(isinstance(entry, str) for entry in entries):
        return pl.Series([None if entry is None else str(entry) for entry in entries], dtype=pl.String)
    return pl.Series(entries, dtype=pl.Int64)


def _axes(header: Header, name: str, among: np.ndarray | None) -> tuple[tuple[Axis, ...], tuple[int, ...]]:
    """The axes of a series and their sizes.

    Args:
        header: of its folder. One written before axes had names tells labels of the last axis, or none.
        name: of the probe.
        among: the values, where they lie among the arrays.
    """
    if "axes" in header:
        return axes_of(header["axes"][name])
    if among is not None:
        return tuple(Axis(f"entry_{i}") for i in range(among.ndim - 2)), among.shape[2:]
    labels = tuple(header["labels"][name])
    return ((Axis("entry", labels),), (len(labels),)) if labels else ((), ())


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
            steps, values = probe.when.steps(experiment.steps), arrays.get(f"series/{name}")
            axes, sizes = _axes(header, name, values)
            shape = (len(header["seeds"]), len(steps), *sizes)
            if values is None:
                values = columns.get(name, np.empty(0)).astype(header["dtypes"][name]).reshape(shape)
            if values.shape != shape:
                raise files.Damage(f"{name} has the shape {values.shape} instead of {shape}")
            series[name] = Series(steps, values, axes)
        blocks = sorted(key.removeprefix("final/") for key in arrays if key.startswith("final/"))
        final = {name: arrays[f"final/{name}"] for name in header.get("blocks", blocks)}  # the reader keeps no order
        if any(array.shape[:1] != (len(header["seeds"]),) for array in final.values()):
            raise files.Damage("the final blocks are of another number of lanes")
        status = tuple(Status[name] for name in header["status"])
        return Trajectory(tuple(header["seeds"]), series, final, status, tuple(header["ended"]))


def tables(paths: Sequence[Path]) -> pl.DataFrame:
    """The series of folders that can be used: digest, seed, step, probe, a column an axis, value.

    An axis that a probe has not is null in its rows. Labels are texts, the entries of numbered axes integers.
    """
    frames = [pl.DataFrame(schema={"digest": pl.String, **_SERIES})]
    for begin in range(0, len(paths), AT_ONCE):
        scans = [
            _renewed(
                pl.scan_parquet(io.BytesIO(files.read(path / SERIES))).with_columns(digest=pl.lit(path.parent.name))
            )
            for path in paths[begin : begin + AT_ONCE]
        ]
        frames += pl.collect_all(scans)
    whole = pl.concat(frames, how="diagonal_relaxed")
    return whole.select("digest", "seed", "step", "probe", *sorted({*whole.columns} - {*TAKEN}), "value")


def _renewed(table: pl.LazyFrame) -> pl.LazyFrame:
    """A table in the present form; before axes had names, labels were in one column, empty for a single number."""
    if "index" not in table.collect_schema().names():
        return table
    return table.rename({"index": "entry"}).with_columns(pl.col("entry").replace("", None))
