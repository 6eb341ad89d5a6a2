"""Records by name, step and label."""

import dataclasses

import numpy as np
import pytest

from descentlab.axis import Axis
from descentlab.status import Status
from descentlab.trajectory import Series, Trajectory, joined

STEPS = np.array([0, 1, 5])


def trajectory(seed, status=Status.FINISHED):
    values = seed + np.arange(6.0).reshape(1, 3, 2)
    return Trajectory(
        seeds=(seed,),
        series={
            "norm": Series(STEPS, values, (Axis("block", ("query", "key")),)),
            "loss": Series(STEPS, values[..., 0]),
        },
        final={"query": np.full((1, 2), seed)},
        status=(status,),
        ended=(-1 if status == Status.FINISHED else 5,),
    )


def test_lanes_are_joined_in_order_and_taken_apart_again():
    both = joined([trajectory(3), trajectory(8, Status.DIVERGED)])
    assert both.seeds == (3, 8)
    assert both.finished.tolist() == [True, False]
    back = both.lanes(np.array([1]))
    assert back.seeds == (8,)
    assert back.ended == (5,)
    np.testing.assert_array_equal(back["norm"].values, trajectory(8)["norm"].values)
    np.testing.assert_array_equal(both.lanes(np.array([1, 0])).final["query"], [[8, 8], [3, 3]])


def test_records_are_found_by_label_and_step():
    series = trajectory(0)["norm"]
    assert series.sel(block="key").values.tolist() == [[1, 3, 5]]
    assert series.at(5).tolist() == [[4, 5]]
    assert series.before(1).values.tolist() == [[[0, 1], [2, 3]]]
    assert series.before(1).axes == series.axes
    assert series.before(1).entries("block") == ("query", "key")


@pytest.fixture
def cube():
    """A number a lane, record, layer, quantity and neuron, all of them different."""
    axes = Axis("layer"), Axis("quantity", ("entropy", "row_sum")), Axis("neuron")
    return Series(STEPS, np.arange(2 * 3 * 4 * 2 * 5.0).reshape(2, 3, 4, 2, 5), axes)


def test_entries_are_selected_along_any_axes_in_any_order(cube):
    values = cube.values
    one = cube.sel(quantity="row_sum")
    assert [axis.name for axis in one.axes] == ["layer", "neuron"]
    np.testing.assert_array_equal(one.values, values[:, :, :, 1])
    np.testing.assert_array_equal(cube.sel(neuron=4, layer=2).values, values[:, :, 2, :, 4])
    np.testing.assert_array_equal(one.sel(neuron=0).sel(layer=3).values, values[:, :, 3, 1, 0])
    assert cube.sel(layer=0, quantity="entropy", neuron=1).axes == ()
    assert cube.sel().axes == cube.axes
    assert cube.entries("layer") == (0, 1, 2, 3)
    np.testing.assert_array_equal(joined_series(cube).sel(layer=1).values, np.tile(values[:, :, 1], (2, 1, 1, 1)))


def joined_series(series):
    """Of two trajectories with the same record."""
    one = Trajectory((0, 1), {"cube": series}, {}, (Status.FINISHED,) * 2, (-1, -1))
    return joined([one, dataclasses.replace(one, seeds=(2, 3))])["cube"]


@pytest.mark.parametrize("wrong", [{"layer": 4}, {"layer": -1}, {"layer": "0"}, {"quantity": 0}])
def test_an_entry_that_is_not_there_is_refused(cube, wrong):
    with pytest.raises(KeyError, match="has no entry .*; known are"):
        cube.sel(**wrong)


@pytest.mark.parametrize(
    "axes",
    [
        (),
        (Axis("layer"),),
        (Axis("layer"), Axis("neuron", ("a", "b", "c"))),
        (Axis("layer"), Axis("layer")),
        (Axis("layer"), Axis("neuron"), Axis("head")),
    ],
)
def test_axes_name_every_axis_once(axes):
    with pytest.raises(ValueError, match=r"the axes of a series must name every axis of the shape \(4, 2\) once"):
        Series(STEPS, np.zeros((1, 3, 4, 2)), axes)


@pytest.mark.parametrize("name", ["step", "value", "two words", ""])
def test_an_axis_has_a_name_of_its_own(name):
    with pytest.raises(ValueError, match="an axis needs an identifier other than digest, seed"):
        Axis(name)
    with pytest.raises(ValueError, match="labels of the axis 'part' must differ, got a, a"):
        Axis("part", ("a", "a"))


def test_what_was_not_recorded_is_named_with_what_was():
    with pytest.raises(KeyError, match="did you mean loss"):
        trajectory(0)["los"]
    with pytest.raises(KeyError, match="did you mean query"):
        trajectory(0)["norm"].sel(block="quer")
    with pytest.raises(KeyError, match="no axis 'blok' was recorded; did you mean block"):
        trajectory(0)["norm"].sel(blok="query")
    with pytest.raises(KeyError, match="no axis 'block' was recorded; a record is a single number"):
        trajectory(0)["loss"].sel(block="query")
    with pytest.raises(KeyError, match="step 2 was not recorded"):
        trajectory(0)["norm"].at(2)


def test_every_status_has_a_sentence():
    assert len({status.sentence for status in Status}) == len(Status)
