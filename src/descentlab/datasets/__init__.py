"""Data sets on disk: one file a data set."""

from descentlab.datasets.base import AbstractDataset, DataError
from descentlab.datasets.imdb import IMDb

__all__ = ["AbstractDataset", "DataError", "IMDb"]
