"""Data sets on disk: one file a data set."""

from descentlab.datasets.base import AbstractDataset, DataError
from descentlab.datasets.imdb import IMDb
from descentlab.datasets.pathfinder import Pathfinder

__all__ = ["AbstractDataset", "DataError", "IMDb", "Pathfinder"]
