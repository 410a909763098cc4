"""All rows for everybody: each client builds the index and selects by itself (Charles et al. 2022)."""

from hashfed.federated.checks import check_broadcast
from hashfed.federated.messages import Broadcast, Update
from hashfed.federated.protocols.outline import floats, ids
from hashfed.federated.protocols.step import ClientSide, Down, Received, Step, take
from hashfed.federated.protocols.update import update_of


def _check(client: ClientSide, message: Broadcast) -> None:
    check_broadcast(message, client.round, client.shape)


ALL = Down(
    Broadcast,
    make=lambda server, exchange: server.broadcast(),
    check=_check,
    outline=lambda of: Broadcast(
        of.round,
        of.body,
        floats(of.size, of.width),
        ids(of.size) if of.counts else None,
        {name: floats(*shape) for name, shape in of.inputs.items()},
    ),
)


def _train(client: ClientSide, got: Received) -> Update:
    return client.train(*client.select_broadcast(take(got, Broadcast)))


STEPS = (Step("train", (ALL,), update_of(_train), scope="cohort"),)
