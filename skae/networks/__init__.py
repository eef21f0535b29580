"""Networks: the layers on each side of the code, with parameters to tune."""

from skae.networks._base import Network
from skae.networks._conv import ConvNetwork
from skae.networks._custom import CustomNetwork
from skae.networks._dense import DenseNetwork
from skae.networks._sequence import SequenceNetwork

__all__ = [
    "ConvNetwork",
    "CustomNetwork",
    "DenseNetwork",
    "Network",
    "SequenceNetwork",
]

for _name in __all__:  # the module that users, pickles and documentation refer to
    globals()[_name].__module__ = __name__
