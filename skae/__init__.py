"""skae: the autoencoder that scikit-learn lacks."""

from skae._autoencoder import AutoencoderTransformer
from skae._variational import VAETransformer
from skae._version import __version__

__all__ = ["AutoencoderTransformer", "VAETransformer", "__version__"]
