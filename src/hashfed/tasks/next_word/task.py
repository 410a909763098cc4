"""The next word, as in the paper: from texts to examples, metrics and floors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from hashfed.data import ClientTexts, merge_clients, read_texts
from hashfed.data.client_texts import Key
from hashfed.data.tokenizer import TOKENIZERS
from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.models import INPUT, OUTPUT
from hashfed.models.losses import LOSSES, OutputLoss
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.metrics import Metrics
from hashfed.tasks.next_word.clients import build_federated_text, encode_client
from hashfed.tasks.next_word.floors import measure_floors
from hashfed.tasks.next_word.metrics import NextWordMetrics
from hashfed.tasks.next_word.prepared.build import prepare
from hashfed.tasks.next_word.prepared.cache import cached, in_folder, needs_preparation
from hashfed.tasks.next_word.prepared.load import PreparedClient, load_prepared, read_prepared
from hashfed.tasks.next_word.prepared.manifest import Manifest, is_prepared
from hashfed.tasks.next_word.prepared.pieces import SourcePieces
from hashfed.tasks.next_word.presentation import PRESENTATION
from hashfed.tasks.next_word.sentences import encode_sentences, most_own_rows, most_predictions
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.next_word.vocabulary import OOV, SPECIAL, Vocabulary
from hashfed.tasks.next_word.word_counts import read_word_counts
from hashfed.tasks.presentation import Presentation
from hashfed.tasks.prompt import Prompt
from hashfed.tasks.reading import Tell, tell_nobody
from hashfed.tasks.sequences import Sequences
from hashfed.tasks.settings import TaskSettings


@dataclass(frozen=True)
class NextWord:
    """See ``tasks.protocol.Task``."""

    settings: TextSettings
    metrics: ClassVar[Metrics] = NextWordMetrics()
    presentation: ClassVar[Presentation] = PRESENTATION
    loss: ClassVar[OutputLoss] = LOSSES["softmax"]

    def load(
        self, held_out: Literal["validation", "test"], tell: Tell = tell_nobody
    ) -> FederatedData[Vocabulary]:
        """The clients that the settings name."""
        data = self.settings
        if is_prepared(data.source):
            return load_prepared(data, held_out)
        vocabulary = self.given_vocabulary()
        part = data.part(vocabulary is None, held_out)
        if needs_preparation(data, part):
            folder = cached(SourcePieces(data), data, vocabulary, tell)
            return load_prepared(in_folder(data, folder), held_out)
        texts = read_texts(data.source, "data.source", part, data.format, data.columns)
        return build_federated_text(texts, data, held_out, vocabulary)

    def prepare(self, folder: Path, tell: Tell = tell_nobody) -> Manifest:
        """Make a folder of what ``load`` gives, for sources of any size.

        Raises:
            HashfedError: as ``load``, and where the folder is there or cannot be written.

        """
        data = self.settings
        if is_prepared(data.source):
            raise HashfedError(f"data.source = {shown(data.source)}: is a prepared folder already")
        return prepare(SourcePieces(data), data, folder, self.given_vocabulary(), tell)

    def given_vocabulary(self) -> Vocabulary | None:
        """That of the settings, if they name one."""
        data = self.settings
        return None if data.word_counts is None else read_word_counts(Path(data.word_counts), data.vocabulary)

    def read_names(self, text: str) -> Vocabulary:
        """See ``Task``."""
        return Vocabulary.from_json(text)

    def read(
        self,
        source: str,
        setting: str,
        held_out: Literal["validation", "test"] | None,
        client: str | None = None,
    ) -> Sequence[ClientTexts | PreparedClient]:
        """See ``Task``."""
        if is_prepared(source):
            return read_prepared(source, setting, self.settings, held_out, client)
        data = self.settings
        part = data.part(False, held_out)
        if source == data.source:
            found = read_texts(source, setting, part, data.format, data.columns)
        else:  # a node's own, of which the run's settings say nothing
            found = read_texts(source, setting, part)
        if client is None:
            return found
        return merge_clients(ClientTexts(client, item.texts, item.group) for item in found)

    def encode(
        self, clients: Sequence[ClientTexts | PreparedClient], names: Vocabulary, where: str
    ) -> list[tuple[Key, Client | None]]:
        """See ``Task``; texts of one client are joined."""
        merged = merge_clients((one for one in clients if isinstance(one, ClientTexts)), where)
        prepared = [one for one in clients if isinstance(one, PreparedClient)]
        return [
            *((client.key, encode_client(client, names, self.settings)) for client in merged),
            *((client.key, client.known(names)) for client in prepared),
        ]

    def measure_floors(self, data: FederatedData[Vocabulary]) -> dict[str, Any]:
        """Unigram and bigram counts."""
        return measure_floors(data).to_dict()

    def facts(self, data: FederatedData[Vocabulary]) -> dict[str, float]:
        """None."""
        return {}

    def prompt(self, words: Sequence[str], names: Vocabulary) -> Prompt:
        """The words so far; only the last that fit in a sentence are used, and no special symbol answers."""
        text, length = " ".join(words), self.settings.sentence_length
        found = TOKENIZERS[self.settings.tokenizer](text)
        context = found[-(length - 1) :] if length > 1 else []
        return Prompt(
            encode_sentences([context], names, length),
            names.word,
            np.arange(len(SPECIAL)),
            _notes(text, found, names),
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Words and special symbols, that are read and found."""
        return dict.fromkeys((OUTPUT, INPUT), len(SPECIAL) + self.settings.vocabulary)

    def within(self, examples: Examples, size: int) -> Examples:
        """With fewer words: those beyond are out of vocabulary."""
        cut = {name: np.where(ids < size, ids, OOV) for name, ids in examples.columns().items()}
        return self.from_columns(cut)

    def from_columns(self, columns: Mapping[str, np.ndarray]) -> Examples:
        """See ``Task``."""
        return Sequences(columns["inputs"], columns["targets"])

    def imagine(self, examples: int, length: int, predictions: int) -> Examples:
        """See ``Task``."""
        return Sequences.imagine(examples, length, predictions)

    def most_predictions(self, examples: int | None) -> int:
        """Of a client with so many examples, or with all that it may have."""
        data = self.settings
        count = data.tokens_per_client if examples is None else examples
        return most_predictions(count, data.sentence_length, data.tokens_per_client)

    def most_own(self, examples: int, *tables: str) -> int:
        """See ``Task``; what is read and what is found are about the same words."""
        data = self.settings
        most = most_own_rows(examples, data.sentence_length, data.tokens_per_client)
        return min(most, data.vocabulary + len(SPECIAL) - 1)  # nobody needs the row of the padding


def _notes(text: str, words: Sequence[str], names: Vocabulary) -> tuple[str, ...]:
    """What is unknown of a text's words."""
    if not words:
        return (f"no word in {shown(text)}; this is how sentences begin",)
    unknown = [word for word in dict.fromkeys(words) if word not in names.ids]
    if not unknown:
        return ()
    which = "every word is" if all(word in unknown for word in words) else "some words are"
    return (f"{which} unknown to this run, which reads all such as the same: {', '.join(unknown)}",)


class NextWordSettings(TextSettings):
    """The next word of texts, as in the paper."""

    task: Literal["next-word"] = "next-word"

    @classmethod
    def of(cls, settings: TaskSettings) -> "NextWordSettings":
        """The settings of some task, for what works with words alone.

        Raises:
            HashfedError: where they are of another one.

        """
        if not isinstance(settings, cls):
            raise HashfedError(f"data.task = {settings.task}: must be next-word")
        return settings

    def build(self) -> NextWord:
        """See ``NextWord``."""
        return NextWord(self)
