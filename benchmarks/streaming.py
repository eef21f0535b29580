"""Fits to rows that are not in memory: memory, rows per second and held-out error.

    python benchmarks/streaming.py [--rows 1000000] [--passes 3] [--workers 1 2 4]
    python benchmarks/streaming.py --limit 2 --rows 40000000 --passes 1

Rows are those of `growth.py`, 50 float32 numbers each, *sorted* by the first: the worst
case for whoever reads blocks. The array is the full shuffle that the others are held
against. Each fit has a process of its own, k = 10 and so many passes. Rows per second are
those of the training: the time of a fit less that of one with `max_iter=0`, so that they
hold the start and the pass for the components apart, whose seconds stand beside. Memory is
the peak of what is the process's own (not the pages of a mapped file) above what it had
with TensorFlow in it. With ``--limit`` the process may have no more than so many GiB of
memory of its own, and an array that is four times as large is read from a file.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from growth import rows, squared_error

N_FEATURES, K, AT_ONCE = 50, 10, 1_000_000


def write(folder, n_samples):
    """The sorted rows as X.npy, and as HDF5 and Zarr where they are few."""
    X = np.lib.format.open_memmap(
        folder / "X.npy", "w+", np.float32, (n_samples, N_FEATURES)
    )
    for start in range(0, n_samples, AT_ONCE):
        n = min(AT_ONCE, n_samples - start)
        part = rows(n, N_FEATURES, seed=2 + start)
        # sorted as a whole: by a number that grows from part to part
        X[start : start + n] = part[np.argsort(part[:, 0])]
    if n_samples > 5 * AT_ONCE:
        return
    X[:] = np.asarray(X)[np.argsort(X[:, 0])]
    import h5py
    import zarr

    with h5py.File(folder / "X.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(5000, N_FEATURES))
    z = zarr.create_array(
        folder / "X.zarr", shape=X.shape, chunks=(5000, N_FEATURES), dtype=X.dtype
    )
    z[:] = X


def opened(kind, folder):
    if kind == "array":
        return np.load(folder / "X.npy")
    if kind == "memory map":
        return np.load(folder / "X.npy", mmap_mode="r")
    if kind == "HDF5":
        import h5py

        return h5py.File(folder / "X.h5")["X"]
    import zarr

    X = zarr.open_array(folder / "X.zarr")
    if kind == "Zarr":
        return X
    import dask.array as da

    return da.from_zarr(folder / "X.zarr", chunks=(50_000, N_FEATURES)).persist()


class Watch:
    """The most memory of its own that the process has had, in MB, above the first."""

    def __enter__(self):
        self.first, self.most, self.ended = own(), 0, False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.ended:
            self.most = max(self.most, own() - self.first)
            time.sleep(0.02)

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()


def own():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def measure(kind, folder, passes, n_workers, limit):
    from skae import AutoencoderTransformer

    X_test = rows(10_000, N_FEATURES, seed=1)
    skae = AutoencoderTransformer(K, random_state=0, max_iter=2)
    skae.fit(X_test)  # TensorFlow is there
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
    cluster = None
    if n_workers:
        from dask.distributed import Client, LocalCluster

        cluster = LocalCluster(n_workers, threads_per_worker=1, dashboard_address=None)
        Client(cluster)
    with Watch() as watch:
        X = opened(kind, folder)
        began = time.perf_counter()
        skae.set_params(max_iter=0).fit(X)
        start = time.perf_counter() - began
        of_pca = squared_error(skae, X_test)
        began = time.perf_counter()
        skae.set_params(max_iter=passes).fit(X)
        took = time.perf_counter() - began
    if cluster:
        cluster.close()
    return {
        "start": start,
        "fit": took,
        "rate": X.shape[0] * passes / (took - start),
        "memory": watch.most,
        "error": float(squared_error(skae, X_test) / of_pca),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--limit", type=float, default=0)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        kind, folder, n_workers = given.one
        found = measure(kind, Path(folder), given.passes, int(n_workers), given.limit)
        print(json.dumps(found))
        return
    kinds = [("array", 0), ("memory map", 0), ("HDF5", 0), ("Zarr", 0)]
    kinds += [("Dask", n) for n in given.workers]
    if given.limit:
        kinds = [("memory map", 0)]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.rows)
        print("| X | start s | fit s | rows/s | MB | error / PCA |")
        print("|---|---|---|---|---|---|")
        for kind, n_workers in kinds:
            command = [sys.executable, __file__, "--passes", str(given.passes)]
            command += [
                "--limit",
                str(given.limit),
                "--one",
                kind,
                folder,
                str(n_workers),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"| {kind} | failed: {done.stderr.strip().splitlines()[-1]} |")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            name = f"{kind}, {n_workers} workers" if n_workers else kind
            print(
                f"| {name} | {found['start']:.1f} | {found['fit']:.1f} |"
                f" {found['rate']:,.0f} | {found['memory']:.0f} | {found['error']:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
