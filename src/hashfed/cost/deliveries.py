"""How rows reach a client, side by side: bytes, rows held and what the server learns."""

from collections.abc import Callable
from typing import Any, get_args

from hashfed.config import Config
from hashfed.cost.estimate import ClientCost
from hashfed.engines.budget import asks_for_keys, clients_declare, sketcher
from hashfed.retrieval.corrections import correction_problem
from hashfed.retrieval.delivery import delivery_problem
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
        selection = config.selection.model_copy(update={"delivery": delivery})
        problem = delivery_problem(config.retrieval, delivery, config.compression.rows) or correction_problem(
            config.retrieval, selection
        )
        if problem is not None:
            found[delivery] = {"refused": problem}
            continue
        changed = config.model_copy(update={"selection": selection})
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


def learns(config: Config) -> str:
    """What the server learns of one client, in a phrase."""
    if config.selection.delivery == "pre-generated":
        return f"{UPDATE_ONLY}; who stores the slices sees which are asked for, without a name"
    if not clients_declare(config):
        return UPDATE_ONLY
    hashes = asks_for_keys(config)
    told = ["the keys"] if hashes and config.retrieval.asks_keys else []
    told += ["centroids"] if sketcher(config) is not None else []
    return "the rows that its data need" + (f" and {' and '.join(told)} of its queries" if told else "")
