"""What the server sends each client of a cohort."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from hashfed.engines.budget import (
    asks_for_keys,
    planes_plan,
    sends_everything,
    sends_planes,
    sketcher,
)
from hashfed.engines.cohort.joined import JoinedExamples
from hashfed.engines.cohort.member import Member
from hashfed.engines.cohort.queries import cohort_queries
from hashfed.engines.server_round import ServerRound, selection_stream
from hashfed.errors import ClientDivergedError
from hashfed.federated import server as server_side
from hashfed.federated.messages import ClientKeys
from hashfed.models import Model, Parameters
from hashfed.retrieval import Candidates, Selection
from hashfed.retrieval.decoded import DecodedIndex
from hashfed.retrieval.planes import check_points, make_planes, planes_of_moments
from hashfed.retrieval.stacked_powers import StackedPowers, shares_of
from hashfed.retrieval.stacked_sample import sample_many

CPU_SCORES, GPU_SCORES = 1 << 18, 1 << 25
"""Scores of clients that are drawn at a time: as many as stay in a cache, or keep a GPU busy (256 MiB)."""
CPU_POWERS, GPU_POWERS = 1 << 25, 1 << 28
"""Exponentials held at a time (128 MiB, 1 GiB)."""


def ask(
    there: ServerRound,
    model: Model,
    sent: Parameters,
    members: Sequence[Member],
    joined: JoinedExamples,
) -> None:
    """Step 3: the keys of all clients.

    Raises:
        HashfedError: that names a client with a query that is not finite.

    """
    if not asks_for_keys(there.config):
        return
    sketch = sketcher(there.config)
    queries = cohort_queries(model, sent, [member.here.examples for member in members], joined)
    finite = torch.stack([of.sum() for of in queries]).isfinite().tolist()
    if not all(finite):
        name = members[finite.index(False)].here.client.name
        raise ClientDivergedError(f"client {name}: its queries are not finite: the training diverged")
    keys = there.encoder.encode_many(queries)
    sketches = [{} for _ in members] if sketch is None else sketch.encode_many(queries)
    for member, of, sketched in zip(members, keys, sketches, strict=True):
        member.keys = ClientKeys(there.round, dict(of), dict(sketched))


def select(there: ServerRound, members: Sequence[Member]) -> None:
    """Step 4: the rows of all clients, and the planes of their tails."""
    if sends_everything(there.config):
        return
    if not _select_together(there, members):
        _choose_each(there, members)


def _choose_each(there: ServerRound, members: Sequence[Member]) -> None:
    """As the simulator does."""
    for member in members:
        here = member.here
        with here.report.timed("retrieve"), _named(member):
            member.selection, made = there.choose(here.client.name, here.declared, member.keys)
        member.planes, member.tail = made or (None, None)


@contextmanager
def _named(member: Member) -> Iterator[None]:
    """Where the block finds that a client's numbers are of no use it says whose."""
    try:
        yield
    except ClientDivergedError as error:
        raise ClientDivergedError(f"client {member.here.client.name}: {error}") from None


def _select_together(there: ServerRound, members: Sequence[Member]) -> bool:
    """In one product for many clients, where the index scores all rows at points; false where it does not."""
    index, config = there.index, there.config
    if not isinstance(index, DecodedIndex):
        return False
    found = [index.encoder.decode(member.keys.keys, index.temperature) for member in members]
    plan, scored = planes_plan(config), index.rows is there.parameters.rows and index.temperature == 1
    # Planes are made of the same exponentials only where they are of these rows at these points.
    merged = plan.sketcher is not None or any(len(points) > plan.count for points, _ in found)
    shared = sends_planes(config) and scored and not merged
    sizes = [len(points) for points, _ in found]
    most = CPU_POWERS if index.rows.device.type == "cpu" else GPU_POWERS
    for part in shares_of(sizes, len(index.rows), most):
        if sum(sizes[part]) * len(index.rows) > most:
            _choose_each(there, members[part])  # it alone has too many points for one product
        else:
            _select_part(there, index, members[part], found[part], shared)
    return True


def _select_part(
    there: ServerRound,
    index: DecodedIndex,
    members: Sequence[Member],
    found: Sequence[tuple[torch.Tensor, np.ndarray | None]],
    shared: bool,
) -> None:
    """Of some clients, with their points and what each stands for; ``shared``: so are planes."""
    config, size = there.config, len(there.parameters.rows)
    powers = StackedPowers.of(index.table, [points for points, _ in found])
    if powers is None:
        _choose_each(there, members)
        return
    most = CPU_SCORES if index.rows.device.type == "cpu" else GPU_SCORES
    step = max(1, most // size)
    for start in range(0, len(members), step):
        part = slice(start, start + step)
        some = members[part]
        scores = powers.masses(part, [counts for _, counts in found[part]]).add_(index.prior_mass)
        for member, selection in zip(some, _selections(there, some, scores), strict=True):
            member.selection = selection
    if shared:
        _make_planes(there, members, powers)
    elif sends_planes(config):
        del powers
        _make_other_planes(there, members)


def _selections(there: ServerRound, members: Sequence[Member], scores: torch.Tensor) -> list[Selection]:
    config, (size, dimension) = there.config, there.parameters.rows.shape
    settings, declared = config.selection, [member.here.declared for member in members]
    rngs = [selection_stream(config, there.round, member.here.client.name) for member in members]
    if settings.sampling == "top":
        every = (Candidates.positive(of.cpu().numpy()) for of in scores)
        return [
            server_side.cut_to_budget(candidates, of, size, dimension, settings, rng)
            for candidates, of, rng in zip(every, declared, rngs, strict=True)
        ]
    return sample_many(
        [of.own.astype(np.int64) for of in declared],
        scores,
        [server_side.client_budget(of, size, dimension, settings) for of in declared],
        settings.tail,
        settings.correction != "none",
        rngs,
    )


def _make_planes(there: ServerRound, members: Sequence[Member], powers: StackedPowers) -> None:
    plan = planes_plan(there.config)
    certain = [_certain(member) for member in members]
    moments = powers.moments(certain, plan.gram)
    for client, (member, sure) in enumerate(zip(members, certain, strict=True)):
        selection, points = member.selection, powers.points[powers.parts[client]]
        assert selection is not None
        if len(sure) == len(there.parameters.rows) or len(points) == 0:
            continue
        rows = there.parameters.rows
        with _named(member):
            if moments is None:
                made = make_planes(rows, points, selection, plan.precision, plan.gram)
            else:
                check_points(points)
                made = planes_of_moments(rows, points, selection, moments[client], plan.precision)
        member.planes, member.tail = made or (None, None)


def _make_other_planes(there: ServerRound, members: Sequence[Member]) -> None:
    """Of each client by itself: of other points than its rows were scored at, or of other rows."""
    plan, parameters = planes_plan(there.config), there.parameters
    for member in members:
        assert member.selection is not None
        assert there.index is not None
        with _named(member):
            made = server_side.planes_of(parameters, there.index, member.keys, member.selection, plan)
        member.planes, member.tail = made or (None, None)


def _certain(member: Member) -> np.ndarray:
    selection = member.selection
    assert selection is not None
    return np.asarray(selection.ids[selection.log_weight == 0])
