"""Landscapes of a loss: directions, segments and planes, the loss on a grid, and what can be said of it in numbers."""

from descentlab.landscape.directions import balanced as balanced
from descentlab.landscape.directions import off_scaling as off_scaling
from descentlab.landscape.directions import random_direction as random_direction
from descentlab.landscape.measures import Minima as Minima
from descentlab.landscape.measures import barrier as barrier
from descentlab.landscape.measures import laplacian as laplacian
from descentlab.landscape.measures import local_minima as local_minima
from descentlab.landscape.measures import negative_share as negative_share
from descentlab.landscape.planes import NoPlane as NoPlane
from descentlab.landscape.planes import Place as Place
from descentlab.landscape.planes import Slice as Slice
from descentlab.landscape.planes import common_plane as common_plane
from descentlab.landscape.planes import random_plane as random_plane
from descentlab.landscape.planes import segment as segment
from descentlab.landscape.planes import trajectory_plane as trajectory_plane
from descentlab.landscape.surfaces import Surface as Surface
from descentlab.landscape.surfaces import along as along
from descentlab.landscape.surfaces import surface as surface
