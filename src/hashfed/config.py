"""The configuration of a run: one typed tree, read from YAML, changed by dotted names, saved with the run."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, model_validator
from pydantic.fields import FieldInfo

from hashfed.display import brief, shown
from hashfed.errors import HashfedError
from hashfed.federated.privacy.packing import WORD
from hashfed.federated.privacy.parameters import FEWEST_CLIENTS, sum_bits
from hashfed.federated.secure_problem import secure_problem
from hashfed.federated.settings import ClientSettings, CompressionSettings, SecureSettings, ServerSettings
from hashfed.models import BY_MODEL, MODELS, ModelSettings
from hashfed.models.protocol import input_tables
from hashfed.retrieval import BY_METHOD, RetrievalSettings, SelectionSettings
from hashfed.retrieval.corrections import correction_problem
from hashfed.retrieval.delivery import delivery_problem
from hashfed.retrieval.select import extra_label
from hashfed.scalars import plain_value
from hashfed.settings import HOME_EXPANDED, ByName, Settings
from hashfed.tasks.registry import BY_TASK, TASKS
from hashfed.tasks.settings import TaskSettings

MOST_BYTES = 2**18
"""Of a configuration file: many times one with every setting and a page of comments."""
MOST_NAME = 100
"""Characters of a name that is taken for a misspelt one."""
MOVED = {"client.sentences": "client.examples", "evaluation.sentences": "evaluation.examples"}
"""Where settings of earlier versions are now."""


class EvaluationSettings(Settings):
    """What is measured on clients that are never trained on."""

    every: int = Field(25, ge=1)
    """Evaluate after each so many rounds, and after the last."""
    clients: Literal["test", "validation"] = "test"
    """validation: leave the test clients alone (for choosing settings)."""
    examples: int | None = Field(4000, ge=1)
    """While training, evaluate on a fixed random sample of this size; none: on all."""
    final_examples: int | None = Field(None, ge=1)
    """The same at the end, for what the summary says."""


class FlowerSettings(Settings):
    """Rounds over a network (hashfed serve, flwr run); the simulator has no use for them."""

    clients: int | None = Field(None, ge=1)
    """Training clients that must have joined before the first round; none: as many as the cohort."""
    clients_per_node: int = Field(100_000, ge=1)
    """Clients that one node may host; a node that names more cannot join."""
    patience: float = Field(600, gt=0)
    """Seconds to wait for them."""
    deadline: float = Field(600, gt=0)
    """Seconds after which a round, or with selection.delivery secure each of its steps, ends with the clients
    that have answered."""
    minimum_share: float = Field(0.5, gt=0, le=1)
    """Share of the cohort that must have answered by then; with fewer the model stays and the round begins
    anew, with other clients where some are gone; after three times the run ends."""
    evaluation: Literal["server", "clients"] = "server"
    """Who evaluates: the server, on the held-out clients of its own data; or the nodes, each on the held-out
    clients it hosts (all their examples), so that no text leaves them."""
    slices: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """Folder on the server for the slices of ``selection.delivery: pre-generated``; none: ``slices`` in the
    run's folder."""
    slices_url: str | None = Field(None, pattern=r"^https?://[^\s?#@]+$")
    """Where clients fetch them: the URL under which a web server serves that folder, without ?, # and @;
    none: clients read the folder itself, on the same machine."""


