"""Speed of skae as ratios, both sides in one run, against the Keras tutorial's own code.

    python benchmarks/speed.py [--models simple,deep,...] [--repeats 3]

The other sides are what a user would write: the tutorial's models with `compile`, `fit`
and `predict` at their defaults, MLPRegressor, and PCA. Each figure is the median over the
repeats, after a warm-up where it says so; MNIST is read with `fetch_openml`.
"""

import argparse
import itertools
import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.base import clone
from sklearn.datasets import fetch_openml, load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold, ParameterGrid
from sklearn.neural_network import MLPRegressor
from sklearn.utils._testing import ignore_warnings

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
from skae.noise import GaussianNoise


def seconds(function, *arguments, **keywords):
    began = time.perf_counter()
    function(*arguments, **keywords)
    return time.perf_counter() - began


def median(function, repeats):
    return float(np.median([seconds(function) for _ in range(repeats)]))


def row(what, skae, other, of_whom, target):
    print(
        f"| {what} | {of_whom} | {skae:.4g} | {other:.4g} | {other / skae:.2f} |"
        f" {target} |",
        flush=True,
    )


def mnist(n_train, n_test):
    X = fetch_openml("mnist_784", version=1, as_frame=False)["data"].astype(np.float32)
    return X[:n_train] / 255, X[60_000 : 60_000 + n_test] / 255


# -- the tutorial's own code


def keras_dense(n_features, sizes):
    import keras
    from keras import layers

    inputs = keras.Input((n_features,))
    x = inputs
    for size in sizes:
        x = layers.Dense(size, activation="relu")(x)
    for size in sizes[-2::-1]:
        x = layers.Dense(size, activation="relu")(x)
    outputs = layers.Dense(n_features, activation="sigmoid")(x)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="binary_crossentropy")
    return model


def keras_convolutional(filters, after_pooling):
    import keras
    from keras import layers

    inputs = keras.Input((28, 28, 1))
    x = inputs
    for size in filters:
        x = layers.Conv2D(size, 3, activation="relu", padding="same")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    for size in filters[::-1][:-1]:
        x = layers.Conv2D(size, 3, activation="relu", padding="same")(x)
        x = layers.UpSampling2D(2)(x)
    padding = "valid" if after_pooling == 4 else "same"
    x = layers.Conv2D(filters[0], 3, activation="relu", padding=padding)(x)
    x = layers.UpSampling2D(2)(x)
    outputs = layers.Conv2D(1, 3, activation="sigmoid", padding="same")(x)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="binary_crossentropy")
    return model


def keras_sequence(timesteps, n_features, units):
    import keras
    from keras import layers

    inputs = keras.Input((timesteps, n_features))
    encoded = layers.LSTM(units)(inputs)
    decoded = layers.RepeatVector(timesteps)(encoded)
    decoded = layers.LSTM(n_features, return_sequences=True)(decoded)
    model = keras.Model(inputs, decoded)
    model.compile(optimizer="adam", loss="mse")
    return model


