"""The training of some clients of a cohort as one batch, and their updates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.engines.cohort.joined import JoinedExamples, held_rows, stacked
from hashfed.engines.cohort.member import Member
from hashfed.engines.cohort.planes import CohortPlanes
from hashfed.federated.messages import Update
from hashfed.federated.stacked_changes import check_changes, sum_changes, to_changes
from hashfed.federated.stacked_client import Held, StackedModel, Trained, train_stacked
from hashfed.federated.sums import SummedUpdates
from hashfed.models import OUTPUT, Parameters
from hashfed.models.stacked_batch import StackedBatch
from hashfed.models.stacked_losses import StackedLoss
from hashfed.retrieval.stacked_planes import StackedTails


@dataclass(frozen=True)
class TrainedMembers:
    """Of clients that trained as one batch.

    Attributes:
        members: the clients.
        held: which rows each trained on.
        tails: that they were sent planes of, if any was.
        before: what they held.
        after: what they have afterwards.
        trained: what else the training gave.
        losses: of each, the sum over its predictions of all epochs, nats.
        bounded: of each, predictions at which the partition function was bounded.
        predictions: that were computed in training.
        padded: the same, with those that are none.

    """

    members: Sequence[Member]
    held: list[Held]
    tails: StackedTails | None
    before: StackedModel
    after: StackedModel
    trained: Trained
    losses: list[float]
    bounded: list[int]
    predictions: int
    padded: int

    def updates(self) -> Iterator[Update]:
        """Of each client, in the memory of the stack, which is of no use afterwards."""
        to_changes(self.before, self.after)
        for place, (member, held) in enumerate(zip(self.members, self.held, strict=True)):
            yield _update(member, held, self.after, self.trained, place, self.losses[place])

    def summed(self) -> SummedUpdates:
        """The sum of the updates.

        Raises:
            HashfedError: where one is of no use.

        """
        to_changes(self.before, self.after)
        config = self.members[0].here.config
        predictions = [member.here.examples.weight for member in self.members]
        names = [member.here.client.name for member in self.members]
        epochs = config.client.epochs
        means = [loss / (weight * epochs) for loss, weight in zip(self.losses, predictions, strict=True)]
        check_changes(names, self.after, self.trained, self.tails, means)
        uniform = config.server.weighting == "uniform"
        losses = [loss / epochs for loss in self.losses]
        return sum_changes(self.held, self.after, self.trained, self.tails, predictions, uniform, losses)


@torch.no_grad()
def train_members(
    members: Sequence[Member],
    joined: JoinedExamples,
    sent: Parameters,
    planes: CohortPlanes,
    loss: StackedLoss,
    most_logits: int,
) -> TrainedMembers:
    """Step 5 for all of them: the first have most steps.

    Args:
        members: with what they were sent.
        joined: their examples, among others'.
        sent: parameters as they travel.
        planes: that they were sent, among others'.
        loss: of the output layer.
        most_logits: held at a time.

    """
    held = [member.holds(sent) for member in members]
    steps = _steps(members, held, joined, sent.rows.device)
    epochs = members[0].here.config.client.epochs
    predictions = epochs * sum(member.here.examples.weight for member in members)
    padded = sum(step.targets.present.numel() for step in steps)
    here = members[0].here
    stacked = planes.take(members)
    before = StackedModel.of(sent, held, None if stacked is None else stacked.planes)
    for shifted in (False, True):
        after = before.clone()
        with torch.enable_grad():
            trained = train_stacked(
                here.model,
                after,
                steps,
                here.config.client,
                loss,
                most_logits,
                here.config.precision,
                shifted,
            )
        if not bool(trained.unsafe):
            break
    bounded = [int(count) for count in trained.bounded.tolist()]
    losses = trained.losses.tolist()
    tails = None if stacked is None else stacked.tails
    return TrainedMembers(members, held, tails, before, after, trained, losses, bounded, predictions, padded)


def _steps(
    members: Sequence[Member], held: Sequence[Held], joined: JoinedExamples, device: torch.device
) -> list[StackedBatch]:
    """Those of all clients that have as many; the first have most."""
    model, sizes = members[0].here.model, members[0].here.sizes
    ids: dict[str, list[np.ndarray | None]] = {OUTPUT: [one.ids for one in held]}
    ids |= {name: [one.inputs[name] for one in held] for name in held[0].inputs}
    rows = held_rows(model, ids, sizes)
    orders = [member.orders() for member in members]
    noise = [member.here.noise for member in members]
    found = []
    for step in range(len(orders[0])):
        active = sum(len(of) > step for of in orders)
        parts = [(member.number, of[step]) for member, of in zip(members[:active], orders, strict=False)]
        found.append(stacked(joined.batch(parts, noise[:active]), rows, device))
    return found


def _update(
    member: Member, held: Held, changes: StackedModel, trained: Trained, place: int, loss: float
) -> Update:
    """What one client sends, in the memory of the stack."""
    weight, epochs = member.here.examples.weight, member.here.config.client.epochs
    moved = {}
    for name, table in changes.tables.items():
        ids = held.of(name)
        moved[name] = table[place, : None if ids is None else len(ids)]
    tail = None
    if held.planes and trained.tails is not None:
        tail = trained.tails[place, : held.planes]
    return Update(
        round=member.here.round,
        weight=weight,
        loss=loss / (weight * epochs),
        body={name: value[place] for name, value in changes.body.items()},
        ids=None if held.ids is None else held.ids.astype("int32"),
        rows=moved[OUTPUT],
        tail=tail,
        inputs={name: ids.astype("int32") for name, ids in held.inputs.items()},
        input_rows={name: moved[name] for name in held.inputs},
    )
