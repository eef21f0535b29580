"""The time from data in memory to a model that is as good as the best.

    python benchmarks/time_to_quality.py [--tasks digits,cancer,rows-20000] [--plot FILE]
        [--curves FILE] [--limit 3600]

For each task: the seconds until the error of held-out rows is within 2 % of the least that
any contender reaches, everything included. Keras is watched epoch by epoch (what the
watching takes is left out); skae and scikit-learn count when their fit is over. Every
contender has a process of its own, so that its first fit compiles what it needs ("cold");
skae's second fit compiles nothing ("warm"). What importing takes, which for skae and Keras
is TensorFlow's import, stands beside. Errors are shares of PCA's. The architecture
is the same: 128-64-k-64-128 with gelu, or 784-32-784; scikit-learn's has relu. The curves
file keeps what was measured, so that tasks can be run one after the other; no task but
those that are run is measured again. At the limit, in seconds, Keras ends with its epoch,
and scikit-learn, which can't be asked, without a model.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from growth import rows
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

#: How near to the least error of all is near enough.
NEAR = 1.02


def mnist():
    X, _ = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True)
    return (X / 255).astype(np.float32)


def standardised_cancer():
    return StandardScaler().fit_transform(load_breast_cancer().data)


#: Rows, the number of components, and the sizes of hidden layers.
TASKS = {
    "digits": (lambda: load_digits().data / 16, 8, (128, 64)),
    "cancer": (standardised_cancer, 4, (128, 64)),
    "mnist-simple": (mnist, 32, ()),
    "mnist-deep": (mnist, 32, (128, 64)),
    "rows-20000": (lambda: rows(25_000, 50), 10, (128, 64)),
    "rows-200000": (lambda: rows(210_000, 50), 10, (128, 64)),
}


def split(X):
    return train_test_split(X, test_size=min(0.25, 10_000 / len(X)), random_state=0)


def skae_fit(train, k, sizes, error, limit, second):
    from skae import AutoencoderTransformer
    from skae.networks import DenseNetwork

    skae = AutoencoderTransformer(k, network=DenseNetwork(sizes), random_state=0)
    for _ in range(1 + second):
        began = time.perf_counter()
        skae.fit(train)
        seconds = time.perf_counter() - began
    return [(seconds, error(skae.reconstruct))]


def keras_fit(train, k, sizes, error, limit, suited):
    import keras

    from skae._training.defaults import Defaults, suited_rate

    began = time.perf_counter()
    mean, scale = train.mean(axis=0), train.std()
    layers = [keras.Input(train.shape[1:])]
    layers += [keras.layers.Dense(size, "gelu") for size in sizes]
    layers += [keras.layers.Dense(k)]
    layers += [keras.layers.Dense(size, "gelu") for size in sizes[::-1]]
    model = keras.Sequential([*layers, keras.layers.Dense(train.shape[1])])
    curve, watching = [], 0.0

    def watch(epoch, logs):
        nonlocal watching
        at = time.perf_counter()

        def back(X):
            return (
                model.predict((X - mean) / scale, batch_size=4096, verbose=0) * scale
                + mean
            )

        curve.append((at - began - watching, error(back)))
        model.stop_training |= curve[-1][0] > limit
        watching += time.perf_counter() - at

    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=watch),
        keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True),
    ]
    batch_size, rate = 32, 1e-3
    if suited:
        batch_size = max(32, Defaults.of(len(train)).batch_size)
        rate = suited_rate(batch_size)
        callbacks.append(keras.callbacks.ReduceLROnPlateau(factor=0.25, patience=5))
    model.compile(keras.optimizers.Adam(rate), "mse")
    Z = (train - mean) / scale
    model.fit(
        Z,
        Z,
        batch_size=batch_size,
        epochs=200,
        validation_split=0.15,
        callbacks=callbacks,
        verbose=0,
    )
    return curve


def mlp_fit(train, k, sizes, error, limit):
    from sklearn.neural_network import MLPRegressor

    began = time.perf_counter()
    mean, scale = train.mean(axis=0), train.std()
    layers = (*sizes, k, *sizes[::-1])
    model = MLPRegressor(hidden_layer_sizes=layers, early_stopping=True, random_state=0)
    Z = (train - mean) / scale
    model.fit(Z, Z)
    seconds = time.perf_counter() - began
    return [(seconds, error(lambda X: model.predict((X - mean) / scale) * scale + mean))]


IMPORTS = {
    "skae": ("skae", "keras"),
    "Keras": ("keras",),
    "MLPRegressor": ("sklearn.neural_network",),
}
CONTENDERS = {
    "skae, cold": lambda *task: skae_fit(*task, second=False),
    "skae, warm": lambda *task: skae_fit(*task, second=True),
    "Keras, batch 32, early stopping": lambda *task: keras_fit(*task, suited=False),
    "Keras, batch and rate that suit": lambda *task: keras_fit(*task, suited=True),
    "MLPRegressor, early stopping": mlp_fit,
}


def run(task, contender, limit):
    load, k, sizes = TASKS[task]
    train, test = split(load())
    pca = PCA(k).fit(train)
    of_pca = np.square(test - pca.inverse_transform(pca.transform(test))).sum()

    def error(reconstruct):
        return float(np.square(test - reconstruct(test)).sum() / of_pca)

    began = time.perf_counter()
    for name in IMPORTS[contender.split(",")[0]]:
        importlib.import_module(name)
    imports = time.perf_counter() - began
    return imports, CONTENDERS[contender](train, k, sizes, error, limit)


def measured(task, contender, limit):
    """Seconds of imports, and seconds and errors; none where there is no model in time."""
    command = [sys.executable, __file__, "--one", task, contender, "--limit", str(limit)]
    stop = limit + 60 if contender.startswith("MLP") else None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=stop
        )
    except subprocess.TimeoutExpired:
        return None, []
    return json.loads(done.stdout.splitlines()[-1])


def plot(curves, path):
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    n_rows = -(-len(curves) // 3)
    size = {"figsize": (11, 3.4 * n_rows), "layout": "constrained"}
    figure, axes = plt.subplots(n_rows, min(len(curves), 3), squeeze=False, **size)
    for ax, (task, found) in zip(axes.flat, curves.items(), strict=False):
        for name, (_, curve) in found.items():
            times, errors = zip(*curve, strict=True) if curve else ([], [])
            ax.plot(times, errors, ".-" if len(curve) > 1 else "o", label=name)
        ax.set(title=task, xscale="log", yscale="log")
        for axis in (ax.xaxis, ax.yaxis):
            low, high = axis.get_view_interval()
            narrow = high < 2 * low
            axis.set_major_locator(
                MaxNLocator(5) if narrow else LogLocator(subs=(1, 2, 5))
            )
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    for ax in axes[:, 0]:
        ax.set_ylabel("held-out error / PCA's")
    axes[0, 0].legend(fontsize="x-small")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--plot")
    parser.add_argument("--curves", type=Path)
    parser.add_argument("--limit", type=float, default=3600)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    limit = arguments.limit
    if arguments.one:
        print(json.dumps(run(*arguments.one, limit)))
        return
    curves = {}
    if arguments.curves and arguments.curves.exists():
        curves = json.loads(arguments.curves.read_text())
    columns = "seconds to 1.02 of the least error | whole, s | imports, s | error"
    print(f"| task | contender | {columns} |", "|---" * 6 + "|", sep="\n")
    for task in filter(None, arguments.tasks.split(",")):
        curves[task] = found = {}
        for contender in CONTENDERS:
            found[contender] = measured(task, contender, limit)
        least = min(error for _, curve in found.values() for _, error in curve)
        for name, (imports, curve) in found.items():
            if not curve:
                print(f"| {task} | {name} | never | over {limit:.0f} | | |", flush=True)
                continue
            reached = [seconds for seconds, error in curve if error <= NEAR * least]
            first = f"{reached[0]:.2f}" if reached else "never"
            error = min(error for _, error in curve)
            row = f"{first} | {curve[-1][0]:.2f} | {imports:.2f} | {error:.3f}"
            print(f"| {task} | {name} | {row} |", flush=True)
        if arguments.curves:
            arguments.curves.write_text(json.dumps(curves))
    if arguments.plot:
        plot(curves, arguments.plot)


if __name__ == "__main__":
    main()
