"""The models of the Keras tutorial, on MNIST, and what they reach on its test images.

    python benchmarks/tutorial.py [--models simple,deep] [--quick] [--output DIR]

Prints a row per figure as soon as it is there, next to the reference: what the tutorial
(blog.keras.io/building-autoencoders-in-keras.html) and other public runs of the same
architecture reach. For the tutorial's models, architecture, epochs and batch size are its
own; the learning rate is ours to choose, and falls to zero along a cosine. No figure has
seen a test image in training, and none is picked from several epochs: the last weights
count.

BCE: binary cross-entropy of the reconstruction alone, mean per pixel. SSE: squared error
summed over pixels, mean per image. PSNR: of all test pixels together, in decibels. Nats:
minus the evidence lower bound, mean per image. 1-NN: the share of test images whose
nearest neighbour is of their class.
"""

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, DenseNetwork
from skae.noise import GaussianNoise
from skae.plotting import (
    CodeDisplay,
    LatentManifoldDisplay,
    LatentSpaceDisplay,
    ReconstructionDisplay,
)

N_TRAIN, N_TEST, N_PIXELS = 60_000, 10_000, 784


# -- the figures


def binary_crossentropy(X, X_back):
    X_back = np.clip(np.asarray(X_back, np.float64), 1e-7, 1 - 1e-7)
    return -np.mean(X * np.log(X_back) + (1 - X) * np.log1p(-X_back))


def squared_error(X, X_back):
    return np.sum(np.square(X - X_back, dtype=np.float64), axis=1).mean()


def psnr(X, X_back):
    return -10 * np.log10(squared_error(X, X_back) / X.shape[1])


def neighbor_accuracy(train, y_train, test, y_test):
    return KNeighborsClassifier(1).fit(train, y_train).score(test, y_test)


def leave_one_out(codes, y):
    """1-NN accuracy where every row's neighbour is another row."""
    neighbor = KNeighborsClassifier(1).fit(codes, y).kneighbors(return_distance=False)
    return np.mean(y[neighbor[:, 0]] == y)


# -- the runs


@dataclass
class Benchmark:
    """The data, and what is done with every model."""

    rows: int
    share: float
    output: Path | None
    fitted: dict = field(default_factory=dict)

    def load(self):
        X, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
        X = X.astype(np.float32) / 255
        train = slice(0, min(self.rows, N_TRAIN))
        test = slice(N_TRAIN, N_TRAIN + min(self.rows, N_TEST))
        self.X_train, self.y_train = X[train], y[train]
        self.X_test, self.y_test = X[test], y[test]

    def training(self, epochs, batch_size, rate=1e-3, warm_up=0, weight_decay=0.0):
        """Parameters of a training of so many epochs, at a rate that falls to zero.

        Over the first `warm_up` epochs it climbs from zero, in a straight line.
        """
        from keras.optimizers import AdamW
        from keras.optimizers.schedules import CosineDecay

        epochs = max(1, math.ceil(epochs * self.share))
        steps = math.ceil(len(self.X_train) / batch_size)
        decay = CosineDecay(rate, epochs * steps)
        if warm_up:
            decay = CosineDecay(
                0.0,
                max(1, (epochs - warm_up) * steps),
                warmup_target=rate,
                warmup_steps=warm_up * steps,
            )
        optimizer = AdamW(decay, weight_decay=weight_decay) if weight_decay else "adam"
        return {
            "max_iter": epochs,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "learning_rate_init": decay,
            "early_stopping": False,
            "n_iter_no_change": np.inf,
            "alpha": 0.0,
            "random_state": 0,
        }

    def fit(self, name, estimator):
        if name not in self.fitted:
            start = perf_counter()
            estimator.fit(self.X_train)
            self.fitted[name] = estimator, perf_counter() - start
        return self.fitted[name]

    def picture(self, name, display, *args, **kwargs):
        if self.output is not None:
            drawn = display(*args, **kwargs)
            drawn.figure_.savefig(self.output / f"{name}.png", dpi=120)
            import matplotlib.pyplot as plt

            plt.close(drawn.figure_)


