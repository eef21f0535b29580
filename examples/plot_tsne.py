"""
============
Before t-SNE
============

t-SNE is slow with many features, so they are often reduced first. Does the method of the
reduction matter? This example runs t-SNE on the pixels of digits, on their principal
components, and on the codes of an autoencoder, which replaces PCA in the pipeline.
"""

# %%
# A subset of MNIST
# -----------------
from time import perf_counter

import matplotlib.pyplot as plt
from sklearn.datasets import fetch_openml
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skae import AutoencoderTransformer
from skae.plotting import LatentSpaceDisplay

X, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
X, y = X[:2000].astype("float32") / 255, y[:2000]

# %%
# Three pipelines
# ---------------
tsne = TSNE(random_state=0)
pipelines = {
    "pixels": tsne,
    "PCA": make_pipeline(PCA(16, random_state=0), tsne),
    "skae": make_pipeline(AutoencoderTransformer(16, random_state=0), tsne),
}

# %%
# The accuracy of a nearest-neighbour classifier on the map measures how well the classes
# are separated. None of the pipelines has seen the classes.

figure, axes = plt.subplots(1, 3, figsize=(13, 4.5), layout="constrained")
print(f"{'t-SNE on':<10}{'seconds':>10}{'1-NN accuracy':>16}")
for (name, pipeline), ax in zip(pipelines.items(), axes, strict=True):
    start = perf_counter()
    points = pipeline.fit_transform(X)
    seconds = perf_counter() - start
    accuracy = cross_val_score(KNeighborsClassifier(1), points, y, cv=10).mean()
    print(f"{name:<10}{seconds:>10.1f}{accuracy:>16.3f}")
    LatentSpaceDisplay.from_predictions(points, y, ax=ax)
    ax.set(title=f"{name}: {accuracy:.3f}", xlabel="", ylabel="", xticks=[], yticks=[])
    if ax is not axes[-1]:
        ax.get_legend().remove()
plt.show()
