"""
==================
Encoding sequences
==================

Each series has 40 steps of a sine wave with its own frequency and phase, plus noise.
Three numbers are enough to describe it, but not as a sum of fixed components, as in PCA.
"""

# %%
# The series
# ----------
# X has three axes: (series, steps, features).

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer
from skae.networks import SequenceNetwork
from skae.plotting import ComponentsDisplay

rng = np.random.default_rng(0)
n_series, n_steps = 2000, 40
frequency = rng.uniform(0.5, 2.5, (n_series, 1))
phase = rng.uniform(0, 2 * np.pi, (n_series, 1))
signal = np.sin(2 * np.pi * frequency * np.linspace(0, 1, n_steps) + phase)
X = signal + rng.normal(scale=0.1, size=signal.shape)
X = X[:, :, np.newaxis].astype("float32")
X_train, X_test, _, signal_test = train_test_split(X, signal, random_state=0)

# %%
# LSTM to LSTM
# ------------
# An LSTM encodes a series as one vector, from which the code is computed. Another LSTM
# decodes the series from the code. A linear path, which starts as PCA, runs in parallel.

autoencoder = AutoencoderTransformer(
    4,
    network=SequenceNetwork(input_shape=(n_steps, 1), units=48),
    batch_size=64,
    learning_rate_init=5e-3,
    max_iter=300,
    random_state=0,
).fit(X_train)
X_back = autoencoder.reconstruct(X_test)
print("from", X_test.shape, "to", autoencoder.transform(X_test).shape)

# %%
# Comparison with PCA of as many components

pca = PCA(4).fit(X_train[:, :, 0])
X_pca = pca.inverse_transform(pca.transform(X_test[:, :, 0]))

errors = {
    "PCA": np.mean((signal_test - X_pca) ** 2),
    "skae": np.mean((signal_test - X_back[:, :, 0]) ** 2),
}
for name, error in errors.items():
    print(f"{name:<6}squared error against the series without noise: {error:.4f}")

# %%
figure, axes = plt.subplots(2, 3, figsize=(10, 5), sharey=True, layout="constrained")
for ax, x, x_pca, x_back in zip(axes.flat, X_test, X_pca, X_back, strict=False):
    ax.plot(x, ".", color="0.6", label="series")
    ax.plot(x_pca, color="tab:orange", label="PCA")
    ax.plot(x_back, color="tab:blue", label="skae")
for ax in axes[1]:
    ax.set_xlabel("step")
handles, labels = axes[0, 0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)

# %%
# The effect of each component
# ----------------------------
# The lines are series decoded from low (dark) to high (light) values of one component.
ComponentsDisplay.from_estimator(autoencoder, X_train)
plt.show()
