"""Published numbers: a table in a CSV file beside a study, each number as it is printed."""

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from descentlab.mistake import Mistake
from descentlab.statistics import printed

__all__ = ["Published", "read_published"]


@dataclasses.dataclass(frozen=True)
class Published:
    """Numbers with what names them.

    Attributes:
        rows: the fields of every number by column, as text; the column `printed` has its digits.
    """

    rows: tuple[Mapping[str, str], ...]

    def of(self, **fields: str | int) -> "Published":
        """The numbers whose rows have these fields, in order.

        Raises:
            Mistake: if there is none.
        """
        wanted = {column: str(field) for column, field in fields.items()}
        rows = tuple(row for row in self.rows if wanted.items() <= row.items())
        if not rows:
            raise Mistake(f"wanted published numbers with {wanted}, but no row has that; look into the table")
        return Published(rows)

    def column(self, name: str) -> list[str]:
        """A column as text.

        Raises:
            KeyError: if there is no such column.
        """
        return [row[name] for row in self.rows]

    @property
    def values(self) -> np.ndarray:
        """The numbers, one a row."""
        return np.asarray([printed(text).value for text in self.column("printed")])

    @property
    def errors(self) -> np.ndarray:
        """Half a unit of the last digit of each."""
        return np.asarray([printed(text).error for text in self.column("printed")])


def read_published(path: Path) -> Published:
    """The numbers of a CSV file whose first row names the columns, `printed` among them."""
    with path.open(encoding="utf-8", newline="") as file:
        return Published(tuple(csv.DictReader(file)))
