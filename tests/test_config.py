from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hashfed.config import (
    CHANGEABLE,
    MOVED,
    Config,
    differences,
    identity,
    leaves,
    load_config,
    make_config,
    setting_fields,
)
from hashfed.errors import HashfedError
from hashfed.models import TransformerSettings
from hashfed.retrieval.faiss_search import FaissSettings
from hashfed.retrieval.query_centroids import QueryCentroidsSettings
from hashfed.retrieval.query_codes import QueryCodesSettings
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.yaml_text import read_yaml


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def nested(name: str, value: object) -> dict[str, Any]:
    """A tree with one value at a dotted name."""
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def problem(tree: dict[str, Any]) -> str:
    """The one line with which a configuration is refused."""
    with pytest.raises(HashfedError) as caught:
        make_config(tree)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults() -> None:
    config = load_config(None)
    assert config == Config() == make_config({})
    assert config.data == NextWordSettings(source="chitchat", vocabulary=10_000, sentence_length=20)
    assert config.retrieval == QueryCentroidsSettings(centroids=32, code_bits=8, prior_strength=16.0)
    selection = config.selection
    assert (selection.budget, selection.sampling, selection.tail) == (0.1, "proportional", 0.1)
    assert (config.rounds, config.cohort, config.seed, config.workers) == (200, 16, 0, None)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "{}\n"])
def test_an_empty_file_is_the_defaults(text: str, tmp_path: Path) -> None:
    assert load_config(write(tmp_path, text)) == Config()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "rounds: 7\nselection:\n  budget: 0.25\n"))
    assert config.rounds == 7
    assert config.selection.budget == 0.25
    assert differences(config, Config()) == [("selection.budget", 0.25, 0.1)]


def test_overrides_come_on_top_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "rounds: 7\nclient:\n  learning_rate: 0.5\n  epochs: 3\n")
    config = load_config(path, {"client.learning_rate": "0.125", "selection.tail": "1", "seed": "4"})
    assert config.client.learning_rate == 0.125
    assert config.client.epochs == 3
    assert config.rounds == 7
    assert config.selection.tail == 1
    assert config.seed == 4


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("client.learning_rate", "1e-3", 0.001),
        ("client.learning_rate", "2", 2.0),
        ("client.clip", "null", None),
        ("client.clip", "none", None),
        ("evaluation.examples", "None", None),
        ("client.clip", "0.5", 0.5),
        ("workers", "3", 3),
        ("tensorboard", "true", True),
        ("selection.correction", "none", "none"),
        ("compression.rows", "none", "none"),
        ("compression.updates", "int8", "int8"),
        ("server.clip", "none", None),
        ("retrieval.method", "simhash-union", "simhash-union"),
        ("data.source", "some/folder", "some/folder"),
        ("output", "runs/my run", "runs/my run"),
    ],
)
def test_an_override_is_read_as_yaml(name: str, text: str, value: object) -> None:
    found: Any = load_config(None, {name: text})
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = make_config(
        {
            "data": {"source": "données/été.jsonl"},
            "server": {"epsilon": 1e-9},
            "client": {"clip": 0.1},
            "evaluation": {"examples": None},
            "output": "runs/a: b # c",
        }
    )
    assert load_config(write(tmp_path, config.to_yaml())) == config
    assert load_config(write(tmp_path, Config().to_yaml())) == Config()


ODD = st.text("0123456789+-._eExob:yn #'\"\n\t\x85\u2028\ufeff\x00\x1b\udce9😀,[]{}&*!|>%@`=<")
PATHS = (st.text() | ODD).filter(lambda text: not text.startswith("~"))


@given(
    source=PATHS,
    output=st.none() | PATHS.filter(bool),
    rate=st.floats(0, 1e308, exclude_min=True),
    budget=st.floats(0, 1, exclude_min=True),
    clip=st.none() | st.floats(0, 1e308, exclude_min=True),
    seed=st.integers(0, 2**80),
)
def test_every_configuration_comes_back_from_its_yaml(
    source: str, output: str | None, rate: float, budget: float, clip: float | None, seed: int
) -> None:
    config = make_config(
        {
            "data": {"source": source},
            "client": {"learning_rate": rate, "clip": clip},
            "selection": {"budget": budget},
            "seed": seed,
            "output": output,
        }
    )
    assert make_config(read_yaml(config.to_yaml().encode().decode())) == config


