"""hashfed: federated learning of models whose output layer is huge.

The server finds, through hash tables, the few output rows that matter for a client's data; the client
trains on these alone and returns a row-sparse update.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashfed.config import Config, load_config, make_config
    from hashfed.engines.local.simulator import Simulation
    from hashfed.errors import HashfedError, HashfedWarning
    from hashfed.runs import RunFolder, load_data, train
    from hashfed.stopping import Interrupted

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

_MODULES = {
    "Config": "hashfed.config",
    "load_config": "hashfed.config",
    "make_config": "hashfed.config",
    "Interrupted": "hashfed.stopping",
    "Simulation": "hashfed.engines.local.simulator",
    "HashfedError": "hashfed.errors",
    "HashfedWarning": "hashfed.errors",
    "RunFolder": "hashfed.runs",
    "load_data": "hashfed.runs",
    "train": "hashfed.runs",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: torch takes seconds, in which the command line must answer Ctrl-C."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
