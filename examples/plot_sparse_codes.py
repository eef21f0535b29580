"""
============
Sparse codes
============

The autoencoder of the Keras tutorial has one layer to a code of 32 components with a relu
activation, and one layer back. `activity_l1` penalises the size of the code, so that most
components of a digit's code are zero.
"""

# %%
# The models
# ----------
# ``network=DenseNetwork(())`` has no hidden layers, only the code and the output. With
# ``code_activation="relu"`` the initialisation is random, since such a code can't start
# as PCA.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer
from skae.networks import DenseNetwork
from skae.plotting import CodeDisplay, ReconstructionDisplay

X, _ = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X / 16, random_state=0)

penalties = [0.0, 0.03, 0.1, 0.3]
autoencoders = [
    AutoencoderTransformer(
        32,
        network=DenseNetwork(hidden_layer_sizes=()),
        code_activation="relu",
        loss="binary_crossentropy",
        activity_l1=penalty,
        learning_rate_init=5e-3,
        batch_size=64,
        max_iter=150,
        random_state=0,
    ).fit(X_train)
    for penalty in penalties
]

# %%
# The effect of the penalty
# -------------------------
# With a higher penalty a digit uses fewer components, and the error is larger.

print(f"{'activity_l1':>12}{'codes in use':>15}{'held-out squared error':>25}")
for penalty, autoencoder in zip(penalties, autoencoders, strict=True):
    in_use = np.mean(np.sum(autoencoder.transform(X_test) > 0.01, axis=1))
    print(f"{penalty:>12}{in_use:>15.1f}{-autoencoder.score(X_test):>25.2f}")

# %%
# The codes as images, and the reconstructions
# --------------------------------------------
figure, axes = plt.subplots(
    4, 1, figsize=(9, 5.2), height_ratios=(1, 4, 1, 4), layout="constrained"
)
chosen = [autoencoders[0], autoencoders[2]]
for autoencoder, (upper, lower) in zip(chosen, axes.reshape(2, 2), strict=True):
    upper.set_title(f"activity_l1 = {autoencoder.activity_l1}")
    CodeDisplay.from_estimator(autoencoder, X_test, code_shape=(4, 8), ax=upper)
    ReconstructionDisplay.from_estimator(autoencoder, X_test, ax=lower)
plt.show()
