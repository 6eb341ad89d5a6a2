"""Counts of single operators against loops that do them entry by entry."""

import numpy as np
import pytest

from descentlab.cost.operators import Elementwise, Matmul, convolution, total


def multiply_adds(rows, inner, columns):
    """Products and additions of a matrix product, counted while it is done."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rows, inner)), rng.normal(size=(inner, columns))
    out, products, additions = np.zeros((rows, columns)), 0, 0
    for i in range(rows):
        for j in range(columns):
            out[i, j] = a[i, 0] * b[0, j]
            products += 1
            for k in range(1, inner):
                out[i, j] += a[i, k] * b[k, j]
                products, additions = products + 1, additions + 1
    assert np.allclose(out, a @ b)
    return products + additions


@pytest.mark.parametrize("sizes", [(2, 3, 5), (4, 1, 1), (1, 7, 2)])
def test_a_product_costs_what_a_loop_over_its_entries_does(sizes):
    rows, inner, columns = sizes
    plain = Matmul("x", "ffn", *sizes)
    assert plain.flops == multiply_adds(*sizes)
    assert Matmul("x", "ffn", *sizes, bias=True).flops == plain.flops + rows * columns
    assert Matmul("x", "ffn", *sizes, full=True).flops == plain.flops + rows * columns
    assert plain.moved == rows * inner + inner * columns + rows * columns
    assert Matmul("x", "ffn", *sizes, count=3).flops == 3 * plain.flops


@pytest.mark.parametrize(("kernel", "size", "stride"), [(1, 4, 1), (3, 4, 1), (3, 3, 2)])
def test_a_convolution_costs_what_a_loop_over_its_windows_does(kernel, size, stride):
    before, after = 2, 3
    side = size * stride
    image = np.pad(np.ones((before, side, side)), ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    products = 0
    for i in range(size):
        for j in range(size):
            window = image[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            products += after * window.size
    found = convolution("c", (before, after), kernel, size, stride=stride)
    assert found.flops == 2 * products
    assert found.moved == before * side**2 + before * after * kernel**2 + after * size**2


def test_an_elementwise_operator_counts_reads_writes_and_its_parameters():
    found = Elementwise("norm", "other", 10, 8, reads=2, parameters=4, count=3)
    assert found.flops == 3 * 80
    assert found.moved == 3 * (2 * 10 + 10 + 4)


def test_totals_sum_the_last_axis_and_keep_candidates():
    widths = np.array([[2, 4], [8, 16], [1, 1]])
    one = Matmul("x", "ffn", widths, 3, 5, bias=True)
    other = Elementwise("y", "other", 7, 1, count=np.array([[1, 0]]))
    assert total([one], "flops").tolist() == [2 * 3 * 5 * 6, 2 * 3 * 5 * 24, 2 * 3 * 5 * 2]
    assert total([one, other], "flops").tolist() == (total([one], "flops") + 7).tolist()
    assert total([one, other], "flops", "other").tolist() == [7]
    assert total([], "flops") == 0
