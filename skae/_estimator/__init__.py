"""Estimator: the base classes of all estimators."""
