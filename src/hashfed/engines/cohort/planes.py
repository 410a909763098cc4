"""The planes of a round's clients, made of some of them at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from hashfed.engines.cohort.member import Member
from hashfed.retrieval.planes import Planes, Tail
from hashfed.retrieval.stacked_planes import StackedPlanes


@dataclass
class CohortPlanes:
    """What was made so far; who is not among these clients has none."""

    _parts: list[StackedPlanes] = field(default_factory=list)
    _where: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of a member's number: which part, and which client of that."""

    def add(self, members: Sequence[Member], planes: StackedPlanes) -> None:
        """Add those of some clients; all come before any is asked for."""
        for place, member in enumerate(members):
            self._where[member.number] = len(self._parts), place
            member.planes = planes.tails.counts[place]
        self._parts.append(planes)

    def of(self, member: Member) -> tuple[Planes, Tail] | None:
        """Those of one client, with what its update's norm needs."""
        if member.number not in self._where:
            return None
        part, place = self._where[member.number]
        return self._parts[part].of(place)

    def take(self, members: Sequence[Member]) -> StackedPlanes | None:
        """Those of some clients; None where none of them has any."""
        if not any(member.planes for member in members):
            return None
        return self._joined.take([self._place(member) for member in members])

    def _place(self, member: Member) -> int:
        if member.number not in self._where:
            return sum(self._sizes)
        part, place = self._where[member.number]
        return sum(self._sizes[:part]) + place

    @cached_property
    def _sizes(self) -> list[int]:
        return [len(part.tails.counts) for part in self._parts]

    @cached_property
    def _joined(self) -> StackedPlanes:
        """All parts, and then a client that has none."""
        return StackedPlanes.join([*self._parts, self._parts[0].none()])
