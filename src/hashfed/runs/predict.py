"""What a trained run predicts, as its task reads the question."""

from collections.abc import Sequence

import numpy as np
import torch

from hashfed.engines.budget import build_model
from hashfed.errors import HashfedError
from hashfed.models.protocol import OUTPUT, as_named
from hashfed.runs.folder import RunFolder
from hashfed.tasks.examples import Examples
from hashfed.tasks.registry import make_task


class Predictor:
    """The model of a run, read once."""

    def __init__(self, run: RunFolder) -> None:
        """Read the last checkpoint.

        Raises:
            HashfedError: where the folder is no run with a checkpoint, or a file of it is damaged.

        """
        config = run.config()
        self._path, self._loss = run.path, make_task(config.data).loss
        self._model, self._parameters = build_model(config), run.parameters()

    def probabilities(self, examples: Examples) -> torch.Tensor:
        """Of each row to be the answer of one example's last prediction, (n,) float32.

        They are those of the task's loss over all rows.

        Raises:
            HashfedError: where the model gives no probabilities.

        """
        model, parameters = self._model, self._parameters
        everything = as_named(model, dict.fromkeys(parameters.tables))
        batch = examples.bind(everything, torch.device("cpu")).batch(torch.arange(1))
        with torch.no_grad():
            query = model.queries(parameters.body, as_named(model, parameters.tables), model.pack(batch))[-1]
            found = self._loss.probabilities(parameters.rows @ query)
        if not bool(torch.isfinite(found).all()):
            raise HashfedError(f"{self._path}: its model gives no finite numbers; the training has diverged")
        return found


def likeliest(
    run: RunFolder, words: Sequence[str], count: int
) -> tuple[list[tuple[str, float]], tuple[str, ...]]:
    """The ``count`` likeliest answers with their probabilities, and what of the words was not understood.

    Raises:
        HashfedError: as of ``Predictor``; where the task makes no sense of the words, or ``count`` is out of
            range.

    """
    task, names = make_task(run.config().data), run.names()
    prompt = task.prompt(words, names)
    answers = np.setdiff1d(np.arange(names.sizes[OUTPUT]), prompt.excluded)
    if not 1 <= count <= len(answers):
        raise HashfedError(f"--top = {count}: must be from 1 to {len(answers)}")
    probabilities = Predictor(run).probabilities(prompt.examples)
    values, places = probabilities[torch.from_numpy(answers)].topk(count)
    found = [
        (prompt.text(int(answers[place])), value)
        for place, value in zip(places.tolist(), values.tolist(), strict=True)
    ]
    return found, prompt.notes
