"""load: the estimator that a file holds."""

from __future__ import annotations

from os import PathLike

from skae._autoencoder import AutoencoderTransformer
from skae._denoising import DenoisingAutoencoder
from skae._estimator import files
from skae._variational import VAETransformer

ESTIMATORS = {
    kind.__name__: kind
    for kind in (AutoencoderTransformer, DenoisingAutoencoder, VAETransformer)
}


def load(
    path: str | PathLike[str],
) -> AutoencoderTransformer | DenoisingAutoencoder | VAETransformer:
    """Load an estimator from a file that its method `save` has written.

    Nothing that the file says is run or imported, and no TensorFlow is needed before the
    estimator is used. What a file may hold is an estimator of skae with parameters that
    are numbers, strings, arrays, or networks, noises and likelihoods of skae.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : AutoencoderTransformer, DenoisingAutoencoder or VAETransformer
        The fitted estimator, which gives the same bits as the one that was saved.

    Raises
    ------
    TypeError
        If `path` is no path.

    ValueError
        If a byte of the file is not as it was written, or the file is not one that this
        version of skae can read.

    See Also
    --------
    AutoencoderTransformer.save : Writes such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import skae
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data[:200]
    >>> autoencoder = skae.AutoencoderTransformer(4, max_iter=2).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "autoencoder.skae")
    ...     autoencoder.save(path)
    ...     loaded = skae.load(path)
    >>> bool((loaded.transform(X) == autoencoder.transform(X)).all())
    True
    """
    return files.read(path, ESTIMATORS)
