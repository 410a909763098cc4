"""Next words of a trained run."""

import numpy as np
import torch

from hashfed.data.sentences import encode_sentences
from hashfed.data.tokenizer import TOKENIZERS
from hashfed.data.vocabulary import SPECIAL
from hashfed.engines import build_model
from hashfed.errors import HashfedError
from hashfed.experiments.run_folder import RunFolder


def unknown_words(run: RunFolder, text: str) -> tuple[list[str], int]:
    """The words of ``text`` that the run has no row for, each once, and how many of its words have one.

    Raises:
        HashfedError: where the folder is no run.

    """
    words = TOKENIZERS[run.config().data.tokenizer](text)
    known = run.vocabulary().ids
    return [word for word in dict.fromkeys(words) if word not in known], sum(word in known for word in words)


def predict_words(run: RunFolder, text: str, count: int) -> list[tuple[str, float]]:
    """The ``count`` likeliest words after ``text``, with probabilities under the softmax over all rows.

    Special symbols (end of sentence, out of vocabulary) are not listed, but keep their share of the
    probability. Only the last words that fit in a sentence are used.

    Raises:
        HashfedError: where the folder is no run with a checkpoint, or ``count`` is out of range.

    """
    config = run.config()
    vocabulary = run.vocabulary()
    if not 1 <= count <= len(vocabulary.words):
        raise HashfedError(f"--top = {count}: must be from 1 to {len(vocabulary.words)}")
    model = build_model(config)
    parameters = run.parameters()
    length = config.data.sentence_length
    words = TOKENIZERS[config.data.tokenizer](text)[-(length - 1) :] if length > 1 else []
    inputs = torch.from_numpy(encode_sentences([words], vocabulary, length).inputs.astype(np.int64))
    predicted = torch.arange(length)[None] <= len(words)
    with torch.no_grad():
        query = model.queries(parameters.body, parameters.rows, inputs, predicted)[-1]
        probabilities = torch.softmax(parameters.rows @ query, dim=0)
    values, ranks = probabilities[len(SPECIAL) :].topk(count)
    pairs = zip(ranks.tolist(), values.tolist(), strict=True)
    return [(vocabulary.words[rank], value) for rank, value in pairs]
