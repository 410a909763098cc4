"""The server's part of one round: every engine calls these."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hashfed.config import Config
from hashfed.engines.budget import (
    agreed_budget,
    device_budget,
    planes_plan,
    sends_counts,
    sends_everything,
    sends_planes,
    sketcher,
    steps,
)
from hashfed.engines.common_plan import common_plan, sum_context
from hashfed.engines.common_round import CommonRound
from hashfed.engines.slice_store import MemoryStore, SliceStore
from hashfed.federated import server as server_side
from hashfed.federated import wire
from hashfed.federated.checks import Limits, ModelShape, RowsSent
from hashfed.federated.common_state import CommonState
from hashfed.federated.compression import compress_rows, compress_welcome
from hashfed.federated.messages import (
    Broadcast,
    ClientKeys,
    Common,
    Declare,
    Manifest,
    SelectedRows,
    Welcome,
    pack_counts,
)
from hashfed.federated.protocols import Exchange, Step
from hashfed.federated.settings import UpdatePrecision
from hashfed.federated.slices import Wanted, addresses_in, make_slices
from hashfed.federated.sum_session import MaskedSession, OpenSession, SumSession
from hashfed.models import Parameters
from hashfed.randomness import stream
from hashfed.retrieval import Encoder, Index, Selection
from hashfed.retrieval.full import FullIndex
from hashfed.retrieval.planes import Planes, Tail


@dataclass(frozen=True)
class ServerRound:
    """The server in one round (paper, section 3.2, steps 2 and 4): what ``federated.protocols`` asks it for.

    Pre-generated slices are made by whoever asks first, or in a store by ``publish``.

    Attributes:
        config: of the run.
        parameters: the model before this round.
        index: over its rows; None where clients build it (broadcast).
        round: the round's number.
        prior: (n,) public counts that the index is built of; needed where clients select by themselves.
        known: of earlier sums, where the server learns these alone.
        cohort: names, ascending, of the clients of such a round; whoever only makes messages need not know
            them.
        begun: the cohort's sum, where it was begun before the model of this round was there.

    """

    config: Config
    parameters: Parameters
    index: Index | None
    round: int
    prior: np.ndarray | None = None
    known: CommonState | None = None
    cohort: tuple[str, ...] = ()
    begun: SumSession | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        parameters: Parameters,
        index: Index | None,
        round: int,
        prior: np.ndarray | None = None,
        known: CommonState | None = None,
        cohort: Sequence[str] = (),
    ) -> "ServerRound":
        """The same, with the index that a full selection needs instead of the given one."""
        if sends_everything(config):
            index = FullIndex(len(parameters.rows))
        return cls(config, parameters, index, round, prior, known, tuple(cohort))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Of the round."""
        return steps(self.config)

    @cached_property
    def shape(self) -> ModelShape:
        """Of the model."""
        tables = {name: (len(table), table.shape[1]) for name, table in self.parameters.tables.items()}
        body = {name: tuple(value.shape) for name, value in self.parameters.body.items()}
        return ModelShape(tables, body)

    @property
    def update_precision(self) -> UpdatePrecision:
        """Of updates as they are sent."""
        return self.config.compression.updates

    def sent_to_selectors(self, limits: Limits) -> RowsSent:
        """What is known of the rows of a client that selects by itself."""
        size = self.shape.size
        most = min(max(device_budget(self.config, size), limits.own), size)
        return RowsSent(None, 0, most, not sends_everything(self.config))

    def broadcast(self) -> Broadcast:
        """All that clients need to select by themselves: body, all rows, and counts where they are used."""
        return Broadcast.of(self.round, self.parameters, self._sent_counts())

    @cached_property
    def sums(self) -> CommonRound:
        """The round, where the server learns sums alone."""
        if self.known is None:
            raise ValueError("this step needs what earlier sums told: give ServerRound what is known")
        plan = common_plan(self.config, self.shape)
        return CommonRound(self.config, self.parameters, self._index(), self.round, self.known, plan)

    def common(self) -> Common:
        """What all clients get where the server learns sums alone."""
        return self.sums.message

    @cached_property
    def session(self) -> SumSession:
        """Of the cohort's sum."""
        if self.begun is not None:
            return self.begun
        plan = self.sums.plan
        if not self.config.secure.masks:
            return OpenSession(list(self.cohort), plan.layout.length, plan.open_bits, 1)
        context = sum_context(self.config, self.round, plan)
        return MaskedSession(context, self.cohort, plan.value_bits, plan.layout.length)

    def slices(self) -> tuple[Manifest, dict[str, bytes]]:
        """The slices of this round by address, and their manifest.

        Raises:
            HashfedError: where the index needs keys and has no buckets.

        """
        return make_slices(self.parameters, self._index(), self._sent_counts(), self.round)

    @cached_property
    def published(self) -> tuple[Manifest, MemoryStore]:
        """The slices of this round in the memory of this process, made once, and their manifest."""
        manifest, slices = self.slices()
        return manifest, MemoryStore(slices)

    def manifest(self) -> Manifest:
        """The list of the slices in memory."""
        return self.published[0]

    def publish(self, store: SliceStore) -> Wanted:
        """Put all slices and then their manifest into ``store``; those of earlier rounds are deleted.

        Returns:
            Address and size of the manifest, for ``ClientRound.fetch_manifest``.

        Raises:
            HashfedError: where the index has no slices, or the store cannot be written.

        """
        manifest, slices = self.slices()
        for data in slices.values():
            store.put(data)
        encoded = wire.encode(manifest)
        wanted = Wanted(store.put(encoded), len(encoded))
        store.keep(addresses_in(manifest) | {wanted.address})
        return wanted

    def _sent_counts(self) -> np.ndarray | None:
        """The counts as they travel; None where clients use none."""
        if not sends_counts(self.config):
            return None
        if self.prior is None:
            raise ValueError("clients that select by themselves need the counts: give ServerRound its prior")
        return pack_counts(self.prior)

    @property
    def encoder(self) -> Encoder:
        """Of the index.

        Raises:
            ValueError: where this server has none.

        """
        return self._index().encoder

    @property
    def sketcher(self) -> Encoder | None:
        """Of what clients send for the planes alone, if they do."""
        return sketcher(self.config)

    def _index(self) -> Index:
        if self.index is None:
            raise ValueError("this step needs the index: give it to ServerRound")
        return self.index

    def declared(self, exchange: Exchange) -> Declare:
        """What the client said; that it needs no rows where all are sent, and nobody is asked."""
        said = exchange.answers.get(Declare.kind)
        if isinstance(said, Declare):
            return said
        return Declare(self.round, np.empty(0, np.int32), self.shape.size)

    def welcome(self, declared: Declare) -> Welcome:
        """Step 2: body, declared rows and encoder, compressed as the configuration asks.

        Raises:
            HashfedError: where the declaration does not fit.

        """
        message = server_side.welcome(self.parameters, self._index(), declared)
        return compress_welcome(message, self.config.compression.rows)

    def select(
        self, client: str, declared: Declare, keys: ClientKeys | None
    ) -> tuple[SelectedRows, Tail | None]:
        """Step 4: the other rows of the client's selection, compressed as the configuration asks.

        Args:
            client: its name, for its random numbers.
            declared: its own rows and budget.
            keys: of its queries, None where the method asks for none.

        Returns:
            The message, and what ``accept_update`` needs to know of the tail that the client got planes of.

        Raises:
            HashfedError: where declaration or keys do not fit.

        """
        size = len(self.parameters.rows)
        selection, made = Selection.all(size), None
        if not sends_everything(self.config):
            selection, made = self.choose(client, declared, keys or ClientKeys(self.round, {}))
        budget = agreed_budget(self.config, declared, size)
        planes, tail = made or (None, None)
        message = server_side.send_rows(self.parameters, selection, declared.own, budget, self.round, planes)
        return compress_rows(message, self.config.compression.rows), tail

    def choose(
        self, client: str, declared: Declare, keys: ClientKeys
    ) -> tuple[Selection, tuple[Planes, Tail] | None]:
        """The rows that a client is to have, where it does not get all, and the planes of the rest, if any.

        Raises:
            HashfedError: where declaration or keys do not fit.

        """
        config, (size, dimension) = self.config, self.parameters.rows.shape
        rng = selection_stream(config, self.round, client)
        selection, found = server_side.retrieve(
            self._index(), keys, declared, size, dimension, config.selection, rng
        )
        if not sends_planes(config):
            return selection, None
        plan = planes_plan(config)
        return selection, server_side.planes_of(
            self.parameters, self._index(), keys, selection, plan, found.powers
        )


def selection_stream(config: Config, round: int, client: str) -> np.random.Generator:
    """The random numbers of a client's selection, whoever selects."""
    return stream(config.seed, "select", round, client)
