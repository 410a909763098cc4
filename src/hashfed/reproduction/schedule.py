"""Plays strands side by side: a strand goes on when all the runs that it asked for are done."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hashfed.reproduction.plan import Planned, Strand
from hashfed.reproduction.tuning import Score

Outcome = Callable[[Planned], Score | None]
"""How a planned run came out; None where it is not finished."""


@dataclass
class _Step:
    """What a strand asked for last.

    Attributes:
        strand: that goes on when all is done.
        mine: all that it has asked for.
        asked: of these the last.
        scores: of what is done, by place in ``asked``.

    """

    strand: Strand
    mine: list[Planned]
    asked: list[Planned]
    scores: dict[int, Score] = field(default_factory=dict)


class Schedule:
    """Hands out runs and takes results.

    Attributes:
        planned: all runs that the strands have asked for so far, by strand, in their order.

    """

    def __init__(self, strands: Iterable[Strand], outcome: Outcome) -> None:
        """``outcome`` is asked before a run is handed out: a finished one is not made again."""
        self._outcome = outcome
        self._ready: deque[tuple[_Step, int]] = deque()
        self._open = 0
        self._by_strand: list[list[Planned]] = []
        for strand in strands:
            mine: list[Planned] = []
            self._by_strand.append(mine)
            self._advance(_Step(strand, mine, []))

    @property
    def planned(self) -> list[Planned]:
        """In the order of the strands."""
        return [item for mine in self._by_strand for item in mine]

    @property
    def done(self) -> bool:
        """Whether nothing is left, neither ready nor running."""
        return self._open == 0

    def take(self, data: object = None) -> tuple[Planned, Callable[[Score], None]] | None:
        """A run to begin now, with what is to be told when it ends; None while none is ready.

        The first one that reads the same ``data`` as the process's last run, if there is one.
        """
        if not self._ready:
            return None
        alike = (place for place, (step, item) in enumerate(self._ready) if step.asked[item].job.data == data)
        self._ready.rotate(-next(alike, 0))
        step, place = self._ready.popleft()
        return step.asked[place], lambda score: self._finish(step, place, score)

    def _finish(self, step: _Step, place: int, score: Score) -> None:
        self._open -= 1
        step.scores[place] = score
        if len(step.scores) == len(step.asked):
            self._advance(step)

    def _advance(self, step: _Step) -> None:
        """Let the strand of a finished step go on until it asks for something that is not, or ends."""
        while len(step.scores) == len(step.asked):
            scores = [step.scores[place] for place in range(len(step.asked))]
            try:
                # A strand that has not asked for anything yet begins.
                asked = step.strand.send(scores) if step.asked else next(step.strand)
            except StopIteration:
                return
            step.mine.extend(asked)
            step = _Step(step.strand, step.mine, asked)
            for place, item in enumerate(asked):
                score = self._outcome(item)
                if score is None:
                    self._ready.append((step, place))
                    self._open += 1
                else:
                    step.scores[place] = score
