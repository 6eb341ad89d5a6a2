"""A sweep that is stopped or at work is read from outside, by name."""

import json
import shutil

import numpy as np
import pytest

from descentlab import Experiment, Status, checkpoint, sweep
from descentlab._describe import describe
from descentlab.data import FullBatch
from descentlab.optim import GD
from descentlab.probes import AttentionShape, Loss
from descentlab.running import Running, running
from descentlab.schedule import Every
from descentlab.store import Store
from descentlab.sweep import Request, grid, run
from descentlab.tasks import TokenRegression

BASE = Experiment(
    task=TokenRegression(tokens=3, dim=4),
    data=FullBatch(2),
    optimizer=GD(lr=0.05),
    probes={"the loss": Loss(Every()), "shape": AttentionShape(Every(20))},
    steps=300,
)

FALLEN, OTHER = grid(BASE, {"optimizer.lr": [1e30, 0.05]})


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A store with a sweep of two experiments that was stopped half way, one of which diverges."""
    store = Store(tmp_path_factory.mktemp("stopped") / "runs")

    def stop(done: int, total: int, note: str) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "SEGMENT_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            run(REQUESTS, store=store, progress=stop)
    return store


REQUESTS = [Request(OTHER, (0, 1)), Request(FALLEN, (0,))]


def by_digest(store: Store) -> dict[str, Running]:
    return {one.digest: one for one in running(store)}


def test_a_stopped_sweep_is_read_by_name(stopped, tmp_path):
    found = by_digest(stopped)
    assert found.keys() == {FALLEN.digest, OTHER.digest}
    one = found[OTHER.digest]
    assert one.definition == json.loads(json.dumps(describe(OTHER)))
    assert one.seeds == (0, 1)
    assert 100 < one.step <= 300
    assert (one.status, one.ended) == ((Status.FINISHED,) * 2, (-1, -1))
    finished, fallen = run(REQUESTS, store=Store(tmp_path / "whole"))
    for name in ("the loss", "shape"):
        whole, so_far = finished[name], one.series[name]
        count = np.searchsorted(whole.steps, one.step)
        np.testing.assert_array_equal(so_far.steps, whole.steps[:count])
        assert so_far.values.tobytes() == whole.values[:, :count].tobytes()
        assert so_far.axes == whole.axes
    assert one.series["shape"].steps[-1] == (one.step - 1) // 20 * 20
    lost = found[FALLEN.digest]
    assert (lost.status, lost.ended) == ((Status.DIVERGED,), fallen.ended)
    seen = lost.series["the loss"].values
    assert seen.tobytes() == fallen["the loss"].values[:, : seen.shape[1]].tobytes()
    assert np.isnan(seen[0, -1])


def test_what_is_kept_is_no_longer_running_and_what_has_no_checkpoint_is_at_its_start(stopped, tmp_path):
    store = Store(shutil.copytree(stopped.root, tmp_path / "runs"))
    ((path),) = (store.root / ".progress").glob("*/batch-0.safetensors")
    path.unlink()
    assert [(one.step, one.series, one.ended) for one in running(store)] == [(0, {}, (-1, -1)), (0, {}, (-1,))]
    run([Request(OTHER, (0,))], store=store)
    assert by_digest(store)[OTHER.digest].seeds == (1,)
    run(REQUESTS, store=store)
    assert running(store) == []


@pytest.mark.parametrize("name", ["plan.json", "batch-0.safetensors"])
def test_what_is_damaged_is_left_out(stopped, tmp_path, name):
    store = Store(shutil.copytree(stopped.root, tmp_path / "runs"))
    ((path),) = (store.root / ".progress").glob(f"*/{name}")
    path.write_bytes(path.read_bytes()[:-9])
    assert running(store) == []


def test_a_plan_without_definitions_is_of_an_earlier_version(tmp_path):
    store = Store(tmp_path)
    plan = checkpoint.SweepPlan(store, "0" * 32, "1" * 32)
    text = json.dumps({"sha256": checkpoint.files.BLANK, "plan": plan.folder.name, "batches": [["2/0"]]})
    plan.folder.mkdir(parents=True)
    (plan.folder / "plan.json").write_bytes(checkpoint.files.seal(text.encode()))
    assert running(store) == []
    assert [part.state.value for part in checkpoint.unfinished(store)] == ["superseded"]
    assert running(Store(tmp_path / "none")) == []
