"""What clients say about their work, beside their messages; ``replies`` reads it."""

from hashfed.engines.client_round import ClientReport


def hash_report(report: ClientReport) -> dict[str, float]:
    """What a client says about its hashing; floats, whose size does not depend on their value."""
    return {"hash_seconds": report.seconds.get("hash", 0.0)}


def train_report(report: ClientReport) -> dict[str, float]:
    """What a client says about its training."""
    slices = {"slices": float(report.bytes["slices"])} if "slices" in report.bytes else {}
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
