"""All that a run must remember from one round to the next."""

from collections.abc import Collection, Iterable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

import numpy as np
import torch

from hashfed.config import Config, size_setting
from hashfed.engines.common_plan import fresh_known
from hashfed.engines.mapped import MappedTable
from hashfed.engines.shared import SharedBlock, share
from hashfed.errors import HashfedError
from hashfed.federated.checks import ModelShape
from hashfed.federated.common_state import CommonState
from hashfed.federated.divergence import DivergedError, check_parameters, diverged
from hashfed.federated.error_feedback import Residual
from hashfed.federated.optimizers import OptimizerState, has_moments, init_optimizer, moves_all_rows, step
from hashfed.federated.settings import ServerSettings
from hashfed.federated.sums import PseudoGradient, RowShares
from hashfed.hardware import exceeds_memory, free_memory, show_bytes
from hashfed.models import OUTPUT, Model, Parameters
from hashfed.randomness import stream

RESIDUAL = "residual."
"""How names of residuals' arrays begin in a checkpoint."""
RELEASES = "releases"
"""In a checkpoint: sums that the server was told until then."""
USED = "used."
"""Before a client's name in a checkpoint."""


class SumLedger(Protocol):
    """Where it is written down that a sum is told, before it is (``runs.ledger``)."""

    def release(
        self,
        round: int,
        *,
        label: str,
        length: int,
        bits: int,
        norm_bound: float | None,
        asked: int,
        summed: int,
        roster: Collection[str],
    ) -> object:
        """A sum that is about to be known."""
        ...

    def releases(self) -> Sized:
        """All so far."""
        ...


