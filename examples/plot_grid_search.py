"""
===========
Grid search
===========

A grid search chooses the number of components and the network. An autoencoder is tuned
like any other estimator: the parameters of its network have names with two underscores,
also inside a pipeline.
"""

# %%
# The search
# ----------
# Without a scorer, candidates are ranked by the estimator's `score`: minus the squared
# error on held-out samples. Fits with equal shapes share one compiled program.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from skae import AutoencoderTransformer
from skae.networks import DenseNetwork

X, y = load_digits(return_X_y=True)

pipeline = Pipeline(
    [
        ("scale", MinMaxScaler()),
        (
            "reduce",
            AutoencoderTransformer(network=DenseNetwork(), max_iter=50, random_state=0),
        ),
    ]
)
search = GridSearchCV(
    pipeline,
    {
        "reduce__n_components": [2, 4, 8],
        "reduce__network__hidden_layer_sizes": [(64,), (128, 64)],
    },
    cv=3,
).fit(X)

# %%
results = pd.DataFrame(search.cv_results_)
table = -results.pivot_table(
    index="param_reduce__n_components",
    columns=results["param_reduce__network__hidden_layer_sizes"].astype(str),
    values="mean_test_score",
)
print("held-out squared error, summed over pixels")
print(table.round(2).to_string())

_, ax = plt.subplots(layout="constrained")
table.plot(marker="o", ax=ax, xlabel="n_components", ylabel="held-out squared error")
ax.legend(title="hidden_layer_sizes", frameon=False)

# %%
# Before a classifier
# -------------------
# A pipeline can also end in a classifier. How well do four numbers distinguish digits?

for name, reduce in {
    "PCA": PCA(4),
    "skae": AutoencoderTransformer(4, max_iter=50, random_state=0),
}.items():
    classify = Pipeline(
        [
            ("scale", MinMaxScaler()),
            ("reduce", reduce),
            ("classify", LogisticRegression(max_iter=1000)),
        ]
    )
    print(f"{name:<6}{cross_val_score(classify, X, y, cv=3).mean():.3f}")
plt.show()