def header():
    print("| model | figure | skae | reference | reached | seconds |")
    print("|---|---|---|---|---|---|", flush=True)


def row(model, figure, found, reference="", seconds=None):
    """Print a row; `reference` is a bound such as ``"<= .0920"``."""
    reached = ""
    if reference:
        sign, bound = reference.split()
        reached = found <= float(bound) if sign == "<=" else found >= float(bound)
        reached = "yes" if reached else "no"
    seconds = "" if seconds is None else f"{seconds:.0f}"
    cells = [model, figure, f"{found:.4f}", reference, reached, seconds]
    print("| " + " | ".join(cells) + " |", flush=True)


# -- autoencoders


def dense(benchmark, layers, activity_l1=0.0, rate=1e-3):
    return AutoencoderTransformer(
        32,
        network=DenseNetwork(hidden_layer_sizes=layers, activation="relu"),
        code_activation="relu",
        activity_l1=activity_l1,
        loss="binary_crossentropy",
        **benchmark.training(50, 256, rate),
    )


def report_reconstruction(benchmark, name, model, bound, estimator, seconds):
    X_back = estimator.reconstruct(benchmark.X_test)
    found = binary_crossentropy(benchmark.X_test, X_back)
    row(model, "BCE", found, bound, seconds)
    benchmark.picture(
        name, ReconstructionDisplay.from_predictions, benchmark.X_test, X_back
    )


def report_code(benchmark, model, estimator):
    codes = estimator.transform(benchmark.X_test)
    row(model, "share of codes at zero", np.mean(codes < 1e-3))
    row(model, "units never in use", np.mean(codes.max(axis=0) < 1e-3))


def simple(benchmark):
    model = "784-32-784"
    estimator, seconds = benchmark.fit("simple", dense(benchmark, (), rate=3e-3))
    report_reconstruction(benchmark, "simple", model, "<= .0920", estimator, seconds)
    report_code(benchmark, model, estimator)


def sparse(benchmark):
    """The tutorial adds 1e-4 per unit of the code to the mean loss of a pixel.

    skae's loss is the sum over pixels, so that the same balance is 784 times 1e-4.
    """
    model = "784-32-784, sparse"
    penalty = N_PIXELS * 1e-4
    estimator, seconds = benchmark.fit("sparse", dense(benchmark, (), penalty, rate=3e-3))
    report_reconstruction(benchmark, "sparse", model, "<= .100", estimator, seconds)
    report_code(benchmark, model, estimator)


def deep(benchmark):
    estimator, seconds = benchmark.fit("deep", dense(benchmark, (128, 64), rate=2e-3))
    report_reconstruction(
        benchmark, "deep", "784-128-64-32", "<= .085", estimator, seconds
    )


def convolutional(benchmark):
    estimator, seconds = benchmark.fit(
        "convolutional",
        AutoencoderTransformer(
            None,
            network=ConvNetwork(input_shape=(28, 28, 1), filters=(16, 8, 8)),
            code_activation="relu",
            loss="binary_crossentropy",
            **benchmark.training(50, 128, 1.2e-2, warm_up=1),
        ),
    )
    report_reconstruction(
        benchmark, "convolutional", "conv 16-8-8", "<= .0900", estimator, seconds
    )
    benchmark.picture(
        "convolutional_codes", CodeDisplay.from_estimator, estimator, benchmark.X_test
    )


