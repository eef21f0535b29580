"""
A table with mixed columns and missing values
=============================================

The data are patients with diabetes: numbers, a column with two classes, and 10% missing
values. A VAE with a likelihood for each kind of column is fitted to the incomplete table.
The log-likelihood of held-out patients selects the number of components. The codes, which
have no missing values, go to a classifier.
"""

# %%
# The table, with missing values
# ------------------------------

import numpy as np
from sklearn.datasets import load_diabetes

frame, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
gone = np.random.default_rng(0).random(frame.shape) < 0.1
holes = frame.mask(gone)
holes.head()

# %%
# From the table to a VAE
# -----------------------
#
# Numbers are scaled, and the column with two classes becomes 0 and 1. Both steps leave
# NaN unchanged. The likelihood refers to columns by the ColumnTransformer's names.

from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from skae import VAETransformer
from skae.networks import DenseNetwork

numbers = [name for name in frame if name != "sex"]
columns = make_column_transformer(
    (StandardScaler(), numbers),
    (OrdinalEncoder(), ["sex"]),
    verbose_feature_names_out=False,
).set_output(transform="pandas")
vae = VAETransformer(
    likelihood=[("gaussian_diag", numbers), ("bernoulli", ["sex"])],
    network=DenseNetwork((32,)),
    random_state=0,
)
model = make_pipeline(columns, vae)

# %%
# How many components?
# --------------------
#
# `score` is the mean log-likelihood of a patient's observed values, in nats.

import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV

sizes = [1, 3, 6]
search = GridSearchCV(model, {"vaetransformer__n_components": sizes}, cv=3)
search.fit(holes)

fig, ax = plt.subplots(layout="constrained")
ax.plot(sizes, search.cv_results_["mean_test_score"], "o-")
ax.set(xlabel="components", ylabel="log-likelihood of held-out patients, in nats")
plt.show()

# %%
# Imputation
# ----------
#
# The root mean squared error of imputed values, in standard deviations: for the model's
# expectation, and for the mean of the column.

from sklearn.impute import SimpleImputer

X_holes, X = (
    search.best_estimator_[0].transform(rows)[numbers] for rows in (holes, frame)
)
filled = search.best_estimator_[1].impute(search.best_estimator_[0].transform(holes))[
    :, : len(numbers)
]
by_mean = SimpleImputer().fit_transform(X_holes)
missing = X_holes.isna().to_numpy()


def rmse(found):
    return np.sqrt(np.mean((found - X.to_numpy())[missing] ** 2))


print(f"{search.best_params_}: RMSE {rmse(filled):.2f}, of the mean {rmse(by_mean):.2f}")

# %%
# A classifier on the codes
# -------------------------
#
# The class says whether the disease progresses faster than the median.

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

fast = progression > progression.median()
by_code = make_pipeline(search.best_estimator_, StandardScaler(), LogisticRegression())
by_hand = make_pipeline(
    columns, SimpleImputer().set_output(transform="default"), LogisticRegression()
)
for name, classifier in (("codes", by_code), ("columns, means filled in", by_hand)):
    scores = cross_val_score(classifier, holes, fast, cv=3, scoring="roc_auc")
    print(f"{name}: AUC {scores.mean():.3f}")
