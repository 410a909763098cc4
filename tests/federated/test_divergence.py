import math
from dataclasses import replace

import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.federated.divergence import (
    LARGEST_PARAMETER,
    DivergedError,
    check_metrics,
    check_parameters,
    diverged,
)
from hashfed.federated.messages import LARGEST_LOSS, Update
from hashfed.federated.settings import ClientSettings, ServerSettings

BAD = [math.nan, math.inf, -math.inf, 1.001 * LARGEST_PARAMETER, -1.001 * LARGEST_PARAMETER]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("at", [0, 3 * 4 * 5 - 1])
def test_a_single_bad_parameter_is_found_and_named(value: float, at: int) -> None:
    tensor = torch.full((3, 4, 5), LARGEST_PARAMETER)
    check_parameters({"rows": tensor, "body.empty": torch.empty(0)})
    tensor.view(-1)[at] = value
    said = "not finite" if not math.isfinite(value) else r"-?10010, not within ±10000"
    with pytest.raises(DivergedError, match=f"a parameter of body.x is {said}"):
        check_parameters({"rows": torch.zeros(2, 2), "body.x": tensor})


def test_large_tables_are_looked_at_to_their_end() -> None:
    table = torch.zeros(1 << 20, 3)
    table[-1, -1] = math.nan
    with pytest.raises(DivergedError, match="rows is not finite"):
        check_parameters({"rows": table})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_metrics_that_are_no_numbers_are_named(value: float) -> None:
    check_metrics({"accuracy": 0.0, "nll": 1e30})
    with pytest.raises(DivergedError, match=rf"nll on the held-out clients is {value:g}"):
        check_metrics({"accuracy": 0.0, "nll": value})


def test_the_line_names_round_finding_and_settings() -> None:
    found = DivergedError("a parameter of rows is not finite")
    server = ServerSettings(learning_rate=1e30, epsilon=1e-7)
    line = str(diverged(3, found, ClientSettings(learning_rate=0.5), server))
    assert line == (
        "round 3: a parameter of rows is not finite: the training diverged; lower server.learning_rate "
        "(1e+30) or client.learning_rate (0.5), or raise server.epsilon (1e-07)"
    )
    plain = str(diverged(3, found, ClientSettings(), ServerSettings(optimizer="fedavg")))
    assert "epsilon" not in plain


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1.1 * LARGEST_LOSS])
def test_a_loss_of_a_useless_model_is_refused(loss: float) -> None:
    update = Update(1, 1, 2.0, {}, None, torch.zeros(1, 1))
    update.check_loss()
    with pytest.raises(HashfedError, match=r"loss = .*: must be finite, within"):
        replace(update, loss=loss).check_loss()
