"""Runs on disk: one folder a digest, in it one folder a set of seeds, each whole or absent.

What a folder of seeds holds is told by `descentlab.parts`. Given arrays lie once under `given/`, by their hash. Every
file is verified when it is read. A folder that is damaged, of another version, or of a class that is not known here is
named, and never keeps the others from being used.
"""

import contextlib
import dataclasses
import itertools
import logging
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import polars as pl

from descentlab import _files
from descentlab._check import nearest
from descentlab._definition import Definition, DefinitionError
from descentlab._describe import digest as digest_of
from descentlab._describe import given_arrays, restore
from descentlab.experiment import Experiment
from descentlab.given import KeptArrays
from descentlab.mistake import Mistake
from descentlab.parts import HEADER, NUMERICS, Part, State, encode, header_of, load_lanes, look, seen, tables, versions
from descentlab.trajectory import Trajectory, joined

__all__ = ["NUMERICS", "Entry", "Store", "StoreError", "versions"]

_log = logging.getLogger(__name__)

WRITTEN_AT_ONCE = 64
"""Folders that are written together, which takes little longer than writing one."""


class StoreError(Mistake):
    """A store cannot be used: what was wanted, what came, what to do."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a store says of one run, whether or not it can be used here.

    Attributes:
        digest: of its definition.
        definition: as data; empty where it cannot be read.
        seeds: of the lanes that can be used.
        reasons: what is wrong with its folders, or to be known of them.
    """

    digest: str
    definition: Mapping[str, Any]
    seeds: tuple[int, ...]
    reasons: tuple[str, ...]


