"""The configuration of a run: one typed tree, read from YAML, changed by dotted names, saved with the run."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from hashfed.errors import HashfedError
from hashfed.federated.settings import ClientSettings, CompressionSettings, ServerSettings
from hashfed.retrieval import RetrievalSettings, SelectionSettings
from hashfed.retrieval.delivery import delivery_problem
from hashfed.settings import Settings


class DataSettings(Settings):
    """The federated text."""

    source: str = "chitchat"
    """chitchat, or the path of a JSON Lines file (.jsonl, .jsonl.gz) or a folder of texts."""
    vocabulary: int = Field(10_000, ge=1)
    """V, number of words; the model has V + 4 rows."""
    sentence_length: int = Field(20, ge=1, le=1024)
    """Words per sentence."""
    tokens_per_client: int = Field(5000, ge=1)
    """At most this many words of one client."""
    long_texts: Literal["truncate", "split"] = "truncate"
    """Texts longer than a sentence: keep the beginning (as Stack Overflow), or cut them into sentences."""


class ModelSettings(Settings):
    """The model and its sizes."""

    name: Literal["transformer"] = "transformer"
    """The paper's tied transformer."""
    embedding: int = Field(96, ge=1)
    """d, width of rows and hidden vectors."""
    attention: int = Field(96, ge=1)
    """Width of queries, keys and values, all heads together."""
    heads: int = Field(8, ge=1)
    """Attention heads; must divide the attention width."""
    ffn: int = Field(1536, ge=1)
    """Width of the feed-forward layer."""
    blocks: int = Field(3, ge=1)
    """Number of blocks."""

    @model_validator(mode="after")
    def _check_heads(self) -> "ModelSettings":
        if self.attention % self.heads:
            raise ValueError(f"heads = {self.heads}: must divide model.attention = {self.attention}")
        return self


class EvaluationSettings(Settings):
    """What is measured on clients that are never trained on."""

    every: int = Field(25, ge=1)
    """Evaluate after each so many rounds, and after the last."""
    clients: Literal["test", "validation"] = "test"
    """validation: leave the test clients alone (for choosing settings)."""
    sentences: int | None = Field(4000, ge=1)
    """While training, evaluate on a fixed random sample of this size; none: on all, as at the end."""


class FlowerSettings(Settings):
    """Rounds over a network (hashfed serve, flwr run); the simulator has no use for them."""

    clients: int | None = Field(None, ge=1)
    """Training clients that must have joined before the first round; none: as many as the cohort."""
    clients_per_node: int = Field(100_000, ge=1)
    """Clients that one node may host; a node that names more cannot join."""
    patience: float = Field(600, gt=0)
    """Seconds to wait for them."""
    deadline: float = Field(600, gt=0)
    """Seconds after which a round ends with the clients that have answered."""
    minimum_share: float = Field(0.5, gt=0, le=1)
    """Share of the cohort that must have answered by then; with fewer the model stays and the round begins
    anew, with other clients where some are gone; after three times the run ends."""
    evaluation: Literal["server", "clients"] = "server"
    """Who evaluates: the server, on the held-out clients of its own data; or the nodes, each on the held-out
    clients it hosts (all their sentences), so that no text leaves them."""
    slices: str | None = None
    """Folder on the server for the slices of ``selection.delivery: pre-generated``; none: ``slices`` in the
    run's folder."""
    slices_url: str | None = Field(None, pattern=r"^https?://[^\s?#@]+$")
    """Where clients fetch them: the URL under which a web server serves that folder, without ?, # and @;
    none: clients read the folder itself, on the same machine."""