def test_yaml_names_every_setting() -> None:
    tree = read_yaml(Config().to_yaml())
    for name, _ in setting_fields(Config()):
        at = tree
        for part in name.split("."):
            assert part in at, name
            at = at[part]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"retrieval": {"metod": 1}}, "retrieval.metod: no such setting; did you mean retrieval.method?"),
        ({"round": 3}, "round: no such setting; did you mean rounds?"),
        ({"serve": {}}, "serve: no such setting; did you mean server?"),
        (
            {"client": {"zzz": 1}},
            "client.zzz: no such setting; known here: learning_rate, batch_size, epochs",
        ),
        ({"zzz": {"deep": 1}}, "zzz: no such setting; known here: data, model, retrieval"),
        ({"client": {3: 1}}, "client.3: no such setting; known here: learning_rate"),
        ({"client": {"sentences": 8}}, "client.sentences: no such setting; it is client.examples now"),
        (
            {"evaluation": {"sentences": None}},
            "evaluation.sentences: no such setting; it is evaluation.examples now",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_may_be_meant(
    tree: dict[str, Any], expected: str
) -> None:
    assert problem(tree).startswith(expected)


def test_what_earlier_names_point_at_is_there() -> None:
    known = {name for name, _ in setting_fields()}
    assert set(MOVED.values()) <= known
    assert not set(MOVED) & known


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("selection.budget", 0, "(allowed: > 0 and ≤ 1)"),
        ("selection.budget", 1.5, "(allowed: > 0 and ≤ 1)"),
        ("selection.budget", -1, "(allowed: > 0 and ≤ 1)"),
        ("selection.budget", float("nan"), "(allowed: > 0 and ≤ 1)"),
        ("selection.budget", "much", "(allowed: > 0 and ≤ 1)"),
        ("selection.budget", None, "(allowed: > 0 and ≤ 1)"),
        ("selection.tail", 1.01, "(allowed: ≥ 0 and ≤ 1)"),
        ("selection.oversample", 0.5, "(allowed: ≥ 1 and ≤ 10)"),
        ("selection.correction", "some", "'tail' or 'none'"),
        ("retrieval.centroids", 4097, "(allowed: ≥ 1 and ≤ 4096)"),
        ("retrieval.centroids", 0, "(allowed: ≥ 1 and ≤ 4096)"),
        ("retrieval.centroids", 2.5, "integer"),
        ("retrieval.method", "lsh", "'full', 'random', 'frequency', 'exact',"),
        ("client.learning_rate", 0, "(allowed: > 0)"),
        ("client.learning_rate", float("inf"), "finite"),
        ("client.clip", 0, "(allowed: > 0)"),
        ("server.clip", 0, "(allowed: > 0)"),
        ("compression.rows", "int8", "'none', 'float16' or 'bfloat16'"),
        ("compression.updates", "int4", "'none', 'float16', 'bfloat16' or 'int8'"),
        ("server.beta1", 1, "(allowed: ≥ 0 and < 1)"),
        ("data.vocabulary", 0, "(allowed: ≥ 1)"),
        ("data.vocabulary", "many", "integer"),
        ("data.sentence_length", 1025, "(allowed: ≥ 1 and ≤ 1024)"),
        ("data.source", ["a", "b"], "string"),
        ("evaluation.examples", 0, "(allowed: ≥ 1)"),
        ("rounds", -3, "(allowed: ≥ 1)"),
        ("seed", -1, "(allowed: ≥ 0)"),
        ("workers", 257, "(allowed: ≥ 1 and ≤ 256)"),
        ("tensorboard", "perhaps", "boolean"),
        ("model", 3, "must hold settings by name"),
        ("client", [], "must hold settings by name"),
        ("output", "", "at least 1 character"),
        ("model.ffn", 2**24 + 1, "(allowed: ≥ 1 and ≤ 16777216)"),
        ("client.batch_size", 10**22, "must be at most 9007199254740992"),
        ("rounds", 10**30, "must be at most 9007199254740992"),
        ("tensorboard", 1, "boolean (true or false)"),
        ("tensorboard", "true", "boolean (true or false)"),
        ("rounds", True, "integer"),
        ("rounds", 2.0, "integer"),
        ("rounds", "5", "integer"),
        ("seed", False, "integer"),
        ("workers", "2", "integer"),
        ("client.learning_rate", True, "number"),
        ("client.learning_rate", "0.1", "number"),
        ("client.clip", "none", "no value is written null"),
        ("data.source", 7, "string (text that looks like this needs quotes)"),
        ("output", 7, "string (text that looks like this needs quotes)"),
        ("output", True, "string (text that looks like this needs quotes)"),
        ("flower.slices_url", 1.5, "string"),
        ("retrieval.code_bits", True, "1, 2, 4 or 8"),
        ("retrieval.code_bits", 4.0, "1, 2, 4 or 8"),
        ("retrieval.code_bits", "4", "1, 2, 4 or 8"),
        ("retrieval.method", 3, "'full', 'random'"),
        ("client.clip", float("nan"), "finite"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: object, allowed: str) -> None:
    message = problem(nested(name, value))
    assert message.startswith(f"{name} = {value!r}: ")
    assert allowed in message


@pytest.mark.parametrize(("bits", "tables"), [(16, 513), (2, 8192)])
def test_too_many_projections_are_refused(bits: int, tables: int) -> None:
    message = problem({"retrieval": {"method": "simhash-union", "bits": bits, "tables": tables}})
    assert message == f"retrieval.bits × tables = {bits * tables}: K·L must be at most 8192"


OTHERS = [
    ({"bits": 8}, "precision, refresh, counts, prior_strength, inverse_temperature, centroids, code_bits"),
    ({"method": "exact", "prior_strength": 1.0}, "precision, refresh"),
    ({"method": "simhash-union", "prior": 1.0, "bits": 4}, "precision, refresh, bits, tables, transform, "),
]
"""Groups with a setting of other methods, the first after the method; what theirs has."""


@pytest.mark.parametrize(("retrieval", "allowed"), OTHERS)
def test_a_setting_of_another_kind_is_refused(
    retrieval: dict[str, Any], allowed: str, tmp_path: Path
) -> None:
    """In a file, on the command line, and where one adds to the other."""
    method = retrieval.get("method", "query-centroids")
    name = next(name for name in retrieval if name != "method")
    text = f"retrieval.{name} = {retrieval[name]}: not a setting of retrieval.method = {method} (allowed: "
    assert problem({"retrieval": retrieval}).startswith(text + allowed)
    path = write(tmp_path, f"retrieval: {{method: {method}}}\n")
    for file in (path, None):
        overrides = {f"retrieval.{name}": str(value) for name, value in retrieval.items()}
        with pytest.raises(HashfedError) as caught:
            load_config(file, overrides)
        assert str(caught.value).startswith(text + allowed)
    both = {"method": method, name: retrieval[name]}
    path = write(tmp_path, "retrieval:\n" + "".join(f"  {key}: {value}\n" for key, value in both.items()))
    with pytest.raises(HashfedError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {text}{allowed}")


def test_a_kind_without_settings_says_so() -> None:
    text = "retrieval.bits = 8: not a setting of retrieval.method = full (which has none)"
    assert problem({"retrieval": {"method": "full", "bits": 8}}) == text


def test_another_kind_on_the_command_line_leaves_the_file_s_settings_that_both_have(tmp_path: Path) -> None:
    path = write(tmp_path, "retrieval: {method: query-centroids, centroids: 9, code_bits: 4, refresh: 2}\n")
    config = load_config(path, {"retrieval.method": "query-codes"})
    assert config.retrieval == QueryCodesSettings(code_bits=4, refresh=2)
    assert load_config(path, {"retrieval.method": "query-centroids"}) == load_config(path)
    path = write(tmp_path, "retrieval: {method: query-centroids, centroid: 9}\n")
    with pytest.raises(HashfedError, match=r"retrieval\.centroid: no such setting; did you mean"):
        load_config(path, {"retrieval.method": "query-codes"})


def test_the_largest_sizes_are_accepted() -> None:
    for bits, tables in ((16, 512), (1, 8192)):
        make_config({"retrieval": {"method": "simhash-union", "bits": bits, "tables": tables}})
    make_config({"selection": {"budget": 1, "tail": 1, "oversample": 10, "sampling": "top"}})


def test_heads_must_divide_the_attention_width() -> None:
    message = problem({"model": {"attention": 96, "heads": 7}})
    assert message == "model.heads = 7: must divide model.attention = 96"
    assert make_config({"model": {"attention": 98, "heads": 7}}).model == TransformerSettings(
        attention=98, heads=7
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1\n- 2\n", "must hold settings by name, not a list"),
        ("just text\n", "must hold settings by name, not a str"),
        ("3\n", "must hold settings by name, not a int"),
        ("rounds: [1\n", "not YAML ("),
        ("rounds: 1\n  seed: 2\n", "not YAML ("),
        ("rounds: !!python/name:os.system\n", "not YAML ("),
        ("rounds: 0\n", "rounds = 0: "),
        ("selection: {budgt: 0.1}\n", "selection.budgt: no such setting; did you mean selection.budget?"),
        ("model: {heads: 5}\n", "model.heads = 5: must divide model.attention = 96"),
        ("rounds: yes\n", "rounds = 'yes': "),
        ("rounds: on\n", "rounds = 'on': "),
        ("rounds: 1:30\n", "rounds = '1:30': "),
        ("rounds: 1_000\n", "rounds = '1_000': "),
        ("rounds: 2024-01-01\n", "rounds = '2024-01-01': "),
        ("rounds: 1e3\n", "rounds = 1000.0: "),
        ("rounds: 0b11\n", "rounds = '0b11': "),
        ("rounds: １０\n", "rounds = '１０': "),
        ("rounds: '5'\n", "rounds = '5': "),
        ("tensorboard: yes\n", "tensorboard = 'yes': "),
        ("output: 007\n", "output = 7: "),
        ("client: {learning_rate: yes}\n", "client.learning_rate = 'yes': "),
        ("client: {learning_rate: .inf}\n", "client.learning_rate = inf: "),
        ("rounds: " + "9" * 5000 + "\n", "999"),
        ("rounds: 1\nseed: 2\nrounds: 3\n", "rounds: given twice, in line 1 and in line 3"),
        ("client: {epochs: 2}\nclient:\n", "client: given twice, in line 1 and in line 2"),
        ("client: {epochs: 2,\n  epochs: 2}\n", "client.epochs: given twice, in line 1 and in line 2"),
        ("client:\n  epochs: 2\n  'epochs': 3\n", "client.epochs: given twice, in line 2 and in line 3"),
        ("rounds: 1\n---\nrounds: 2\n", "not YAML (line 2: a second document begins)"),
        ("%YAML 1.1\n---\nrounds: 010\n", "not YAML (line 2: YAML 1.1; must be YAML 1.2)"),
        ("? [rounds]\n: 1\n", "not YAML (line 1: a name must be text"),
        ("? {a: b}\n: 1\n", "not YAML (line 1: a name must be text"),
        ("3: 1\n", "3: no such setting"),
        ("null: 1\n", "null: no such setting"),
        ("<<: {rounds: 1}\n", "<<: no such setting"),
        ("rounds: *a\n", "not YAML (line 1: *a stands for nothing before it)"),
        ("client: &a {epochs: *a}\n", "not YAML (line 1: *a stands for nothing before it)"),
        ("client:\n\tepochs: 2\n", "not YAML (line 2: found character '\\t'"),
        ("rounds: \x00\n", "not YAML ("),
        ("output: !!binary aGk=\n", "not YAML (line 1: aGk= with the tag tag:yaml.org,2002:binary)"),
        ("rounds: !!int x\n", "not YAML (line 1: x with the tag tag:yaml.org,2002:int)"),
        ("[" * 5000, "not YAML (line 1: nested more than 50 deep)"),
        ("rounds: " + "[" * 49 + "]" * 49 + "\n", "rounds = [[[[...]]]]: "),
        ("rounds: [" + "1, " * 10_000 + "]\n", "rounds = [1, 1, 1, 1, 1, 1, ...]: "),
        ("rounds: " + "x" * 100_000 + "\n", "rounds = 'xxx"),
        ("x" * 1000 + ": 1\n", "xxx"),
        ("? " + "x" * 100_000 + "\n: 1\n", "xxx"),
        ("client: {? " + "x" * 100_000 + "\n : 1}\n", "client.xxx"),
        ("!" + "x" * 100_000 + " a\n", "not YAML (line 1: "),
        ("*" + "x" * 100_000 + "\n", "not YAML (line 1: *xxx"),
        ("# " + "x" * 300_000 + "\n", "more than 256 KiB; a configuration is far smaller"),
    ],
    ids=lambda value: value[:20],
)
def test_a_mistake_in_a_file_names_the_file(text: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(HashfedError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 600


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"output: caf\xe9\n")
    with pytest.raises(HashfedError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: not YAML (")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HashfedError) as caught:
        load_config(tmp_path / "none.yaml")
    assert str(caught.value) == f"{tmp_path / 'none.yaml'}: No such file or directory"


@pytest.mark.parametrize("name", ["selection.budgt", "nothing.here", "nothing"])
def test_an_unknown_override_is_refused(name: str) -> None:
    with pytest.raises(HashfedError, match=r"no such setting"):
        load_config(None, {name: "1"})


def test_an_override_inside_something_that_is_no_group(tmp_path: Path) -> None:
    path = write(tmp_path, "retrieval: 3\n")
    with pytest.raises(HashfedError) as caught:
        load_config(path, {"retrieval.bits": "4"})
    assert str(caught.value).startswith(f"{path}: retrieval = 3: ")


def test_an_override_inside_an_empty_group(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "retrieval:\n"), {"retrieval.centroids": "4"})
    assert config.retrieval == QueryCentroidsSettings(centroids=4)


def test_a_mistake_in_an_override_of_a_good_file_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(HashfedError, match=r"^selection\.budget = 2: .*\(allowed: > 0 and ≤ 1\)"):
        load_config(write(tmp_path, "rounds: 3\n"), {"selection.budget": "2"})
    with pytest.raises(HashfedError, match=r"run\.yaml: seed = 'a': "):
        load_config(write(tmp_path, "seed: a\n"), {"rounds": "2"})


def test_differences_name_fields_and_both_values() -> None:
    one = make_config({"client": {"clip": 0.5}, "seed": 1, "rounds": 5})
    other = make_config({"retrieval": {"method": "full"}, "seed": 2, "rounds": 9})
    assert differences(one, other) == [
        ("retrieval.method", "query-centroids", "full"),
        ("client.clip", 0.5, None),
        ("seed", 1, 2),
    ]
    assert differences(one, one) == []
    hashed = make_config({"retrieval": {"method": "simhash-union", "tables": 8, "refresh": 2}})
    assert differences(Config(), hashed) == [
        ("retrieval.method", "query-centroids", "simhash-union"),
        ("retrieval.refresh", 1, 2),
        ("retrieval.tables", None, 8),
    ]


def test_fields_that_a_resumed_run_may_change_are_no_differences() -> None:
    changed: dict[str, Any] = {
        "rounds": 9,
        "workers": 2,
        "memory_map": True,
        "checkpoint_every": 5,
        "tensorboard": True,
        "output": "x",
        "flower": {
            "clients": 3,
            "clients_per_node": 9,
            "patience": 5,
            "deadline": 7,
            "minimum_share": 0.25,
            "evaluation": "clients",
            "slices": "s",
            "slices_url": "https://example.org/s",
        },
    }
    flower = {f"flower.{name}" for name in changed["flower"]}
    assert (set(changed) - {"flower"}) | flower == set(CHANGEABLE)
    assert differences(Config(), make_config(changed)) == []


@pytest.mark.parametrize(
    ("tree", "folder"),
    [
        ({}, "runs/chitchat-query-centroids-10%-seed0"),
        ({"retrieval": {"method": "full"}, "seed": 3}, "runs/chitchat-full-seed3"),
        (
            {
                "data": {"source": "my/texts.jsonl.gz"},
                "retrieval": {"method": "random"},
                "selection": {"budget": 0.025},
            },
            "runs/texts-random-2.5%-seed0",
        ),
        ({"output": "elsewhere/run"}, "elsewhere/run"),
    ],
)
def test_the_folder_says_what_is_in_it(tree: dict[str, Any], folder: str) -> None:
    assert make_config(tree).folder() == Path(folder)


def test_the_identity_is_of_what_decides_the_numbers() -> None:
    one = identity(Config())
    assert identity(make_config({"workers": 3, "data": {"source": "other.jsonl"}})) == one
    assert identity(make_config({"data": {"tokenizer": "ascii"}})) != one
    assert identity(make_config({"seed": 1})) != one


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Config().seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Config().client.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("configs/*.yaml")), ids=lambda p: p.name
)
def test_the_configurations_of_this_repository_are_good(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize("text", ["2024-01-01", "a: b", "yes", "2024-13-45", "7"])
def test_text_settings_are_taken_as_they_are(text: str) -> None:
    assert load_config(None, {"output": text}).output == text
    assert load_config(None, {"data.source": text}).data.source == text


def test_none_is_no_value() -> None:
    config = load_config(None, {"output": "none", "evaluation.examples": "none"})
    assert config.output is None
    assert config.evaluation.examples is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"retrieval": {"method": "faiss", "faiss_factory": "HNSW0"}},
            "retrieval.faiss_factory = 'HNSW0': no number in it may be 0",
        ),
        ({"retrieval": {"method": "faiss", "faiss_factory": "IVF0,Flat"}}, "no number in it may be 0"),
        (
            {"retrieval": {"method": "product-codes", "subspaces": 7}},
            "retrieval.subspaces = 7: must divide model.embedding = 96",
        ),
        (
            {"selection": {"oversample": 2}},
            "selection.oversample = 2: needs sampling top; rows drawn with chances cannot be dropped",
        ),
        (
            {"server": {"decay_rounds": 100}},
            "server.decay_rounds = 100: must be at least rounds = 200, for the learning rate is zero",
        ),
        (
            {"server": {"decay_rounds": 200, "decay_start": 200}},
            "server.decay_start = 200: must be below 200",
        ),
        (
            {"selection": {"sketch_bits": 4}},
            "selection.sketch_bits = 4: needs points sketch",
        ),
        (
            {"compression": {"error_feedback": True}},
            "compression.error_feedback = true: needs compression.updates other than none",
        ),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, object], message: str) -> None:
    with pytest.raises(HashfedError) as caught:
        make_config(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("factory", ["HNSW10", "IVF100,PQ20", "Flat", "IVF256,PQ16x8"])
def test_factories_with_numbers_that_end_in_0(factory: str) -> None:
    config = make_config({"retrieval": {"method": "faiss", "faiss_factory": factory}})
    assert config.retrieval == FaissSettings(faiss_factory=factory)


@pytest.mark.parametrize(
    ("delivery", "retrieval", "message"),
    [
        (
            "pre-generated",
            {},
            "selection.delivery = pre-generated: needs retrieval.method random, frequency, "
            "simhash-union, simhash-collisions, not query-centroids",
        ),
        ("pre-generated", {"method": "full"}, "selection.delivery = pre-generated: needs retrieval.method"),
        (
            "broadcast",
            {"refresh": 2},
            "selection.delivery = broadcast: needs retrieval.refresh 1, not 2, for a client builds the index",
        ),
        (
            "broadcast",
            {"counts": "declared"},
            "selection.delivery = broadcast: needs retrieval.counts public, not declared, for no client",
        ),
        ("pre-generated", {"method": "frequency", "counts": "declared"}, "needs retrieval.counts public"),
        ("posted", {}, "selection.delivery = 'posted': input should be 'on-demand', 'broadcast', "),
    ],
)
def test_deliveries_that_settings_do_not_allow(
    delivery: str, retrieval: dict[str, Any], message: str
) -> None:
    assert message in problem({"selection": {"delivery": delivery}, "retrieval": retrieval})


def test_deliveries_that_settings_allow() -> None:
    make_config({"selection": {"delivery": "on-demand"}, "retrieval": {"refresh": 3, "counts": "declared"}})
    make_config({"selection": {"delivery": "broadcast"}})
    make_config(
        {"selection": {"delivery": "pre-generated"}, "retrieval": {"method": "simhash-union", "refresh": 3}}
    )


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("rounds: 010\n", "rounds", 10),
        ("seed: 0123\n", "seed", 123),
        ("seed: 0o10\n", "seed", 8),
        ("seed: 0x1F\n", "seed", 31),
        ("seed: +5\n", "seed", 5),
        ("client: {learning_rate: 1e-3}\n", "client.learning_rate", 0.001),
        ("client: {learning_rate: 1}\n", "client.learning_rate", 1.0),
        ("client: {learning_rate: .5}\n", "client.learning_rate", 0.5),
        ("client: {learning_rate: !!float 1}\n", "client.learning_rate", 1.0),
        ("workers: ~\n", "workers", None),
        ("workers:\n", "workers", None),
        ("workers: Null\n", "workers", None),
        ("tensorboard: TRUE\n", "tensorboard", True),
        ("output: yes\n", "output", "yes"),
        ("output: none\n", "output", "none"),
        ("output: 1:30\n", "output", "1:30"),
        ("output: 2024-01-01\n", "output", "2024-01-01"),
        ("output: 1_000\n", "output", "1_000"),
        ("output: '007'\n", "output", "007"),
        ("output: !!str 007\n", "output", "007"),
        ("output: |\n  a\n  b\n", "output", "a\nb\n"),
        ("\ufeffrounds: 3\n", "rounds", 3),
        ("%YAML 1.2\n---\nrounds: 3\n...\n", "rounds", 3),
        ("client: &a {epochs: 2}\nrounds: &b 3\nseed: *b\n", "seed", 3),
    ],
)
def test_files_are_yaml_1_2(text: str, name: str, value: object, tmp_path: Path) -> None:
    found: Any = load_config(write(tmp_path, text))
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "group", [name for name, field in Config.model_fields.items() if "Settings" in str(field)]
)
@pytest.mark.parametrize("text", ["{}:\n", "{}: ~\n", "{}: {{}}\n", "{}:\n  # epochs: 1\nrounds: 200\n"])
def test_an_empty_group_is_the_default(group: str, text: str, tmp_path: Path) -> None:
    assert load_config(write(tmp_path, text.format(group))) == Config() == make_config({group: None})


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = write(tmp_path, "\n".join([*lines, "rounds: *a11"]) + "\n")
    with pytest.raises(HashfedError) as caught:
        load_config(path)
    assert len(str(caught.value)) < len(str(path)) + 600


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rounds", "1:30"),
        ("rounds", "yes"),
        ("rounds", "1e3"),
        ("rounds", "1_000"),
        ("rounds", " 5"),
        ("rounds", "5 "),
        ("rounds", "0x10"),
        ("rounds", "0o10"),
        ("rounds", "１０"),
        ("rounds", "٣"),
        ("rounds", "5.0"),
        ("rounds", ""),
        ("rounds", "[3]"),
        ("rounds", "'3'"),
        ("rounds", "!!int 3"),
        ("rounds", "true"),
        ("rounds", "9" * 5000),
        ("workers", ""),
        ("client.clip", ""),
        ("client.learning_rate", "yes"),
        ("client.learning_rate", "1:30"),
        ("client.learning_rate", "nan"),
        ("client.learning_rate", "inf"),
        ("client.learning_rate", ".inf"),
        ("client.learning_rate", "1e400"),
        ("client.learning_rate", "1_0.5"),
        ("client.learning_rate", "true"),
        ("tensorboard", "yes"),
        ("tensorboard", "1"),
        ("retrieval.code_bits", "true"),
        ("retrieval.code_bits", "4.0"),
    ],
)
def test_an_option_that_is_no_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(HashfedError) as caught:
        load_config(None, {name: text})
    assert str(caught.value).startswith(f"{name} = ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_numbers_of_options_are_decimal() -> None:
    config = load_config(
        None, {"rounds": "010", "seed": "+08", "client.learning_rate": "1e-3", "cohort": "7"}
    )
    assert (config.rounds, config.seed, config.client.learning_rate, config.cohort) == (10, 8, 0.001, 7)
    assert load_config(None, {"output": "007"}).output == "007"


AS_PYYAML_WROTE = """\
data:
  source: "donn\\xE9es/\\xE9t\\xE9.jsonl"
  vocabulary: 10000
client:
  learning_rate: 1.0e-05
  clip: null
server:
  learning_rate: 1.0e+20
  epsilon: 1.0e-09
  bias_correction: false
flower:
  slices: 'yes'
  slices_url: http://example.org:8000/s
seed: 1208925819614629174706176
tensorboard: true
output: '{}'
"""
"""What ``yaml.safe_dump`` made of settings: folders of earlier runs hold it."""


@pytest.mark.parametrize("output", ["007", "1:30", "1_000", "2024-01-01", "yes", "null", "0o7", "a: b # c"])
def test_a_file_that_pyyaml_wrote_is_read_as_before(output: str, tmp_path: Path) -> None:
    config = load_config(write(tmp_path, AS_PYYAML_WROTE.format(output)))
    assert config.data.source == "données/été.jsonl"
    assert (config.client.learning_rate, config.client.clip) == (1e-05, None)
    assert (config.server.learning_rate, config.server.epsilon) == (1e20, 1e-9)
    assert (config.server.bias_correction, config.tensorboard, config.seed) == (False, True, 2**80)
    assert (config.flower.slices, config.flower.slices_url) == ("yes", "http://example.org:8000/s")
    assert config.output == output


@pytest.mark.parametrize(
    "text", ["none", "null", "~", "yes", "007", "1:30", "0o7", "1e3", ".5", ".inf", "2024-01-01"]
)
@pytest.mark.parametrize(
    "more", ["{}", "{}\n", " {}", "{}: x", "# {}", "<<{}", "'{}\"", "\x1b{}\x85\u2028\ufeff😀"]
)
def test_text_that_looks_like_something_else_is_saved_as_text(text: str, more: str, tmp_path: Path) -> None:
    config = Config(output="./" + more.format(text)).model_copy(update={"output": more.format(text)})
    tree = read_yaml(write(tmp_path, config.to_yaml()).read_text(encoding="utf-8"))
    assert tree["output"] == more.format(text)


@pytest.mark.parametrize("name", ["data.source", "output", "flower.slices"])
def test_home_folders_in_paths(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    leaf = name.rpartition(".")[2]

    def value(config: Config) -> str:
        return str(dict(leaves(config))[name])

    for written, meant in [
        ("~", "/home/ann"),
        ("~/a b", "/home/ann/a b"),
        ("~root/x", f"{Path('~root').expanduser()}/x"),
        ("a/~", "a/~"),
        ("./~/x", "./~/x"),
    ]:
        assert value(load_config(None, {name: written})) == meant
        assert value(make_config(nested(name, written))) == meant
        if not written.startswith("."):  # a Path forgets the dot
            assert value(make_config(nested(name, Path(written)))) == meant
        quoted = f"'{written}'" if name == leaf else f"{{{leaf}: '{written}'}}"
        assert value(load_config(write(tmp_path, f"{name.partition('.')[0]}: {quoted}\n"))) == meant
    assert problem(nested(name, "~nobody-of-this-name/x")) == (
        f"{name} = '~nobody-of-this-name/x': no home folder is known for ~nobody-of-this-name; "
        "in this folder: ./~nobody-of-this-name/x"
    )


def test_a_dotted_name_in_a_file_is_shown_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "client.learning_rate: 0.1\n")
    with pytest.raises(HashfedError, match=r"in a file write learning_rate below client:$"):
        load_config(path)
