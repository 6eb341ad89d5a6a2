"""Runs that can be looked at again: one with its lanes, and many of which some are chosen."""

from descentlab.runs.families import Family as Family
from descentlab.runs.families import Runs as Runs
from descentlab.runs.families import case_of as case_of
from descentlab.runs.lane import SAMPLES as SAMPLES
from descentlab.runs.lane import TrainedLane as TrainedLane
from descentlab.runs.run import Run as Run
from descentlab.runs.run import find as find
from descentlab.runs.run import load as load
