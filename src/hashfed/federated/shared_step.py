"""Clients of one step on all rows: none leaves the server's model, so the sum of their updates is a gradient.

Of clients c with n_c predictions, of which each makes one step from the same parameters, the sum of updates
weighted by predictions is −rate · Σ_c n_c · gradient_c: the gradient of the sum over all predictions, whoever
made them. No client's copy of the model is made (FedSGD of McMahan et al. 2017, with the server's optimizer).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hashfed.federated.messages import check_change, check_loss
from hashfed.federated.stacked_changes import as_in_update
from hashfed.federated.stacked_client import body_precision
from hashfed.federated.sums import SummedUpdates
from hashfed.models import Batch, Model, Parameters, WorkSpace
from hashfed.models.batch import Targets
from hashfed.models.losses import Loss
from hashfed.models.protocol import OUTPUT
from hashfed.models.stacked_batch import StackedBatch
from hashfed.models.stacked_queries import NamedRows, stacked_queries


def shared_step(
    model: Model,
    parameters: Parameters,
    batches: Sequence[Batch],
    predictions: Sequence[int],
    rate: float,
    loss: Loss,
    inputs: Sequence[Mapping[str, np.ndarray]],
    space: WorkSpace,
    precision: str = "float32",
) -> tuple[SummedUpdates, int]:
    """What one step of each client changes, times its predictions, summed.

    Args:
        model: its functions; ``stackable``.
        parameters: of the server, as they travel.
        batches: of some clients each, of positions in all rows, packed to be stacked; those of clients with
            about as many predictions beside each other.
        predictions: of each client.
        rate: of the clients' learning.
        loss: of the output layer.
        inputs: ids by input table, of the rows that each client's data touch.
        space: memory to work in.
        precision: of the layers below the output, where it is bfloat16.

    Returns:
        The sum, and how many queries were computed, padding among them.

    Raises:
        HashfedError: where loss or changes are not finite.

    """
    device = parameters.rows.device
    body = {name: value.detach().requires_grad_() for name, value in parameters.body.items()}
    named, found, targets, computed = list[NamedRows](), list[torch.Tensor](), list[Targets](), 0
    for batch in batches:
        stacked = StackedBatch.split(batch).to(device)
        named.append(NamedRows.of(model, stacked, parameters.tables))
        for rows in named[-1].rows.values():
            rows.requires_grad_()
        with body_precision(precision, device):
            padded = stacked_queries(model, body, named[-1], stacked).to(parameters.rows.dtype)
        computed += padded[:, :, 0].numel()
        found.append(padded[stacked.targets.present > 0])
        targets.append(batch.targets)
    queries = torch.cat(found)
    output = loss(queries.detach(), parameters.rows, None, _joined(targets, device), space)
    # The loss is the mean over all predictions, and so is what moves: wanted is the sum.
    queries.backward(output.queries)
    with torch.no_grad():
        tables = {name: torch.zeros_like(table) for name, table in parameters.tables.items()}
        output.add_to(tables[OUTPUT], -rate)
        for part in named:
            part.add_gradients(tables, -rate)
        moved = {
            name: torch.zeros_like(value) if value.grad is None else value.grad.mul_(-rate)
            for name, value in body.items()
        }
        check_loss(float(output.loss))
        for name, value in as_in_update(tables, moved).items():
            check_change(name, value)
        for value in (*tables.values(), *moved.values()):
            value.mul_(len(queries))
    summed = SummedUpdates(
        moved,
        {name: (None, table) for name, table in tables.items()},
        [{OUTPUT: None, **touched} for touched in inputs],
        None,
        list(predictions),
        float(output.loss) * len(queries),
    )
    return summed, computed


def _joined(every: Sequence[Targets], device: torch.device) -> Targets:
    """The targets of all, whose rows are those of the whole table."""
    rows = torch.cat([one.rows for one in every]).to(device)
    counts = [one.counts for one in every if one.counts is not None]
    return Targets(rows, torch.cat(counts).to(device) if counts else None)