class Config(Settings):
    """Everything that decides a run's numbers, and where it is kept."""

    data: Annotated[SerializeAsAny[TaskSettings], BY_TASK] = BY_TASK.choose({})
    model: Annotated[SerializeAsAny[ModelSettings], BY_MODEL] = BY_MODEL.choose({})
    retrieval: Annotated[SerializeAsAny[RetrievalSettings], BY_METHOD] = BY_METHOD.choose({})
    selection: SelectionSettings = SelectionSettings()
    client: ClientSettings = ClientSettings()
    server: ServerSettings = ServerSettings()
    compression: CompressionSettings = CompressionSettings()
    secure: SecureSettings = SecureSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    flower: FlowerSettings = FlowerSettings()
    rounds: int = Field(200, ge=1)
    """Rounds in all; may be raised to continue a finished run."""
    cohort: int = Field(16, ge=1)
    """Clients per round, drawn without replacement."""
    seed: int = Field(0, ge=0)
    """The one seed."""
    workers: int | None = Field(None, ge=1, le=256)
    """Processes that simulate clients; none: one per core that this process may use, and at most one per
    client of the cohort. Changes no number. Over a network, where nodes train, it has no effect."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where clients train and models are evaluated; cuda: on the GPU, by one process (not over a network)."""
    engine: Literal["auto", "clients", "cohort"] = "auto"
    """Who simulates a round. clients: one after another, in as many processes as workers; cohort: all clients
    of a round as one batch, in one process: the same numbers but for rounding, faster on a GPU, and on a CPU
    where clients make a step each; auto: cohort on a GPU where the other settings allow it, else clients.
    Over a network, where nodes train, it has no effect."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Arithmetic of a batch of clients on a GPU (engine cohort). tf32: products of numbers with 10 bits after
    the point; bfloat16: with 7 in the layers below the output, else as tf32."""
    device_memory: int | None = Field(None, ge=2**20)
    """Bytes that clients of one batch may take (engine cohort); what does not fit is cut into chunks. none:
    70% of what is free on a GPU, 1 GiB on a CPU."""
    memory_map: bool = False
    """Keep rows and moments in files of the run folder, mapped into memory: for models beyond the RAM."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Save the server's state after each so many rounds; none: about once a minute in simulation (less often
    where that would take 5% of the time), after each round over a network. Always after the last, and when
    stopped; after a kill the rounds since then are computed again, to the same bits."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs hashfed[tensorboard])."""
    output: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """Folder of the run; none: runs/<source>-<method>-<budget>-seed<seed>."""

    @model_validator(mode="before")
    @classmethod
    def _empty_groups(cls, tree: Any) -> Any:
        """A group without a setting, as one whose lines are all comments, is the default."""
        if not isinstance(tree, Mapping):
            return tree
        return {name: value for name, value in tree.items() if value is not None or not _is_group(name)}

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
    def _check_engine(self) -> "Config":
        if self.engine == "cohort" and self.workers is not None and self.workers > 1:
            raise ValueError(f"workers = {self.workers}: must be 1 (or none) with engine cohort")
        if self.precision != "float32" and (self.device != "cuda" or self.engine == "clients"):
            raise ValueError(
                f"precision = {self.precision}: must be float32 without device cuda and engine cohort"
            )
        alone = self.engine == "clients" or (self.engine == "auto" and self.device == "cpu")
        if self.device_memory is not None and alone:
            raise ValueError(
                f"device_memory = {self.device_memory}: has no effect where clients train one after another "
                f"(engine {self.engine}, device {self.device}); must be none"
            )
        return self

    @model_validator(mode="after")
    def _check_delivery(self) -> "Config":
        problem = delivery_problem(self.retrieval, self.selection.delivery, self.compression.rows)
        if problem is not None:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _check_secure(self) -> "Config":
        problem = secure_problem(self.secure, self.selection, self.server, self.compression)
        if problem is not None:
            raise ValueError(problem)
        if self.selection.delivery == "secure" and self.secure.masks and self.cohort < FEWEST_CLIENTS:
            raise ValueError(
                f"cohort = {self.cohort}: must be at least {FEWEST_CLIENTS} for a sum under masks"
            )
        if self.selection.delivery == "secure" and sum_bits(self.secure.bits, self.cohort) > WORD:
            raise ValueError(
                f"secure.bits = {self.secure.bits}: a sum of cohort = {self.cohort} clients would have "
                f"{sum_bits(self.secure.bits, self.cohort)} bits, more than {WORD}"
            )
        if self.selection.delivery == "secure" and self.device != "cpu":
            raise ValueError(f"device = {self.device}: must be cpu with selection.delivery secure")
        if self.selection.delivery == "secure" and self.flower.evaluation == "clients":
            raise ValueError(
                "flower.evaluation = clients: must be server with selection.delivery secure, for a node's "
                "metrics are of its own clients"
            )
        return self

    @model_validator(mode="after")
    def _check_correction(self) -> "Config":
        problem = correction_problem(self.retrieval, self.selection)
        if problem is not None:
            raise ValueError(problem)
        loss = self.data.build().loss
        if self.selection.correction == "control-variate" and loss.planes_problem is not None:
            others = get_args(SelectionSettings.model_fields["correction"].annotation)
            allowed = ", ".join(name for name in others if name != "control-variate")
            raise ValueError(
                f"selection.correction = control-variate: {loss.planes_problem} (allowed: {allowed})"
            )
        return self

    @model_validator(mode="after")
    def _check_columns(self) -> "Config":
        columns = self.data.build().imagine(1, 1, 1).batch_columns
        missing = [name for name in self.model.build().reads if name not in columns]
        if missing:
            others = {name: kind.model_validate({"name": name}).build() for name, kind in MODELS.items()}
            able = [name for name, other in others.items() if set(other.reads) <= set(columns)]
            raise ValueError(
                f"model.name = {self.model.name}: reads {', '.join(missing)}, which examples of data.task = "
                f"{self.data.task} do not have (allowed: {', '.join(able)})"
            )
        return self

    @model_validator(mode="after")
    def _check_length(self) -> "Config":
        reads, due = self.model.longest, self.data.longest
        if reads is not None and due is not None:
            most, length = getattr(self.model, reads), getattr(self.data, due)
            if length > most:
                raise ValueError(f"data.{due} = {length}: must be at most model.{reads} = {most}")
        return self

    @model_validator(mode="after")
    def _check_inputs(self) -> "Config":
        unusual = self.server.input_moments != ServerSettings().input_moments
        if unusual and not input_tables(self.model.build()):
            raise ValueError(
                f"server.input_moments = {self.server.input_moments}: has no effect, the model has no input "
                "table"
            )
        return self

    @model_validator(mode="after")
    def _check_width(self) -> "Config":
        problem = self.retrieval.width_problem(self.model.dimension, f"model.{self.model.width}")
        if problem is not None:
            raise ValueError(problem)
        return self

    def folder(self) -> Path:
        """Where the run is kept."""
        if self.output is not None:
            return Path(self.output)
        source = Path(self.data.source).name.strip(".").split(".")[0] or "data"
        budget = "" if self.retrieval.sends_all else f"-{budget_name(self.selection)}"
        return Path("runs") / f"{source}-{self.retrieval.method}{budget}-seed{self.seed}"

    def to_yaml(self) -> str:
        """YAML that ``load_config`` reads back."""
        from hashfed.yaml_text import write_yaml  # not at the top: nodes and workers see no file

        return write_yaml(self.model_dump(mode="json"))


