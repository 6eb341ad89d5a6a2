"""Runs of a store as commands name and list them."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from descentlab._check import nearest
from descentlab._describe import value_at
from descentlab.cli.discovery import UsageError
from descentlab.experiment import Experiment
from descentlab.probes import Parameters
from descentlab.store import Store

__all__ = ["label", "listing", "resolved"]


def resolved(run: str, known: Sequence[str], store: Store, command: str) -> str:
    """The digest that is meant.

    Args:
        run: a digest or its first digits.
        known: all digests of the store.
        store: where they are.
        command: which lists them.

    Raises:
        UsageError: if none or several of the store begin so.
    """
    fits = [digest for digest in known if digest.startswith(run)]
    if len(fits) == 1:
        return fits[0]
    if not known:
        raise UsageError(f"there is no run in {store.root}; train something first, or name another --store")
    if fits:
        raise UsageError(f"{run!r} is the beginning of {len(fits)} runs: {', '.join(fits[:3])}; give more digits")
    short = {digest[: max(len(run), 8)] for digest in known}
    hint = nearest(run, short) if len(short) < 10 else f"`descentlab {command} --store {store.root}` lists all"
    raise UsageError(f"there is no run {run!r} in {store.root}; {hint}")


def label(experiment: Experiment) -> str:
    """What a run is called: its kernel where it has one, else its model."""
    model = experiment.model
    part = value_at(model, "attention") if hasattr(model, "attention") else model
    return type(part).__name__.lower()


def listing(store: Store, known: Sequence[str]) -> Table:
    """What the store holds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{len(known)} runs in {store.root}")
    for name in ("run", "task", "kernel", "trained", "steps", "seeds", "path"):
        table.add_column(name)
    for digest in known:
        experiment = store.experiment(digest)
        trained = "all" if experiment.trained is None else " ".join(experiment.trained)
        path = "recorded" if any(isinstance(probe, Parameters) for probe in experiment.probes.values()) else ""
        seeds = str(len(store.has(experiment)))
        task = type(experiment.task).__name__
        table.add_row(digest[:12], task, label(experiment), trained, str(experiment.steps), seeds, path)
    return table
