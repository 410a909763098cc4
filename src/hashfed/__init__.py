"""hashfed: federated learning of models whose output layer is huge.

The server finds, through hash tables, the few output rows that matter for a client's data; the client
trains on these alone and returns a row-sparse update.
"""

from hashfed.config import Config, load_config, make_config
from hashfed.engines import Interrupted, Simulation
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.experiments import RunFolder, load_data, train

__all__ = [
    "Config",
    "HashfedError",
    "HashfedWarning",
    "Interrupted",
    "RunFolder",
    "Simulation",
    "load_config",
    "load_data",
    "make_config",
    "train",
]
__version__ = "0.1.0"
