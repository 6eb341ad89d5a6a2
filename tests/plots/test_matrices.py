"""Matrices as pictures."""

import numpy as np
import pytest

from descentlab.plots.matrices import MOST_CELLS, block_matrix


def test_colours_are_logarithms_of_sizes_with_a_floor():
    values = np.array([[1.0, -0.1, 0.0], [1e-3, 10.0, 1.0], [1e-12, 1.0, -1.0]])
    figure = block_matrix("m", values, {"a": 1, "b": 2}, floor=1e-6)
    np.testing.assert_allclose(figure.data[0].z, [[0, -1, -6], [-3, 1, 0], [-6, 0, 0]], atol=1e-6)


def test_large_matrices_become_geometric_means_of_neighbours():
    count = 2 * MOST_CELLS
    values = np.ones((count, count))
    values[:2, :2] = [[1, 10], [100, 1000]]
    cells = block_matrix("m", values, {"all": count}, floor=1e-6).data[0].z
    assert cells.shape == (MOST_CELLS, MOST_CELLS)
    assert cells[0, 0] == pytest.approx(1.5)
    assert np.all(cells.ravel()[1:] == 0)


def test_names_stand_in_the_middle_and_borders_between():
    figure = block_matrix("m", np.ones((6, 6)), {"a": 2, "b": 4}, floor=1e-6)
    assert list(figure.layout.xaxis.ticktext) == list(figure.layout.yaxis.ticktext) == ["a", "b"]
    np.testing.assert_array_equal(figure.layout.xaxis.tickvals, [1, 4])
    assert [shape.x0 for shape in figure.layout.shapes] == [2, 0]
    assert [shape.y0 for shape in figure.layout.shapes] == [0, 2]


@pytest.mark.parametrize("shape", [(3, 4), (4, 4)])
def test_blocks_that_do_not_fill_the_matrix_are_refused(shape):
    with pytest.raises(ValueError, match=r"wants a matrix of 3 x 3 .*, got \(\d, 4\)"):
        block_matrix("m", np.ones(shape), {"a": 1, "b": 2}, floor=1e-6)
