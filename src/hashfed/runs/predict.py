"""What a trained run predicts, as its task reads the question."""

from collections.abc import Sequence

import numpy as np
import torch

from hashfed.engines.budget import build_model
from hashfed.errors import HashfedError
from hashfed.models.protocol import OUTPUT, as_named
from hashfed.runs.folder import RunFolder
from hashfed.tasks.registry import make_task


def likeliest(
    run: RunFolder, words: Sequence[str], count: int
) -> tuple[list[tuple[str, float]], tuple[str, ...]]:
    """The ``count`` likeliest answers with their probabilities, and what of the words was not understood.

    The probabilities are those of the task's loss over all rows.

    Raises:
        HashfedError: where the folder is no run with a checkpoint, the task makes no sense of the words,
            ``count`` is out of range, or the model gives no probabilities.

    """
    config = run.config()
    model, task = build_model(config), make_task(config.data)
    names = run.names()
    prompt = task.prompt(words, names)
    answers = np.setdiff1d(np.arange(names.sizes[OUTPUT]), prompt.excluded)
    if not 1 <= count <= len(answers):
        raise HashfedError(f"--top = {count}: must be from 1 to {len(answers)}")
    parameters = run.parameters()
    everything = as_named(model, dict.fromkeys(parameters.tables))
    batch = prompt.examples.bind(everything, torch.device("cpu")).batch(torch.arange(1))
    with torch.no_grad():
        query = model.queries(parameters.body, as_named(model, parameters.tables), batch)[-1]
        probabilities = task.loss.probabilities(parameters.rows @ query)
    if not bool(torch.isfinite(probabilities).all()):
        raise HashfedError(f"{run.path}: its model gives no finite numbers; the training has diverged")
    values, places = probabilities[torch.from_numpy(answers)].topk(count)
    found = [
        (prompt.text(int(answers[place])), value)
        for place, value in zip(places.tolist(), values.tolist(), strict=True)
    ]
    return found, prompt.notes
