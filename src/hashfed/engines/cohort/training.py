"""The training of some clients of a cohort as one batch, and their updates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from hashfed.engines.cohort.member import Member
from hashfed.federated.client import LocalModel
from hashfed.federated.messages import Update
from hashfed.federated.stacked_client import StackedModel, Trained, train_stacked
from hashfed.models import OUTPUT, Batch, Parameters
from hashfed.models.stacked_batch import StackedBatch
from hashfed.models.stacked_losses import StackedLoss


@dataclass(frozen=True)
class ClientResult:
    """Of one client.

    Attributes:
        member: the client.
        held: what it trained on, before.
        update: of it.
        bounded: predictions at which the partition function was bounded.

    """

    member: Member
    held: LocalModel
    update: Update
    bounded: int


def train_members(
    members: Sequence[Member], sent: Parameters, loss: StackedLoss, most_logits: int
) -> Iterator[ClientResult]:
    """Step 5 for all of them: the first have most steps.

    Args:
        members: with what they were sent.
        sent: parameters as they travel.
        loss: of the output layer.
        most_logits: held at a time.

    """
    held = [member.holds(sent) for member in members]
    steps = _steps([member.batches(local) for member, local in zip(members, held, strict=True)])
    steps = [step.to(sent.rows.device) for step in steps]
    model, trained = _trained(members, held, steps, loss, most_logits, shifted=False)
    if bool(trained.unsafe):
        model, trained = _trained(members, held, steps, loss, most_logits, shifted=True)
    losses, bounded = trained.losses.tolist(), trained.bounded.tolist()
    with torch.no_grad():
        for place, (member, local) in enumerate(zip(members, held, strict=True)):
            update = _update(member, local, model, trained, place, losses[place])
            yield ClientResult(member, local, update, int(bounded[place]))


def _steps(batches: Sequence[Sequence[Batch]]) -> list[StackedBatch]:
    """Those of all clients that have as many; the first have most."""
    return [
        StackedBatch.of([of[step] for of in batches if len(of) > step]) for step in range(len(batches[0]))
    ]


def _trained(
    members: Sequence[Member],
    held: Sequence[LocalModel],
    steps: Sequence[StackedBatch],
    loss: StackedLoss,
    most_logits: int,
    shifted: bool,
) -> tuple[StackedModel, Trained]:
    here = members[0].here
    model = StackedModel.of(held, held[0].rows.device)
    trained = train_stacked(here.model, model, steps, here.config.client, loss, most_logits, shifted)
    return model, trained


def _update(
    member: Member, local: LocalModel, model: StackedModel, trained: Trained, place: int, loss: float
) -> Update:
    """What one client sends, in the memory of the stack."""
    weight, epochs = member.here.examples.weight, member.here.config.client.epochs
    moved = {
        name: model.tables[name][place, : len(before)].sub_(before) for name, before in local.tables.items()
    }
    if local.log_weight is not None:
        # As in ``client.train``: what a row stands for is moved by it in the mean over draws.
        moved[OUTPUT].mul_(torch.exp(local.log_weight)[:, None])
    tail = None
    if local.planes is not None and trained.tails is not None:
        tail = trained.tails[place, : len(local.planes.offsets)]
    return Update(
        round=member.here.round,
        weight=weight,
        loss=loss / (weight * epochs),
        body={name: model.body[name][place].sub_(before) for name, before in local.body.items()},
        ids=None if local.ids is None else local.ids.astype("int32"),
        rows=moved[OUTPUT],
        tail=tail,
        inputs={name: ids.astype("int32") for name, ids in local.inputs.items()},
        input_rows={name: moved[name] for name in local.input_rows},
    )
