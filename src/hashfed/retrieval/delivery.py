"""Which retrieval settings go with which way of delivering rows (Charles et al. 2022, Federated Select)."""

from hashfed.retrieval.settings import Delivery, Method, RetrievalSettings

PREGENERATED: tuple[Method, ...] = ("simhash-union", "simhash-collisions", "random", "frequency")
"""Methods whose lookup a client can do with slices of the index, made before anybody asked."""
WITHOUT_PRIOR: tuple[Method, ...] = ("full", "random", "exact", "simhash-union")
"""Methods that do not use the public label counts, so that a client which selects needs none."""


def delivery_problem(retrieval: RetrievalSettings, delivery: Delivery, precision: str) -> str | None:
    """Why these do not go together, as ``field = value: what is allowed``; None where they do.

    Args:
        retrieval: of the run.
        delivery: of its rows.
        precision: in which rows travel (``compression.rows``).

    """
    if delivery == "on-demand":
        return None
    if delivery == "pre-generated" and retrieval.method not in PREGENERATED:
        return (
            f"selection.delivery = pre-generated: needs retrieval.method {', '.join(PREGENERATED)}, "
            f"not {retrieval.method}"
        )
    if delivery == "broadcast" and retrieval.refresh > 1:
        return (
            f"selection.delivery = broadcast: needs retrieval.refresh 1, not {retrieval.refresh}, "
            "for a client builds the index of the rows that it receives"
        )
    if precision != "none":
        return (
            f"selection.delivery = {delivery}: needs compression.rows none, not {precision}, "
            "for a client that selects by itself needs the rows that the index is built of"
        )
    if retrieval.counts == "declared":
        return (
            f"selection.delivery = {delivery}: needs retrieval.counts public, not declared, "
            "for no client declares its rows"
        )
    return None
