"""What several clients' training changed, from their stacks to one sum: no client's update by itself."""

from collections.abc import Mapping, Sequence

import torch

from hashfed.errors import HashfedError
from hashfed.federated.messages import LARGEST_CHANGE, check_change, check_largest, check_loss
from hashfed.federated.stacked_client import Held, StackedModel, Trained
from hashfed.federated.sums import SummedUpdates
from hashfed.federated.tail import check_reach
from hashfed.models.protocol import OUTPUT
from hashfed.retrieval.stacked_planes import StackedTails

BODY = "body"
"""All parameters of a body."""


def to_changes(before: StackedModel, after: StackedModel) -> None:
    """Turn ``after`` into what changed, in place."""
    for name, table in after.tables.items():
        table.sub_(before.tables[name])
        if name == OUTPUT and after.weights is not None:
            # As in ``client.train``: what a row stands for is moved by it in the mean over draws. Rows that
            # are not there have no weight.
            table.mul_(after.weights[:, :, None])
    after.flat.sub_(before.flat)


def as_in_update(
    tables: Mapping[str, torch.Tensor], body: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Changes by the names that they have in an update."""
    rows = {"rows" if name == OUTPUT else f"input_rows.{name}": table for name, table in tables.items()}
    return rows | {f"body.{name}": value for name, value in body.items()}


def check_changes(
    names: Sequence[str],
    changes: StackedModel,
    trained: Trained,
    tails: StackedTails | None,
    losses: Sequence[float],
) -> None:
    """Refuse what ``sums.accept_update`` would: one look at numbers for all clients.

    Raises:
        HashfedError: that names the client.

    """
    named = as_in_update(changes.tables, {}) | {BODY: changes.flat}
    if trained.tails is not None:
        named["tail"] = trained.tails
    largest = {name: value.flatten(1).abs().amax(1) for name, value in named.items() if value.numel()}
    found = torch.stack([*largest.values(), _reached(tails, changes, trained)]).T.tolist()
    for client, (values, loss) in enumerate(zip(found, losses, strict=True)):
        try:
            for name, value in zip(largest, values, strict=False):
                if name == BODY and not value <= LARGEST_CHANGE:
                    for part, of in changes.body.items():
                        check_change(f"body.{part}", of[client])
                check_largest(name, value)
            check_loss(loss)
            check_reach(values[-1])
        except HashfedError as error:
            raise type(error)(f"client {names[client]}: {error}") from None


def _reached(tails: StackedTails | None, changes: StackedModel, trained: Trained) -> torch.Tensor:
    """(C,) by how much each client's change of its tail may move a number of a row, at most."""
    if trained.tails is None or tails is None:
        return changes.tables[OUTPUT].new_zeros(len(changes.tables[OUTPUT]))
    return (tails.reach * trained.tails.abs().amax(2)).sum(1)


def sum_changes(
    held: Sequence[Held],
    changes: StackedModel,
    trained: Trained,
    tails: StackedTails | None,
    predictions: Sequence[int],
    uniform: bool,
    losses: Sequence[float],
) -> SummedUpdates:
    """The sum of what they changed.

    Args:
        held: by each client.
        changes: of all.
        trained: their tails' changes.
        tails: that each was sent planes of.
        predictions: of each, per epoch.
        uniform: whether each weighs 1, or as many as its predictions.
        losses: of each, the sum over its predictions of one epoch.

    """
    device = changes.tables[OUTPUT].device
    weights = torch.tensor([1.0 if uniform else float(count) for count in predictions], device=device)
    body = changes.places.views(torch.tensordot(weights, changes.flat, 1))
    tables: dict[str, tuple[torch.Tensor | None, torch.Tensor]] = {}
    for name, table in changes.tables.items():
        ids = changes.ids[name]
        if ids is None:
            tables[name] = None, torch.tensordot(weights, table, 1)
        else:
            tables[name] = ids, table.mul_(weights[:, None, None]).flatten(0, 1)
    moved = None
    if tails is not None and trained.tails is not None:
        moved = tails, trained.tails * weights[:, None, None]
    return SummedUpdates(
        body,
        tables,
        [{OUTPUT: one.ids, **one.inputs} for one in held],
        moved,
        list(predictions),
        sum(losses),
    )
