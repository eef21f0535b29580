"""load: read a fitted estimator from a file."""

from __future__ import annotations

from os import PathLike
from typing import Any

from skae._autoencoder import AutoencoderTransformer
from skae._denoising import DenoisingAutoencoder
from skae._estimator import files
from skae._variational import VAETransformer
from skae.outliers import ReconstructionOutlierDetector

ESTIMATORS = {
    kind.__name__: kind
    for kind in (AutoencoderTransformer, DenoisingAutoencoder, VAETransformer)
}


def load(path: str | PathLike[str]) -> Any:
    """Load an estimator from a file that its method `save` has written.

    Loading runs and imports no code of the file, and needs no TensorFlow before the
    estimator is used. A file may contain an estimator of skae with parameters that are
    numbers, strings, arrays, or networks, noises and likelihoods of skae.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : AutoencoderTransformer, DenoisingAutoencoder, VAETransformer or \
            ReconstructionOutlierDetector
        The fitted estimator. Its results are bitwise equal to those of the saved one.

    Raises
    ------
    TypeError
        If `path` is not a path.

    ValueError
        If the file is corrupt, down to a single byte, or if this version of skae can't
        read it.

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
    return files.read(path, ESTIMATORS, ReconstructionOutlierDetector)
