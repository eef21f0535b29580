"""
============
All Displays
============

Each plot of `skae.plotting` is a Display, as in scikit-learn. They are drawn here for one
autoencoder of the digits, and for a variational one.
"""

# %%
# Two models
# ----------
# The images get a margin of one pixel, which separates them in a grid.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer, VAETransformer
from skae.plotting import (
    CodeDisplay,
    ComponentsDisplay,
    ExplainedVarianceDisplay,
    LatentManifoldDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)

X, y = load_digits(return_X_y=True)
images = X.reshape(-1, 8, 8) / 16
X = np.pad(images, [(0, 0), (1, 1), (1, 1)]).reshape(-1, 100)
autoencoder = AutoencoderTransformer(8, max_iter=60, random_state=0).fit(X)
vae = VAETransformer(
    2,
    likelihood="bernoulli",
    max_iter=60,
    n_iter_no_change=float("inf"),  # always sixty epochs
    random_state=0,
).fit(X)

# %%
# Samples and their reconstructions
# ---------------------------------
ReconstructionDisplay.from_estimator(autoencoder, X, n_samples=8)

# %%
# Codes
# -----
# Eight numbers for each of six samples.
CodeDisplay.from_estimator(autoencoder, X, n_samples=6, code_shape=(4, 2))

# %%
# Codes in the latent space
# -------------------------
LatentSpaceDisplay.from_estimator(vae, X, y)

# %%
# Samples decoded from the latent space
# -------------------------------------
LatentManifoldDisplay.from_estimator(vae, n=10)

# %%
# The effect of each component on the mean sample
# -----------------------------------------------
ComponentsDisplay.from_estimator(autoencoder, components=(0, 1, 2, 3))

# %%
# The effect of one component on some samples
# -------------------------------------------
TraversalDisplay.from_estimator(autoencoder, X, component=0)

# %%
# The variance that each component explains, compared with PCA
# ------------------------------------------------------------
ExplainedVarianceDisplay.from_estimator(autoencoder, X)

# %%
# The losses by epoch, compared with PCA
# --------------------------------------
LossCurveDisplay.from_estimator(autoencoder, X)
plt.show()
