"""One client's round, step by step: every engine calls these, in whatever process the client lives."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from hashfed.config import Config
from hashfed.engines.budget import (
    agreed_budget,
    asks_for_keys,
    device_budget,
    sends_counts,
    sends_everything,
    sends_planes,
    sketcher,
)
from hashfed.engines.client_report import ClientReport as ClientReport
from hashfed.engines.common_plan import common_plan, sum_context
from hashfed.engines.flops import round_flops
from hashfed.engines.server_round import ServerRound, selection_stream
from hashfed.engines.slice_store import CachedSource
from hashfed.errors import ClientDivergedError, HashfedError
from hashfed.federated import client as client_side
from hashfed.federated import contribution, slices, wire
from hashfed.federated import server as server_side
from hashfed.federated.checks import ModelShape
from hashfed.federated.common_plan import CommonPlan
from hashfed.federated.compression import compress_update, expand
from hashfed.federated.error_feedback import Residual, compress_with_feedback
from hashfed.federated.manifests import ManifestShape
from hashfed.federated.messages import (
    Broadcast,
    ClientKeys,
    Common,
    Declare,
    Manifest,
    SelectedRows,
    Update,
    Welcome,
    unpack_counts,
)
from hashfed.federated.privacy.context import Context
from hashfed.federated.protocols import SLICES
from hashfed.federated.sum_layout import COUNTS
from hashfed.federated.sum_secrets import SumSecrets
from hashfed.models import Model
from hashfed.models.noise import generator
from hashfed.models.protocol import OUTPUT
from hashfed.randomness import stream
from hashfed.retrieval import (
    Encoder,
    EncoderShape,
    Index,
    NoEncoder,
    Selection,
    build_index,
    make_encoder,
)
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client
from hashfed.tasks.registry import make_task


def draw_examples(
    config: Config, model: Model, client: Client, round: int, size: int, budget: int | None = None
) -> Examples:
    """The client's data of one round; ``budget``: rows that it may hold, None: those of the configuration."""
    rng = stream(config.seed, "sample", round, client.name)
    budget = device_budget(config, size) if budget is None else budget
    return client_side.sample_examples(model, client.examples, config.client, budget, rng)


def drawn_predictions(config: Config, model: Model, client: Client, round: int, size: int) -> int:
    """Predictions among the client's data of one round; nothing is drawn where all of them are taken."""
    examples, settings = client.examples, config.client
    if len(examples) <= settings.examples and settings.own_rows == "keep":
        return examples.weight
    return draw_examples(config, model, client, round, size).weight


