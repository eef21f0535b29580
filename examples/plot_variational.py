"""
=======================
Variational autoencoder
=======================

A variational autoencoder with a code of two numbers: a map of the digits, and a
generator of new ones.
"""

# %%
# A slice of MNIST
# ----------------
import matplotlib.pyplot as plt
from sklearn.datasets import fetch_openml

from skae import VAETransformer
from skae.networks import DenseNetwork
from skae.plotting import (
    LatentManifoldDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    TraversalDisplay,
)

X, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
X = X.astype("float32") / 255
X_train, X_test, y_test = X[:10000], X[60000:63000], y[60000:63000]

# %%
# The model
# ---------
# Pixels between 0 and 1 have the "bernoulli" likelihood. `score` is the log-likelihood of
# held-out digits in nats, or a bound on it, and is comparable between models.

vae = VAETransformer(
    2,
    likelihood="bernoulli",
    network=DenseNetwork(hidden_layer_sizes=(256, 64)),
    batch_size=128,
    max_iter=30,
    n_iter_no_change=float("inf"),  # thirty epochs, whatever the loss does
    random_state=0,
).fit(X_train)
print("evidence lower bound:", round(float(vae.elbo(X_test).mean()), 1), "nats")
print("divergence of each component:", vae.kl_per_component_.round(2), "nats")

# %%
# Where held-out digits are
# -------------------------
LatentSpaceDisplay.from_estimator(vae, X_test, y_test)

# %%
# What is generated
# -----------------
# 15 x 15 images at the quantiles of the normal prior: each stands for the same share of
# what the model generates.
LatentManifoldDisplay.from_estimator(vae, n=15)

# %%
# What a component does
# ---------------------
# Each row is a held-out digit, named by the value that its code has.
TraversalDisplay.from_estimator(vae, X_test, component=0)

# %%
# The course of training
# ----------------------
# The loss is the error of the reconstruction and the divergence from the prior together.
LossCurveDisplay.from_estimator(vae)
plt.show()