def keras_variational(hidden, n_components):
    """The tutorial's VAE as a subclass with its own train_step."""
    import keras
    from keras import layers, ops

    class Sampling(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(1337)

        def call(self, inputs):
            mean, log_variance = inputs
            noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
            return mean + ops.exp(0.5 * log_variance) * noise

    class Variational(keras.Model):
        def __init__(self):
            super().__init__()
            inputs = keras.Input((784,))
            x = layers.Dense(hidden, activation="relu")(inputs)
            mean, log_variance = (
                layers.Dense(n_components)(x),
                layers.Dense(n_components)(x),
            )
            z = Sampling()([mean, log_variance])
            self.encoder = keras.Model(inputs, [mean, log_variance, z])
            codes = keras.Input((n_components,))
            x = layers.Dense(hidden, activation="relu")(codes)
            self.decoder = keras.Model(codes, layers.Dense(784, activation="sigmoid")(x))
            self.tracker = keras.metrics.Mean(name="loss")

        @property
        def metrics(self):
            return [self.tracker]

        def train_step(self, data):
            import tensorflow as tf

            with tf.GradientTape() as tape:
                mean, log_variance, z = self.encoder(data)
                reconstruction = self.decoder(z)
                loss = ops.mean(
                    784 * keras.losses.binary_crossentropy(data, reconstruction)
                )
                divergence = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
                loss += ops.mean(ops.sum(-0.5 * divergence, axis=1))
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(
                zip(gradients, self.trainable_weights, strict=True)
            )
            self.tracker.update_state(loss)
            return {"loss": self.tracker.result()}

    model = Variational()
    model.compile(optimizer="adam")
    return model


CLASSICAL = {
    "code_activation": "relu",
    "loss": "binary_crossentropy",
    "init": "random",
    "learning_rate": "constant",
    "learning_rate_init": 1e-3,
    "early_stopping": False,
    "n_iter_no_change": np.inf,
    "alpha": 0.0,
    "random_state": 0,
}


# -- the comparisons


def products(what, sizes, batch_size, ours, repeats, n_samples=60_000):
    """The matrix products of an epoch of dense layers alone, in NumPy: a bound."""
    rng = np.random.default_rng(0)
    layers = [
        (
            rng.random((batch_size, n_in), np.float32),
            rng.random((n_in, n_out), np.float32),
            rng.random((batch_size, n_out), np.float32),
        )
        for n_in, n_out in sizes
    ]

    def epoch():
        for _ in range(n_samples // batch_size):
            for i, (inputs, kernel, gradient) in enumerate(layers):
                inputs @ kernel
                inputs.T @ gradient
                if i > 0:
                    gradient @ kernel.T

    row(what, ours, median(epoch, repeats), "its matrix products alone", "")


def epochs_of_training(what, skae, model, X, Y, target, *, batch_size, epochs, repeats):
    """Seconds per epoch after a warm-up, one with one."""
    flat = X.reshape(len(X), -1)
    skae = clone(skae).set_params(batch_size=batch_size, max_iter=1)
    skae.fit(flat)
    model.fit(X, Y, batch_size=batch_size, epochs=1, verbose=0)
    ours, theirs = [], []
    for _ in range(repeats):
        skae.set_params(max_iter=epochs)
        ours.append(seconds(skae.fit, flat) / epochs)
        theirs.append(
            seconds(model.fit, X, Y, batch_size=batch_size, epochs=epochs, verbose=0)
            / epochs
        )
    row(what, np.median(ours), np.median(theirs), "Keras' fit, an epoch", target)
    return np.median(ours)


@ignore_warnings(category=ConvergenceWarning)
def simple(repeats):
    """784-32-784, ten epochs with validation: MNIST, batch 256."""
    X, X_test = mnist(60_000, 10_000)
    whole = np.concatenate([X, X_test])
    skae = AutoencoderTransformer(
        32,
        network=DenseNetwork(hidden_layer_sizes=()),
        batch_size=256,
        max_iter=10,
        n_splits=1,
        **CLASSICAL | {"early_stopping": True, "validation_fraction": 1 / 7},
    )
    ours, keras_fit, mlp = [], [], []
    for _ in range(repeats):
        ours.append(seconds(skae.fit, whole))
        model = keras_dense(784, (32,))
        began = time.perf_counter()
        history = model.fit(
            X, X, epochs=10, batch_size=256, validation_data=(X_test, X_test), verbose=0
        )
        keras_fit.append(time.perf_counter() - began)
        regressor = MLPRegressor(
            hidden_layer_sizes=(32,),
            batch_size=256,
            max_iter=10,
            early_stopping=True,
            validation_fraction=1 / 7,
        )
        mlp.append(seconds(regressor.fit, whole, whole))
    row(
        "784-32-784, 10 epochs",
        np.median(ours),
        np.median(keras_fit),
        "Keras' fit",
        ">= 5",
    )
    row("784-32-784, 10 epochs", np.median(ours), np.median(mlp), "MLPRegressor", "> 1")
    print(
        "| | loss per pixel after epochs 1, 5, 10: skae"
        f" {[round(skae.history_['val_loss'][i] / 784, 4) for i in (0, 4, 9)]}, Keras"
        f" {[round(history.history['val_loss'][i], 4) for i in (0, 4, 9)]} | | | | |"
    )


def deep(repeats):
    """784-128-64-32-64-128-784 on MNIST."""
    X, _ = mnist(60_000, 0)
    skae = AutoencoderTransformer(
        32, network=DenseNetwork((128, 64), activation="relu"), **CLASSICAL
    )
    ours = epochs_of_training(
        "784-128-64-32, an epoch",
        skae,
        keras_dense(784, (128, 64, 32)),
        X,
        X,
        ">= 5",
        batch_size=256,
        epochs=10,
        repeats=repeats,
    )
    sizes = (784, 128, 64, 32, 64, 128, 784)
    products("784-128-64-32, an epoch", itertools.pairwise(sizes), 256, ours, repeats)


def bare_loop(sizes, batch_size):
    """The least that an epoch takes in TensorFlow: one call, XLA, and Adam by hand.

    Returns
    -------
    epoch : callable
        Of all rows, a tensor, and the order in which they are visited.
    """
    import tensorflow as tf

    rng = np.random.default_rng(0)
    weights = []
    for n_in, n_out in itertools.pairwise(sizes):
        limit = np.sqrt(6 / (n_in + n_out))
        kernel = rng.uniform(-limit, limit, (n_in, n_out))
        weights += [tf.Variable(kernel, dtype="float32"), tf.Variable(tf.zeros(n_out))]
    moments = [[tf.Variable(tf.zeros(w.shape)) for w in weights] for _ in range(2)]
    steps = tf.Variable(0.0)

    def loss(x):
        output = x
        for i in range(0, len(weights), 2):
            output = output @ weights[i] + weights[i + 1]
            if i < len(weights) - 2:
                output = tf.nn.relu(output)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(x, output)
        return tf.reduce_mean(tf.reduce_sum(losses, axis=1))

    @tf.function(jit_compile=True, autograph=False)
    def epoch(X, order):
        def batch(i, total):
            x = tf.gather(X, order[i])
            with tf.GradientTape() as tape:
                current = loss(x)
            gradients = tape.gradient(current, weights)
            steps.assign_add(1.0)
            rate = 1e-3 * tf.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
            for weight, g, m, v in zip(weights, gradients, *moments, strict=True):
                m.assign_add(0.1 * (g - m))
                v.assign_add(0.001 * (g * g - v))
                weight.assign_sub(rate * m / (tf.sqrt(v) + 1e-7))
            return i + 1, total + current

        return tf.while_loop(
            lambda i, _: i < order.shape[0], batch, (tf.constant(0), tf.constant(0.0))
        )[1]

    def run(X, order):
        n_batches = len(order) // batch_size
        order = order[: n_batches * batch_size].reshape(n_batches, batch_size)
        return float(epoch(X, tf.constant(order, tf.int32))) / n_batches

    return run


def loop(repeats):
    """An epoch against a bare loop of the same net: 784-128-64-32, and 50-64-8 on rows."""
    rows = np.random.default_rng(0).random((20_000, 50), np.float32)
    beside_bare_loop(mnist(60_000, 0)[0], (128, 64), 32, repeats)
    beside_bare_loop(rows, (64,), 8, repeats, epochs=50)


def beside_bare_loop(X, hidden, k, repeats, batch_size=256, epochs=10):
    """A fit, by its number of epochs, and what an epoch more adds to it."""
    import tensorflow as tf

    skae = AutoencoderTransformer(
        k,
        network=DenseNetwork(hidden, activation="relu"),
        **CLASSICAL
        | {"code_activation": "linear", "batch_size": batch_size, "max_iter": epochs},
    )
    longer = clone(skae).set_params(max_iter=3 * epochs)
    sizes = (X.shape[1], *hidden, k, *hidden[::-1], X.shape[1])
    bare, tensor, rng = bare_loop(sizes, batch_size), tf.constant(X), np.random
    skae.fit(X)
    bare(tensor, rng.permutation(len(X)))

    def several_epochs():
        for _ in range(epochs):
            bare(tensor, rng.permutation(len(X)))

    times = []
    for _ in range(repeats):
        fit, longer_fit = seconds(skae.fit, X), seconds(longer.fit, X)
        times.append((fit, (longer_fit - fit) / 2, seconds(several_epochs)))
    fit, epoch, theirs = np.median(times, axis=0) / epochs
    what, target = "-".join(map(str, (X.shape[1], *hidden, k))), ">= 0.87 (1.15 times)"
    row(f"{what}, an epoch", epoch, theirs, "bare loop", target)
    row(f"{what}, a fit of {epochs} epochs, each", fit, theirs, "bare loop", "")


FIRST_FIT = """
import os, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, tensorflow
import sys
sys.path.insert(0, {folder!r})
import speed
from sklearn.datasets import load_digits
X = load_digits(return_X_y=True)[0].astype("float32") / 16
print(speed.seconds({call}))
"""
OURS_ON_DIGITS = "speed.skae_on_digits().fit, X"
THEIRS_ON_DIGITS = "speed.keras_on_digits, X"


def skae_on_digits(**parameters):
    return AutoencoderTransformer(
        32,
        network=DenseNetwork(hidden_layer_sizes=()),
        **CLASSICAL | {"batch_size": 32, "max_iter": 50} | parameters,
    )


def keras_on_digits(X):
    model = keras_dense(64, (32,))
    model.fit(X, X, batch_size=32, epochs=50, verbose=0)
    return model


@ignore_warnings(category=ConvergenceWarning)
def digits(repeats):
    """Digits, 50 epochs, batch 32: a first fit in a fresh process, and a second fit."""

    def first(call):
        script = FIRST_FIT.format(
            folder=os.path.dirname(os.path.abspath(__file__)), call=call
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        return float(done.stdout.split()[-1])

    pairs = [(first(OURS_ON_DIGITS), first(THEIRS_ON_DIGITS)) for _ in range(repeats)]
    ours, theirs = np.median(pairs, axis=0)
    row("digits, 50 epochs, first fit", ours, theirs, "Keras' fit", ">= 4")
    X = load_digits(return_X_y=True)[0].astype(np.float32) / 16
    skae_on_digits().fit(X[:1500])
    second = skae_on_digits(learning_rate_init=2e-3, alpha=1e-3, random_state=1)
    ours = median(lambda: clone(second).fit(X), repeats)
    keras_on_digits(X)
    theirs = median(lambda: keras_on_digits(X), repeats)
    row("digits, 50 epochs, second fit", ours, theirs, "Keras' fit", ">= 20")
    regressor = MLPRegressor(
        hidden_layer_sizes=(32,), batch_size=32, max_iter=50, n_iter_no_change=50
    )
    mlp = median(lambda: regressor.fit(X, X), repeats)
    row("digits, 50 epochs, second fit", ours, mlp, "MLPRegressor", "> 1")


def grid(repeats):
    """GridSearchCV on digits, 9 candidates x 5 folds x 50 epochs, one process."""
    X = load_digits(return_X_y=True)[0].astype(np.float32) / 16
    values = {"n_components": [8, 16, 32], "learning_rate_init": [3e-4, 1e-3, 3e-3]}
    search = GridSearchCV(skae_on_digits(), values, cv=5)
    ours = seconds(search.fit, X)

    def tutorial():
        import keras

        for parameters in ParameterGrid(values):
            for train, test in KFold(5).split(X):
                model = keras_dense(64, (parameters["n_components"],))
                model.compile(
                    keras.optimizers.Adam(parameters["learning_rate_init"]),
                    "binary_crossentropy",
                )
                model.fit(X[train], X[train], batch_size=32, epochs=50, verbose=0)
                np.mean((model.predict(X[test], verbose=0) - X[test]) ** 2)

    row(
        "GridSearchCV, 9 x 5 x 50 epochs",
        ours,
        seconds(tutorial),
        "Keras in a loop",
        ">= 10",
    )


def transform(repeats):
    """transform of one row, and of 10,000 images, against PCA and Keras' predict."""
    X, X_test = mnist(5_000, 10_000)
    small = load_digits(return_X_y=True)[0]

    def each(function, n):
        function()
        return float(np.median([seconds(function) for _ in range(n)]))

    skae = AutoencoderTransformer(8, max_iter=1, random_state=0).fit(small)
    pca = PCA(8).fit(small)
    one = small[:1]
    ours, theirs = (
        each(lambda: skae.transform(one), 500),
        each(lambda: pca.transform(one), 500),
    )
    row("transform of one row", ours, theirs, "PCA", ">= 0.25, and < 0.0005 s")
    encoder = skae.encoder_
    predict = each(lambda: encoder.predict(one, verbose=0), 10)
    row("transform of one row", ours, predict, "Keras' predict", "")
    skae = AutoencoderTransformer(
        32, network=DenseNetwork(hidden_layer_sizes=()), max_iter=1, random_state=0
    )
    for dtype in (np.float32, np.float64):
        skae.fit(X.astype(dtype))
        pca = PCA(32, random_state=0).fit(X.astype(dtype))
        for order in "CF":
            rows = X_test.astype(dtype, order=order)
            ours, theirs = [], []
            for _ in range(31):
                ours.append(seconds(skae.transform, rows))
                theirs.append(seconds(pca.transform, rows))
            name = f"{np.dtype(dtype).name}, {order} order"
            row(
                f"transform of 10,000 images, {name}",
                np.median(ours),
                np.median(theirs),
                "PCA",
                ">= 0.5",
            )


def imports(repeats):
    """What `import skae` adds to `import sklearn.decomposition`."""

    def run(script):
        return median(
            lambda: subprocess.run([sys.executable, "-c", script], check=True), repeats
        )

    base, both = (
        run("import sklearn.decomposition"),
        run("import sklearn.decomposition, skae"),
    )
    print(f"| import skae adds | | {both - base:.3f} s | | | < 0.3 s |", flush=True)


def convolutional(repeats):
    """The tutorial's convolutional autoencoder on a slice of MNIST."""
    X, _ = mnist(12_800, 0)
    skae = AutoencoderTransformer(
        None,
        network=ConvNetwork(input_shape=(28, 28, 1), filters=(16, 8, 8)),
        **CLASSICAL | {"code_activation": "linear"},
    )
    X = X.reshape(-1, 28, 28, 1)
    epochs_of_training(
        "convolutional 16-8-8, an epoch",
        skae,
        keras_convolutional((16, 8, 8), 4),
        X,
        X,
        ">= 1.3",
        batch_size=128,
        epochs=10,
        repeats=repeats,
    )


def denoising(repeats):
    """The tutorial's convolutional denoiser on a slice of MNIST."""
    X, _ = mnist(12_800, 0)
    skae = DenoisingAutoencoder(
        None,
        network=ConvNetwork(input_shape=(28, 28, 1), filters=(32, 32)),
        noise=GaussianNoise(0.5, relative=False, clip=(0, 1)),
        **CLASSICAL | {"code_activation": "linear"},
    )
    X = X.reshape(-1, 28, 28, 1)
    noisy = np.clip(X + np.random.default_rng(0).normal(scale=0.5, size=X.shape), 0, 1)
    epochs_of_training(
        "convolutional denoiser 32-32, an epoch",
        skae,
        keras_convolutional((32, 32), 7),
        noisy.astype(np.float32),
        X,
        ">= 1.3",
        batch_size=128,
        epochs=10,
        repeats=repeats,
    )


def noise(repeats):
    """What drawing the noise costs: a denoiser's epoch against an autoencoder's."""
    X, _ = mnist(60_000, 0)
    parameters = CLASSICAL | {"batch_size": 256, "max_iter": 5}
    network = DenseNetwork((128, 64), activation="relu")
    plain = AutoencoderTransformer(32, network=network, **parameters).fit(X[:1024])
    noisy = DenoisingAutoencoder(32, network=network, **parameters).fit(X[:1024])
    pairs = [(seconds(plain.fit, X), seconds(noisy.fit, X)) for _ in range(repeats)]
    ours, theirs = np.median(pairs, axis=0)
    print(
        f"| noise, share of an epoch | | {1 - ours / theirs:.2f} | | | < 0.15 |",
        flush=True,
    )


def sequence(repeats):
    """The tutorial's LSTM autoencoder on sines."""
    rng = np.random.default_rng(0)
    time_, n_samples = np.arange(50), 6_400
    X = np.sin(
        rng.uniform(0.1, 0.5, (n_samples, 1)) * time_ + rng.uniform(0, 6, (n_samples, 1))
    ).astype(np.float32)[..., None]
    skae = AutoencoderTransformer(
        None,
        network=SequenceNetwork(input_shape=(50, 1), units=32, head="recurrent"),
        **CLASSICAL | {"code_activation": "linear", "loss": "squared_error"},
    )
    epochs_of_training(
        "LSTM 50 steps, 32 units, an epoch",
        skae,
        keras_sequence(50, 1, 32),
        X,
        X,
        ">= 1.5",
        batch_size=128,
        epochs=10,
        repeats=repeats,
    )


def variational(repeats):
    """VAEs on MNIST, against a subclass with its own train_step: the tutorial's first."""
    X, _ = mnist(60_000, 0)
    for hidden, n_components, batch_size in ((64, 2, 32), (400, 20, 128)):
        skae = VAETransformer(
            n_components,
            likelihood="bernoulli",
            network=DenseNetwork((hidden,), activation="relu"),
            init="random",
            early_stopping=False,
            n_iter_no_change=np.inf,
            alpha=0.0,
            random_state=0,
        )
        what = f"VAE 784-{hidden}-{n_components}, batch {batch_size}, an epoch"
        ours = epochs_of_training(
            what,
            skae,
            keras_variational(hidden, n_components),
            X,
            None,
            ">= 5",
            batch_size=batch_size,
            epochs=10,
            repeats=repeats,
        )
        sizes = (
            (784, hidden),
            (hidden, 2 * n_components),
            (n_components, hidden),
            (hidden, 784),
        )
        products(what, sizes, batch_size, ours, repeats)


MODELS = {
    function.__name__: function
    for function in (
        imports,
        transform,
        digits,
        grid,
        simple,
        deep,
        loop,
        convolutional,
        denoising,
        noise,
        sequence,
        variational,
    )
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print("| what | against | skae, s | the other, s | times faster | target |")
    print("|---|---|---|---|---|---|")
    for name in arguments.models.split(","):
        MODELS[name](arguments.repeats)


if __name__ == "__main__":
    main()