@dataclass
class ClientRound:
    """A client in one round (paper, section 3.2, steps 2, 3 and 5): what ``federated.protocols`` asks it for.

    It may be made anew for each step, in another process: the same numbers come out.

    Attributes:
        config: of the run.
        model: its functions.
        client: its name and data.
        round: the round's number.
        sizes: numbers of rows by table.
        residual: what compression lost of the client's last update before this round; only used with
            ``compression.error_feedback``, and left as it was.
        index: that of a broadcast's rows and counts, where it is known already, or once it is built.
        source: where slices are fetched.
        secrets: of a sum under masks, so far.
        report: what the steps done so far cost.
        lost: what compression lost of this round's update, with error feedback.

    """

    config: Config
    model: Model
    client: Client
    round: int
    sizes: Mapping[str, int]
    residual: Residual | None = None
    index: Index | None = None
    source: CachedSource | None = None
    secrets: SumSecrets = field(default_factory=SumSecrets)
    report: ClientReport = field(init=False)
    lost: Residual | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.report = ClientReport(self.client.name)

    @property
    def size(self) -> int:
        """N."""
        return self.sizes[OUTPUT]

    @cached_property
    def budget(self) -> int:
        """Rows that this device may hold, as far as that is known before its data are drawn."""
        return device_budget(self.config, self.size)

    @cached_property
    def examples(self) -> Examples:
        """The data of this round."""
        return draw_examples(self.config, self.model, self.client, self.round, self.size, self.budget)

    @cached_property
    def own(self) -> np.ndarray:
        """(o,) int64 ids of the rows of the output table that the data needs."""
        return client_side.own_rows(self.model, self.examples)

    @cached_property
    def declared(self) -> Declare:
        """Step 2: the rows that the data needs; none of the output table where all of them come anyway."""
        if sends_everything(self.config):
            touched = client_side.touched_rows(self.model, self.examples)
            return Declare(self.round, np.empty(0, np.int32), self.size, touched)
        declared = client_side.declare(self.model, self.examples, self.round, self.budget, self.own)
        budget = min(declared.budget, device_budget(self.config, self.size, len(declared.own)))
        return replace(declared, budget=budget)

    @property
    def agreed_budget(self) -> int:
        """Rows that this device may hold, and the server sends: it knows no more than was declared."""
        return agreed_budget(self.config, self.declared, self.size)

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        return ModelShape.of(self.model, self.sizes)

    @property
    def encoder_shape(self) -> EncoderShape:
        """Of the run's encoder."""
        return self.manifest_shape.encoder

    @property
    def most_planes(self) -> int:
        """Of the tail, that the server sends."""
        return self.config.selection.planes if sends_planes(self.config) else 0

    @cached_property
    def manifest_shape(self) -> ManifestShape:
        """What every manifest of this run must be."""
        config = self.config
        retrieval = None if sends_everything(config) else config.retrieval
        return ManifestShape(
            self.shape,
            retrieval,
            config.seed,
            sends_counts(config),
        )

    def hash(self, welcome: Welcome) -> ClientKeys:
        """Step 3: keys of the data's queries.

        Raises:
            HashfedError: where a query is not finite, or the encoder is unknown.

        """
        with self.report.timed("hash"):
            return client_side.hash_queries(
                self.model, expand(welcome), self.declared, self.examples, sketcher(self.config)
            )

    def select_broadcast(self, message: Broadcast) -> tuple[Welcome, SelectedRows]:
        """Steps 2 to 4 on the device, which received all rows: what the server would have answered.

        Raises:
            HashfedError: where the message is not of this model, or its rows or counts are not finite.

        """
        config, width = self.config, self.model.dimension
        if message.rows.shape != (self.size, width):
            shape = tuple(message.rows.shape)
            raise HashfedError(f"broadcast rows of shape {shape}: must be ({self.size}, {width})")
        with self.report.timed("retrieve"):
            if self.index is None:
                self.index = _broadcast_index(config, message)
            there = ServerRound.of(config, message.parameters, self.index, self.round)
            welcome = there.welcome(self.declared)
        keys = self.hash(welcome) if asks_for_keys(self.config) else None
        with self.report.timed("retrieve"):
            return welcome, there.select(self.client.name, self.declared, keys)[0]

    def _slices(self) -> CachedSource:
        if self.source is None:
            raise ValueError("this step fetches slices: give ClientRound their source")
        return self.source

    def fetch_manifest(self, wanted: slices.Wanted) -> Manifest:
        """What slices the round has; slices of other rounds that the source kept are forgotten.

        Args:
            wanted: address and size of the manifest (``ServerRound.publish``).

        Raises:
            HashfedError: where it is longer than one of this model can be, cannot be fetched, or is none.

        """
        most = self.manifest_shape.most_bytes
        if not 1 <= wanted.size <= most:
            raise HashfedError(f"manifest of {wanted.size} bytes: must be from 1 to {most} for this model")
        source = self._slices()
        encoded = source.get(wanted)
        manifest = wire.decode(encoded)
        if not isinstance(manifest, Manifest):
            raise HashfedError(f"slice {wanted.address}: must be a manifest, not a message {manifest.kind}")
        source.keep(slices.addresses_in(manifest))
        self.report.bytes[manifest.kind] = len(encoded)
        return manifest

    def select_published(self, manifest: Manifest) -> tuple[Welcome, SelectedRows]:
        """Steps 2 to 4 on the device, which fetches slices of rows and buckets and names itself to nobody.

        What the source has kept is not fetched again.

        Raises:
            HashfedError: where the manifest is not of this round, model and index, or a slice is missing or
                was changed.

        """
        config, size, source = self.config, self.size, self._slices()
        before = source.fetched
        self.manifest_shape.check(manifest, self.round)
        device = next((value.device for value in manifest.body.values()), None)

        def fetch(addresses: np.ndarray, width: int, ids: np.ndarray) -> torch.Tensor:
            wanted = slices.wanted_rows(addresses, width, ids)
            return slices.read_rows(width, source.fetch(wanted)).to(device)

        def take(ids: np.ndarray | None) -> torch.Tensor:
            return fetch(manifest.row_addresses, manifest.width, np.arange(size) if ids is None else ids)

        welcome = Welcome(
            self.round,
            manifest.body,
            take(self.declared.own),
            manifest.encoder,
            manifest.encoder_numbers,
            manifest.encoder_arrays,
            {
                name: fetch(manifest.input_addresses[name], self.model.tables[name], touched)
                for name, touched in self.declared.inputs.items()
            },
        )
        keys = self.hash(welcome) if asks_for_keys(self.config) else None
        with self.report.timed("retrieve"):
            if sends_everything(config):
                selection = Selection.all(size)
            else:
                sent = {} if keys is None else keys.keys
                buckets = source.fetch(slices.wanted_buckets(manifest, sent))
                candidates = slices.find_candidates(config.retrieval, manifest, sent, buckets)
                rng = selection_stream(config, self.round, self.client.name)
                selection = server_side.cut_to_budget(
                    candidates, self.declared, size, manifest.width, config.selection, rng
                )
            selected = server_side.pack_rows(
                take, size, selection, self.declared.own, self.agreed_budget, self.round
            )
        self.report.bytes[SLICES] = source.fetched - before
        return welcome, selected

    def train(self, welcome: Welcome, selected: SelectedRows) -> Update:
        """Step 5: drop rows where more came than fit, train on the others, and compress what changed.

        Messages and rows that the caller holds no longer are freed before the training begins.

        Args:
            welcome: as the server sent it.
            selected: likewise.

        Returns:
            The update as it is sent; ``lost`` is what its compression lost, with error feedback.

        """
        examples, report = self.examples, self.report
        encoder = make_encoder(welcome.encoder, welcome.encoder_numbers | welcome.encoder_arrays)
        with report.timed("train"):
            local = client_side.join_rows(expand(welcome), self.declared, expand(selected))
            del welcome, selected
            received = len(local.rows)
            local = client_side.drop_rows(self.model, local, self.declared.own, examples, self.agreed_budget)
            update, bounded = client_side.train(
                self.model,
                local,
                examples,
                self.config.client,
                make_task(self.config.data).loss.gradients,
                self.round,
                self.order,
                self.noise,
            )
            update = self.compress(update)
        self.tell(
            encoder,
            received,
            len(local.rows),
            0 if local.planes is None else len(local.planes.offsets),
            None if local.planes is None else bounded,
        )
        return update

    @cached_property
    def common_plan(self) -> CommonPlan:
        """What is known of the cohort's sum beforehand."""
        return common_plan(self.config, self.shape)

    @property
    def sum_context(self) -> Context:
        """What that sum is for."""
        return sum_context(self.config, self.round, self.common_plan)

    def contribute(self, message: Common) -> np.ndarray:
        """What the client adds to the cohort's sum, (length,) int32: all that anybody learns of its round.

        A client whose training diverges adds nothing but that it did: that it failed would tell of its data.
        """
        config, plan, examples = self.config, self.common_plan, self.examples
        rng = stream(config.seed, "round", self.round, self.client.name)
        with self.report.timed("train"), suppress(ClientDivergedError):
            found = contribution.contribute(
                self.model,
                message,
                examples,
                plan.layout,
                config.client,
                make_task(config.data).loss.gradients,
                self.order,
                self.noise,
                config.server.weighting == "uniform",
                config.server.clip,
            )
            held, planes = len(found.held.rows), found.held.planes
            count = 0 if planes is None else len(planes.offsets)
            bounded = None if planes is None else found.counts["bounded"]
            self.tell(NoEncoder(), held, held, count, bounded, plan.planes)
            counts = found.counts | {
                "megaflops": round(self.report.flops / 10**6),
                "parameters": self.report.parameters,
            }
            return plan.layout.write(found.values, counts, message.ranges, rng)
        nothing = {name: torch.zeros(shape) for name, shape in plan.layout.shapes.items()}
        counts = dict.fromkeys(COUNTS, 0) | {"diverged": 1}
        return plan.layout.write(nothing, counts, message.ranges, rng)

    @property
    def order(self) -> np.random.Generator:
        """Of the examples in training."""
        return stream(self.config.seed, "train", self.round, self.client.name)

    @property
    def noise(self) -> torch.Generator:
        """Of a model with dropout."""
        return generator(stream(self.config.seed, "dropout", self.round, self.client.name))

    def compress(self, update: Update) -> Update:
        """An update as it is sent; with error feedback its arrays are used up: ``lost`` is what that lost."""
        compression = self.config.compression
        if not compression.error_feedback:
            return compress_update(update, compression.updates)
        sent, self.lost = compress_with_feedback(update, compression.updates, self.residual)
        return sent

    def tell(
        self,
        encoder: Encoder,
        received: int,
        trained: int,
        planes: int,
        bounded: int | None,
        points: int = 0,
    ) -> None:
        """Note in the report what the training cost.

        Args:
            encoder: of the index.
            received: output rows on the device before any were dropped.
            trained: output rows that were trained on.
            planes: of the tail, that it was sent.
            bounded: predictions at which the partition function was bounded; None without planes.
            points: of the cohort, to which its queries are added.

        """
        examples, report = self.examples, self.report
        hashed = asks_for_keys(self.config)
        flops = round_flops(
            self.model,
            encoder if hashed else None,
            self.config.client.epochs,
            examples.weight,
            examples.shape,
            received,
            trained,
            planes,
            sketcher(self.config) if hashed else None,
            points,
        )
        report.own = self.own
        report.own_rows = len(report.own)
        report.rows = trained
        report.predictions = examples.weight
        report.bounded = bounded
        report.parameters = self._held_parameters(received)
        report.flops = sum(flops.values())

    def _held_parameters(self, received: int) -> int:
        """Numbers on the device; all rows where they are broadcast."""
        if self.config.selection.delivery == "broadcast":
            return self.shape.parameters
        widths = self.model.tables
        inputs = sum(len(ids) * widths[name] for name, ids in self.declared.inputs.items())
        return received * widths[OUTPUT] + inputs + self.shape.body_parameters


def _broadcast_index(config: Config, message: Broadcast) -> Index | None:
    """The server's index, built on the device of a broadcast; None where all rows are selected."""
    if sends_everything(config):
        return None
    # Methods that use no counts get none, and are built of any.
    prior = np.zeros(len(message.rows)) if message.prior is None else unpack_counts(message.prior)
    return build_index(message.rows.cpu(), config.retrieval, prior, config.seed)
