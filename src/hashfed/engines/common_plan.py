"""What a configuration says of a round in which the server learns sums alone; both sides ask this."""

import hashlib
import json

import numpy as np
import torch

from hashfed.config import Config, identity
from hashfed.engines.budget import agreed_budget, sends_everything, sends_planes
from hashfed.federated.checks import ModelShape
from hashfed.federated.common_plan import CommonPlan
from hashfed.federated.common_state import CommonState
from hashfed.federated.messages import Declare
from hashfed.federated.privacy.context import Context
from hashfed.federated.sum_layout import SumLayout
from hashfed.randomness import stream
from hashfed.tasks.registry import make_task

SUM_LABEL = "updates"
"""Of the sum of a round, in what its masks are bound to and in the ledger."""


def common_plan(config: Config, shape: ModelShape) -> CommonPlan:
    """Of a model of this shape."""
    size, rows = shape.size, shape.size
    if not sends_everything(config):
        rows = agreed_budget(config, nobody(0, size), size)
    planes = min(config.selection.planes, size) if sends_planes(config) and rows < size else 0
    summed = size if config.secure.rows == "all" else rows
    predictions = make_task(config.data).most_predictions(config.client.examples)
    return CommonPlan(
        rows,
        planes,
        SumLayout.of(shape, summed, planes, config.secure.bits),
        predictions,
        1.0 if config.server.weighting == "uniform" else float(predictions),
        config.cohort,
        config.server.clip,
    )


def nobody(round: int, size: int) -> Declare:
    """A declaration of no rows: the selection for it is everybody's."""
    return Declare(round, np.empty(0, np.int32), size)


def sum_context(config: Config, round: int, plan: CommonPlan) -> Context:
    """What the masks of a round's sum are bound to, besides its roster."""
    run = hashlib.sha256(identity(config).encode()).digest()
    shapes = json.dumps([plan.rows, list(plan.layout.shapes.items())])
    return Context(run, round, SUM_LABEL, hashlib.sha256(shapes.encode()).digest())


def fresh_known(config: Config, shape: ModelShape, rows: torch.Tensor) -> CommonState | None:
    """What is known before the first sum of a model with these output rows; None where there are none."""
    if config.selection.delivery != "secure":
        return None
    plan, rng = common_plan(config, shape), stream(config.seed, "points")
    return CommonState.fresh(
        plan.layout, rows, plan.planes, config.secure.range, plan.predictions, plan.weight, plan.caps, rng
    )
