"""Data sets on disk: one file a data set."""

from descentlab.datasets.base import AbstractDataset, Examples, Splits

__all__ = ["AbstractDataset", "Examples", "Splits"]