def denoising(benchmark):
    estimator, seconds = benchmark.fit(
        "denoising",
        DenoisingAutoencoder(
            None,
            network=ConvNetwork(input_shape=(28, 28, 1), filters=(32, 32)),
            code_activation="relu",
            noise=GaussianNoise(0.5, relative=False, clip=(0, 1)),
            loss="binary_crossentropy",
            **benchmark.training(100, 128, 2e-3),
        ),
    )
    X = benchmark.X_test
    noise = np.random.default_rng(0).normal(scale=0.5, size=X.shape)
    X_noisy = np.clip(X + noise, 0, 1).astype(np.float32)
    X_back = estimator.reconstruct(X_noisy)
    model = "conv denoiser 32-32"
    row(model, "BCE", binary_crossentropy(X, X_back), "<= .093", seconds)
    row(model, "PSNR", psnr(X, X_back), ">= 17.57")
    row("noisy images", "PSNR", psnr(X, X_noisy))
    benchmark.picture(
        "denoising", ReconstructionDisplay.from_predictions, X, X_back, X_noisy=X_noisy
    )


def hinton(benchmark):
    """The deep autoencoder of Hinton & Salakhutdinov (2006), with a linear path.

    As theirs it is trained on the cross-entropy, and reported by the squared error.
    """
    estimator, seconds = benchmark.fit(
        "hinton",
        AutoencoderTransformer(
            30,
            network=DenseNetwork(hidden_layer_sizes=(1000, 500, 250)),
            loss="binary_crossentropy",
            **benchmark.training(25, 256, 3e-3, warm_up=1, weight_decay=0.1),
        ),
    )
    X, X_back = benchmark.X_test, estimator.reconstruct(benchmark.X_test)
    row("784-1000-500-250-30", "SSE", squared_error(X, X_back), "<= 3.00", seconds)
    pca = PCA(30, random_state=0).fit(benchmark.X_train)
    X_pca = pca.inverse_transform(pca.transform(X))
    row("PCA 30", "SSE", squared_error(X, X_pca))
    benchmark.picture("hinton", ReconstructionDisplay.from_predictions, X, X_back)


# -- variational autoencoders


def variational(n_components, layers, **params):
    return VAETransformer(
        n_components,
        likelihood="bernoulli",
        network=DenseNetwork(hidden_layer_sizes=layers, activation="relu"),
        n_importance_samples=10,
        **params,
    )


def report_bound(benchmark, model, estimator, reference, seconds):
    """One draw per image, averaged over ten."""
    row(model, "nats", -estimator.elbo(benchmark.X_test).mean(), reference, seconds)


def vae(benchmark):
    estimator, seconds = benchmark.fit(
        "vae",
        variational(20, (400,), init="random", **benchmark.training(10, 128, 2e-3)),
    )
    report_bound(benchmark, "VAE 784-400-20", estimator, "<= 105.6", seconds)
    benchmark.picture(
        "vae", ReconstructionDisplay.from_estimator, estimator, benchmark.X_test
    )


def draw_plane(benchmark, name, estimator):
    benchmark.picture(
        f"{name}_plane",
        LatentSpaceDisplay.from_estimator,
        estimator,
        benchmark.X_test,
        benchmark.y_test,
    )
    benchmark.picture(
        f"{name}_manifold", LatentManifoldDisplay.from_estimator, estimator, n=15
    )


def vae_plane(benchmark):
    """The tutorial's, with a code of two numbers."""
    estimator, seconds = benchmark.fit(
        "vae_plane",
        variational(2, (64,), init="random", **benchmark.training(100, 32, 1e-3)),
    )
    report_bound(benchmark, "VAE 784-64-2", estimator, "", seconds)
    draw_plane(benchmark, "vae_plane", estimator)


def vae_deep_plane(benchmark):
    estimator, seconds = benchmark.fit(
        "vae_deep_plane",
        variational(2, (512, 256, 128), **benchmark.training(50, 128, 1e-3)).set_params(
            network__activation="gelu"
        ),
    )
    report_bound(benchmark, "VAE 784-512-256-128-2", estimator, "<= 147", seconds)
    draw_plane(benchmark, "vae_deep_plane", estimator)