class Config(Settings):
    """Everything that decides a run's numbers, and where it is kept."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    selection: SelectionSettings = SelectionSettings()
    client: ClientSettings = ClientSettings()
    server: ServerSettings = ServerSettings()
    compression: CompressionSettings = CompressionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    flower: FlowerSettings = FlowerSettings()
    rounds: int = Field(200, ge=1)
    """Rounds in all; may be raised to continue a finished run."""
    cohort: int = Field(16, ge=1)
    """Clients per round, drawn without replacement."""
    seed: int = Field(0, ge=0)
    """The one seed."""
    workers: int | None = Field(None, ge=1, le=256)
    """Processes that simulate clients; none: one per core that this process may use, and at
    most one per client of the cohort. Changes no number."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where clients train and models are evaluated; cuda: one after another on the GPU, by one process."""
    memory_map: bool = False
    """Keep rows and moments in files of the run folder, mapped into memory: for models beyond the RAM."""
    checkpoint_every: int = Field(1, ge=1)
    """Save the server's state after each so many rounds, after the last, and at Ctrl-C."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs hashfed[tensorboard])."""
    output: str | None = None
    """Folder of the run; none: runs/<source>-<method>-<budget>-seed<seed>."""

    @model_validator(mode="after")
    def _check_decay(self) -> "Config":
        decay = self.server.decay_rounds
        if decay is not None and decay < self.rounds:
            raise ValueError(
                f"server.decay_rounds = {decay}: must be at least rounds = {self.rounds}, "
                "for the learning rate is zero afterwards"
            )
        if decay is not None and decay <= self.server.decay_start:
            raise ValueError(f"server.decay_start = {self.server.decay_start}: must be below {decay}")
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> "Config":
        if self.device == "cuda" and self.workers is not None and self.workers > 1:
            raise ValueError(f"workers = {self.workers}: must be 1 (or none) with device cuda")
        return self

    @model_validator(mode="after")
    def _check_delivery(self) -> "Config":
        problem = delivery_problem(self.retrieval, self.selection.delivery, self.compression.rows)
        if problem is not None:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _check_subspaces(self) -> "Config":
        retrieval, length = self.retrieval, self.model.embedding
        product = retrieval.method == "product-codes" and retrieval.quantizer == "product"
        if product and length % retrieval.subspaces:
            raise ValueError(
                f"retrieval.subspaces = {retrieval.subspaces}: must divide model.embedding = {length}"
            )
        return self

    def folder(self) -> Path:
        """Where the run is kept."""
        if self.output is not None:
            return Path(self.output)
        source = Path(self.data.source).name.strip(".").split(".")[0] or "data"
        method = self.retrieval.method
        budget = "" if method == "full" else f"-{self.selection.budget * 100:g}%"
        return Path("runs") / f"{source}-{method}{budget}-seed{self.seed}"

    def to_yaml(self) -> str:
        """YAML that ``load_config`` reads back."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))


CHANGEABLE = (
    "rounds",
    "workers",
    "memory_map",
    "checkpoint_every",
    "tensorboard",
    "output",
    *(f"flower.{name}" for name in FlowerSettings.model_fields),
)
"""Fields in which a resumed run may differ: they change no number of the rounds already done."""


def load_config(path: Path | None, overrides: Mapping[str, str] | None = None) -> Config:
    """Defaults, then the YAML file, then overrides such as ``{"client.learning_rate": "0.1"}``.

    Raises:
        HashfedError: one line naming the field, the value and what is allowed.

    """
    tree: dict[str, Any] = {} if path is None else _read_yaml(path)
    for name, text in (overrides or {}).items():
        at = tree
        *parents, last = name.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise HashfedError(f"{path}: {parent} = {at!r}: must hold settings by name")
        field = _field([*parents, last])
        at[last] = text if field and _is_text(field, text) else _parse(text)
    return make_config(tree, where="" if path is None else f"{path}: ")


def _parse(text: str) -> Any:
    """A value from the command line, written as in YAML; ``none`` is no value."""
    try:
        return None if text.lower() == "none" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _is_text(field: FieldInfo, text: str) -> bool:
    """Whether ``text`` is to be taken as it is: a free text, or one of a setting's own words."""
    words = get_args(field.annotation)
    return text in words or (text != "none" and (field.annotation is str or str in words))


def make_config(tree: Mapping[str, Any], where: str = "") -> Config:
    """A checked configuration from nested dictionaries.

    Raises:
        HashfedError: as ``load_config``.

    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise HashfedError(where + " ".join(_explain(error).split())) from None


def differences(one: Config, other: Config) -> list[tuple[str, Any, Any]]:
    """Fields that differ, those in ``CHANGEABLE`` left out: (dotted name, value, other value)."""
    left, right = dict(_leaves(one.model_dump())), dict(_leaves(other.model_dump()))
    return [
        (name, value, right[name])
        for name, value in left.items()
        if value != right[name] and name not in CHANGEABLE
    ]


def identity(config: Config) -> str:
    """A checksum of the fields in which a resumed run may not differ."""
    leaves = {name: value for name, value in _leaves(config.model_dump()) if name not in CHANGEABLE}
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HashfedError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise HashfedError(f"{path}: not YAML ({reason})") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise HashfedError(f"{path}: must hold settings by name, not a {type(tree).__name__}")
    return tree


def _explain(error: ValidationError) -> str:
    """The first problem as ``field = value: what is allowed``."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] == "extra_forbidden":
        parent = _find(path[:-1])
        known = list(parent.model_fields) if parent else []
        close = get_close_matches(path[-1], known, n=1)
        prefix = "".join(f"{part}." for part in path[:-1])
        leaves = {full.rpartition(".")[2]: full for full, _ in _leaves(Config().model_dump())}
        elsewhere = [leaves[name] for name in get_close_matches(path[-1], leaves, n=1)]
        if close or elsewhere:
            hint = f"did you mean {prefix + close[0] if close else elsewhere[0]}?"
        else:
            hint = f"known here: {', '.join(known)}"
        return f"{name}: no such setting; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    field = _field(path)
    allowed = bounds(field) if field else ""
    if problem["type"] == "value_error" and _find(path) is not None:
        # A group's own check begins its message with the field's name.
        return f"{name}.{message}" if name else message
    return f"{name} = {problem['input']!r}: {message}" + (f" (allowed: {allowed})" if allowed else "")


def _find(path: list[str]) -> type[BaseModel] | None:
    """The group of settings at a dotted path."""
    model: type[BaseModel] = Config
    for part in path:
        if part not in model.model_fields:
            return None
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return None
        model = inner
    return model


def _field(path: list[str]) -> FieldInfo | None:
    """The field at a dotted path."""
    parent = _find(path[:-1]) if path else None
    return parent.model_fields.get(path[-1]) if parent else None


_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def bounds(field: FieldInfo) -> str:
    """Such as ``> 0 and ≤ 1``."""
    parts = [
        f"{sign} {getattr(item, name):g}"
        for name, sign in _SIGNS.items()
        for item in field.metadata
        if getattr(item, name, None) is not None
    ]
    return " and ".join(parts)
