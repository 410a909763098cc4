"""Which retrieval settings go with which way of delivering rows (Charles et al. 2022, Federated Select)."""

from hashfed.retrieval.method import RetrievalSettings
from hashfed.retrieval.registry import METHODS
from hashfed.retrieval.settings import Delivery


def delivery_problem(retrieval: RetrievalSettings, delivery: Delivery, precision: str) -> str | None:
    """Why these do not go together, as ``field = value: what is allowed``; None where they do.

    Args:
        retrieval: of the run.
        delivery: of its rows.
        precision: in which rows travel (``compression.rows``).

    """
    if delivery == "on-demand":
        return None
    if delivery not in retrieval.deliveries:
        able = ", ".join(name for name, method in METHODS.items() if delivery in method.deliveries)
        return f"selection.delivery = {delivery}: needs retrieval.method {able}, not {retrieval.method}"
    if delivery == "broadcast" and retrieval.rebuilt_every > 1:
        return (
            f"selection.delivery = broadcast: needs retrieval.refresh 1, not {retrieval.rebuilt_every}, "
            "for a client builds the index of the rows that it receives"
        )
    if precision != "none":
        return (
            f"selection.delivery = {delivery}: needs compression.rows none, not {precision}, "
            "for a client that selects by itself needs the rows that the index is built of"
        )
    if retrieval.counts_declared:
        return (
            f"selection.delivery = {delivery}: needs retrieval.counts public, not declared, "
            "for no client declares its rows"
        )
    return None