def budget_name(selection: SelectionSettings) -> str:
    """The budget as people say it: ``10%``, ``own+1%``, ``own+300``."""
    return f"{selection.budget * 100:g}%" if selection.extra is None else extra_label(selection.extra)


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


def places(config: Config) -> tuple[str, ...]:
    """Fields in which a resumed run may differ too where the data are the same."""
    return tuple(f"data.{name}" for name in (*config.data.places, *config.data.reading))


def size_setting(config: Config) -> str:
    """The setting that decides the number of rows."""
    return f"data.{config.data.size_setting}"


def size_settings() -> str:
    """What to lower where a model, of whatever kind, is too large: such settings of all kinds."""
    rows = (f"data.{task.size_setting}" for task in TASKS.values())
    widths = (f"model.{model.width}" for model in MODELS.values())
    return ", ".join(dict.fromkeys((*rows, *widths)))


def load_config(path: Path | None, overrides: Mapping[str, str] | None = None) -> Config:
    """Defaults, then the YAML file, then overrides such as ``{"client.learning_rate": "0.1"}``.

    Raises:
        HashfedError: one line naming the field, the value and what is allowed.

    """
    where = "" if path is None else f"{path}: "
    tree: dict[str, Any] = {} if path is None else _read_file(path)
    _drop_other_kinds(tree, overrides or {})
    for name, text in (overrides or {}).items():
        if text.lower() != "none":
            _drop_rival(tree, name, overrides or {})
        at = tree
        *parents, last = name.split(".")
        for parent in parents:
            if at.get(parent) is None:
                at[parent] = {}
            at = at[parent]
            if not isinstance(at, dict):
                raise HashfedError(f"{where}{parent} = {shown(at)}: must hold settings by name")
        field = _field([*parents, last])
        try:
            at[last] = text if field and _is_text(field, text) else _parse(text)
        except HashfedError as error:
            raise HashfedError(f"{brief(name)} = {error}") from None
    return _make(tree, where, overrides or {})


