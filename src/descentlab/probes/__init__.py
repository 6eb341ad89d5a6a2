"""Probes: what a run records."""

from descentlab.axis import Axis as Axis
from descentlab.probes.attention import AttentionShape as AttentionShape
from descentlab.probes.attention import LayerAttention as LayerAttention
from descentlab.probes.base import AbstractProbe as AbstractProbe
from descentlab.probes.gradient import Distance as Distance
from descentlab.probes.gradient import GradientNorm as GradientNorm
from descentlab.probes.gradient import PLRatio as PLRatio
from descentlab.probes.held_out import HeldOut as HeldOut
from descentlab.probes.held_out import PopulationLoss as PopulationLoss
from descentlab.probes.loss import Loss as Loss
from descentlab.probes.loss import StepSize as StepSize
from descentlab.probes.parameters import Parameters as Parameters
from descentlab.probes.sharpness import CriticalSharpness as CriticalSharpness
from descentlab.probes.sharpness import Sharpness as Sharpness
from descentlab.probes.spectra import FeatureSpectrum as FeatureSpectrum
from descentlab.probes.spectra import GramSpectrum as GramSpectrum
from descentlab.probes.spectra import ModalSpectrum as ModalSpectrum
from descentlab.probes.spectra import TokenRank as TokenRank
from descentlab.probes.spectra import feature_matrix as feature_matrix
