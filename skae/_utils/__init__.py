"""Utilities for all packages: types, parameters, seeds, warnings, Keras, scikit-learn."""
