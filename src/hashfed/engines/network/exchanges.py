"""What the server asks of nodes, by name, and what it says besides the messages of a step."""

JOIN, EVALUATE = "query.join", "evaluate"
"""Exchanges that are no steps of a round."""
USED = "used"
"""In a request for updates, with error feedback: for each of its clients, the round of its last update that
the server used; 0 where there is none."""
PLACE, MANIFEST, MANIFEST_BYTES = "slices", "manifest", "manifest_bytes"
"""In a request whose message is fetched: where, and its address and size."""
FIELDS = USED, PLACE, MANIFEST, MANIFEST_BYTES


def type_of(step: str) -> str:
    """The exchange of a step."""
    return step if step == "train" else f"query.{step}"


def asked_ahead(step: str) -> str:
    """In a request: the round for which a step is asked ahead; of whom, stands under the step's name."""
    return f"{step}_round"
