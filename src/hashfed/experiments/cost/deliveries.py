"""How rows reach a client, side by side: bytes, rows held and what the server learns."""

from collections.abc import Callable
from typing import Any, get_args

from hashfed.config import Config
from hashfed.engines.exchange import sends_everything
from hashfed.experiments.cost.estimate import ClientCost
from hashfed.retrieval.delivery import delivery_problem
from hashfed.retrieval.settings import Delivery

UPDATE_ONLY = "nothing before the update, whose rows it sees"


def compare_deliveries(config: Config, cost: Callable[[Config], ClientCost]) -> dict[str, dict[str, Any]]:
    """For each delivery bytes down and up, rows on the device and what the server learns.

    Args:
        config: of the run, in any delivery.
        cost: of the client under a configuration.

    Returns:
        By delivery, for JSON; ``refused`` says why the settings do not go with one.

    """
    found: dict[str, dict[str, Any]] = {}
    for delivery in get_args(Delivery):
        problem = delivery_problem(config.retrieval, delivery, config.compression.rows)
        if problem is not None:
            found[delivery] = {"refused": problem}
            continue
        selection = config.selection.model_copy(update={"delivery": delivery})
        changed = config.model_copy(update={"selection": selection})
        bill = cost(changed)
        found[delivery] = {
            "bytes": dict(bill.bytes),
            "bytes_down": bill.bytes_down,
            "bytes_up": bill.bytes_up,
            "requests": bill.requests,
            "rows_held": bill.rows_held,
            "learns": learns(changed, "keys" in bill.bytes),
        }
    return found


def learns(config: Config, keys: bool) -> str:
    """What the server learns of one client, in a sentence; ``keys``: whether it is sent any."""
    if config.selection.delivery == "pre-generated":
        return f"{UPDATE_ONLY}; who stores the slices sees which are asked for, without a name"
    if config.selection.delivery == "broadcast" or sends_everything(config):
        return UPDATE_ONLY
    return "the rows that its data need" + (" and the keys of its queries" if keys else "")
