"""What a stopped sweep goes on from: the plan of its batches, and a checkpoint of the batch that it was at.

The size of a batch decides bits, so the plan is written down before the first step. Both files carry their SHA-256 and
say what they belong to. One that is damaged, or belongs to something else, is set aside and named; what it would have
saved is computed.

`plan.json` holds the names of the lanes of each batch and the definitions of their experiments. `batch-N.safetensors`
holds the step that comes next, what each probe has recorded (`records/NAME`, a leading lane axis) at which steps
(`steps/NAME`), how the lanes stand (`status`, `ended`), and by number what else the next step needs. So another
program can follow a run: see `descentlab.running`.
"""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from safetensors.numpy import load, save

from descentlab import _files as files
from descentlab._describe import describe
from descentlab._types import Array
from descentlab.axis import axes_data
from descentlab.experiment import Experiment
from descentlab.parts import Part, State
from descentlab.step import Carry
from descentlab.store import Store, StoreError

__all__ = ["Checkpoint", "SweepPlan", "clean", "folders", "of_batch", "read_about", "read_plan", "unfinished"]

_log = logging.getLogger(__name__)

PLAN = "plan.json"

Batches = Sequence[Sequence[str]]
"""The names of the lanes of each batch."""


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """The batches of a sweep that has not ended, in a folder of the store.

    Attributes:
        store: where it lies.
        structure: of its lanes; who holds the lock of that name may change the folder.
        name: hash of all that determines the batches.
    """

    store: Store
    structure: str
    name: str

    @property
    def folder(self) -> Path:
        """Where plan and checkpoints lie."""
        return self.store.root / ".progress" / f"{self.structure}-{self.name}"

    def found(self) -> Batches | None:
        """The batches that were written down, if any.

        Raises:
            StoreError: if the plan may not be read, or is damaged and cannot be set aside.
        """
        try:
            with _shown(self.folder / PLAN):
                return read_plan(self.folder)["batches"]
        except files.Damage as error:
            _set_aside(self.store, self.folder / PLAN, error, "the batches are planned again")
            return None

    def write(self, batches: Batches, experiments: Mapping[str, Experiment]) -> None:
        """Write the batches down.

        Args:
            batches: the names of the lanes of each.
            experiments: of the lanes, by digest.

        Raises:
            StoreError: if that cannot be done.
        """
        definitions = {digest: describe(one) for digest, one in experiments.items()}
        plan = {"sha256": files.BLANK, "plan": self.folder.name, "batches": batches, "definitions": definitions}
        self.store.replace_file(self.folder / PLAN, files.seal(json.dumps(plan).encode()))

    def checkpoint(self, number: int, batch: Sequence[str]) -> "Checkpoint":
        """That of a batch."""
        return Checkpoint(self.store, of_batch(self.folder, number), tuple(batch))

    def forget(self) -> None:
        """Remove the folder, once all lanes are kept.

        Raises:
            StoreError: if it cannot be removed.
        """
        self.store.remove(self.folder)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a batch between two segments.

    Attributes:
        store: where it lies.
        path: its file.
        lanes: the names of the batch's lanes.
    """

    store: Store
    path: Path
    lanes: tuple[str, ...]

    def save(self, step: int, carry: Carry, experiment: Experiment) -> None:
        """Put it in the place of the last one.

        Args:
            step: which comes next.
            carry: before it.
            experiment: of one of the lanes; all have the same probes at the same steps.

        Raises:
            StoreError: if it cannot be written.
        """
        probes = experiment.probes.items()
        axes = {name: axes_data(probe.axes(carry.params), carry.records[name].shape[2:]) for name, probe in probes}
        about = {
            "sha256": files.BLANK,
            "step": str(step),
            "lanes": json.dumps(self.lanes),
            "axes": json.dumps(axes),
        }
        arrays = _named(carry) | {f"steps/{name}": probe.when.steps(experiment.steps) for name, probe in probes}
        arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        self.store.replace_file(self.path, files.seal(save(arrays, about)))

    def resume(self, carry: Carry) -> tuple[int, Carry]:
        """The step and carry to go on from: those of the checkpoint, or 0 and the given carry where there is none.

        Raises:
            StoreError: if it may not be read, or is damaged and cannot be set aside.
        """
        try:
            with _shown(self.path), files.decoding(self.path.name):
                return self._read(carry)
        except files.Damage as error:
            _set_aside(self.store, self.path, error, "its lanes are computed from their start")
            return 0, carry

    def _read(self, carry: Carry) -> tuple[int, Carry]:
        content = files.read(self.path)
        about = read_about(content)
        if json.loads(about["lanes"]) != list(self.lanes):
            raise files.Damage("it is of other lanes")
        arrays, wanted = load(content), _named(carry)
        found = [arrays.get(name, np.empty(0)) for name in wanted]
        if [(a.shape, a.dtype) for a in found] != [(a.shape, a.dtype) for a in wanted.values()]:
            raise files.Damage("it is of another program")
        dynamic, static = eqx.partition(carry, eqx.is_array)
        return int(about["step"]), eqx.combine(jax.tree.unflatten(jax.tree.structure(dynamic), found), static)


def _named(carry: Carry) -> dict[str, Array]:
    """The arrays of a carry in their order, by the names under which they are stored."""
    named = {}
    for number, (path, array) in enumerate(jax.tree_util.tree_leaves_with_path(eqx.filter(carry, eqx.is_array))):
        field = path[0].name
        if field == "records":
            named[f"records/{path[1].key}"] = array
        else:
            named[field if field in ("status", "ended") else f"carry/{number:04d}"] = array
    return named


def of_batch(folder: Path, number: int) -> Path:
    """The checkpoint of a batch in the folder of its sweep."""
    return folder / f"batch-{number}.safetensors"


def read_about(content: bytes) -> dict[str, str]:
    """What a checkpoint says of itself.

    Raises:
        Damage: if it is not what was written.
    """
    with files.decoding("its header"):
        length = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + length])["__metadata__"]
    if not files.is_sealed(content, about.get("sha256")):
        raise files.Damage("it has changed since it was written")
    return about


def read_plan(folder: Path) -> Mapping[str, Any]:
    """The plan in a folder: `batches`, and `definitions` by digest where it is of this version.

    Raises:
        Damage: if there is none, or not the one that was written.
        OSError: if it cannot be read.
    """
    with files.decoding(PLAN):
        content = files.read(folder / PLAN)
        plan = json.loads(content)
        if isinstance(plan, list):
            raise files.Damage("it is of an earlier version")
        if not files.is_sealed(content, plan.get("sha256")):
            raise files.Damage("it has changed since it was written")
        if plan["plan"] != folder.name:
            raise files.Damage(f"it is of another sweep, {plan['plan']}")
        return plan


def _set_aside(store: Store, path: Path, error: files.Damage, so: str) -> None:
    """Give a file another name and say so; where there is none, nothing is wrong."""
    if not path.is_symlink() and not path.exists():
        return
    new = store.set_aside(path, State.DAMAGED)
    _log.warning("damaged, set aside as %s (%s); %s", new, error, so)


@contextlib.contextmanager
def _shown(path: Path) -> Iterator[None]:
    """Turn the system's refusal to show a file into a sentence."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error.strerror or error}); make it readable, or remove it to begin its lanes anew"
        ) from error


