"""Next words of a trained run."""

from collections.abc import Sequence

import torch

from hashfed.data.tokenizer import TOKENIZERS
from hashfed.engines.budget import build_model
from hashfed.errors import HashfedError
from hashfed.models.protocol import as_named
from hashfed.runs.folder import RunFolder
from hashfed.tasks.next_word.sentences import encode_sentences
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary


class NextWord:
    """The model of a run, read once.

    Attributes:
        path: the run's folder.
        tokenizer: from a text to its words, as the run read its texts.
        vocabulary: its words.

    """

    def __init__(self, run: RunFolder) -> None:
        """Read the last checkpoint.

        Raises:
            HashfedError: where the folder is no run with a checkpoint, or a file of it is damaged.

        """
        config, data = run.config(), word_settings(run)
        self.path = run.path
        self.tokenizer = TOKENIZERS[data.tokenizer]
        self.vocabulary: Vocabulary = run.names()
        self._length = data.sentence_length
        self._model = build_model(config)
        self._parameters = run.parameters()

    def context(self, words: Sequence[str]) -> Sequence[str]:
        """The words that a prediction after ``words`` uses: the last that fit in a sentence."""
        return words[-(self._length - 1) :] if self._length > 1 else []

    def probabilities(self, words: Sequence[str]) -> torch.Tensor:
        """Of each word of the vocabulary to be the next after ``words``, (V,) float32.

        Under the softmax over all rows: special symbols (end of sentence, out of vocabulary) are left out,
        but keep their share.

        Raises:
            HashfedError: where the model gives no probabilities.

        """
        words = self.context(words)
        sentence = encode_sentences([words], self.vocabulary, self._length)
        model, parameters = self._model, self._parameters
        everything = as_named(model, dict.fromkeys(parameters.tables))
        batch = sentence.bind(everything, torch.device("cpu")).batch(torch.arange(1))
        with torch.no_grad():
            query = model.queries(parameters.body, as_named(model, parameters.tables), batch)[-1]
            probabilities = torch.softmax(parameters.rows @ query, dim=0)
        if not bool(torch.isfinite(probabilities).all()):
            raise HashfedError(f"{self.path}: its model gives no finite numbers; the training has diverged")
        return probabilities[len(SPECIAL) :]

    def likeliest(self, probabilities: torch.Tensor, count: int) -> list[tuple[str, float]]:
        """The ``count`` words of the greatest ``probabilities`` (V,), the likeliest first."""
        values, ranks = probabilities.topk(count)
        pairs = zip(ranks.tolist(), values.tolist(), strict=True)
        return [(self.vocabulary.words[rank], value) for rank, value in pairs]


def word_settings(run: RunFolder) -> NextWordSettings:
    """Of the data of a run that predicts words.

    Raises:
        HashfedError: where the folder is no run, or one of another task.

    """
    data = run.config().data
    try:
        return NextWordSettings.of(data)
    except HashfedError as error:
        raise HashfedError(f"{run.path}: {error}") from None


def predict_words(run: RunFolder, text: str, count: int) -> list[tuple[str, float]]:
    """The ``count`` likeliest words after ``text``, with probabilities under the softmax over all rows.

    Special symbols (end of sentence, out of vocabulary) are not listed, but keep their share of the
    probability. Only the last words that fit in a sentence are used.

    Raises:
        HashfedError: where the folder is no run with a checkpoint, or ``count`` is out of range.

    """
    word_settings(run)  # first: it says of a folder that it is no such run
    words = len(run.names().words)
    if not 1 <= count <= words:
        raise HashfedError(f"--top = {count}: must be from 1 to {words}")
    model = NextWord(run)
    return model.likeliest(model.probabilities(model.tokenizer(text)), count)
