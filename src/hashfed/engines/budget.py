"""How many rows a client of this configuration holds."""

from hashfed.config import Config
from hashfed.federated.messages import Declare
from hashfed.federated.server import client_budget
from hashfed.retrieval import device_rows
from hashfed.retrieval.delivery import WITHOUT_PRIOR


def sends_everything(config: Config) -> bool:
    """Whether every client gets all rows, so that it need not say which it wants."""
    selection = config.selection
    unlimited = selection.budget == 1 and selection.max_rows is None and selection.max_bytes is None
    return config.retrieval.method == "full" or unlimited


def clients_declare(config: Config) -> bool:
    """Whether clients say which rows they need: not where they get all, or select by themselves."""
    return config.selection.delivery == "on-demand" and not sends_everything(config)


def sends_counts(config: Config) -> bool:
    """Whether clients that select by themselves need the counts that the index is built of."""
    return not sends_everything(config) and config.retrieval.method not in WITHOUT_PRIOR


def device_budget(config: Config, size: int) -> int:
    """Rows a client may hold, of ``size``."""
    if sends_everything(config):
        return size
    return min(size, device_rows(config.selection, size, config.model.embedding))


def agreed_budget(config: Config, declared: Declare, size: int) -> int:
    """Rows that a client may hold that declares this: of all ``size``, or as many as both sides allow."""
    if sends_everything(config):
        return size
    return client_budget(declared, size, config.model.embedding, config.selection)