# -- codes for neighbours and maps


def neighbors(benchmark):
    """Nearest neighbours by a code of 32 numbers."""
    estimator, seconds = benchmark.fit(
        "neighbors",
        DenoisingAutoencoder(
            32,
            network=DenseNetwork(hidden_layer_sizes=(1000, 500)),
            loss="binary_crossentropy",
            **benchmark.training(20, 256, 1e-3, warm_up=1),
        ),
    )
    found = neighbor_accuracy(
        estimator.transform(benchmark.X_train),
        benchmark.y_train,
        estimator.transform(benchmark.X_test),
        benchmark.y_test,
    )
    row("denoiser 784-1000-500-32", "1-NN", found, ">= .9725", seconds)


def plane(benchmark):
    """A code of two numbers: neighbours, and how far they are those of the images."""
    estimator, seconds = benchmark.fit(
        "plane",
        AutoencoderTransformer(
            2,
            network=DenseNetwork(hidden_layer_sizes=(1000, 500, 250)),
            loss="binary_crossentropy",
            **benchmark.training(50, 256, 2e-3, warm_up=1),
        ),
    )
    model = "784-1000-500-250-2"
    codes = estimator.transform(benchmark.X_test)
    found = neighbor_accuracy(
        estimator.transform(benchmark.X_train),
        benchmark.y_train,
        codes,
        benchmark.y_test,
    )
    row(model, "1-NN", found, ">= .765", seconds)
    found = trustworthiness(benchmark.X_test, codes, n_neighbors=5)
    row(model, "trustworthiness", found, ">= .966")
    benchmark.picture(
        "plane", LatentSpaceDisplay.from_predictions, codes, benchmark.y_test
    )


def tsne(benchmark):
    """t-SNE of the test images: on their pixels, on PCA's components, on codes."""
    training = benchmark.training(10, 256, 1e-3)
    models = {
        "pixels": None,
        "PCA 32": PCA(32, random_state=0),
        "skae 32": AutoencoderTransformer(32, **training),
    }
    bound = ""
    for name, model in models.items():
        start = perf_counter()
        codes = benchmark.X_test
        if model is not None:
            codes = model.fit(benchmark.X_train).transform(codes)
        before = perf_counter() - start
        points = TSNE(random_state=0, n_jobs=-1).fit_transform(codes)
        seconds = perf_counter() - start
        found = leave_one_out(points, benchmark.y_test)
        if name == "pixels":
            bound, limit = f">= {found - 0.005:.4f}", seconds
        row(f"t-SNE on {name}", "1-NN", found, bound, seconds)
        if name != "pixels":
            row(
                f"t-SNE on {name}",
                "seconds, of the fit / of pixels",
                seconds - before,
                f"<= {limit:.1f}",
                before,
            )
        benchmark.picture(
            f"tsne_{name.split()[0]}",
            LatentSpaceDisplay.from_predictions,
            points,
            benchmark.y_test,
        )


MODELS = {
    run.__name__: run
    for run in (
        simple,
        sparse,
        deep,
        convolutional,
        denoising,
        hinton,
        vae,
        vae_plane,
        vae_deep_plane,
        neighbors,
        plane,
        tsne,
    )
}


def names(text):
    found = text.split(",")
    unknown = [name for name in found if name not in MODELS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)}: choose {', '.join(MODELS)}"
        )
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--models",
        type=names,
        default=list(MODELS),
        help="comma-separated: " + ", ".join(MODELS),
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the epochs")
    parser.add_argument("--output", type=Path, help="a directory for the pictures")
    parser.add_argument("--rows", type=int, default=N_TRAIN, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)

    benchmark = Benchmark(
        arguments.rows, 0.1 if arguments.quick else 1.0, arguments.output
    )
    benchmark.load()
    header()
    for name in arguments.models:
        MODELS[name](benchmark)


if __name__ == "__main__":
    main()
