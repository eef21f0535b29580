"""Optimizers of Keras by value: copied at each fit, equal where they do the same."""

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

#: Weights are updated as one vector where they are no more: copying many costs more time
#: than compiling one update saves.
FLAT_VALUES = 2**16


@dataclass(frozen=True)
class Optimizer:
    """How to make a Keras optimizer, hashable; a constant learning rate apart from it.

    Parameters
    ----------
    key : tuple
        Equal for optimizers that do the same.

    config : dict
        What the optimizer is made from.

    settings : dict
        Attributes that its configuration does not have, such as those that
        ``AdamW.exclude_from_weight_decay`` sets.

    learning_rate : float or None
        None where the configuration has a schedule.
    """

    key: tuple
    config: dict = field(compare=False)
    settings: dict = field(compare=False)
    learning_rate: float | None = field(compare=False)

    @classmethod
    def of(cls, optimizer, learning_rate_init, own_rate=False):
        """From the parameters of an estimator, which are left as they are.

        Parameters
        ----------
        optimizer : str or keras.optimizers.Optimizer
            An optimizer brings its own learning rate.

        learning_rate_init : float or keras.optimizers.schedules.LearningRateSchedule
            The learning rate of an optimizer given by its name.

        own_rate : bool, default=False
            Whether an optimizer other than Adam has the rate that Keras gives it.

        Raises
        ------
        ValueError
            If the optimizer is neither, or is one that Keras does not know.
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
        """The same with another learning rate, a number or a schedule."""
        if isinstance(rate, type):
            raise ValueError(
                "learning_rate_init must be a number or an instance of a schedule, such as"
                f" CosineDecay(1e-3, 1000). Got the class {rate.__name__}."
            )
        if isinstance(rate, keras.Variable):
            rate = float(value_of(rate))  # which a strategy may have on several devices
        if isinstance(rate, Real):
            return replace(self, learning_rate=float(rate))
        schedule = copy.deepcopy(rate)  # an object: copied, not made again
        kind, config, _, settings = self.key
        return replace(
            self,
            key=(kind, config, _schedule_key(schedule), settings),
            config=self.config | {"learning_rate": schedule},
            learning_rate=None,
        )

    def make(self):
        """A new Keras optimizer, which shares nothing with those made before."""
        made = self.key[0].from_config(copy.deepcopy(self.config))
        for name, value in copy.deepcopy(self.settings).items():
            setattr(made, name, value)
        return made

    def updates_as_one(self, variables):
        """Whether all weights can be updated as one vector, which gives the same numbers.

        Each weight's update must depend on that weight and its gradient alone, and be the
        same function for all: no norm of one variable's gradient, no constraint of a
        layer's, nothing that was set beyond the configuration, which may look at names.
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
    """That of a name; an optimizer of Keras keeps memory for as long as the process lives."""
    try:
        optimizer = keras.optimizers.get(name)
    except ValueError:
        raise _not_known(name) from None
    return Optimizer._of_instance(optimizer)


def _config(optimizer):
    """What an optimizer is made from, without its learning rate and its name."""
    given = optimizer
    if not isinstance(learning_rate_of(optimizer), keras.Variable):
        given = object.__new__(type(optimizer))  # as a schedule may have no configuration
        vars(given).update(vars(optimizer), _learning_rate=None)
    return given.get_config() | {"name": "optimizer", "learning_rate": 0.001}


_made = {}


def _fresh(kind, key, config):
    """An optimizer as it is made from its configuration, to compare with: kept, and read."""
    try:
        return _made[kind, key]
    except KeyError:
        return _made.setdefault((kind, key), kind.from_config(copy.deepcopy(config)))


def _settings(optimizer, fresh):
    """Copies of the attributes that its configuration does not give an optimizer."""
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
    """Whether an attribute is what an optimizer knows of the variables it was built for."""
    return any(isinstance(leaf, keras.Variable) for leaf in keras.tree.flatten(value))


def _not_known(optimizer):
    return ValueError(
        "optimizer must be the name of a Keras optimizer, such as 'adam' or 'sgd', or one"
        f" of its instances. Got {optimizer!r}."
    )


def _schedule_key(schedule):
    """What is equal for schedules that are the same, with a configuration or without."""
    try:
        setting = schedule.get_config()
    except (AttributeError, NotImplementedError):
        setting = getattr(schedule, "__dict__", None)
    if setting is None:
        return schedule
    return type(schedule), _by_value(dict(setting))


@dataclass(frozen=True, eq=False)
class _Itself:
    """Stands for a value that is equal to itself alone."""

    value: object


def _by_value(setting):
    """What is hashable, and equal where the setting is."""
    try:
        return json.dumps(setting, sort_keys=True, default=_pickled)
    except Exception:
        return _Itself(setting)


def _pickled(value):
    return pickle.dumps(value).hex()
