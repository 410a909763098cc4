"""Engines run the federated core: the in-process simulator, its workers and its checkpoints."""

from hashfed.engines.exchange import build_model
from hashfed.engines.simulator import Interrupted, RoundRecord, Simulation

__all__ = ["Interrupted", "RoundRecord", "Simulation", "build_model"]
