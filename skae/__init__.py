"""skae: the autoencoder that scikit-learn lacks."""

from skae._autoencoder import AutoencoderTransformer

__version__ = "0.1.0.dev0"

__all__ = ["AutoencoderTransformer"]
