"""What the output convolution of ConvNetwork saves of an epoch, next to Keras' own.

Calls of partial_fit, an epoch each, on random images, of both in turn.
"""

import argparse
import time

import numpy as np

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae.networks import ConvNetwork
from skae.noise import GaussianNoise


class Plain(ConvNetwork):
    """Keras' own convolution at the end."""

    def _layer(self, kind, *args, **kwargs):
        return super()._layer(kind.removeprefix("OneFilter"), *args, **kwargs)


def tutorial(network, **common):
    network = network((28, 28, 1), filters=(16, 8, 8))
    return AutoencoderTransformer(None, network=network, **common)


def denoiser(network, **common):
    network = network((28, 28, 1), filters=(32, 32))
    noise = GaussianNoise(0.5, relative=False, clip=(0, 1))
    return DenoisingAutoencoder(None, network=network, noise=noise, **common)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    X = np.random.default_rng(0).random((args.samples, 784), dtype=np.float32)
    print(
        "| model | clock | one filter, s | Keras', s | gain |\n| --- | --- | --- | --- | --- |"
    )
    for make in (tutorial, denoiser):
        models = [
            make(
                network,
                code_activation="relu",
                loss="binary_crossentropy",
                init="random",
                batch_size=128,
                random_state=0,
            )
            for network in (ConvNetwork, Plain)
        ]
        seconds = np.empty((args.epochs + 2, 2, 2))
        for i, of_both in enumerate(seconds):
            for j in (0, 1) if i % 2 else (1, 0):
                begin = time.perf_counter(), time.process_time()
                models[j].partial_fit(X)
                of_both[:, j] = np.subtract(
                    (time.perf_counter(), time.process_time()), begin
                )
        for clock, (ours, keras) in zip(
            ("wall", "CPU"), np.median(seconds[2:], axis=0), strict=True
        ):
            gain = f"{1 - ours / keras:.0%}"
            print(f"| {make.__name__} | {clock} | {ours:.3f} | {keras:.3f} | {gain} |")


if __name__ == "__main__":
    main()
