"""The training of some clients of a cohort as one batch, and their updates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from hashfed.engines.cohort.member import Member
from hashfed.federated.client import LocalModel
from hashfed.federated.messages import Update
from hashfed.federated.stacked_changes import check_changes, sum_changes, to_changes
from hashfed.federated.stacked_client import StackedModel, Trained, train_stacked
from hashfed.federated.sums import SummedUpdates
from hashfed.models import OUTPUT, Batch, Parameters
from hashfed.models.stacked_batch import StackedBatch
from hashfed.models.stacked_losses import StackedLoss


@dataclass(frozen=True)
class TrainedMembers:
    """Of clients that trained as one batch.

    Attributes:
        members: the clients.
        held: what each trained on, before.
        before: the same, stacked.
        after: what they have afterwards.
        trained: what else the training gave.
        losses: of each, the sum over its predictions of all epochs, nats.
        bounded: of each, predictions at which the partition function was bounded.
        predictions: that were computed in training.
        padded: the same, with those that are none.

    """

    members: Sequence[Member]
    held: list[LocalModel]
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
        for place, (member, local) in enumerate(zip(self.members, self.held, strict=True)):
            yield _update(member, local, self.after, self.trained, place, self.losses[place])

    def summed(self) -> SummedUpdates:
        """The sum of the updates.

        Raises:
            HashfedError: where one is of no use.

        """
        to_changes(self.before, self.after)
        config = self.members[0].here.config
        predictions = [member.here.examples.weight for member in self.members]
        tails = [member.tail for member in self.members]
        names = [member.here.client.name for member in self.members]
        epochs = config.client.epochs
        means = [loss / (weight * epochs) for loss, weight in zip(self.losses, predictions, strict=True)]
        check_changes(names, self.after, self.trained, tails, means)
        uniform = config.server.weighting == "uniform"
        losses = [loss / epochs for loss in self.losses]
        return sum_changes(self.held, self.after, self.trained, tails, predictions, uniform, losses)


@torch.no_grad()
def train_members(
    members: Sequence[Member], sent: Parameters, loss: StackedLoss, most_logits: int
) -> TrainedMembers:
    """Step 5 for all of them: the first have most steps.

    Args:
        members: with what they were sent.
        sent: parameters as they travel.
        loss: of the output layer.
        most_logits: held at a time.

    """
    held = [member.holds(sent) for member in members]
    steps = _steps([member.batches(local) for member, local in zip(members, held, strict=True)])
    predictions = sum(int(step.targets.counts.sum()) for step in steps)
    padded = sum(step.targets.present.numel() for step in steps)
    steps = [step.to(sent.rows.device) for step in steps]
    here = members[0].here
    before = StackedModel.of(held, sent.rows.device)
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
    return TrainedMembers(members, held, before, after, trained, losses, bounded, predictions, padded)


def _steps(batches: Sequence[Sequence[Batch]]) -> list[StackedBatch]:
    """Those of all clients that have as many; the first have most."""
    return [
        StackedBatch.of([of[step] for of in batches if len(of) > step]) for step in range(len(batches[0]))
    ]


def _update(
    member: Member, local: LocalModel, changes: StackedModel, trained: Trained, place: int, loss: float
) -> Update:
    """What one client sends, in the memory of the stack."""
    weight, epochs = member.here.examples.weight, member.here.config.client.epochs
    moved = {name: changes.tables[name][place, : len(rows)] for name, rows in local.tables.items()}
    tail = None
    if local.planes is not None and trained.tails is not None:
        tail = trained.tails[place, : len(local.planes.offsets)]
    return Update(
        round=member.here.round,
        weight=weight,
        loss=loss / (weight * epochs),
        body={name: value[place] for name, value in changes.body.items()},
        ids=None if local.ids is None else local.ids.astype("int32"),
        rows=moved[OUTPUT],
        tail=tail,
        inputs={name: ids.astype("int32") for name, ids in local.inputs.items()},
        input_rows={name: moved[name] for name in local.input_rows},
    )
