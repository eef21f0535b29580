"""
=============
Noise removal
=============

:class:`~skae.DenoisingAutoencoder` is trained to reconstruct samples from noisy copies.
It starts at the best linear model for its noise, which removes noise better than PCA. The
trained network replaces it only if the validation loss is lower.
"""

# %%
# Noisy digits
# ------------
# The standard deviation of the noise is half the range of the pixels. It is the `level`
# of the noise, in the units of X with ``relative=False``.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import DenoisingAutoencoder
from skae.networks import DenseNetwork
from skae.noise import GaussianNoise
from skae.plotting import ReconstructionDisplay

X, _ = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X / 16, random_state=0)
noise = np.random.default_rng(0).normal(scale=0.5, size=X_test.shape)
X_noisy = np.clip(X_test + noise, 0, 1)

# %%
# Three models with 16 components
# -------------------------------
# With ``max_iter=0`` the denoiser stays at its linear initialisation ("linear start"
# below).


def denoiser(**params):
    return DenoisingAutoencoder(
        16,
        network=DenseNetwork(hidden_layer_sizes=(256, 128)),
        noise=GaussianNoise(0.5, relative=False, clip=(0, 1)),
        random_state=0,
        **params,
    )


models = {
    "PCA": PCA(16),
    "linear start": denoiser(max_iter=0),
    "trained": denoiser(max_iter=300),
}

# %%
# The peak signal-to-noise ratio is in decibels. A higher ratio means that the result is
# closer to the clean digits.


def psnr(X_clean, X_other):
    return -10 * np.log10(np.mean((X_clean - X_other) ** 2))


print(f"{'noisy digits':<14}{psnr(X_test, X_noisy):>6.2f} dB")
figure, axes = plt.subplots(3, 1, figsize=(9, 9), layout="constrained")
for (name, model), ax in zip(models.items(), axes, strict=True):
    model.fit(X_train)
    X_denoised = model.inverse_transform(model.transform(X_noisy))
    found = psnr(X_test, X_denoised)
    print(f"{name:<14}{found:>6.2f} dB")
    ReconstructionDisplay.from_predictions(X_test, X_denoised, X_noisy=X_noisy, ax=ax)
    ax.set_title(f"{name}: {found:.2f} dB")
plt.show()
