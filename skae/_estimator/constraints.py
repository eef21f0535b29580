"""Constraints: the allowed values of the parameters that all estimators share."""

from numbers import Integral, Real

import numpy as np

from skae._utils.sklearn import HasMethods, Interval, Options, RealNotInt, StrOptions
from skae.networks import Network

CONSTRAINTS: dict = {
    "n_components": [
        Interval(Integral, 1, None, closed="left"),
        Interval(RealNotInt, 0, 1, closed="neither"),
        StrOptions({"mle"}),
        None,
    ],
    "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
    "network": [Network, tuple, list, None],
    "code_activation": [str],
    "init": [StrOptions({"auto", "linear", "random"}), HasMethods(["transform"])],
    "optimizer": [str, HasMethods(["get_config", "apply"])],
    "learning_rate": [StrOptions({"adaptive", "constant"})],
    "learning_rate_init": [
        StrOptions({"auto"}),
        Interval(Real, 0, None, closed="neither"),
        HasMethods(["get_config", "__call__"]),
    ],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "shuffle": ["boolean"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "n_iter_no_change": [
        Interval(Integral, 1, None, closed="left"),
        Options(Real, {np.inf}),
    ],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "n_splits": [StrOptions({"auto"}), Interval(Integral, 1, 100, closed="both")],
    "warm_start": ["boolean"],
    "callbacks": [list, tuple, None],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
}
