"""skae: the autoencoder that scikit-learn lacks."""

from skae._autoencoder import AutoencoderTransformer
from skae._variational import VAETransformer

__version__ = "0.1.0.dev0"

__all__ = ["AutoencoderTransformer", "VAETransformer"]
