"""Runs on disk: one folder a digest, in it one folder a set of seeds, each whole or absent.

A part holds `experiment.json` (definition, versions, device, wall time, how each lane ended), `series.parquet` (long
form: lane, step, probe, index, value) and `arrays.safetensors` (unlabelled vectors such as spectra, and the final
blocks). It is written beside and moved into place by one rename. Given arrays lie once under `given/`, by their hash.
"""

import contextlib
import dataclasses
import io
import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np
import polars as pl
from safetensors.numpy import load, save

from descentlab import __version__
from descentlab._describe import describe, given_arrays, restore
from descentlab.experiment import Experiment
from descentlab.status import Status
from descentlab.trajectory import Series, Trajectory, joined

__all__ = ["NUMERICS", "Store", "StoreError", "versions"]

NUMERICS = 2
"""Raised when a change of the package changes results; runs of another number are not reused."""

_DAMAGE = (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError, pl.exceptions.PolarsError)


class StoreError(Exception):
    """A store cannot be used: what was wanted, what came, what to do."""


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "descentlab": __version__,
        "numerics": str(NUMERICS),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@dataclasses.dataclass(frozen=True)
class Part:
    """One folder of lanes."""

    path: Path
    header: Mapping[str, Any]


class Store:
    """A folder of runs.

    Args:
        root: the folder; it is made on the first write.

    Raises:
        StoreError: if it cannot be a folder.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)
        for place in (self.root, *self.root.parents):
            if place.exists():
                if not place.is_dir():
                    raise StoreError(f"a store is a folder, but {place} is a file; choose another --store")
                break

    def check_writable(self) -> None:
        """Raise now rather than after hours of work where nothing can be written.

        Raises:
            StoreError: if a file cannot be written in the store.
        """
        name = self.root / f".writable-{uuid.uuid4().hex}"
        with self._explained():
            self.root.mkdir(parents=True, exist_ok=True)
            name.write_bytes(b"descentlab")
            name.unlink()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the system's refusal to write into a sentence."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the store {self.root} cannot be written ({error.strerror or error}); free space or choose another "
                "--store, then run again: what was computed before the last checkpoint is kept"
            ) from error

    def write(self, path: Path, files: Mapping[str, bytes]) -> None:
        """Make a folder with these files, whole or not at all.

        A folder that is already there is another process's copy of the same data and stays.

        Raises:
            StoreError: if it cannot be written.
        """
        beside = self.root / ".partial" / uuid.uuid4().hex
        with self._explained():
            try:
                beside.mkdir(parents=True)
                for name, content in files.items():
                    with open(beside / name, "wb") as file:
                        file.write(content)
                        file.flush()
                        os.fsync(file.fileno())
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    beside.rename(path)
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def replace_file(self, path: Path, content: bytes) -> None:
        """Put a file in the place of an older one in one step.

        Raises:
            StoreError: if it cannot be written.
        """
        beside = self.root / ".partial" / uuid.uuid4().hex
        with self._explained():
            try:
                beside.parent.mkdir(parents=True, exist_ok=True)
                with open(beside, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)

    def remove(self, path: Path) -> None:
        """Forget a plan that is done."""
        shutil.rmtree(path, ignore_errors=True)

    def lock(self, name: str) -> filelock.BaseFileLock:
        """An advisory lock on one structure; it dies with its process."""
        with self._explained():
            folder = self.root / ".locks"
            folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(folder / f"{name}.lock")

    def put(self, experiment: Experiment, trajectory: Trajectory, *, wall_time: float) -> None:
        """Keep the lanes of a trajectory.

        Args:
            experiment: its definition.
            trajectory: finished lanes.
            wall_time: seconds that their program ran, all its lanes together.

        Raises:
            StoreError: if it cannot be written.
        """
        for sha256, given in given_arrays(experiment).items():
            path = self.root / "given" / sha256
            if not path.exists():
                self.write(
                    path, {"array.safetensors": save({given.name or "array": np.ascontiguousarray(given.value)})}
                )
        header = {
            "definition": describe(experiment),
            "digest": experiment.digest,
            "versions": versions(),
            "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
            "wall_time": wall_time,
            "seeds": list(trajectory.seeds),
            "status": [status.name for status in trajectory.status],
            "ended": list(trajectory.ended),
            "labels": {name: list(series.labels) for name, series in trajectory.series.items()},
            "dtypes": {name: str(series.values.dtype) for name, series in trajectory.series.items()},
        }
        table, arrays = _split(trajectory)
        files = {
            "experiment.json": json.dumps(header, indent=1).encode(),
            "series.parquet": _parquet(table),
            "arrays.safetensors": save(arrays),
        }
        path = self.root / experiment.digest / _part_name(trajectory.seeds)
        if path.exists() and self._read_header(path) is None:
            self._set_aside(path)
        self.write(path, files)

    def _set_aside(self, path: Path) -> Path:
        """Rename a part that is damaged or of another version; names with a dot are looked at no more."""
        mark = "damaged" if self._damage(path) else "superseded"
        new = path.with_name(f"{path.name}.{mark}-{uuid.uuid4().hex[:8]}")
        with self._explained():
            path.rename(new)
        return new

    def _read_header(self, path: Path) -> Mapping[str, Any] | None:
        """The header of a part, or `None` where it is damaged or of another version."""
        try:
            header = json.loads((path / "experiment.json").read_bytes())
            sizes = [(path / name).stat().st_size for name in ("series.parquet", "arrays.safetensors")]
            mine = versions()
            same = all(header["versions"][name] == mine[name] for name in ("numerics", "jax"))
            return header if same and all(sizes) else None
        except _DAMAGE:
            return None

    def _parts(self, digest: str) -> list[Part]:
        headers = [(path, self._read_header(path)) for path in _part_folders(self.root / digest)]
        return [Part(path, header) for path, header in headers if header is not None]

    def has(self, experiment: Experiment) -> frozenset[int]:
        """The seeds of an experiment that are kept."""
        return frozenset(seed for part in self._parts(experiment.digest) for seed in part.header["seeds"])

    def get(self, experiment: Experiment, seeds: Sequence[int]) -> Trajectory:
        """The kept lanes of an experiment, in the order of `seeds`.

        Raises:
            StoreError: if a seed is not kept, or its folder is damaged (it is named).
        """
        found: dict[int, Trajectory] = {}
        for part in self._parts(experiment.digest):
            if set(part.header["seeds"]) & (set(seeds) - set(found)):
                trajectory = _load(part, experiment)
                found |= {seed: trajectory.lanes(np.asarray([i])) for i, seed in enumerate(trajectory.seeds)}
        missing = sorted(set(seeds) - set(found))
        if missing:
            raise StoreError(f"seeds {missing} of experiment {experiment.digest} are not in {self.root}; run it first")
        return joined([found[seed] for seed in seeds])

    def set_aside_damaged(self) -> list[tuple[Path, str]]:
        """Rename every part that cannot be read, so that it is computed again; nothing is deleted.

        Returns:
            Where each now lies, and what is wrong with it.
        """
        aside = []
        for path in self._all_parts():
            reason = self._damage(path)
            if reason:
                aside.append((self._set_aside(path), reason))
        return aside

    def damaged(self) -> list[tuple[Path, str]]:
        """Every part that cannot be read, and what is wrong with it."""
        return [(path, reason) for path in self._all_parts() if (reason := self._damage(path))]

    def _all_parts(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        own = {".partial", ".locks", ".progress", "given", "reports"}
        folders = [path for path in self.root.iterdir() if path.name not in own]
        return sorted(part for folder in folders for part in _part_folders(folder))

    def _damage(self, path: Path) -> str:
        try:
            header = json.loads((path / "experiment.json").read_bytes())
            pl.read_parquet(path / "series.parquet")
            load((path / "arrays.safetensors").read_bytes())
            len(header["seeds"])
        except Exception as error:  # noqa: BLE001 readers of three formats raise what they like at damaged bytes
            return f"{type(error).__name__}: {error}".splitlines()[0]
        return ""

    def digests(self) -> list[str]:
        """The digests of all runs that can be used, in order."""
        return [name for name in dict.fromkeys(path.parent.name for path in self._all_parts()) if self._parts(name)]

    def experiment(self, digest: str, files: Sequence[str | Path] = ()) -> Experiment:
        """The definition kept under a digest.

        Args:
            digest: its digest.
            files: Python files that define classes of it; nothing is imported only because a definition names it.

        Raises:
            StoreError: if there is none, or a given array of it is missing.
            DefinitionError: if a class of it is neither of the package, nor imported already, nor in a named file.
        """
        for part in self._parts(digest):
            return restore(part.header["definition"], _GivenFolder(self.root / "given"), files)
        raise StoreError(f"there is no run {digest} in {self.root}")

    def table(self) -> pl.DataFrame:
        """All recorded series of all readable runs: digest, seed, step, probe, index, value."""
        frames = [
            pl.read_parquet(path / "series.parquet").with_columns(pl.lit(path.parent.name).alias("digest"))
            for path in self._all_parts()
            if not self._damage(path)
        ]
        empty = {"digest": pl.String, "seed": pl.Int64, "step": pl.Int64, "probe": pl.String, "index": pl.String}
        columns = [*empty, "value"]
        return pl.concat([frame.select(columns) for frame in frames]) if frames else pl.DataFrame(schema=empty)


class _GivenFolder(Mapping[str, np.ndarray]):
    """The kept given arrays by their hash."""

    def __init__(self, root: Path):
        self.root = root

    def __getitem__(self, sha256: str) -> np.ndarray:
        path = self.root / sha256 / "array.safetensors"
        if not path.exists():
            raise StoreError(f"the given array {sha256} is not in {self.root}")
        return next(iter(load(path.read_bytes()).values()))

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self.root.iterdir()) if self.root.is_dir() else iter(())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _part_folders(folder: Path) -> list[Path]:
    """The parts in the folder of a digest, without those set aside."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.startswith("seeds-") and "." not in path.name)