def clean(store: Store) -> None:
    """Remove plans all of whose lanes are kept, except where a process works on them or they may not be removed."""
    try:
        found = folders(store)
    except OSError:
        return
    for path in found:
        structure, _, name = path.name.partition("-")
        with contextlib.suppress(OSError, files.Damage, StoreError), store.lock(structure).acquire(timeout=0):
            lanes = {lane for batch in read_plan(path)["batches"] for lane in batch}
            wanted = {digest: store.seeds(digest) for digest in {lane.partition("/")[0] for lane in lanes}}
            if all(int(lane.partition("/")[2]) in wanted[lane.partition("/")[0]] for lane in lanes):
                SweepPlan(store, structure, name).forget()


def unfinished(store: Store) -> list[Part]:
    """The folders of sweeps that have not ended, their files verified."""
    found: list[Part] = []
    try:
        every = folders(store)
    except OSError as error:
        return [Part(store.root / ".progress", State.UNREADABLE, f"cannot be read: {error}")]
    for folder in every:
        try:
            plan = read_plan(folder)
            for path in sorted(folder.iterdir()):
                if path.suffix == ".safetensors":
                    read_about(files.read(path))
            if "definitions" in plan:
                found.append(Part(folder, State.WHOLE))
            else:
                found.append(Part(folder, State.SUPERSEDED, "a sweep of an earlier version, which had not ended"))
        except files.Damage as error:
            found.append(Part(folder, State.DAMAGED, str(error)))
        except OSError as error:
            found.append(Part(folder, State.UNREADABLE, f"cannot be read: {error}"))
    return found


def folders(store: Store) -> list[Path]:
    """The folders of sweeps that have not ended.

    Raises:
        OSError: if they cannot be listed.
    """
    place = store.root / ".progress"
    return sorted(place.iterdir()) if place.is_dir() else []
