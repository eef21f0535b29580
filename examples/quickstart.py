"""
===========================
PCA and skae: a quick start
===========================

PCA, and an autoencoder that starts as PCA, encode the digits of scikit-learn (64 pixels
each) by eight numbers. Which of them reconstructs held-out digits with less error? How
well does t-SNE of the codes separate the classes?

The script prints a table and saves a figure, ``quickstart.png``.
"""

# %%
# Two thirds of the data are used to fit, and one third is held out.

from time import perf_counter

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer
from skae.plotting import LatentSpaceDisplay, ReconstructionDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=1 / 3, random_state=0
)

# %%
# Both transformers are used in the same way.

transformers = {
    "PCA": PCA(8, random_state=0),
    "skae": AutoencoderTransformer(8, random_state=0),
}

# %%
# The held-out error is the squared error of a digit, summed over its pixels. The last
# column is the fraction of digits whose nearest neighbour has the same class.

figure, axes = plt.subplots(
    2, 2, figsize=(11, 6), height_ratios=(1, 3), layout="constrained"
)
neighbor = KNeighborsClassifier(1)

print(f"{'8 components':<14}{'fit':>8}{'held-out error':>18}{'1-NN after t-SNE':>20}")
for (name, transformer), (upper, lower) in zip(transformers.items(), axes.T, strict=True):
    start = perf_counter()
    transformer.fit(X_train)
    seconds = perf_counter() - start

    codes = transformer.transform(X_test)
    X_back = transformer.inverse_transform(codes)
    error = ((X_test - X_back) ** 2).sum(axis=1).mean()

    points = TSNE(random_state=0).fit_transform(codes)
    accuracy = cross_val_score(neighbor, points, y_test, cv=10).mean()

    print(f"{name:<14}{seconds:>6.1f} s{error:>18.2f}{accuracy:>20.3f}")

    ReconstructionDisplay.from_predictions(X_test, X_back, ax=upper)
    upper.set_title(f"{name}: held-out error {error:.2f}")
    LatentSpaceDisplay.from_predictions(points, y_test, ax=lower)
    lower.set(title=f"{name}: t-SNE of the codes", xlabel="", ylabel="")
    lower.set(xticks=[], yticks=[])

# %%
# Save the figure.

figure.savefig("quickstart.png", dpi=120)
print("Saved quickstart.png")
plt.show()
