"""Next words of a trained run."""

from collections.abc import Sequence

import torch

from hashfed.data.tokenizer import TOKENIZERS
from hashfed.errors import HashfedError
from hashfed.runs.folder import RunFolder
from hashfed.runs.predict import Predictor
from hashfed.tasks.next_word.sentences import encode_sentences
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary


class NextWord:
    """The model of a run, read once.

    Attributes:
        tokenizer: from a text to its words, as the run read its texts.
        vocabulary: its words.

    """

    def __init__(self, run: RunFolder) -> None:
        """Read the last checkpoint.

        Raises:
            HashfedError: where the folder is no run with a checkpoint, or a file of it is damaged.

        """
        data = word_settings(run)
        self.tokenizer = TOKENIZERS[data.tokenizer]
        self.vocabulary: Vocabulary = run.names()
        self._length = data.sentence_length
        self._predictor = Predictor(run)

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
        sentence = encode_sentences([self.context(words)], self.vocabulary, self._length)
        return self._predictor.probabilities(sentence)[len(SPECIAL) :]

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
