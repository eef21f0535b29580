"""
=============
Replacing PCA
=============

:class:`~skae.AutoencoderTransformer` can replace PCA in a pipeline. Before training it
*is* PCA. The trained network is used only if its error on validation samples is lower, so
that little is lost on data with linear structure alone.
"""

# %%
# Before training: PCA
# --------------------
# With ``max_iter=0`` the components, the reconstruction and the explained variance are
# the same as in PCA.

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
# After training: less error on held-out samples
# ----------------------------------------------
# The four data sets are standardised, and a quarter of the samples is held out.

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
plt.figure(layout="constrained")
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
# Components are centred, uncorrelated and ordered by variance, as in PCA.
# ``explained_variance_ratio_`` is the fraction of the variance that each component
# explains. The plot compares it with PCA's for the digits.

X, _ = load_digits(return_X_y=True)
autoencoder = AutoencoderTransformer(8, random_state=0).fit(X)
ExplainedVarianceDisplay.from_estimator(autoencoder, X)

# %%
# The dotted line is PCA's error. With a few thousand samples there are two trainings, one
# from PCA and one from random weights. The plot shows the selected one.
LossCurveDisplay.from_estimator(autoencoder, X)

# %%
# The effect of each component on the mean digit:
ComponentsDisplay.from_estimator(autoencoder, components=(0, 1, 2, 3))
plt.show()
