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
from hashfed.engines.cohort.planes import CohortPlanes
from hashfed.engines.cohort.queries import cohort_queries
from hashfed.engines.server_round import ServerRound, selection_stream
from hashfed.errors import ClientDivergedError
from hashfed.federated import server as server_side
from hashfed.federated.messages import ClientKeys
from hashfed.hashing.parts import neighbours
from hashfed.models import Model, Parameters
from hashfed.retrieval import Candidates, Selection
from hashfed.retrieval.decoded import DecodedIndex
from hashfed.retrieval.planes import LARGEST_POINT, check_points, make_planes
from hashfed.retrieval.stacked_planes import StackedPlanes, make_stacked_planes
from hashfed.retrieval.stacked_powers import StackedPowers
from hashfed.retrieval.stacked_sample import sample_many

CPU_SCORES, GPU_SCORES = 1 << 18, 1 << 25
"""Scores of clients that are drawn at a time: as many as stay in a cache, or keep a GPU busy (256 MiB)."""
CPU_POWERS, GPU_POWERS = 1 << 25, 1 << 28
"""Exponentials held at a time (128 MiB, 1 GiB), and as many numbers of the rows that clients draw."""


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
    examples = [member.here.examples for member in members]
    every = cohort_queries(model, sent, examples, joined)
    queries = every.split([of.weight for of in examples])
    if not bool(every.sum(1).isfinite().all()):
        finite = [bool(of.sum().isfinite()) for of in queries]
        name = members[finite.index(False)].here.client.name
        raise ClientDivergedError(f"client {name}: its queries are not finite: the training diverged")
    keys = there.encoder.encode_many(queries)
    sketches = [{} for _ in members] if sketch is None else sketch.encode_many(queries)
    for member, of, sketched in zip(members, keys, sketches, strict=True):
        member.keys = ClientKeys(there.round, dict(of), dict(sketched))


def select(there: ServerRound, members: Sequence[Member]) -> CohortPlanes:
    """Step 4: the rows of all clients, and the planes of their tails."""
    planes = CohortPlanes()
    if sends_everything(there.config):
        return planes
    if isinstance(there.index, DecodedIndex):
        left = _select_together(there, there.index, members, planes)
    else:
        _choose_each(there, members)
        left = list(members)
    if sends_planes(there.config) and left:
        _make_other_planes(there, left, planes)
    return planes


def _choose_each(there: ServerRound, members: Sequence[Member]) -> None:
    """As the simulator does."""
    config, (size, dimension) = there.config, there.parameters.rows.shape
    assert there.index is not None
    for member in members:
        here = member.here
        rng = selection_stream(config, there.round, here.client.name)
        with here.report.timed("retrieve"), _named(member):
            member.selection, _ = server_side.retrieve(
                there.index, member.keys, here.declared, size, dimension, config.selection, rng
            )


@contextmanager
def _named(member: Member) -> Iterator[None]:
    """Where the block finds that a client's numbers are of no use it says whose."""
    try:
        yield
    except ClientDivergedError as error:
        raise ClientDivergedError(f"client {member.here.client.name}: {error}") from None


def _select_together(
    there: ServerRound, index: DecodedIndex, members: Sequence[Member], planes: CohortPlanes
) -> list[Member]:
    """In one product for many clients; who is left without planes."""
    config = there.config
    decoded = index.encoder.decode_many([member.keys.keys for member in members], index.temperature)
    # Those with as many points beside each other: what is done for each of them is one product for all.
    order = sorted(range(len(members)), key=lambda place: len(decoded[place][0]))
    members, found = [members[place] for place in order], [decoded[place] for place in order]
    plan, scored = planes_plan(config), index.rows is there.parameters.rows and index.temperature == 1
    # Planes are made of the same exponentials only where they are of these rows at these points.
    merged = plan.sketcher is not None or any(len(points) > plan.count for points, _ in found)
    shared = sends_planes(config) and scored and not merged
    sizes, most, left = [len(points) for points, _ in found], _most_powers(index.rows), list[Member]()
    for start, stop in neighbours(sizes, most // len(index.rows)):
        some, of = members[start:stop], found[start:stop]
        # One client alone may have too many points for one product.
        fits = sum(sizes[start:stop]) * len(index.rows) <= most
        powers = StackedPowers.of(index.table, [points for points, _ in of]) if fits else None
        if powers is None:
            _choose_each(there, some)
        else:
            _score(there, index, some, powers, [counts for _, counts in of])
        made = _stacked_planes(there, some, powers) if shared and powers is not None else None
        if made is None:
            left += some
        else:
            planes.add(some, made)
    return left


def _most_powers(rows: torch.Tensor) -> int:
    return CPU_POWERS if rows.device.type == "cpu" else GPU_POWERS


def _score(
    there: ServerRound,
    index: DecodedIndex,
    members: Sequence[Member],
    powers: StackedPowers,
    counts: Sequence[np.ndarray | None],
) -> None:
    """Choose rows by the mass at points that stand for so many queries."""
    most = CPU_SCORES if index.rows.device.type == "cpu" else GPU_SCORES
    step = max(1, most // len(index.rows))
    for start in range(0, len(members), step):
        part = slice(start, start + step)
        scores = powers.masses(part, counts[part]).add_(index.prior_mass)
        for member, selection in zip(members[part], _selections(there, members[part], scores), strict=True):
            member.selection = selection


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


def _stacked_planes(
    there: ServerRound, members: Sequence[Member], powers: StackedPowers
) -> StackedPlanes | None:
    """None where exponentials have to be made anew."""
    _check_points(members, powers)
    plan, rows = planes_plan(there.config), there.parameters.rows
    selections = [_selected(member) for member in members]
    return make_stacked_planes(rows, powers, selections, plan.precision, plan.gram, _most_powers(rows))


def _check_points(members: Sequence[Member], powers: StackedPowers) -> None:
    """See ``check_points``: one look for all clients."""
    wrong = np.flatnonzero(~(powers.points.abs().amax(1) <= LARGEST_POINT).cpu().numpy())
    if len(wrong):
        client = int(np.searchsorted(powers.ends, wrong[0], "right"))
        end = powers.ends[client]
        with _named(members[client]):
            check_points(powers.points[end - powers.sizes[client] : end])


def _make_other_planes(there: ServerRound, members: Sequence[Member], planes: CohortPlanes) -> None:
    """Where they are of other points than rows were scored at, or of other rows, or none were scored."""
    plan, rows, every = planes_plan(there.config), there.parameters.rows, list[torch.Tensor]()
    assert there.index is not None
    for member in members:
        with _named(member):
            every.append(server_side.points_of(there.index, member.keys, plan))
    sizes, most = [len(points) for points in every], _most_powers(rows)
    for start, stop in neighbours(sizes, most // len(rows)):
        some, of = members[start:stop], every[start:stop]
        fits = sum(sizes[start:stop]) * len(rows) <= most
        powers = StackedPowers.of(rows, of) if fits else None
        made = None if powers is None else _stacked_planes(there, some, powers)
        if made is not None:
            planes.add(some, made)
            continue
        for member, points in zip(some, of, strict=True):
            with _named(member):
                alone = make_planes(rows, points, _selected(member), plan.precision, plan.gram)
            if alone is not None:
                planes.add([member], StackedPlanes.single(*alone))


def _selected(member: Member) -> Selection:
    assert member.selection is not None
    return member.selection
