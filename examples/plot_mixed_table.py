"""
A table of several kinds of columns, with holes
================================================

Patients with diabetes: numbers, one column of two classes, and a tenth of the values missing.
A VAE with a likelihood for each kind of column takes the table as it is; the log-likelihood of
held-out patients chooses the number of components; and the codes go to a classifier, which never
sees a hole.
"""

# %%
# The table, with holes
# ---------------------

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
# Numbers are scaled, and the column of two classes becomes 0 and 1. Both leave NaN alone. The
# likelihood names columns as the ColumnTransformer names them.

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
# `score` is the log-likelihood of the values that are there, in nats a patient.

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
# What is filled in
# -----------------
#
# The values that were taken away, and what the model expects in their place, in standard
# deviations; and the same for the column's mean.

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
# Whether the disease progresses faster than in half of the patients.

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