RIVALS = {"extra": "budget", "budget": "extra"}
"""Two ways to say how many rows, of which a configuration has one."""


def _drop_rival(tree: dict[str, Any], name: str, overrides: Mapping[str, str]) -> None:
    """Where the command line says how many rows in one way, forget what the file says in the other."""
    group, _, setting = name.partition(".")
    rival, settings = RIVALS.get(setting, ""), tree.get(group)
    if group == "selection" and isinstance(settings, dict) and f"{group}.{rival}" not in overrides:
        settings.pop(rival, None)


def _drop_other_kinds(tree: dict[str, Any], overrides: Mapping[str, str]) -> None:
    """Where the command line names another kind of a group, forget the settings of the file's kind."""
    for group, field in Config.model_fields.items():
        union, settings = ByName.of(field), tree.get(group)
        kind = "" if union is None else overrides.get(f"{group}.{union.key}", "")
        if union is None or kind not in union.kinds or not isinstance(settings, dict):
            continue
        if kind != settings.get(union.key, union.default):
            tree[group] = {name: value for name, value in settings.items() if not union.strange(kind, name)}


def _parse(text: str) -> Any:
    """A value from the command line, written as in YAML but for numbers, which are decimal.

    ``none`` is no value; nothing at all is more likely a shell's empty variable.
    """
    if text.lower() == "none":
        return None
    return text if text == "" or text.startswith(("0x", "0o")) else plain_value(text)


def _is_text(field: FieldInfo, text: str) -> bool:
    """Whether ``text`` is to be taken as it is: a free text, or one of a setting's own words."""
    words = get_args(field.annotation)
    return field.annotation is str or text in words or (text != "none" and str in words)


def make_config(tree: Mapping[str, Any], where: str = "") -> Config:
    """A checked configuration from nested dictionaries.

    Raises:
        HashfedError: as ``load_config``.

    """
    return _make(tree, where, ())


def _make(tree: Mapping[str, Any], where: str, elsewhere: Collection[str]) -> Config:
    """The same; of a mistake, ``where`` it is, unless in one of the fields that were given ``elsewhere``."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        name = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])
        raise HashfedError(("" if name in elsewhere else where) + _explain(error)) from None


def differences(one: Config, other: Config) -> list[tuple[str, Any, Any]]:
    """Fields that differ, those in ``CHANGEABLE`` left out: (dotted name, value, other value).

    One that only the kind of one of them has counts where it is not at its default, as (name, value, None).
    """
    left, right = dict(leaves(one)), dict(leaves(other))
    return [
        (name, left.get(name), right.get(name))
        for name, usual in {**defaults(other), **defaults(one)}.items()
        if left.get(name, usual) != right.get(name, usual) and name not in CHANGEABLE
    ]


def identity(config: Config) -> str:
    """A checksum of the fields in which a resumed run may not differ."""
    return hashlib.sha256(json.dumps(deciding_settings(config), sort_keys=True).encode()).hexdigest()


def deciding_settings(config: Config) -> dict[str, Any]:
    """Settings that decide a run's numbers, by their dotted names: all but ``CHANGEABLE`` and ``places``."""
    others = *CHANGEABLE, *places(config)
    return {name: value for name, value in leaves(config) if name not in others}


