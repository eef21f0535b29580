"""Optimizers of Keras by value: copied at each fit, equal where they do the same."""

import copy
import json
from dataclasses import dataclass, field
from numbers import Real

import keras

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


@dataclass(frozen=True)
class Optimizer:
    """How to make a Keras optimizer, hashable; a constant learning rate apart from it."""

    key: tuple
    config: dict = field(compare=False)
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
            try:
                optimizer = keras.optimizers.get(optimizer)
            except ValueError:
                raise _not_known(optimizer) from None
            rate = learning_rate_init
            if own_rate and not isinstance(optimizer, keras.optimizers.Adam):
                rate = optimizer._learning_rate
        elif isinstance(optimizer, keras.optimizers.Optimizer):
            rate = optimizer._learning_rate
        else:
            raise _not_known(optimizer)
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
        if isinstance(rate, type):
            raise ValueError(
                "learning_rate_init must be a number or an instance of a schedule, such as"
                f" CosineDecay(1e-3, 1000). Got the class {rate.__name__}."
            )
        config = optimizer.get_config() | {"name": "optimizer"}
        if isinstance(rate, keras.Variable):
            rate = float(rate)
        if isinstance(rate, Real):
            config["learning_rate"], rate, schedule = 0.001, float(rate), None
        else:  # a schedule, which is an object: copied, not made again
            config["learning_rate"] = schedule = copy.deepcopy(rate)
            rate = None
        key = (type(optimizer), _by_value(config), _by_value(schedule))
        return cls(key, config, rate)

    def make(self):
        """A new one, which shares nothing with those made before."""
        return self.key[0].from_config(copy.deepcopy(self.config))


def _not_known(optimizer):
    return ValueError(
        "optimizer must be the name of a Keras optimizer, such as 'adam' or 'sgd', or one"
        f" of its instances. Got {optimizer!r}."
    )


def _by_value(setting):
    """What is hashable and equal where the setting is; else the setting itself."""
    if setting is None:
        return None
    if hasattr(setting, "get_config"):
        return type(setting), _by_value(setting.get_config())
    try:
        return json.dumps(setting, sort_keys=True, default=str)
    except TypeError:
        return setting
