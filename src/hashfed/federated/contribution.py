"""A client's part of a round in which the server is to learn sums alone: all that it adds to them.

It selects by itself: U, the rows that all clients hold, and its own. What it would have declared, its keys,
its update and what it reports of its work become numbers of one long vector (``sum_layout``).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from hashfed.federated.client import (
    LocalModel,
    compute_queries,
    own_rows,
    touched_rows,
    train,
)
from hashfed.federated.clip import clip_update
from hashfed.federated.messages import Common, Update
from hashfed.federated.settings import ClientSettings
from hashfed.federated.sum_layout import BODY, LOSS_UNIT, POINTS, TABLE, TAIL, SumLayout
from hashfed.hashing.cohort_kmeans import GroupSums
from hashfed.models import Model
from hashfed.models.losses import Loss
from hashfed.models.protocol import OUTPUT
from hashfed.retrieval.common_planes import CommonPlanes, OwnPlanes, draw_factors, own_planes
from hashfed.retrieval.planes import Tail
from hashfed.tasks.examples import Examples


@dataclass(frozen=True)
class CommonSelection:
    """The rows of one client, and what of them is U.

    Attributes:
        local: what it trains on.
        own: (o,) int64 ids that its data need.
        taken: (r,) positions in ``local`` of own rows that are of the common tail, and so taken out of it.
        factors: (m,) float32, by how much of π̂·G the server moves each of its rows: 0 where U holds it with
            certainty, 1 where U does not hold it.
        planes: its own, or None.

    """

    local: LocalModel
    own: np.ndarray
    taken: np.ndarray
    factors: np.ndarray
    planes: OwnPlanes | None


@dataclass(frozen=True)
class Contributed:
    """What a client adds, before it becomes integers.

    Attributes:
        values: by name of ``SumLayout.shapes``.
        counts: by name of ``sum_layout.COUNTS``, but for those that are known later.
        held: what it trained on.

    """

    values: dict[str, torch.Tensor]
    counts: dict[str, int]
    held: LocalModel


def select_common(model: Model, message: Common, examples: Examples) -> CommonSelection:
    """U and the rows that the examples need, out of all that came."""
    own = own_rows(model, examples)
    size, common = len(message.rows), _common(message)
    given = np.zeros(len(common), np.float32) if message.log_weight is None else message.log_weight
    ids = np.union1d(common, own)
    log_weight, factors = np.zeros(len(ids), np.float32), np.ones(len(ids), np.float32)
    places = np.searchsorted(ids, common)
    log_weight[places], factors[places] = given, draw_factors(given)
    log_weight[np.searchsorted(ids, own)] = 0
    taken = np.flatnonzero(np.isin(ids, own) & (factors != 0))
    rows = message.rows[torch.from_numpy(ids)]
    planes = None
    if message.centroids is not None and message.log_sums is not None and message.slopes is not None:
        told = CommonPlanes(message.centroids, message.log_sums, message.slopes)
        planes = own_planes(told, rows[torch.from_numpy(taken)], rows, log_weight)
    inputs = {name: touched.astype(np.int64) for name, touched in touched_rows(model, examples).items()}
    local = LocalModel(
        None if len(ids) == size else ids,
        rows,
        torch.from_numpy(log_weight) if log_weight.any() else None,
        message.body,
        None if planes is None else planes.planes,
        inputs,
        {name: message.input_rows[name][torch.from_numpy(touched)] for name, touched in inputs.items()},
    )
    return CommonSelection(local, own, taken, factors, planes)


def contribute(
    model: Model,
    message: Common,
    examples: Examples,
    layout: SumLayout,
    settings: ClientSettings,
    loss: Loss,
    rng: np.random.Generator,
    noise: torch.Generator | None,
    uniform: bool,
    clip: float | None,
) -> Contributed:
    """Train on U and own rows, and lay out what that changed.

    Args:
        model: the model's functions.
        message: of the server.
        examples: of this round.
        layout: of the sum; of all rows of the output table, or of U alone: what the client's other rows
            changed does not leave it then.
        settings: of the training.
        loss: of the task.
        rng: of the order of examples.
        noise: of a model with dropout.
        uniform: weigh every client 1 instead of its number of predictions.
        clip: the largest norm of an update, if any.

    Raises:
        ClientDivergedError: where what changed, the loss or a query is not finite, or absurdly large.

    """
    selected = select_common(model, message, examples)
    local = selected.local
    update, bounded = train(model, local, examples, settings, loss, message.round, rng, noise)
    update.check_values()
    update.check_loss()
    whole = len(message.rows) == layout.shapes[f"{TABLE}{OUTPUT}"][0]
    update = _laid_out(update, selected, whole)
    listed = replace(update, ids=_ids(local).astype(np.int32))
    clipped = clip is not None and clip_update(listed, clip, _tail(message, selected))
    weight = 1.0 if uniform else float(update.weight)
    rows = torch.zeros(layout.shapes[f"{TABLE}{OUTPUT}"])
    if whole:
        rows[torch.from_numpy(_ids(local))] = update.rows
    else:
        rows.copy_(update.rows[torch.from_numpy(np.searchsorted(_ids(local), _common(message)))])
    values = {f"{BODY}{name}": change * weight for name, change in update.body.items()}
    values[f"{TABLE}{OUTPUT}"] = rows.mul_(weight)
    for name, change in update.input_rows.items():
        table = torch.zeros(layout.shapes[f"{TABLE}{name}"])
        table[torch.from_numpy(update.inputs[name].astype(np.int64))] = change * weight
        values[f"{TABLE}{name}"] = table
    if message.centroids is not None:
        assert update.tail is not None
        found = GroupSums.of(compute_queries(model, local, examples), message.centroids)
        values[TAIL] = update.tail * weight
        values |= dict(zip(POINTS, (found.sums, found.sizes, found.squares), strict=True))
    counts = {
        "predictions": update.weight,
        "loss": round(max(0.0, update.loss) * update.weight / LOSS_UNIT),
        "own": len(selected.own),
        "rows": len(local.rows),
        "bounded": bounded,
        "clipped": int(clipped),
        "diverged": 0,
    }
    return Contributed(values, counts, local)


def _ids(local: LocalModel) -> np.ndarray:
    return np.arange(len(local.rows)) if local.ids is None else local.ids


def _common(message: Common) -> np.ndarray:
    """Ids (l,) int64 of U."""
    return np.arange(len(message.rows)) if message.ids is None else message.ids.astype(np.int64)


def _laid_out(update: Update, selected: CommonSelection, whole: bool) -> Update:
    """The same update, whose changes of the tail are of the common planes; its rows are changed in place.

    Own rows of the common tail move by their own change alone: they undo what the server will do to them by
    the planes. Where only U is summed and not the ``whole`` table, those that are not in U stay behind.
    Divided by their chances when they happen to be drawn, they would be right in the mean, and so noisy that
    the server optimizer learns less than without them (docs/privacy.md).
    """
    taken, factors = torch.from_numpy(selected.taken), torch.from_numpy(selected.factors[selected.taken])
    told = update.tail
    if update.tail is not None and selected.planes is not None:
        told = selected.planes.told(update.tail)
        update.rows.index_add_(0, taken, selected.planes.own_push(told, factors), alpha=-1)
    if not whole:
        update.rows[taken[factors == 1]] = 0  # before the norm is taken
    return replace(update, tail=told)


def _tail(message: Common, selected: CommonSelection) -> Tail | None:
    """What the norm of an update is made of."""
    local = selected.local
    if message.gram is None or message.centroids is None or message.log_sums is None:
        return None
    powers = torch.exp((local.rows @ message.centroids.T - message.log_sums).clamp_max_(0))
    factors = torch.from_numpy(selected.factors)
    return Tail(
        message.centroids,
        message.log_sums,
        _ids(local),
        factors,
        torch.ones(len(message.log_sums)),
        message.gram,
        powers * factors[:, None],
    )
