"""Published numbers with half a unit of the last digit, found by what names them."""

import pytest

from descentlab.mistake import Mistake
from descentlab.published import read_published

TABLE = 'table,row,printed\n1,"first, of two",.04\n1,second,7.250\n2,first,3e-7\n'


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text(TABLE)
    return read_published(path)


def test_numbers_have_half_a_unit_of_the_last_digit(table):
    assert table.values.tolist() == [0.04, 7.25, 3e-7]
    assert table.errors.tolist() == [0.005, 0.0005, 5e-8]


def test_numbers_are_found_by_fields_as_text_or_number(table):
    assert table.of(table=1).column("row") == ["first, of two", "second"]
    assert table.of(table="1", row="second").values.tolist() == [7.25]


def test_a_row_that_is_not_there_is_a_mistake(table):
    with pytest.raises(Mistake, match="no row has that"):
        table.of(table=3)