def setting_fields(config: Config | None = None) -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted name; where a group is a union by name, those of the kind that it has.

    None: those of all kinds, each as the first kind has it.
    """
    for name, field in Config.model_fields.items():
        inner = _group_fields(field, None if config is None else getattr(config, name))
        if inner is None:
            yield name, field
        else:
            yield from ((f"{name}.{leaf}", leaf_field) for leaf, leaf_field in inner.items())


def defaults(config: Config) -> dict[str, Any]:
    """The default of every setting that ``config`` has, by its dotted name."""
    return {name: field.default for name, field in setting_fields(config)}


def _group_fields(field: FieldInfo, chosen: object = None) -> Mapping[str, FieldInfo] | None:
    """The settings of a group; of a union by name those of the ``chosen`` kind, or of all. None: no group."""
    union, kind = ByName.of(field), field.annotation
    if union is not None and chosen is not None:
        kind = type(chosen)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None
    others = union.fields() if union is not None and chosen is None else {}
    return {leaf: next(iter(kinds.values())) for leaf, kinds in others.items()} | kind.model_fields


def leaves(config: Config) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name."""
    return _leaves(config.model_dump())


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _read_file(path: Path) -> dict[str, Any]:
    from hashfed.yaml_text import read_yaml

    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise HashfedError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MOST_BYTES:
        raise HashfedError(f"{path}: more than {MOST_BYTES // 1024} KiB; a configuration is far smaller")
    try:
        tree = read_yaml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise HashfedError(f"{path}: not YAML (not UTF-8: {error})") from None
    except HashfedError as error:
        raise HashfedError(f"{path}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise HashfedError(f"{path}: must hold settings by name, not a {type(tree).__name__}")
    return tree


def _explain(error: ValidationError) -> str:
    """The first problem as ``field = value: what is allowed``, on one line of bounded length."""
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"]]
    name = brief(".".join(path))
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        return f"{name}: no such setting; {_hint(path)}"
    if problem["type"] == "other_kind":
        group = ".".join(path[:-1])
        return "{name} = {value}: not a setting of {group}.{key} = {kind} ({allowed})".format(
            name=name, value=shown(problem["input"]), group=group, **problem["ctx"]
        )
    message = " ".join(problem["msg"].removeprefix("Value error, ").split())
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error" and _find(path) is not None:
        # A group's own check begins its message with the field's name.
        return f"{name}.{message}" if name else message
    if problem["type"] in ("model_type", "dict_type"):
        message = "must hold settings by name"
    field = _field(path)
    notes = [f"allowed: {bounds(field)}"] if field and bounds(field) else []
    notes += _remedies(problem["type"], problem["input"], field)
    return f"{name or 'settings'} = {shown(problem['input'])}: {message}" + (
        f" ({'; '.join(notes)})" if notes else ""
    )


def _hint(path: list[str]) -> str:
    """Which setting may be meant by an unknown one."""
    if (moved := MOVED.get(".".join(path))) is not None:
        return f"it is {moved} now"
    known = list(_find(path[:-1]) or ())
    # Comparing takes long where a name is.
    last = path[-1] if len(path[-1]) < MOST_NAME else ""
    group, _, leaf = last.partition(".")
    if leaf and _field([*path[:-1], group, leaf]) is not None:
        return f"in a file write {leaf} below {group}:"
    by_name = {full.rpartition(".")[2]: full for full, _ in setting_fields()}
    close = get_close_matches(last, known, n=1)
    elsewhere = [by_name[name] for name in get_close_matches(last, by_name, n=1)]
    if close or elsewhere:
        prefix = "".join(f"{part}." for part in path[:-1])
        return f"did you mean {prefix + close[0] if close else elsewhere[0]}?"
    return f"known here: {', '.join(known)}"


def _remedies(kind: str, value: object, field: FieldInfo | None) -> list[str]:
    """What to write instead, where a file's notation is the trouble."""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return ["text that looks like this needs quotes"]
    if kind == "bool_type" and isinstance(value, str | int):
        return ["true or false"]
    if value == "none" and field is not None and type(None) in get_args(field.annotation):
        return ["no value is written null"]
    return []


def _find(path: list[str]) -> Mapping[str, FieldInfo] | None:
    """The settings of the group at a dotted path."""
    fields: Mapping[str, FieldInfo] | None = Config.model_fields
    for part in path:
        fields = _group_fields(fields[part]) if fields and part in fields else None
    return fields


def _is_group(name: object) -> bool:
    return isinstance(name, str) and _find([name]) is not None


def _field(path: list[str]) -> FieldInfo | None:
    """The field at a dotted path."""
    fields = _find(path[:-1]) if path else None
    return fields.get(path[-1]) if fields else None


_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def bounds(field: FieldInfo) -> str:
    """Such as ``> 0 and ≤ 1``."""
    parts = [
        f"{sign} {value}" if isinstance(value, int) else f"{sign} {value:g}"
        for name, sign in _SIGNS.items()
        for item in field.metadata
        if (value := getattr(item, name, None)) is not None
    ]
    return " and ".join(parts)
