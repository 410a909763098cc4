"""All costs of one client and round."""

from dataclasses import dataclass
from typing import Any

from hashfed.cost.case import Case
from hashfed.cost.memory import Phases, peak_phase, predict_memory
from hashfed.cost.slices import fetched_slices
from hashfed.cost.traffic import message_bytes
from hashfed.cost.workload import Workload
from hashfed.engines.budget import sketcher
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
        rows_held: rows on the device before any are dropped; all where they are broadcast. Where the server
            learns sums alone, those that the client takes of the message that has all of them.
        row_parameters: their numbers.
        input_parameters: numbers of the rows of input tables; of whole tables where they are broadcast.
        bytes: by message.
        requests: slices fetched one by one, the manifest among them; 0 where none are.
        planes: K, of the tail.
        flops: of hashing, dropping rows and training.
        server_flops: of the server for this client (``engines.flops``); None where nobody can say. Of what it
            does once for a cohort, a client's share.
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


def estimate(case: Case) -> ClientCost:
    """The cost of a round."""
    config, sizes, work, hashing = case.config, case.sizes, case.workload, case.hashing
    delivery = config.selection.delivery
    held = case.size if delivery == "broadcast" else case.received
    whole = {name: size for name, (size, _) in sizes.inputs.items()}
    messages = message_bytes(case)
    scored = 0 if case.everything or delivery != "on-demand" else hashing.scored
    requests = 1 + fetched_slices(case.buckets, *case.rows_held)[0]
    return ClientCost(
        workload=work,
        total_rows=case.size,
        rows=case.trained,
        rows_held=held,
        body_parameters=sizes.body_parameters,
        row_parameters=held * sizes.dimension,
        input_parameters=sizes.input_parameters(whole if delivery == "broadcast" else work.touched),
        bytes=messages,
        requests=requests if delivery == "pre-generated" else 0,
        flops=round_flops(
            sizes.model,
            hashing.encoder if hashing.asked else None,
            config.client.epochs,
            work.predictions,
            (work.examples, work.length),
            case.received,
            case.trained,
            case.planes,
            sketcher(config),
            0 if case.plan is None else case.plan.planes,
        ),
        server_flops=server_flops(
            case.size,
            sizes.dimension,
            scored,
            case.planes,
            case.drawn,
            config.server.clip is not None,
            1 if case.plan is None else case.plan.cohort,
        ),
        planes=case.planes,
        phases=predict_memory(case, messages),
    )
