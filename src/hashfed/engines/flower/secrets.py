"""What clients keep to themselves of sums that they take part in, in Flower's ``Context``.

That never leaves a node. Of each client and round it has the newest alone, before the answer that it belongs
to is sent: no step is answered twice, and what was kept of a step before is forgotten.
"""

from collections.abc import Mapping

from flwr.app import ConfigRecord, RecordDict

from hashfed.federated.privacy.parameters import FEWEST_CLIENTS, Demands
from hashfed.federated.sum_secrets import SumSecrets, demands_of

SECRETS = "secrets."
"""Before the round and a client's name in the context."""
LEAST_CLIENTS = "least-clients"
"""The setting of a node."""


def demands(node: Mapping[str, object]) -> Demands:
    """What the clients of a node with these settings ask of every sum.

    Raises:
        HashfedError: where ``least-clients`` is no number of clients.

    """
    return demands_of(f"node-config: {LEAST_CLIENTS}", node.get(LEAST_CLIENTS, FEWEST_CLIENTS))


class Secrets:
    """Of one node in one run."""

    def __init__(self, state: RecordDict, demands: Demands) -> None:
        """In the state of the node, with what its clients ask of every sum."""
        self._state, self._demands = state, demands

    def get(self, client: str, round: int) -> SumSecrets:
        """A client's in a round; none where it has answered no step of it, or the last."""
        record = self._state.config_records.get(_key(client, round))
        return SumSecrets.read(b"" if record is None else bytes(record["held"]), self._demands)  # type: ignore[arg-type]

    def set(self, client: str, round: int, secrets: SumSecrets) -> None:
        """Keep them in place of those of the step before."""
        self._state[_key(client, round)] = ConfigRecord({"held": secrets.to_bytes()})

    def drop(self, client: str, round: int) -> None:
        """Forget them."""
        self._state.pop(_key(client, round), None)

    def drop_before(self, round: int) -> None:
        """Forget those of all clients in earlier rounds, which are over."""
        for key in [key for key in self._state if key.startswith(SECRETS)]:
            if int(key.split(".", 2)[1]) < round:
                del self._state[key]


def _key(client: str, round: int) -> str:
    return f"{SECRETS}{round}.{client}"
