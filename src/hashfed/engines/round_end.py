"""The end of a round, the same in every engine (paper, section 3.2, step 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hashfed.config import Config
from hashfed.engines.client_round import ClientReport
from hashfed.engines.common_plan import SUM_LABEL
from hashfed.engines.rounds import RoundRecord
from hashfed.engines.server_round import ServerRound
from hashfed.engines.state import ServerState
from hashfed.federated.error_feedback import Residual
from hashfed.federated.messages import Update
from hashfed.federated.sums import SummedUpdates, UpdateSum, accept_update, check_norm
from hashfed.retrieval.planes import Tail


@dataclass
class RoundEnd:
    """From the updates of a cohort to the server's next state, which changes in ``finish`` alone.

    Attributes:
        config: of the run.
        state: after the round before.

    """

    config: Config
    state: ServerState
    _reports: list[ClientReport] = field(default_factory=list, init=False)
    _residuals: dict[str, Residual] = field(default_factory=dict, init=False)
    _clipped: int = field(default=0, init=False)
    _bound: tuple[float, float] | None = field(default=None, init=False)
    """Of the norm of the mean, and about what rounding adds to it."""

    def __post_init__(self) -> None:
        uniform = self.config.server.weighting == "uniform"
        precision = self.config.retrieval.pass_type
        self._sum = UpdateSum(self.state.parameters.tables, uniform, precision)

    def accept(self, update: Update, tail: Tail | None) -> Update:
        """What is added of an update that has come: checked and clipped.

        Args:
            update: as it came.
            tail: that its client was sent planes of, if it was.

        Raises:
            HashfedError: where the update is of no use (``accept_update``).

        """
        accepted, clipped = accept_update(self.config.server, update, tail)
        self._clipped += clipped
        return accepted

    def add(
        self, report: ClientReport, accepted: Update, tail: Tail | None, residual: Residual | None = None
    ) -> None:
        """Add what was accepted of one client; engines do so in order of names.

        Args:
            report: what its round cost.
            accepted: what ``accept`` returned.
            tail: that it was sent planes of, if it was.
            residual: what compression lost of its update, unless the client keeps that itself.

        """
        self._sum.add(accepted, tail)
        self._reports.append(report)
        if residual is not None:
            self._residuals[report.client] = residual

    def add_cohort(self, reports: Sequence[ClientReport], summed: SummedUpdates) -> None:
        """Add what several clients changed, which is neither clipped nor compressed."""
        self._sum.add_cohort(summed)
        self._reports.extend(reports)

    def release(self, server: ServerRound) -> None:
        """Write down that a sum will be known, before the step that tells it is closed.

        Raises:
            HashfedError: where that cannot be written; then nothing may be told.

        """
        session, ledger = server.session, self.state.ledger
        if ledger is not None:
            ledger.release(
                server.round,
                label=SUM_LABEL,
                length=server.sums.plan.layout.length,
                bits=session.bits,
                norm_bound=None,  # of sums of queries and counts nobody has one
                asked=len(server.cohort),
                summed=len(session.summed),
                roster=session.roster,
            )

    def finish_sum(
        self, server: ServerRound, sizes: Mapping[str, int], seconds: Mapping[str, Mapping[str, float]]
    ) -> RoundRecord:
        """The end of a round that leaves a cohort's sum alone.

        Args:
            server: whose session has it.
            sizes: bytes of a client's messages by kind, the same for all.
            seconds: by client, where anybody knows them.

        Raises:
            HashfedError: where the sum is of no use: longer than updates of clients that clip can make it,
                or not what so many clients can have added; the state is as before.
            DivergedError: as ``finish``.

        """
        session = server.session
        found = server.sums.read(session.total, len(session.summed))
        reports = found.reports(session.summed, sizes)
        for report in reports:
            report.seconds |= seconds.get(report.client, {})
        self.add_cohort(reports, found.updates())
        self._clipped = found.counts["clipped"]
        if self.config.server.clip is not None:
            self._bound = self.config.server.clip, found.rounding
        record = replace(self.finish(), saturated=found.saturated, diverged=found.diverged)
        found.follow()
        return record

    def finish(self) -> RoundRecord:
        """The server's step, and what is kept of the round.

        Raises:
            DivergedError: where the step left no usable model; nor is the state one.

        """
        config, state = self.config, self.state
        # Of a sum that is refused nothing may stay.
        shares = state.shares if self._bound is None else state.shares.copy()
        gradient = self._sum.mean(config.server.row_average, shares)
        if self._bound is not None:
            check_norm(gradient, *self._bound, state.round + 1)
        state.shares = shares
        state.finish_round(gradient, config, [report.own for report in self._reports])
        if state.residuals is not None:
            state.residuals |= self._residuals
        if state.used is not None:
            names = {report.client for report in self._reports} - set(self._residuals)
            state.used |= dict.fromkeys(sorted(names), state.round)
        clipped = None if config.server.clip is None else self._clipped
        return RoundRecord(state.round, gradient.loss, self._reports, clipped=clipped)
