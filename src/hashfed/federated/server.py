"""The server's answers within a round (paper, section 3.2, steps 2 and 4)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.federated.messages import ClientKeys, Declare, SelectedRows, Welcome
from hashfed.models import Parameters
from hashfed.retrieval import Candidates, Index, Selection, SelectionSettings, device_rows, sample, select
from hashfed.retrieval.planes import Planes, Tail, make_planes, tail_points
from hashfed.retrieval.protocol import Powers
from hashfed.retrieval.query_centroids import QueryCentroidsEncoder


@dataclass(frozen=True)
class PlanesPlan:
    """How the planes of a run are made.

    Attributes:
        count: K, the most points.
        seed: of merging more points to so many.
        sketcher: of the centroids that clients send for the planes alone; None where their keys tell enough.
        precision: in which slopes travel.
        gram: whether updates are clipped by their norm, so that it must be known.

    """

    count: int
    seed: int
    sketcher: QueryCentroidsEncoder | None
    precision: torch.dtype
    gram: bool


def welcome(parameters: Parameters, index: Index, message: Declare) -> Welcome:
    """Step 2: the body, the rows the client declared, and the hash function.

    Raises:
        HashfedError: where the declaration does not fit (``Declare.check``).

    """
    message.check(parameters.sizes)
    encoder = index.encoder
    return Welcome(
        message.round,
        parameters.body,
        _rows(parameters.rows, message.own),
        encoder.kind,
        encoder.numbers(),
        encoder.arrays(),
        {name: _rows(parameters.tables[name], touched) for name, touched in message.inputs.items()},
    )


def retrieve(
    index: Index,
    keys: ClientKeys,
    declared: Declare,
    size: int,
    dimension: int,
    settings: SelectionSettings,
    rng: np.random.Generator,
) -> tuple[Selection, Candidates]:
    """Step 4: keys to candidates, cut or padded to the client's budget, and more of them if oversampled.

    Args:
        index: over the server's rows.
        keys: of the client.
        declared: its own rows, and its budget, which may lower the settings' but not raise it.
        size: n.
        dimension: d.
        settings: of the run.
        rng: this client's stream for this round.

    Raises:
        HashfedError: where declaration or keys do not fit.

    """
    declared.check_own(size)
    candidates = index.lookup(keys.keys)
    return cut_to_budget(candidates, declared, size, dimension, settings, rng), candidates


def cut_to_budget(
    candidates: Candidates,
    declared: Declare,
    size: int,
    dimension: int,
    settings: SelectionSettings,
    rng: np.random.Generator,
) -> Selection:
    """The end of step 4, also for clients that look up by themselves: candidates cut or padded to the budget.

    Args:
        candidates: for the client's keys.
        declared: its own rows, and its budget.
        size: n.
        dimension: d.
        settings: of the run.
        rng: this client's stream for this round.

    """
    own, budget = declared.own, client_budget(declared, size, dimension, settings)
    corrected = settings.correction != "none"
    if settings.sampling == "proportional":
        return sample(own.astype(np.int64), candidates, size, budget, settings.tail, corrected, rng)
    return select(
        own.astype(np.int64),
        candidates,
        size,
        budget,
        settings.tail,
        corrected,
        rng,
        extra=round((settings.oversample - 1) * budget),
    )


def client_budget(declared: Declare, size: int, dimension: int, settings: SelectionSettings) -> int:
    """Rows that a client may hold: as the settings say, or as it declares where that is less.

    Both sides ask this function: the server for what it sends and accepts, the client for what it keeps.
    """
    return min(declared.budget, device_rows(settings, size, dimension, len(declared.own)))


def planes_of(
    parameters: Parameters,
    index: Index,
    keys: ClientKeys,
    selection: Selection,
    plan: PlanesPlan,
    powers: Powers | None = None,
) -> tuple[Planes, Tail] | None:
    """The planes of the rows that ``selection`` does not hold with certainty; None where there are none.

    Args:
        parameters: of the model.
        index: whose keys tell of the queries, where no sketch is sent.
        keys: of the client.
        selection: of the client.
        plan: how they are made.
        powers: that the index computed for these keys, if it did.

    Raises:
        HashfedError: where the keys do not fit, or tell of queries that are absurdly large.

    """
    points = points_of(index, keys, plan)
    return make_planes(parameters.rows, points, selection, plan.precision, plan.gram, powers)


def points_of(index: Index, keys: ClientKeys, plan: PlanesPlan) -> torch.Tensor:
    """The points (K, d) of a client's planes, from its keys or its sketch.

    Raises:
        HashfedError: where the keys do not fit.

    """
    counts: np.ndarray | None
    if plan.sketcher is not None:
        queries, counts = plan.sketcher.decode(keys.sketch)
    else:
        queries, counts = index.queries(keys.keys)
    return tail_points(queries, counts, plan.count, plan.seed)


def send_rows(
    parameters: Parameters,
    selection: Selection,
    own: np.ndarray,
    budget: int,
    round: int,
    planes: Planes | None = None,
) -> SelectedRows:
    """The selected rows that the client did not declare; all of them for a full selection."""
    size = len(parameters.rows)

    def take(ids: np.ndarray | None) -> torch.Tensor:
        return parameters.rows if ids is None else _rows(parameters.rows, ids)

    return pack_rows(take, size, selection, own, budget, round, planes)


def pack_rows(
    take: Callable[[np.ndarray | None], torch.Tensor],
    size: int,
    selection: Selection,
    own: np.ndarray,
    budget: int,
    round: int,
    planes: Planes | None = None,
) -> SelectedRows:
    """``send_rows`` for rows that come from anywhere.

    Args:
        take: the rows (k, d) with ids (k,) int64 ascending; all n for None.
        size: n.
        selection: of the client.
        own: (o,) ascending ids that it declared.
        budget: rows it may hold.
        round: of the exchange.
        planes: of the rest.

    """
    if len(selection.ids) == size <= budget and len(own) == 0:
        return SelectedRows(round, size, None, take(None), None)
    new = np.ones(len(selection.ids), bool)
    new[np.searchsorted(selection.ids, own)] = False  # both ascend, and a selection holds all own rows
    ids = selection.ids[new]
    weights = selection.log_weight[new]
    log_weight = torch.from_numpy(weights) if weights.any() else None
    return SelectedRows(round, budget, ids.astype(np.int32), take(ids), log_weight, planes)


def _rows(table: torch.Tensor, ids: np.ndarray) -> torch.Tensor:
    """The rows ``ids`` (k, d), copied."""
    return torch.index_select(table, 0, torch.from_numpy(ids).to(table.device))
