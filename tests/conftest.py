"""Set before SciPy is imported, so that no check of scikit-learn's is left out."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"