def _part_name(seeds: Sequence[int]) -> str:
    runs = f"{min(seeds)}-{max(seeds)}"
    return f"seeds-{runs}-{len(seeds)}"


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def _is_tabular(series: Series) -> bool:
    """Single numbers and labelled vectors go to the table, unlabelled vectors to the arrays."""
    return series.values.ndim == 2 or bool(series.labels)


def _split(trajectory: Trajectory) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    frames, arrays = [], {f"final/{name}": np.ascontiguousarray(array) for name, array in trajectory.final.items()}
    for name, series in trajectory.series.items():
        if not _is_tabular(series):
            arrays[f"series/{name}"] = np.ascontiguousarray(series.values)
            continue
        labels = np.asarray(series.labels or ("",))
        lanes, records = series.values.shape[:2]
        shape = (lanes, records, len(labels))
        frames.append(
            pl.DataFrame(
                {
                    "seed": np.broadcast_to(np.asarray(trajectory.seeds)[:, None, None], shape).ravel(),
                    "step": np.broadcast_to(series.steps[:, None], shape).ravel(),
                    "index": np.broadcast_to(labels, shape).ravel(),
                    "value": series.values.astype(np.float64).ravel(),
                }
            ).with_columns(pl.lit(name).alias("probe"))
        )
    schema = {"seed": pl.Int64, "step": pl.Int64, "index": pl.String, "value": pl.Float64, "probe": pl.String}
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema), arrays


