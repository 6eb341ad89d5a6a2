"""Data sets on disk: one file a data set."""

from descentlab.datasets.base import AbstractDataset, DataError, Examples, Splits
from descentlab.datasets.imdb import IMDb

__all__ = ["AbstractDataset", "DataError", "Examples", "IMDb", "Splits"]
