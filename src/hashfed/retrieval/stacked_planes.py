"""``planes`` of many clients at once: moments of their tails, and how wrong their draws are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.hashing.parts import padded
from hashfed.retrieval.planes import Planes, Tail, rounded
from hashfed.retrieval.select import Selection
from hashfed.retrieval.stacked_powers import StackedPowers


@dataclass(frozen=True)
class StackedTails:
    """What the server remembers of the tails of C clients: ``Tail``, with zeros behind that of fewer points.

    Attributes:
        counts: K of each, 0 where there is no tail.
        points: (C, k, d) float32.
        log_sums: (C, k) float32.
        ids: (l,) int64 of each.
        factors: (l,) float32 of each.
        reach: (C, k) float32.

    """

    counts: list[int]
    points: torch.Tensor
    log_sums: torch.Tensor
    ids: list[np.ndarray]
    factors: list[np.ndarray]
    reach: torch.Tensor

    @classmethod
    def stack(cls, tails: Sequence[Tail]) -> "StackedTails":
        """Of at least one client, each by itself."""
        width = max(len(tail.points) for tail in tails)
        points, log_sums, reach = (
            torch.cat([_widened(value[None], width, 0.0) for value in values])
            for values in zip(*((tail.points, tail.log_sums, tail.reach) for tail in tails), strict=True)
        )
        counts, factors = [len(tail.points) for tail in tails], [tail.factors.numpy() for tail in tails]
        return cls(counts, points, log_sums, [tail.ids for tail in tails], factors, reach)

    def part(self, clients: slice) -> "StackedTails":
        """Those of neighbours, no wider than these need."""
        counts = self.counts[clients]
        width = max(counts)
        return StackedTails(
            counts,
            self.points[clients, :width],
            self.log_sums[clients, :width],
            self.ids[clients],
            self.factors[clients],
            self.reach[clients, :width],
        )

    def parts(self, most: int) -> Iterator[slice]:
        """Neighbours who have at most so many points together, padded; but at least one."""
        start, width = 0, 0
        for client, count in enumerate(self.counts):
            if client > start and (client - start + 1) * max(width, count) > most:
                yield slice(start, client)
                start, width = client, 0
            width = max(width, count)
        yield slice(start, len(self.counts))


@dataclass(frozen=True)
class StackedPlanes:
    """The planes of C clients, and their tails.

    Attributes:
        planes: with a first dimension C; offsets −∞ where there is none.
        tails: of the same clients.
        gram: (C, k, k) float32 as of ``Tail``; None where no update's norm is asked for.
        drawn: (l, k) float32 of each; likewise.

    """

    planes: Planes
    tails: StackedTails
    gram: torch.Tensor | None = None
    drawn: list[torch.Tensor] | None = None

    @classmethod
    def single(cls, planes: Planes, tail: Tail) -> "StackedPlanes":
        """Of one client."""
        gram = None if tail.gram is None else tail.gram[None]
        drawn = None if tail.drawn is None else [tail.drawn]
        stacked = Planes(*(value[None] for value in planes.tensors()))
        return cls(stacked, StackedTails.stack([tail]), gram, drawn)

    @classmethod
    def join(cls, parts: "Sequence[StackedPlanes]") -> "StackedPlanes":
        """Of the clients of at least one part, one part's after the other's, without what a norm needs."""
        if len(parts) == 1:
            return parts[0]
        width = max(part.planes.offsets.shape[1] for part in parts)

        def joined(values: Sequence[torch.Tensor], fill: float = 0.0) -> torch.Tensor:
            return torch.cat([_widened(value, width, fill) for value in values])

        planes = zip(*(part.planes.tensors() for part in parts), strict=True)
        tails = [part.tails for part in parts]
        return cls(
            Planes(*(joined(values, fill) for values, fill in zip(planes, FILLS, strict=True))),
            StackedTails(
                [count for of in tails for count in of.counts],
                joined([of.points for of in tails]),
                joined([of.log_sums for of in tails]),
                [ids for of in tails for ids in of.ids],
                [factors for of in tails for factors in of.factors],
                joined([of.reach for of in tails]),
            ),
        )

    def none(self) -> "StackedPlanes":
        """As wide as these, of a client that has no planes."""
        tensors = zip(self.planes.tensors(), FILLS, strict=True)
        planes = Planes(*(torch.full_like(value[:1], fill) for value, fill in tensors))
        of = self.tails
        points, log_sums, reach = (
            torch.zeros_like(value[:1]) for value in (of.points, of.log_sums, of.reach)
        )
        ids, factors = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        return StackedPlanes(planes, StackedTails([0], points, log_sums, ids, factors, reach))

    def take(self, places: Sequence[int]) -> "StackedPlanes":
        """Those of some clients, no wider than these need, without what a norm needs."""
        of = self.tails
        counts = [of.counts[place] for place in places]
        index, width = torch.tensor(places).to(of.points.device), max(counts)
        return StackedPlanes(
            Planes(*(value[index, :width] for value in self.planes.tensors())),
            StackedTails(
                counts,
                of.points[index, :width],
                of.log_sums[index, :width],
                [of.ids[place] for place in places],
                [of.factors[place] for place in places],
                of.reach[index, :width],
            ),
        )

    def of(self, place: int) -> tuple[Planes, Tail] | None:
        """Those of one client; None where it has none."""
        of = self.tails
        count = of.counts[place]
        if count == 0:
            return None
        planes = Planes(*(value[place, :count] for value in self.planes.tensors()))
        tail = Tail(
            of.points[place, :count],
            of.log_sums[place, :count],
            of.ids[place],
            torch.from_numpy(of.factors[place]),
            of.reach[place, :count],
            None if self.gram is None else self.gram[place, :count, :count],
            None if self.drawn is None else self.drawn[place][:, :count],
        )
        return planes, tail


FILLS = -torch.inf, 0.0, 0.0, 0.0
"""Of planes that are none."""


def make_stacked_planes(
    rows: torch.Tensor,
    powers: StackedPowers,
    selections: Sequence[Selection],
    precision: torch.dtype,
    gram: bool,
    most: int,
) -> StackedPlanes | None:
    """``make_planes`` of several clients; None where sums of exponentials are too small or large to be exact.

    Args:
        rows: (n, d) float32.
        powers: of these rows, in whatever precision, at the points of each client; used up.
        selections: of the clients.
        precision: in which slopes will travel.
        gram: whether the updates' norms will be asked for.
        most: numbers held at a time of the clients' drawn rows, or those of one client.

    """
    draws = [_Draw.of(selection) for selection in selections]
    moments = powers.moments([draw.certain for draw in draws], gram)
    if moments is None:
        return None
    device = rows.device
    whole = [len(draw.certain) == len(rows) for draw in draws]
    counts = [0 if all_held else size for all_held, size in zip(whole, powers.sizes, strict=True)]
    place = torch.from_numpy(powers.places).to(device)
    present = (torch.arange(place.shape[1]) < torch.tensor(counts)[:, None]).to(device)
    there = present.float()
    scale = (1 / moments.sums).float()[place] * there
    points, slopes = (value[place] * there[:, :, None] for value in (powers.points, moments.slopes))
    log_sums = moments.log_sums[place] * there
    each = max(len(draw.ids) for draw in draws) * (rows.shape[1] + 3 * place.shape[1])
    step = max(1, most // max(1, each))
    found = [
        _drawn_sums(rows, powers, place[start : start + step], scale[start : start + step], some, gram)
        for start in range(0, len(draws), step)
        if (some := draws[start : start + step])
    ]
    total, reach, moved = (
        torch.cat(values)
        for values in zip(*((one.total, one.reach, one.moved) for one in found), strict=True)
    )
    travelling = rounded(slopes, precision)
    mu = travelling.float()
    # As ``planes._planes``: about μ also where a plane's slope is rounded.
    nu = rounded(moved - slopes + (there - total)[:, :, None] * mu, precision)
    offsets = (log_sums - (points * mu).sum(2)).masked_fill_(~present, -torch.inf)
    errors = there - total + (points * nu.float()).sum(2)
    planes = Planes(offsets, travelling, errors, nu)
    ids, factors = [selection.ids for selection in selections], [draw.factors for draw in draws]
    tails = StackedTails(counts, points, log_sums, ids, factors, torch.maximum(reach, there))
    if moments.squares is None:
        return StackedPlanes(planes, tails)
    change = torch.cat([one.change for one in found if one.change is not None])
    listed = [of for one in found for of in one.listed]
    return StackedPlanes(planes, tails, (moments.squares + change).cpu(), listed)


@dataclass(frozen=True)
class _Draw:
    """A selection's rows that are not certain.

    Attributes:
        drawn: (m,) bool, which of its rows.
        certain: ids of the others.
        ids: (l,) int64.
        raised: (l,) float32, 1/π.
        factors: (m,) of all rows of the selection, as of ``Tail``.

    """

    drawn: np.ndarray
    certain: np.ndarray
    ids: np.ndarray
    raised: np.ndarray
    factors: np.ndarray

    @classmethod
    def of(cls, selection: Selection) -> "_Draw":
        drawn = selection.log_weight != 0
        raised = np.exp(selection.log_weight[drawn])
        factors = np.zeros(len(selection.ids), np.float32)
        factors[drawn] = 1 - raised
        return cls(drawn, selection.ids[~drawn], selection.ids[drawn], raised, factors)


@dataclass(frozen=True)
class _DrawnSums:
    """Over the drawn rows of some clients.

    Attributes:
        total: (C, k) Σ π̂/π.
        reach: (C, k) the largest π̂/π.
        moved: (C, k, d) Σ (π̂/π) w.
        change: (C, k, k), added to Σ π̂ π̂ᵀ, for a drawn row is moved by its factor, not by all of π̂·G;
            None where it is not asked for.
        listed: (l, k) of each, on the CPU: by what the rows of its selection are moved.

    """

    total: torch.Tensor
    reach: torch.Tensor
    moved: torch.Tensor
    change: torch.Tensor | None
    listed: list[torch.Tensor]


def _drawn_sums(
    rows: torch.Tensor,
    powers: StackedPowers,
    place: torch.Tensor,
    scale: torch.Tensor,
    draws: Sequence[_Draw],
    gram: bool,
) -> _DrawnSums:
    """Of clients whose points these are, with what makes π̂ of their exponentials, both (C, k).

    Of the same exponentials as the sums, so that a draw's error has mean zero in whatever precision.
    """
    ids = torch.from_numpy(padded([draw.ids for draw in draws], 0, np.int64, least=1)).to(rows.device)
    raised = torch.from_numpy(padded([draw.raised for draw in draws], 0, np.float32, least=1)).to(rows.device)
    plain = powers.values[place[:, :, None], ids[:, None]].float().mul_(scale[:, :, None]).clamp_(max=1)
    shares = plain * raised[:, None]
    change, listed = None, list[torch.Tensor]()
    if gram:
        plain = plain * (raised > 0)[:, None]
        lifted = plain - shares
        change = torch.bmm(lifted, lifted.transpose(1, 2)) - torch.bmm(plain, plain.transpose(1, 2))
        for draw, of in zip(draws, lifted.cpu(), strict=True):
            one = torch.zeros(len(draw.drawn), len(of))
            one[torch.from_numpy(draw.drawn)] = of[:, : len(draw.ids)].T
            listed.append(one)
    return _DrawnSums(shares.sum(2), shares.amax(2), torch.bmm(shares, rows[ids]), change, listed)


def _widened(value: torch.Tensor, width: int, fill: float) -> torch.Tensor:
    """(C, k, …) as (C, ``width``, …)."""
    if value.shape[1] == width:
        return value
    wide = value.new_full((value.shape[0], width, *value.shape[2:]), fill)
    wide[:, : value.shape[1]] = value
    return wide