@dataclass
class ServerState:
    """The server after ``round`` rounds.

    Attributes:
        round: rounds done.
        parameters: the model.
        optimizer: the server optimizer's moments.
        shares: who held which row so far.
        declared: (n,) float64, how many clients declared each row so far (with
            ``retrieval.counts: declared``); else None.
        prior: (n,) float64, ``declared`` as it was when the index was last built; None where that is.
        indexed: (n, d), the rows as they were when the index was last built (with
            ``retrieval.refresh`` > 1); else None.
        changed: (n,) int64, the last round at whose end each row moved; 0 where none did in this process.
        residuals: what compression lost of each client's last update, by name (with
            ``compression.error_feedback``); else None. Clients elsewhere keep it themselves.
        used: by client, the round of its last update that was summed, where clients keep their residuals
            themselves (with ``compression.error_feedback``); else None.
        known: of earlier sums, where the server learns these alone (``selection.delivery: secure``); else
            None.
        ledger: of these sums, if one is kept.

    """

    round: int
    parameters: Parameters
    optimizer: OptimizerState
    shares: RowShares
    declared: torch.Tensor | None
    prior: torch.Tensor | None
    indexed: torch.Tensor | None
    changed: torch.Tensor
    residuals: dict[str, Residual] | None
    used: dict[str, int] | None
    known: CommonState | None
    ledger: SumLedger | None = None

    @classmethod
    def fresh(cls, model: Model, sizes: Mapping[str, int], config: Config) -> "ServerState":
        """Before the first round of a model with so many rows by table.

        Raises:
            HashfedError: where there is not enough memory for it.

        """
        check_memory(model, sizes, config)
        parameters, size = model.init(sizes, stream(config.seed, "init")), sizes[OUTPUT]
        counts = torch.zeros(size, dtype=torch.float64) if config.retrieval.counts_declared else None
        return cls(
            round=0,
            parameters=parameters,
            optimizer=init_optimizer(parameters, config.server),
            shares=RowShares.fresh(parameters.sizes),
            declared=counts,
            prior=None if counts is None else counts.clone(),
            indexed=parameters.rows.clone() if config.retrieval.rebuilt_every > 1 else None,
            changed=torch.zeros(size, dtype=torch.int64),
            residuals={} if config.compression.error_feedback else None,
            used={} if config.compression.error_feedback else None,
            known=fresh_known(config, ModelShape.of(model, sizes), parameters.rows),
        )

    def to(self, device: str) -> "ServerState":
        """With parameters and moments on a device, in place; the notes about rounds stay here."""
        self.parameters = self.parameters.to(device)
        for moments in (self.optimizer.first, self.optimizer.second):
            for name, value in moments.items():
                moments[name] = value.to(device)
        return self

    def share_memory(self, mapped: Collection[str] = ()) -> SharedBlock:
        """Move to shared memory, in place, what workers read and is not ``mapped``.

        Raises:
            HashfedError: where there is not so much memory.

        """
        tables = {
            **self.parameters.named(),
            "prior": self.prior,
            "indexed": self.indexed,
            "changed": self.changed,
            **_known_tensors(self.known),
        }
        moved = {name: table for name, table in tables.items() if table is not None and name not in mapped}
        return share(moved)

    def map_files(self, folder: Path) -> dict[str, MappedTable]:
        """Move all tables to files in ``folder``; returns those that workers read, by name.

        Raises:
            HashfedError: where they cannot be written.

        """
        tables = {}

        def moved(name: str, table: torch.Tensor) -> torch.Tensor:
            tables[name] = MappedTable.create(folder / f"{name}.float32", table)
            return tables[name].open()

        rows = {name: moved(f"tables.{name}", table) for name, table in self.parameters.tables.items()}
        self.parameters = Parameters(rows, self.parameters.body)
        for kind, moments in (("first", self.optimizer.first), ("second", self.optimizer.second)):
            for table in rows:
                if (name := f"tables.{table}") in moments:
                    moments[name] = moved(f"{kind}.{name}", moments[name])
        if self.indexed is not None:
            self.indexed = moved("indexed", self.indexed)
        return tables

    def refresh(self) -> None:
        """Take rows and counts as they are now for the next index."""
        if self.indexed is not None:
            self.indexed.copy_(self.parameters.rows)
        if self.prior is not None and self.declared is not None:
            self.prior.copy_(self.declared)

    def finish_round(self, gradient: PseudoGradient, config: Config, declared: Iterable[np.ndarray]) -> None:
        """The server optimizer's step, and what is noted about the round.

        Args:
            gradient: the cohort's mean change.
            config: of the run.
            declared: each client's own rows, (o,) ids.

        Raises:
            DivergedError: where the step left no usable model. This state is then of no use.

        """
        settings = config.server
        step(self.parameters, gradient, self.optimizer, settings)
        try:
            check_parameters(self._moved(gradient, settings))
        except DivergedError as error:
            raise diverged(self.round + 1, error, config.client, settings) from None
        self.round += 1
        if moves_all_rows(settings):
            self.changed.fill_(self.round)
        else:
            self.changed[torch.from_numpy(gradient.tables[OUTPUT].ids)] = self.round
        if self.declared is not None:
            for own in declared:
                self.declared[torch.from_numpy(own)] += 1

    def _moved(self, gradient: PseudoGradient, settings: ServerSettings) -> dict[str, torch.Tensor]:
        """The parameters that a step moved: of a table that moves lazily, the rows that a client held."""
        tables = {
            name: table
            if moves_all_rows(settings, name)
            else table[torch.from_numpy(gradient.tables[name].ids).to(table.device)]
            for name, table in self.parameters.tables.items()
        }
        return Parameters(tables, self.parameters.body).named()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every array by name, for a checkpoint."""
        return self._fixed_tensors() | _residual_tensors(self.residuals or {})

    def _fixed_tensors(self) -> dict[str, torch.Tensor]:
        """Those that a run of this configuration has from its first round on."""
        return {
            **{f"parameters.{name}": value for name, value in self.parameters.named().items()},
            **{f"first.{name}": value for name, value in self.optimizer.first.items()},
            **{f"second.{name}": value for name, value in self.optimizer.second.items()},
            **{f"touched.{name}": torch.from_numpy(last) for name, last in self.optimizer.touched.items()},
            **{f"held.{name}": torch.from_numpy(weight) for name, weight in self.shares.held.items()},
            **({} if self.declared is None else {"declared": self.declared}),
            **({} if self.prior is None else {"prior": self.prior}),
            **({} if self.indexed is None else {"indexed": self.indexed}),
            **_known_tensors(self.known),
        }

    def numbers(self) -> dict[str, float]:
        """Every other value by name, for a checkpoint."""
        return {
            "round": self.round,
            "steps": self.optimizer.steps,
            "total_weight": self.shares.total,
            **({} if self.ledger is None else {RELEASES: len(self.ledger.releases())}),
            **{f"{USED}{client}": round for client, round in (self.used or {}).items()},
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float]) -> None:
        """Overwrite this state, in place, with what a checkpoint holds.

        Raises:
            HashfedError: where names, shapes or types do not match this model, or the ledger tells of fewer
                sums than there were.

        """
        told = int(numbers.get(RELEASES, 0))
        if told and (self.ledger is None or len(self.ledger.releases()) < told):
            raise HashfedError(
                f"checkpoint: {told} sums were told before it, but ledger.jsonl has "
                f"{0 if self.ledger is None else len(self.ledger.releases())}"
            )
        own = self._fixed_tensors()
        names = set(tensors)
        if self.residuals is not None:
            names = {name for name in names if not name.startswith(RESIDUAL)}
        if set(own) != names:
            odd = sorted(set(own) ^ names)[0]
            raise HashfedError(f"checkpoint: tensor {odd} is in only one of it and this configuration")
        for name, value in own.items():
            found = tensors[name]
            if found.shape != value.shape or found.dtype != value.dtype:
                raise HashfedError(
                    f"checkpoint: tensor {name} is {tuple(found.shape)} {found.dtype}, but this "
                    f"configuration has {tuple(value.shape)} {value.dtype}"
                )
        # Clients have residuals from their first round on, each of its own rows: replaced, not overwritten.
        residuals = None if self.residuals is None else _read_residuals(tensors)
        for name, value in own.items():
            value.copy_(tensors[name])
        self.residuals = residuals
        if self.used is not None:
            self.used = {
                name.removeprefix(USED): int(round)
                for name, round in numbers.items()
                if name.startswith(USED)
            }
        self.round = int(numbers["round"])
        self.changed.fill_(self.round)
        self.optimizer.steps = int(numbers["steps"])
        self.shares.total = float(numbers["total_weight"])


def check_memory(model: Model, sizes: Mapping[str, int], config: Config) -> None:
    """Refuse a model whose parameters and moments do not fit into this machine's memory.

    Raises:
        HashfedError: with the bytes needed, and those that are free.

    """
    copies = 1 + sum(has_moments(config.server))
    parameters = ModelShape.of(model, sizes).parameters
    needed = 4 * copies * parameters
    if exceeds_memory(needed):
        raise HashfedError(
            f"memory: {parameters:,} parameters and the server's moments need {show_bytes(needed)}, and "
            f"{free_memory()}; lower {size_setting(config)} or the sizes of the model"
        )


def _known_tensors(known: CommonState | None) -> dict[str, torch.Tensor]:
    if known is None:
        return {}
    centroids = {} if known.centroids is None else {"centroids": known.centroids}
    return {"ranges": known.ranges, **centroids}


def _residual_tensors(residuals: Mapping[str, Residual]) -> dict[str, torch.Tensor]:
    """As ``residual.CLIENT.NAME``; the client's name has no dot there, whatever it has here."""
    return {
        f"{RESIDUAL}{quote(client, safe='').replace('.', '%2E')}.{name}": value
        for client, residual in residuals.items()
        for name, value in residual.tensors().items()
    }


def _read_residuals(tensors: Mapping[str, torch.Tensor]) -> dict[str, Residual]:
    """What ``_residual_tensors`` wrote; other arrays are passed over."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for full, value in tensors.items():
        if full.startswith(RESIDUAL):
            client, _, name = full.removeprefix(RESIDUAL).partition(".")
            found.setdefault(unquote(client), {})[name] = value
    return {client: Residual.read(parts) for client, parts in found.items()}
