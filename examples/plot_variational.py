"""
=======================
Variational autoencoder
=======================

A variational autoencoder with two components maps digits to a plane, and generates new
digits.
"""

# %%
# A subset of MNIST
# -----------------
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
# held-out digits in nats, or a bound on it. It is comparable between models.

vae = VAETransformer(
    2,
    likelihood="bernoulli",
    network=DenseNetwork(hidden_layer_sizes=(256, 64)),
    batch_size=128,
    max_iter=30,
    n_iter_no_change=float("inf"),  # always thirty epochs
    random_state=0,
).fit(X_train)
print("evidence lower bound:", round(float(vae.elbo(X_test).mean()), 1), "nats")
print("divergence of each component:", vae.kl_per_component_.round(2), "nats")

# %%
# The codes of held-out digits
# ----------------------------
LatentSpaceDisplay.from_estimator(vae, X_test, y_test)

# %%
# Generated digits
# ----------------
# The 15 x 15 images are at quantiles of the normal prior. Each represents the same
# fraction of the digits that the model generates.
LatentManifoldDisplay.from_estimator(vae, n=15)

# %%
# The effect of a component
# -------------------------
# Each row shows a held-out digit, and is labelled with the component's value in its code.
TraversalDisplay.from_estimator(vae, X_test, component=0)

# %%
# The training losses
# -------------------
# The loss is the sum of the reconstruction error and the KL divergence from the prior.
LossCurveDisplay.from_estimator(vae)
plt.show()
