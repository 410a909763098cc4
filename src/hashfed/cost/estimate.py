"""All costs of one client and round."""

from dataclasses import dataclass
from typing import Any

from hashfed.config import Config
from hashfed.cost.keys import Hashing
from hashfed.cost.memory import Phases, peak_phase, predict_memory
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.slices import BucketTraffic, fetched_slices, typical_buckets
from hashfed.cost.traffic import message_bytes
from hashfed.cost.variants import held_planes, held_rows
from hashfed.cost.workload import Workload
from hashfed.engines.budget import sends_everything, sketcher
from hashfed.engines.flops import round_flops, server_flops
from hashfed.federated.protocols import moved


@dataclass(frozen=True)
class ClientCost:
    """What one client's round costs.

    Attributes:
        workload: the client's data.
        total_rows: n.
        rows: rows it trains on.
        body_parameters: numbers below the output layer.
        rows_held: rows on the device before any are dropped; all where they are broadcast.
        row_parameters: their numbers.
        input_parameters: numbers of the rows of input tables; of whole tables where they are broadcast.
        bytes: by message.
        requests: slices fetched one by one, the manifest among them; 0 where none are.
        planes: K, of the tail.
        flops: of hashing, dropping rows and training.
        server_flops: of the server for this client (``engines.flops``); None where nobody can say.
        phases: predicted memory by phase and term, bytes above the libraries.

    """

    workload: Workload
    total_rows: int
    rows: int
    rows_held: int
    body_parameters: int
    row_parameters: int
    input_parameters: int
    bytes: dict[str, int]
    requests: int
    planes: int
    flops: dict[str, int]
    server_flops: dict[str, int | None]
    phases: Phases

    @property
    def parameters(self) -> int:
        """Numbers on the device (``ClientReport.parameters``)."""
        return self.body_parameters + self.row_parameters + self.input_parameters

    @property
    def bytes_down(self) -> int:
        """Bytes from the server."""
        return moved(self.bytes, "down")

    @property
    def bytes_up(self) -> int:
        """Bytes to the server."""
        return moved(self.bytes, "up")

    @property
    def traffic(self) -> int:
        """Bytes both ways."""
        return self.bytes_down + self.bytes_up

    @property
    def memory(self) -> int:
        """Predicted peak bytes above the libraries."""
        return sum(self.phases[peak_phase(self.phases)].values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        work = self.workload
        return {
            "client": work.client,
            "examples": work.examples,
            "predictions": work.predictions,
            "own_rows": len(work.own),
            "total_rows": self.total_rows,
            "rows": self.rows,
            "planes": self.planes,
            "parameters": {
                "body": self.body_parameters,
                "rows": self.row_parameters,
                "inputs": self.input_parameters,
                "all": self.parameters,
            },
            "bytes": dict(self.bytes),
            "bytes_down": self.bytes_down,
            "bytes_up": self.bytes_up,
            "requests": self.requests,
            "flops": dict(self.flops),
            "server_flops": dict(self.server_flops),
            "memory_predicted": self.memory,
            "memory_peak_phase": peak_phase(self.phases),
            "memory_phases": {name: dict(terms) for name, terms in self.phases.items()},
        }


def estimate(
    config: Config,
    sizes: ModelSizes,
    size: int,
    workload: Workload,
    hashing: Hashing,
    buckets: BucketTraffic | None = None,
) -> ClientCost:
    """The cost of a round for a client with this workload, encoder and keys, in a model of ``size`` rows.

    Without ``buckets``, the slices that a client fetches are typical ones (``slices.typical_buckets``).
    """
    received, trained = held_rows(config, size, len(workload.own))
    delivery = config.selection.delivery
    held = size if delivery == "broadcast" else received
    buckets = typical_buckets(config.retrieval.bucket_shape, hashing, size) if buckets is None else buckets
    messages = message_bytes(config, sizes, size, workload, hashing, buckets)
    planes = held_planes(config, size, len(workload.own), hashing.planes)
    scored = 0 if sends_everything(config) or delivery != "on-demand" else hashing.scored
    requests = 1 + fetched_slices(buckets, *sizes.rows_held(received, workload.touched))[0]
    return ClientCost(
        workload=workload,
        total_rows=size,
        rows=trained,
        rows_held=held,
        body_parameters=sizes.body_parameters,
        row_parameters=held * sizes.dimension,
        input_parameters=sizes.input_parameters(
            {name: size for name, (size, _) in sizes.inputs.items()}
            if delivery == "broadcast"
            else workload.touched
        ),
        bytes=messages,
        requests=requests if delivery == "pre-generated" else 0,
        flops=round_flops(
            sizes.model,
            hashing.encoder if hashing.asked else None,
            config.client.epochs,
            workload.predictions,
            (workload.examples, workload.length),
            received,
            trained,
            planes,
            sketcher(config),
        ),
        server_flops=server_flops(
            size,
            sizes.dimension,
            scored,
            planes,
            received - len(workload.own),
            config.server.clip is not None,
        ),
        planes=planes,
        phases=predict_memory(config, sizes, size, workload, messages, hashing.asked, planes),
    )
