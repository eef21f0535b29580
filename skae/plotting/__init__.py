"""Displays of an autoencoder's reconstructions, codes, components and losses."""

from skae.plotting._code import CodeDisplay
from skae.plotting._components import ComponentsDisplay, ExplainedVarianceDisplay
from skae.plotting._latent import LatentManifoldDisplay, LatentSpaceDisplay
from skae.plotting._loss import LossCurveDisplay
from skae.plotting._reconstruction import ReconstructionDisplay
from skae.plotting._traversal import TraversalDisplay

__all__ = [
    "CodeDisplay",
    "ComponentsDisplay",
    "ExplainedVarianceDisplay",
    "LatentManifoldDisplay",
    "LatentSpaceDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
    "TraversalDisplay",
]
