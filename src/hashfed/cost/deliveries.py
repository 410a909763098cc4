"""How rows reach a client, side by side: bytes, rows held and what the server learns."""

from collections.abc import Callable
from typing import Any, get_args

from hashfed.config import Config, make_config
from hashfed.cost.estimate import ClientCost
from hashfed.engines.budget import asks_for_keys, clients_declare, sketcher
from hashfed.errors import HashfedError
from hashfed.federated.privacy.parameters import choose
from hashfed.federated.settings import SecureSettings
from hashfed.retrieval.settings import Delivery

UPDATE_ONLY = "nothing before the update, whose rows it sees"


def compare_deliveries(config: Config, cost: Callable[[Config], ClientCost]) -> dict[str, dict[str, Any]]:
    """For each delivery bytes down and up, rows on the device and what the server learns.

    Args:
        config: of the run, in any delivery.
        cost: of the client under a configuration.

    Returns:
        By delivery, for JSON; ``refused`` says why the settings do not go with one. ``planes``: how many the
        client is sent of its tail, so that deliveries with and without are two estimators.

    """
    found: dict[str, dict[str, Any]] = {}
    for delivery in get_args(Delivery):
        try:
            changed = _delivered(config, delivery)
            _check_sum(changed)
        except HashfedError as error:
            found[delivery] = {"refused": str(error)}
            continue
        bill = cost(changed)
        found[delivery] = {
            "bytes": dict(bill.bytes),
            "bytes_down": bill.bytes_down,
            "bytes_up": bill.bytes_up,
            "requests": bill.requests,
            "rows_held": bill.rows_held,
            "planes": bill.planes,
            "learns": learns(changed),
        }
    return found


def _delivered(config: Config, delivery: Delivery) -> Config:
    """The configuration with another delivery.

    Raises:
        HashfedError: where its other settings do not go with that.

    """
    if delivery == config.selection.delivery:
        return config
    changes = {
        "selection": config.selection.model_copy(update={"delivery": delivery}),
        "secure": SecureSettings(),  # what is said of sums says nothing of the other deliveries
    }
    return make_config(config.model_copy(update=changes).model_dump(mode="json"))


def _check_sum(config: Config) -> None:
    """Refuse cohorts whose vectors cannot be summed under masks.

    Raises:
        HashfedError: where a cohort has too few clients, or a sum too many bits.

    """
    if config.selection.delivery == "secure" and config.secure.masks:
        choose(config.cohort, config.secure.bits, 1)


def learns(config: Config) -> str:
    """What the server learns of one client, in a phrase."""
    if config.selection.delivery == "secure":
        return "sums over the cohort, and who took part" if config.secure.masks else "each client's vector"
    if config.selection.delivery == "pre-generated":
        return f"{UPDATE_ONLY}; who stores the slices sees which are asked for, without a name"
    if not clients_declare(config):
        return UPDATE_ONLY
    hashes = asks_for_keys(config)
    told = ["the keys"] if hashes and config.retrieval.asks_keys else []
    told += ["centroids"] if sketcher(config) is not None else []
    return "the rows that its data need" + (f" and {' and '.join(told)} of its queries" if told else "")