def _load(part: Part, experiment: Experiment) -> Trajectory:
    """The lanes of a part; StoreError names it where it is damaged."""
    header = part.header
    try:
        table = pl.read_parquet(part.path / "series.parquet")
        arrays = load((part.path / "arrays.safetensors").read_bytes())
        values = {key[0]: frame["value"].to_numpy() for key, frame in table.partition_by("probe", as_dict=True).items()}
        series = {}
        for name, probe in experiment.probes.items():
            steps, labels = probe.when.steps(experiment.steps), tuple(header["labels"][name])
            if f"series/{name}" in arrays:
                series[name] = Series(steps, arrays[f"series/{name}"], labels)
                continue
            shape = (len(header["seeds"]), len(steps), *((len(labels),) if labels else ()))
            recorded = values.get(name, np.empty(0)).astype(header["dtypes"][name])
            series[name] = Series(steps, recorded.reshape(shape), labels)
        return Trajectory(
            seeds=tuple(header["seeds"]),
            series=series,
            final={key.removeprefix("final/"): array for key, array in arrays.items() if key.startswith("final/")},
            status=tuple(Status[name] for name in header["status"]),
            ended=tuple(header["ended"]),
        )
    except Exception as error:  # noqa: BLE001 readers of three formats raise what they like at damaged bytes
        raise StoreError(
            f"the folder {part.path} is damaged ({type(error).__name__}: {error}); move it away"
        ) from error
