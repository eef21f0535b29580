"""
==================================
Model comparison by log-likelihood
==================================

`VAETransformer.score` has the same units as `PCA.score` and `FactorAnalysis.score`: the
mean log-likelihood of a sample, in nats. One grid search therefore compares all three
models, and finds the number of components of each.
"""

# %%
# The search
# ----------
# The step of the pipeline is itself a parameter. PCA has one noise variance for all
# features, like the likelihood "gaussian". Factor analysis has a noise variance for each
# feature, like "gaussian_diag".

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skae import VAETransformer

X, _ = load_digits(return_X_y=True)
X = X[:, X.std(axis=0) > 0.5] / 16  # pixels at the edge are nearly always 0

models = {
    "PCA": PCA(random_state=0),
    "FactorAnalysis": FactorAnalysis(random_state=0),
    "VAE, gaussian": VAETransformer(random_state=0),
    "VAE, gaussian_diag": VAETransformer(likelihood="gaussian_diag", random_state=0),
}
search = GridSearchCV(
    Pipeline([("model", PCA())]),
    {"model": list(models.values()), "model__n_components": [2, 8]},
    cv=2,
).fit(X)

# %%
results = pd.DataFrame(search.cv_results_)
results["model"] = [
    name for name, model in models.items() for _ in range(len(results) // len(models))
]
table = results.pivot_table(
    index="param_model__n_components",
    columns="model",
    values="mean_test_score",
    sort=False,
)
print("held-out log-likelihood of a row, in nats")
print(table.round(2).to_string())
print("best:", search.best_params_)

_, ax = plt.subplots(layout="constrained")
table.plot(marker="o", ax=ax, xlabel="n_components", ylabel="log-likelihood (nats)")
ax.legend(frameon=False)
plt.show()
