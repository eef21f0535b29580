"""skae: the autoencoder that scikit-learn lacks."""

from skae._autoencoder import AutoencoderTransformer
from skae._denoising import DenoisingAutoencoder
from skae._load import load
from skae._variational import VAETransformer
from skae._version import __version__

__all__ = [
    "AutoencoderTransformer",
    "DenoisingAutoencoder",
    "VAETransformer",
    "__version__",
    "load",
]
