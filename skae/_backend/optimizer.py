"""Optimizers of Keras by value: copied at each fit, equal if they do the same."""

import copy
import functools
import json
import math
import pickle
from dataclasses import dataclass, field, replace
from numbers import Real

import keras

from skae._model.graph import value_of
from skae._utils.keras import BOOKKEEPING, learning_rate_of

#: Optimizers whose update of a weight depends on no other weight.
ELEMENTWISE = {
    keras.optimizers.SGD,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.Lion,
}

#: The largest number of weights that are updated as one vector. With more, copying takes
#: more time than compiling a single update saves.
FLAT_VALUES = 2**16


@dataclass(frozen=True)
class Optimizer:
    """A hashable recipe of a Keras optimizer, apart from a constant learning rate.

    Parameters
    ----------
    key : tuple
        Equal for optimizers that do the same.

    config : dict
        The optimizer's configuration.

    settings : dict
        Attributes that are not in the configuration, such as those that
        ``AdamW.exclude_from_weight_decay`` sets.

    learning_rate : float or None
        None if the configuration has a schedule.
    """

    key: tuple
    config: dict = field(compare=False)
    settings: dict = field(compare=False)
    learning_rate: float | None = field(compare=False)

    @classmethod
    def of(cls, optimizer, learning_rate_init, own_rate=False):
        """Make an `Optimizer` from the parameters of an estimator, without changing them.

        Parameters
        ----------
        optimizer : str or keras.optimizers.Optimizer
            An instance has its own learning rate.

        learning_rate_init : float or keras.optimizers.schedules.LearningRateSchedule
            The learning rate of an optimizer given by its name.

        own_rate : bool, default=False
            Whether an optimizer other than Adam gets Keras' default learning rate.

        Raises
        ------
        ValueError
            If the optimizer is neither, or Keras does not know its name.
        """
        if isinstance(optimizer, str):
            found = _of_name(optimizer)
            rate = learning_rate_init
            if own_rate and not issubclass(found.key[0], keras.optimizers.Adam):
                rate = found.learning_rate
            return found._at(rate)
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise _not_known(optimizer)
        return cls._of_instance(optimizer)

    @classmethod
    def _of_instance(cls, optimizer):
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "optimizer must not be a LossScaleOptimizer: training is in float32, whose"
                " gradients need no scale. Pass its inner optimizer."
            )
        if optimizer.use_ema:
            raise ValueError(
                "optimizer must not average weights (use_ema=True): the weights with the"
                " least validation loss are kept. Set use_ema=False."
            )
        kind, config = type(optimizer), _config(optimizer)
        settings = _settings(optimizer, _fresh(kind, _by_value(config), config))
        key = (kind, _by_value(config), None, _by_value(settings) if settings else None)
        found = cls(key, config, settings, 0.0)
        return found._at(learning_rate_of(optimizer))

    def _at(self, rate):
        """Return a copy with another learning rate, a number or a schedule."""
        if isinstance(rate, type):
            raise ValueError(
                "learning_rate_init must be a number or an instance of a schedule, such as"
                f" CosineDecay(1e-3, 1000). Got the class {rate.__name__}."
            )
        if isinstance(rate, keras.Variable):
            rate = float(value_of(rate))  # a strategy may have it on several devices
        if isinstance(rate, Real):
            return replace(self, learning_rate=float(rate))
        schedule = copy.deepcopy(rate)  # not made again from a configuration
        kind, config, _, settings = self.key
        return replace(
            self,
            key=(kind, config, _schedule_key(schedule), settings),
            config=self.config | {"learning_rate": schedule},
            learning_rate=None,
        )

    def make(self):
        """Make a new Keras optimizer, which shares nothing with earlier ones."""
        made = self.key[0].from_config(copy.deepcopy(self.config))
        for name, value in copy.deepcopy(self.settings).items():
            setattr(made, name, value)
        return made

    def updates_as_one(self, variables):
        """Check whether updating all weights as one vector gives the same numbers.

        Each weight's update must depend on that weight and its gradient alone, and be the
        same function for all weights. This excludes norms of one variable's gradient,
        constraints of layers, and settings outside the configuration, which may depend on
        names.
        """
        return (
            self.key[0] in ELEMENTWISE
            and not self.config.get("clipnorm")
            and not self.settings
            and all(variable.constraint is None for variable in variables)
            and not any(
                getattr(variable, "overwrite_with_gradient", False)
                for variable in variables
            )
            and sum(math.prod(variable.shape) for variable in variables) <= FLAT_VALUES
        )


@functools.cache
def _of_name(name):
    """Return the `Optimizer` of a name; cached, as Keras never frees an optimizer."""
    try:
        optimizer = keras.optimizers.get(name)
    except ValueError:
        raise _not_known(name) from None
    return Optimizer._of_instance(optimizer)


def _config(optimizer):
    """Return the configuration of an optimizer, without its learning rate and name."""
    given = optimizer
    if not isinstance(learning_rate_of(optimizer), keras.Variable):
        given = object.__new__(type(optimizer))  # a schedule may have no configuration
        vars(given).update(vars(optimizer), _learning_rate=None)
    return given.get_config() | {"name": "optimizer", "learning_rate": 0.001}


_made = {}


def _fresh(kind, key, config):
    """Return a cached optimizer, made from its configuration, to compare with."""
    try:
        return _made[kind, key]
    except KeyError:
        return _made.setdefault((kind, key), kind.from_config(copy.deepcopy(config)))


def _settings(optimizer, fresh):
    """Copy the attributes of an optimizer that its configuration does not set."""
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        raise ValueError(
            "optimizer must exclude weights from weight decay by their names,"
            " exclude_from_weight_decay(var_names=[...]): the variables in its var_list"
            " are not those that a fit makes."
        )
    known, missing, found = vars(fresh), object(), {}
    for name, value in vars(optimizer).items():
        if name in BOOKKEEPING or name.startswith("_self_") or _is_built(value):
            continue
        if name == "_exclude_from_weight_decay" and not value:
            continue
        own = known.get(name, missing)
        if own is missing or _by_value(own) != _by_value(value):
            found[name] = copy.deepcopy(value)
    if not found.get("_exclude_from_weight_decay_pattern", True):
        del found["_exclude_from_weight_decay_pattern"]
    return found


def _is_built(value):
    """Check whether an attribute holds variables, which depend on the built weights."""
    return any(isinstance(leaf, keras.Variable) for leaf in keras.tree.flatten(value))


def _not_known(optimizer):
    return ValueError(
        "optimizer must be the name of a Keras optimizer, such as 'adam' or 'sgd', or one"
        f" of its instances. Got {optimizer!r}."
    )


def _schedule_key(schedule):
    """Return a key that is equal for equal schedules, with a configuration or without."""
    try:
        setting = schedule.get_config()
    except (AttributeError, NotImplementedError):
        setting = getattr(schedule, "__dict__", None)
    if setting is None:
        return schedule
    return type(schedule), _by_value(dict(setting))


@dataclass(frozen=True, eq=False)
class _Itself:
    """A wrapper of a value that is equal to itself alone."""

    value: object


def _by_value(setting):
    """Return a hashable key that is equal for equal settings."""
    try:
        return json.dumps(setting, sort_keys=True, default=_pickled)
    except Exception:
        return _Itself(setting)


def _pickled(value):
    return pickle.dumps(value).hex()
