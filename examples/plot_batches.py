"""
=====================
Training from batches
=====================

Data that does not fit into memory comes in batches. `partial_fit` trains on one batch at a
time, and the held-out error falls below that of an incremental PCA, which has seen the same
batches.
"""

# %%
# A stream of batches
# -------------------
# The samples lie near a curved surface: three numbers determine all fifty features.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import IncrementalPCA

from skae import AutoencoderTransformer

rng = np.random.default_rng(0)
inner, outer = rng.normal(size=(3, 20)), rng.normal(size=(20, 50))


def batch(n_samples=1000):
    X = np.tanh(rng.normal(size=(n_samples, 3)) @ inner) @ outer
    return X + rng.normal(scale=0.1, size=X.shape)


X_test = batch()

# %%
# One call for each batch
# -----------------------
# Each batch is used once, and is not stored.


def error(model):
    X_back = model.inverse_transform(model.transform(X_test))
    return np.mean((X_test - X_back) ** 2)


models = {
    "IncrementalPCA": IncrementalPCA(3),
    "AutoencoderTransformer": AutoencoderTransformer(3, random_state=0),
}
errors = {name: [] for name in models}
for _ in range(60):
    X = batch()
    for name, model in models.items():
        errors[name].append(error(model.partial_fit(X)))
for name, found in errors.items():
    print(f"{name:<24}{found[-1]:.3f}")

# %%
# The held-out error after each batch
# -----------------------------------
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
seen = 1000 * np.arange(1, 61)
for (name, found), color in zip(errors.items(), ("0.6", "C0"), strict=True):
    ax.plot(seen, found, color=color, label=name)
ax.set(xlabel="samples seen", ylabel="held-out mean squared error", ylim=(0, None))
ax.legend(frameon=False)
plt.show()