class Store:
    """A folder of runs.

    Args:
        root: the folder; it is made on the first write.

    Raises:
        StoreError: if it cannot be a folder.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)
        self._arrays = KeptArrays(self.root / "given")
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
        with self._scratch() as place:
            place.write_bytes(b"descentlab")
            place.unlink()

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A path for what is being written, under a lock of its own: once nobody holds that, it is a leftover.

        Raises:
            StoreError: if it cannot be written.
        """
        name = f"writing-{uuid.uuid4().hex}"
        with self._explained():
            _files.make_folder(self.root / ".partial")
            with self.lock(name):
                try:
                    yield self.root / ".partial" / name
                finally:
                    self._lock_file(name).unlink(missing_ok=True)

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

    def replace_file(self, path: Path, content: bytes) -> None:
        """Put a file in the place of an older one in one step.

        Raises:
            StoreError: if it cannot be written.
        """
        with self._scratch() as beside, _files.replacing(path, beside) as file:
            file.write(content)

    def remove(self, path: Path) -> None:
        """Remove a folder in one step.

        Raises:
            StoreError: if it cannot be removed.
        """
        with self._scratch() as beside:
            path.rename(beside)
            _files.remove(beside)

    def _lock_file(self, name: str) -> Path:
        return self.root / ".locks" / f"{name}.lock"

    def lock(self, name: str) -> filelock.BaseFileLock:
        """An advisory lock on one structure; it dies with its process."""
        path = self._lock_file(name)
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(path)

    def clean(self) -> None:
        """Remove what killed processes were writing, where that is allowed; what a process is writing now stays."""
        with contextlib.suppress(OSError):
            left = [path.name for path in _files.listed(self.root / ".partial")]
            left += [path.stem for path in _files.listed(self.root / ".locks") if path.name.startswith("writing-")]
            for name in dict.fromkeys(left):
                with contextlib.suppress(filelock.Timeout, StoreError), self.lock(name).acquire(timeout=0):
                    _files.remove(self.root / ".partial" / name)
                    self._lock_file(name).unlink(missing_ok=True)
            for path in _files.listed(self.root):
                if path.name.startswith(".writable-"):  # of earlier versions
                    _files.remove(path)

    def put(self, subject: Definition, trajectory: Trajectory, *, wall_time: float) -> None:
        """Keep the lanes of a trajectory.

        Args:
            subject: what its numbers are of, which determines them together with the seeds: an experiment, or the
                definition of something that was trained elsewhere.
            trajectory: finished lanes.
            wall_time: seconds that their program ran, all its lanes together.

        Raises:
            StoreError: if it cannot be written.
        """
        self.put_all([(subject, trajectory)], wall_time=wall_time)

    def put_all(self, runs: Iterable[tuple[Definition, Trajectory]], *, wall_time: float) -> None:
        """Keep the lanes of many subjects, which takes little longer than keeping those of one.

        Args:
            runs: each subject with finished lanes of it.
            wall_time: seconds that their program ran, all its lanes together.

        Raises:
            StoreError: if they cannot be written; some of them may be kept.
        """
        together: dict[str, tuple[Definition, list[Trajectory]]] = {}
        for subject, trajectory in runs:
            together.setdefault(digest_of(subject), (subject, []))[1].append(trajectory)
        everything = [(name, one, joined(found)) for name, (one, found) in together.items()]
        for some in (everything[i : i + WRITTEN_AT_ONCE] for i in range(0, len(everything), WRITTEN_AT_ONCE)):
            self._keep_arrays([one for _, one, _ in some])
            places = [(self._place(name, lanes.seeds), one, lanes) for name, one, lanes in some]
            with self._scratch() as beside:
                _files.write_folders(((path, encode(one, lanes, wall_time)) for path, one, lanes in places), beside)

    def _place(self, digest: str, seeds: Sequence[int]) -> Path:
        """Where lanes go. Of what has that name, the same lanes stay, and what cannot be used is set aside."""
        name = f"seeds-{min(seeds)}-{max(seeds)}-{len(seeds)}"
        for number in itertools.count(2):
            path = self.root / digest / name
            if not os.path.lexists(path):
                return path
            part = look(path)
            if not part.usable:
                self.set_aside(path, part.state)
            if not part.usable or set(part.seeds) == set(seeds):
                return path
            name = f"seeds-{min(seeds)}-{max(seeds)}-{len(seeds)}-{number}"
        raise AssertionError("unreachable")

    def _keep_arrays(self, subjects: Iterable[Definition]) -> list[Part]:
        """Write the given arrays that are not kept, or no longer what they were; those are set aside.

        Returns:
            What was set aside, where it lies now.
        """
        given = {sha256: one for subject in subjects for sha256, one in given_arrays(subject).items()}
        bad = {sha256: part for sha256 in given if (part := self._array(sha256)).state != State.WHOLE}
        aside = [self._aside(part) for part in bad.values() if os.path.lexists(part.path)]
        if bad:
            arrays = ((part.path, self._arrays.encode(given[sha256])) for sha256, part in bad.items())
            with self._scratch() as beside:
                _files.write_folders(arrays, beside)
        return aside

    def set_aside(self, path: Path, state: State) -> Path:
        """Give what cannot be used another name, which says why; names with a dot are looked at no more.

        Raises:
            StoreError: if it cannot be renamed.
        """
        new = path.with_name(f"{path.name}.{state.value}-{uuid.uuid4().hex[:8]}")
        with self._explained(), contextlib.suppress(FileNotFoundError):  # another process was first
            path.rename(new)
        return new

    def _parts(self, digest: str, by: Callable[[Path], Part] = look) -> list[Part]:
        """The folders of a run, in order; never raises."""
        folder = self.root / digest
        try:
            found = _files.listed(folder)
            return [by(path) for path in found if path.name.startswith("seeds-") and "." not in path.name]
        except OSError as error:
            return [Part(folder, State.UNREADABLE, f"cannot be read: {error}")]

    def _wanted(self, digest: str) -> list[Part]:
        """The folders of a run, verified.

        Raises:
            StoreError: if the system refuses to show one, which may hold what is wanted.
        """
        found = self._parts(digest)
        for part in found:
            if part.state == State.UNREADABLE:
                raise StoreError(f"{part.path} {part.reason}; make it readable, or move it away to compute it again")
        return found

    def has(self, experiment: Experiment) -> frozenset[int]:
        """The seeds of an experiment that are kept and can be used.

        Raises:
            StoreError: if the system refuses to show one of its folders.
        """
        return self.seeds(experiment.digest)

    def seeds(self, digest: str) -> frozenset[int]:
        """The seeds under a digest that are kept and can be used.

        Raises:
            StoreError: if the system refuses to show one of its folders.
        """
        return frozenset(seed for part in self._wanted(digest) if part.usable for seed in part.seeds)

    def get(self, experiment: Experiment, seeds: Sequence[int]) -> Trajectory:
        """The kept lanes of an experiment, in the order of `seeds`.

        Raises:
            StoreError: if a seed is not kept, or its folder cannot be used (it is named).
        """
        notes = ""
        chosen = []
        for part in self._wanted(experiment.digest):
            if part.usable:
                chosen.append(part)
            else:
                notes += f" ({part.path} is {part.state.value}: {part.reason})"
        found, kept = self._lanes(chosen, experiment, set(seeds))
        missing = sorted(set(seeds) - set(kept))
        if missing:
            said = f"seeds {missing} of experiment {experiment.digest} are not in {self.root}"
            raise StoreError(f"{said}{notes}; run it first")
        return joined(found).lanes(np.asarray([kept[seed] for seed in seeds]))

    def read(self, digest: str, files: Sequence[str | Path] = ()) -> Trajectory:
        """All lanes under a digest in the order of their seeds, those too that another version made and none reuses.

        Args:
            digest: its digest.
            files: as of `experiment`.

        Raises:
            StoreError: if there is none, or a folder cannot be used.
            DefinitionError: as `experiment` does.
        """
        experiment = self.experiment(digest, files)
        parts = [part for part in self._wanted(digest) if part.seeds]
        found, kept = self._lanes(parts, experiment, {seed for part in parts for seed in part.seeds})
        return joined(found).lanes(np.asarray([kept[seed] for seed in sorted(kept)]))

    def _lanes(
        self, parts: Sequence[Part], experiment: Experiment, seeds: AbstractSet[int]
    ) -> tuple[list[Trajectory], dict[int, int]]:
        """The lanes of those folders that have wanted seeds which none before has, and where each seed is in them.

        Raises:
            StoreError: if a folder cannot be used.
        """
        found: list[Trajectory] = []
        where: dict[int, int] = {}
        lanes = 0
        for part in parts:
            if set(part.seeds) & (seeds - where.keys()):
                try:
                    found.append(load_lanes(part.path, experiment))
                except (_files.Damage, OSError) as error:
                    raise StoreError(f"{part.path} cannot be used: {error}; move it away and run again") from error
                where = {seed: lanes + i for i, seed in enumerate(part.seeds)} | where
                lanes += len(part.seeds)
        return found, where

    def parts(self, experiments: Iterable[Experiment]) -> list[Part]:
        """The folders of some runs with their states, each file verified once a process."""
        return [part for digest in dict.fromkeys(one.digest for one in experiments) for part in self._parts(digest)]

    def mend(self, experiments: Sequence[Experiment]) -> list[Part]:
        """Set aside what is damaged of some runs, to be computed again, and write their given arrays anew.

        Nothing is deleted.

        Returns:
            The folders that are damaged, where they lie now, and those that are not verified.

        Raises:
            StoreError: if the store cannot be written.
        """
        every = {one.digest: one for one in experiments}
        kept = [digest for digest in every if (self.root / digest).is_dir()]
        found = []
        for part in (part for digest in kept for part in self._parts(digest)):
            if part.state == State.DAMAGED:
                found.append(self._aside(part))
            elif part.state == State.UNVERIFIED:
                found.append(part)
        found += self._keep_arrays([every[digest] for digest in kept])
        return [part for part in found if os.path.lexists(part.path)]

    def _aside(self, part: Part) -> Part:
        """The part, set aside."""
        return dataclasses.replace(part, path=self.set_aside(part.path, part.state))

    def inspect(self, progress: Callable[[int, int], None] | None = None) -> list[Part]:
        """Look at every run and every given array, each file verified once a process.

        Args:
            progress: told how many folders of how many were looked at.

        Returns:
            All folders with their states.
        """
        digests = self._digests()
        found: list[Part] = []
        for number, digest in enumerate(digests):
            found += self._parts(digest)
            if progress is not None:
                progress(number + 1, len(digests))
        try:
            return found + [self._array(sha256) for sha256 in self._arrays.names()]
        except OSError as error:
            return [*found, Part(self._arrays.root, State.UNREADABLE, f"cannot be read: {error}")]

    def _array(self, sha256: str) -> Part:
        """The state of a given array's folder."""
        path = self._arrays.root / sha256
        try:
            fault = self._arrays.fault(sha256)
        except OSError as error:
            return Part(path, State.UNREADABLE, f"cannot be read: {error}")
        return Part(path, State.DAMAGED if fault else State.WHOLE, fault)

    def _digests(self) -> list[str]:
        """The names of the folders of runs.

        Raises:
            StoreError: if the system refuses to list them.
        """
        try:
            return [path.name for path in _files.listed(self.root) if _DIGEST.fullmatch(path.name)]
        except OSError as error:
            raise StoreError(f"the store {self.root} cannot be read ({error.strerror}); make it readable") from error

    def entries(self) -> list[Entry]:
        """Every run with its definition as data; no file but the headers is read, and nothing is imported."""
        found = []
        for digest in self._digests():
            parts = self._parts(digest, seen)
            if parts:
                definition: Mapping[str, Any] = {}
                for part in parts:
                    with contextlib.suppress(_files.Damage, OSError):
                        definition = header_of(part.path)["definition"]
                seeds = sorted({seed for part in parts if part.usable for seed in part.seeds})
                reasons = dict.fromkeys(f"{part.state.value}: {part.reason}" for part in parts if part.reason)
                found.append(Entry(digest, definition, tuple(seeds), tuple(reasons)))
        return found

    def digests(self) -> list[str]:
        """The digests of all runs that can be used, in order."""
        return [entry.digest for entry in self.entries() if entry.seeds]

    def resolve(self, digest: str) -> str:
        """The whole digest of the run that is meant.

        Args:
            digest: it, or the first digits of it.

        Raises:
            StoreError: if none or several of the runs begin so, or the one that does cannot be used.
        """
        entries = self.entries()
        known = [entry.digest for entry in entries if entry.seeds]
        fits = [one for one in known if one.startswith(digest)]
        if len(fits) == 1:
            return fits[0]
        for entry in entries:
            if not fits and entry.digest.startswith(digest) and not entry.seeds:
                reasons = "; ".join(entry.reasons)
                raise StoreError(f"run {entry.digest[:12]} in {self.root} cannot be used: {reasons}")
        if not known:
            raise StoreError(f"there is no run in {self.root}; train something first, or name another --store")
        if fits:
            raise StoreError(
                f"{digest!r} is the beginning of {len(fits)} runs: {', '.join(fits[:3])}; give more digits"
            )
        short = {one[: max(len(digest), 8)] for one in known}
        all_of_them = f"`descentlab curvature --store {self.root}` lists all"
        hint = nearest(digest, short) if len(short) < 10 else all_of_them
        raise StoreError(f"there is no run {digest!r} in {self.root}; {hint}")

    def experiment(self, digest: str, files: Sequence[str | Path] = ()) -> Experiment:
        """The experiment kept under a digest, also where its lanes are of another version and are not reused.

        Args:
            digest: its digest.
            files: Python files that define classes of it; nothing is imported only because a definition names it.

        Raises:
            StoreError: if there is none, it cannot be made here, or a given array of it is missing or damaged.
            DefinitionError: if a class of it is neither of the package, nor imported already, nor in a named file.
        """
        found = self.subject(digest, files)
        if not isinstance(found, Experiment):
            raise StoreError(f"run {digest} is of the class {type(found).__name__}, which is no experiment")
        return found

    def subject(self, digest: str, files: Sequence[str | Path] = ()) -> Definition:
        """What was kept under a digest, which need not be an experiment; arguments and errors are those of that."""
        parts = self._parts(digest, seen)
        whole = [part for part in parts if part.usable] + [part for part in parts if part.state == State.SUPERSEDED]
        if not whole:
            notes = "; ".join(f"{part.path} is {part.state.value}: {part.reason}" for part in parts)
            raise StoreError(f"there is no run {digest} in {self.root}{f' ({notes})' if notes else ''}")
        try:
            found = self._made(header_of(whole[0].path)["definition"], files)
        except StoreError as error:
            raise StoreError(f"run {digest}: {error}; its definition is in {whole[0].path / HEADER}") from error
        if whole[0].usable and digest_of(found) != digest:
            raise StoreError(f"the classes of run {digest} have changed since it was stored; run it again")
        return found

    def _made(self, definition: Any, files: Sequence[str | Path]) -> Definition:
        """What a kept definition describes.

        Raises:
            StoreError: if it cannot be made here, or a given array of it is missing or damaged.
            DefinitionError: if a class of it is missing, or has other fields.
        """
        try:
            found = restore(definition, self._arrays, files)
        except (_files.Damage, OSError) as error:
            raise StoreError(
                f"a given array cannot be used ({error}); the study that made the run writes it anew"
            ) from error
        except DefinitionError:
            raise
        except Exception as error:  # whatever the classes that it names make of its fields
            raise StoreError(f"the definition cannot be made here ({error})") from error
        if not isinstance(found, Definition):
            raise StoreError("what is kept describes nothing that can be made")
        return found

    def obstacle(self, entry: Entry, files: Sequence[str | Path] = ()) -> str:
        """Why the definition of a run is but data here, which nothing can be made of; empty where it can be made.

        Args:
            entry: of the run.
            files: as of `experiment`.
        """
        try:
            self._made(entry.definition, files)
        except (StoreError, DefinitionError) as error:
            return str(error)
        return ""

    def table(self) -> pl.DataFrame:
        """All recorded series of all runs that can be used: digest, seed, step, probe, index, value.

        What is left out is logged.
        """
        parts = [part for digest in self._digests() for part in self._parts(digest)]
        for part in parts:
            if not part.usable:
                _log.warning("left out of the table: %s is %s: %s", part.path, part.state.value, part.reason)
        return tables([part.path for part in parts if part.usable])


_DIGEST = re.compile("[0-9a-f]{32}")
