"""Runs in progress as another program sees them, from the plans and the last checkpoints in a store.

Nothing is imported for it and nothing is locked: a definition is data, a record has the names of its probe and of the
entries of its last axis.
"""

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from descentlab import _files as files
from descentlab.axis import axes_of
from descentlab.checkpoint import folders, of_batch, read_about, read_plan
from descentlab.status import Status
from descentlab.store import Store
from descentlab.trajectory import Series

__all__ = ["Running", "running"]


@dataclasses.dataclass(frozen=True)
class Running:
    """Lanes of one experiment that are planned and not yet kept, as they stood at the last checkpoint.

    Attributes:
        digest: of the experiment.
        definition: of it, as data.
        seeds: of the lanes, in order.
        step: which comes next; 0 where none was saved yet.
        series: what was recorded so far, by the name of the probe; empty where none was saved yet.
        status: of each lane, `FINISHED` while it goes on.
        ended: the step at which a lane stopped early, -1 while it goes on.
    """

    digest: str
    definition: Mapping[str, Any]
    seeds: tuple[int, ...]
    step: int
    series: Mapping[str, Series]
    status: tuple[Status, ...]
    ended: tuple[int, ...]


def running(store: Store) -> list[Running]:
    """All lanes of a store that are planned and not yet kept; sweeps that were stopped are among them.

    What is damaged, or of an earlier version, is left out: `descentlab check --store` names it.

    Raises:
        StoreError: if the system refuses to show a finished run, so that it is not known what is kept.
        OSError: if the sweeps cannot be listed.
    """
    found = []
    for folder in folders(store):
        with contextlib.suppress(files.Damage, OSError):
            plan = read_plan(folder)
            for number, lanes in enumerate(plan["batches"] if "definitions" in plan else ()):
                found += _of_batch(store, plan["definitions"], lanes, of_batch(folder, number))
    return found


def _of_batch(store: Store, definitions: Mapping[str, Any], lanes: Sequence[str], path: Path) -> list[Running]:
    """The lanes of one batch that are not kept."""
    places: dict[str, dict[int, int]] = {}  # by digest and seed; a batch may repeat a lane to be full
    for place, lane in enumerate(lanes):
        digest, _, seed = lane.partition("/")
        places.setdefault(digest, {}).setdefault(int(seed), place)
    about, arrays = _saved(path)
    found = []
    for digest, wanted in places.items():
        kept = store.seeds(digest)
        left = {seed: place for seed, place in sorted(wanted.items()) if seed not in kept}
        if left:
            found.append(_lanes(digest, definitions[digest], left, about, arrays))
    return found


def _saved(path: Path) -> tuple[Mapping[str, str], Mapping[str, np.ndarray]]:
    """What a checkpoint says of itself, and its arrays; nothing where there is none."""
    if not path.exists():
        return {}, {}
    content = files.read(path)
    return read_about(content), load(content)


def _lanes(
    digest: str,
    definition: Mapping[str, Any],
    places: Mapping[int, int],
    about: Mapping[str, str],
    arrays: Mapping[str, np.ndarray],
) -> Running:
    """Some lanes of a batch, by seed their places in its arrays."""
    seeds, chosen = tuple(places), np.fromiter(places.values(), dtype=np.int64)
    if not arrays:
        return Running(digest, definition, seeds, 0, {}, (Status.FINISHED,) * len(seeds), (-1,) * len(seeds))
    step, ended = int(about["step"]), arrays["ended"][chosen]
    series = {}
    for name, axes in json.loads(about["axes"]).items():
        steps = arrays[f"steps/{name}"]
        steps = steps[steps < step]
        values = np.array(arrays[f"records/{name}"][chosen, : len(steps)])
        values[(ended[:, None] >= 0) & (steps > ended[:, None])] = np.nan
        series[name] = Series(steps, values, axes_of(axes)[0])
    status = tuple(Status(int(one)) for one in arrays["status"][chosen])
    return Running(digest, definition, seeds, step, series, status, tuple(int(one) for one in ended))
