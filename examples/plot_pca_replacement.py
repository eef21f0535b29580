"""
=======================
In PCA's place
=======================

:class:`~skae.AutoencoderTransformer` takes PCA's place in a pipeline. Before training it
*is* PCA, and training is kept only where it lowers the error on rows set aside, so the
swap costs little even where there is nothing but linear structure to find.
"""

# %%
# Before training: PCA
# --------------------
# With ``max_iter=0`` the components, the reconstruction and the explained variances are
# PCA's.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer
from skae.plotting import ComponentsDisplay, ExplainedVarianceDisplay, LossCurveDisplay

X, y = load_digits(return_X_y=True)
pca = PCA(4).fit(X)
start = AutoencoderTransformer(4, max_iter=0).fit(X)

print("components:", np.allclose(pca.transform(X), start.transform(X)))
print(
    "reconstruction:",
    np.allclose(pca.inverse_transform(pca.transform(X)), start.reconstruct(X)),
)
print(
    "explained variance:",
    np.allclose(pca.explained_variance_ratio_, start.explained_variance_ratio_),
)

# %%
# After training: less error on held-out rows
# -------------------------------------------
# Four data sets, standardised; a quarter of the rows is held out.

data = {
    "digits": load_digits(),
    "wine": load_wine(),
    "breast cancer": load_breast_cancer(),
    "diabetes": load_diabetes(),
}


def error_of(transformer, X_train, X_test):
    pipeline = make_pipeline(StandardScaler(), transformer).fit(X_train)
    X_back = pipeline.inverse_transform(pipeline.transform(X_test))
    scale = pipeline[0].scale_
    return np.mean(((X_test - X_back) / scale) ** 2)


errors = {}
print(f"{'mean squared error':<20}{'PCA':>8}{'skae':>8}")
for name, bunch in data.items():
    X_train, X_test = train_test_split(bunch.data, random_state=0)
    errors[name] = [
        error_of(transformer, X_train, X_test)
        for transformer in (PCA(4), AutoencoderTransformer(4, random_state=0))
    ]
    print(f"{name:<20}{errors[name][0]:>8.3f}{errors[name][1]:>8.3f}")

# %%
positions = np.arange(len(errors))
for i, name in enumerate(["PCA", "skae"]):
    plt.bar(positions + 0.4 * i, [pair[i] for pair in errors.values()], 0.38, label=name)
plt.xticks(positions + 0.2, list(errors))
plt.ylabel("held-out mean squared error")
plt.title("Four components, standardised features")
plt.legend(frameon=False)

# %%
# The components
# --------------
# They are centred, uncorrelated and ordered by variance, as PCA's are, and
# ``explained_variance_ratio_`` says what share of the variance each explains. Here for the
# digits, next to PCA's.

X, _ = load_digits(return_X_y=True)
autoencoder = AutoencoderTransformer(8, random_state=0).fit(X)
ExplainedVarianceDisplay.from_estimator(autoencoder, X)

# %%
# The dotted line is PCA's error. With some thousand rows training begins twice, at PCA and
# at random weights; here is the one that was kept.
LossCurveDisplay.from_estimator(autoencoder, X)

# %%
# What each component does to a digit that begins in the middle of them all:
ComponentsDisplay.from_estimator(autoencoder, components=(0, 1, 2, 3))
plt.show()
