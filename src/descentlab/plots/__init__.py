"""Figures of the laboratory: curves, heat maps, bars, rooflines, and the one style they share."""

from descentlab.plots.bars import distributions as distributions
from descentlab.plots.bars import stacked_bars as stacked_bars
from descentlab.plots.curves import ChartAxis as ChartAxis
from descentlab.plots.curves import add_band as add_band
from descentlab.plots.curves import add_level as add_level
from descentlab.plots.curves import add_line as add_line
from descentlab.plots.curves import lines as lines
from descentlab.plots.error_bars import intervals as intervals
from descentlab.plots.heatmaps import Categories as Categories
from descentlab.plots.heatmaps import heat_map as heat_map
from descentlab.plots.landscape import Sheet as Sheet
from descentlab.plots.landscape import contours as contours
from descentlab.plots.landscape import surfaces as surfaces
from descentlab.plots.rooflines import Reached as Reached
from descentlab.plots.rooflines import roofline as roofline
from descentlab.plots.style import case_color as case_color
