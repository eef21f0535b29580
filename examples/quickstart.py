"""
===========================
PCA and skae: a quick start
===========================

PCA, and an autoencoder that starts as PCA, encode the digits of scikit-learn (64 pixels
each) by a few numbers. Which of them reconstructs held-out digits with less error?

The script prints a table and saves a figure, ``quickstart.png``.
"""

# %%
# Two thirds of the data are used to fit, and one third is held out.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=1 / 3, random_state=0
)

# %%
# Both transformers are used in the same way. The held-out error is the squared error of a
# digit, summed over its pixels.

errors, shown = {"PCA": [], "skae": []}, {}
n_components = [2, 4, 8, 16, 32]

print(f"{'components':>10}{'PCA':>8}{'skae':>8}")
for k in n_components:
    for name, transformer in {
        "PCA": PCA(k, random_state=0),
        "skae": AutoencoderTransformer(k, random_state=0),
    }.items():
        codes = transformer.fit(X_train).transform(X_test)
        X_back = transformer.inverse_transform(codes)
        errors[name].append(((X_test - X_back) ** 2).sum(axis=1).mean())
        if k == 8:
            shown[f"{name}\n8 numbers"] = X_back
    print(f"{k:>10}{errors['PCA'][-1]:>8.2f}{errors['skae'][-1]:>8.2f}")

# %%
# The first held-out digit of each class, as it is and from eight components: one row of
# ten images each, with a margin of a pixel.

first_of_class = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]


def strip(images):
    images = np.pad(images[first_of_class].reshape(-1, 8, 8), 1, constant_values=0)[1:-1]
    return np.hstack(list(images))


rows = {"held out\n64 pixels": X_test} | shown
figure, (left, right) = plt.subplots(
    1, 2, figsize=(12, 3.4), width_ratios=(2.9, 1), layout="constrained"
)
left.imshow(
    np.vstack([strip(images) for images in rows.values()]), "gray_r", vmin=0, vmax=1
)
left.set_xticks([])
left.set_yticks([4.5, 14.5, 24.5], rows, fontsize=13)
left.tick_params(length=0)
left.spines[:].set_visible(False)

# %%
# The error falls with the number of components; it is the smaller one at each.

for (name, found), color in zip(errors.items(), ("tab:gray", "tab:blue"), strict=True):
    right.plot(n_components, found, "o-", color=color, label=name)
right.set(
    xscale="log", ylim=(0, None), xlabel="components", ylabel="held-out squared error"
)
right.set_xticks(n_components, n_components)
right.minorticks_off()
right.legend(fontsize=13)

# %%
# Save the figure.

figure.savefig("quickstart.png", dpi=120)
print("Saved quickstart.png")
plt.show()
