"""Data sets on disk: one file a data set."""

from descentlab.datasets.base import AbstractDataset, DataError
from descentlab.datasets.imdb import IMDb
from descentlab.datasets.marked import Marked
from descentlab.datasets.mnist import MNIST
from descentlab.datasets.pathfinder import Pathfinder
from descentlab.datasets.text import OwnText, own_text

__all__ = ["MNIST", "AbstractDataset", "DataError", "IMDb", "Marked", "OwnText", "Pathfinder", "own_text"]
