"""What clients say about their work, beside their messages; ``replies`` reads it."""

from hashfed.engines.client_round import ClientReport
from hashfed.federated.protocols import SLICES, Step


def step_report(step: Step, report: ClientReport) -> dict[str, float]:
    """What a client says about a step before the last; floats, whose size does not depend on their value."""
    return {seconds_field(step.name): report.seconds.get(step.name, 0.0)}


def seconds_field(step: str) -> str:
    """In a client's report: the seconds of a step."""
    return f"{step}_seconds"


def train_report(report: ClientReport) -> dict[str, float]:
    """What a client says about its training."""
    slices = {SLICES: float(report.bytes[SLICES])} if SLICES in report.bytes else {}
    bounded = {} if report.bounded is None else {"bounded": float(report.bounded)}
    return (
        {
            "own": float(report.own_rows),
            "rows": float(report.rows),
            "parameters": float(report.parameters),
            "predictions": float(report.predictions),
            "flops": float(report.flops),
            "train_seconds": report.seconds.get("train", 0.0),
        }
        | slices
        | bounded
    )
