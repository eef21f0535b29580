"""Estimator: what all estimators share around a fit."""
