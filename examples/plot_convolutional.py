"""
=========================
Convolutional autoencoder
=========================

A convolutional network with max-pooling encodes MNIST digits. The code is a stack of
small feature maps. TensorBoard shows losses, images and codes during training.
"""

# %%
# A subset of MNIST
# -----------------
# Each image is a sample of 784 pixels. The network reshapes it, so X stays a matrix.

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
from sklearn.datasets import fetch_openml

from skae import AutoencoderTransformer
from skae.callbacks import TensorBoard
from skae.networks import ConvNetwork
from skae.plotting import CodeDisplay, LossCurveDisplay, ReconstructionDisplay

X, _ = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
X = X.astype("float32") / 255
X_train, X_test = X[:3000], X[60000:60500]

# %%
# The model of the Keras tutorial
# -------------------------------
# Three layers of 16, 8 and 8 filters, each followed by max-pooling, reduce 28 x 28 pixels
# to 4 x 4 x 8 numbers. With ``n_components=None`` these numbers are the code.

logs = TemporaryDirectory()
autoencoder = AutoencoderTransformer(
    n_components=None,
    network=ConvNetwork(input_shape=(28, 28, 1), filters=(16, 8, 8)),
    loss="binary_crossentropy",
    batch_size=64,
    learning_rate_init=3e-3,
    max_iter=8,
    n_iter_no_change=float("inf"),  # eight epochs are enough here
    callbacks=[TensorBoard(logs.name, pictures_freq=4, codes_freq=4)],
    random_state=0,
).fit(X_train)

print("code:", autoencoder.transform(X_test).shape)
print("held-out squared error:", round(-autoencoder.score(X_test), 1))

# %%
# To watch the training, run ``tensorboard --logdir`` with the directory. Each fit has its
# own folder there.

for path in sorted(Path(logs.name).rglob("*.*")):
    print(path.relative_to(logs.name).parent, path.suffix, path.stat().st_size, "bytes")
logs.cleanup()

# %%
# The reconstructions
# -------------------
# More epochs make them sharper. ``benchmarks/tutorial.py`` trains the model in full.
ReconstructionDisplay.from_estimator(autoencoder, X_test)

# %%
# The code: eight maps of 4 x 4 numbers for each digit
# ----------------------------------------------------
CodeDisplay.from_estimator(autoencoder, X_test)

# %%
# The losses
# ----------
LossCurveDisplay.from_estimator(autoencoder)
plt.show()
