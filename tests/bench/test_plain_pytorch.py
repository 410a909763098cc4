from pathlib import Path

import pytest

from hashfed.bench.plain_pytorch import PLAIN_LOSSES, train_plainly
from hashfed.engines.budget import build_model
from hashfed.federated import client as client_side
from hashfed.models.losses import LOSSES
from hashfed.randomness import stream
from hashfed.tasks.registry import make_task
from small_labels import labels_config, write_data


def test_there_is_one_of_each_loss() -> None:
    assert set(PLAIN_LOSSES) == set(LOSSES)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_sets_of_labels_have_the_losses_of_a_client(loss: str, tmp_path: Path) -> None:
    config = labels_config(write_data(tmp_path), data={"loss": loss}, client={"epochs": 2})
    task, model = make_task(config.data), build_model(config)
    data = task.load("test")
    parameters = model.init(data.sizes, stream(0, "init"))
    examples = data.train[0].examples
    inputs = client_side.touched_rows(model, examples)
    held = {name: parameters.tables[name][ids.astype("int64")] for name, ids in inputs.items()}
    named = {name: ids.astype("int64") for name, ids in inputs.items()}
    local = client_side.LocalModel(None, parameters.rows, None, parameters.body, None, named, held)
    update, _ = client_side.train(
        model, local, examples, config.client, task.loss.gradients, 1, stream(0, "train")
    )
    plain = train_plainly(model, parameters, examples, config.client, stream(0, "train"), task.loss)
    assert plain == pytest.approx(update.loss, rel=1e-5)
