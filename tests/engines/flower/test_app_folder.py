import json
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from hashfed.config import Config, make_config, setting_fields
from hashfed.errors import HashfedError

pytest.importorskip("flwr")

from flwr.common.config import flatten_dict, fuse_dicts, parse_config_args

from hashfed.deploy.app_folder import CLIENT, SERVER, app_toml, config_of, write_app
from hashfed.deploy.commands import Value, environment, find_program, pairs
from hashfed.retrieval import METHODS
from small import PATIENCE
from small_flower import write_trivial_app

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower"
OWN_DATA = EXAMPLE.parent / "own_data"


def run_config(text: str) -> dict[str, Any]:
    """What Flower makes of an app's settings."""
    tree = tomllib.loads(text)["tool"]["flwr"]["app"]["config"]
    return dict(flatten_dict(tree))


def values(name: str, field: FieldInfo) -> st.SearchStrategy[Any]:
    """Values of one setting, allowed on their own."""
    words = get_args(field.annotation)
    limits = {
        key: getattr(item, key)
        for item in field.metadata
        for key in ("ge", "gt", "le", "lt")
        if hasattr(item, key)
    }
    low = limits.get("ge", limits.get("gt", 0))
    high = limits.get("le", limits.get("lt", low + 1000))
    kinds = [word for word in words if word is not type(None)] or [field.annotation]
    if get_origin(field.annotation) is Literal:
        found: st.SearchStrategy[Any] = st.sampled_from(words)
    elif kinds[0] is bool:
        found = st.booleans()
    elif kinds[0] is int:
        found = st.integers(int(low) + ("gt" in limits), int(high) - ("lt" in limits))
    elif kinds[0] is float:
        found = st.floats(low, high, exclude_min="gt" in limits, exclude_max="lt" in limits)
    else:
        found = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
            lambda text: text != "none"
        )
    return st.none() | found if type(None) in words else found


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Configurations that differ from the default one in a few settings."""
    method = draw(st.sampled_from(sorted(METHODS)))
    tree: dict[str, Any] = {"retrieval": {"method": method}}
    fields = dict(setting_fields(make_config(tree)))
    names = draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=6))
    for name in names:
        group, _, leaf = name.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[leaf] = draw(values(name, fields[name]))
    try:
        return make_config(tree)
    except HashfedError:  # settings that do not go together
        return Config()


@given(configs())
def test_settings_survive_the_way_through_flower(config: Config) -> None:
    assert config_of(run_config(app_toml(config))) == config


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z-]{0,9}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"]))
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_pairs_are_read_back_by_flower(config: dict[str, Value]) -> None:
    read = parse_config_args([pairs(config)])
    assert read == config
    assert {key: type(value) for key, value in read.items()} == {
        key: type(value) for key, value in config.items()
    }


def test_overrides() -> None:
    given = parse_config_args(["rounds=5 client.learning_rate=0.1 evaluation.examples='none' output=\"/x\""])
    config = config_of(fuse_dicts(run_config(app_toml(Config())), given))
    assert (config.rounds, config.client.learning_rate) == (5, 0.1)
    assert (config.evaluation.examples, config.output) == (None, "/x")


def test_a_word_none_of_a_setting_itself_stays() -> None:
    config = make_config({"selection": {"correction": "none"}, "data": {"source": "none"}})
    assert config_of(run_config(app_toml(config))) == config


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"rounds": 0}, "rounds = 0: "),
        ({"rounds": "none"}, "rounds = 'none': "),
        ({"selection.budget": 2.0}, "selection.budget = 2.0: "),
        ({"selection.budgt": 0.1}, "selection.budgt: no such setting; did you mean selection.budget?"),
        ({"rounds.budget": 0.1}, "rounds.budget: no such setting; rounds is a value"),
    ],
)
def test_bad_values(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(HashfedError) as error:
        config_of({**run_config(app_toml(Config())), **changed})
    assert str(error.value).startswith(expected)


def test_what_flower_cannot_carry() -> None:
    with pytest.raises(HashfedError, match="seed = 9223372036854775808: Flower carries whole numbers below"):
        app_toml(Config(seed=2**63))
    with pytest.raises(HashfedError, match=r"output = 'none': stands for no value; write ./none"):
        app_toml(Config(output="none"))


def test_the_example_is_up_to_date(tmp_path: Path) -> None:
    """After a new setting, write it again: ``write_app(Path("examples/flower"), Config())``."""
    write_app(tmp_path, Config())
    for name in ("pyproject.toml", "README.md"):
        assert (EXAMPLE / name).read_text() == (tmp_path / name).read_text()
    assert sorted(path.name for path in EXAMPLE.iterdir()) == ["README.md", "pyproject.toml"]


def test_so_are_the_settings_of_the_client_with_its_own_data(tmp_path: Path) -> None:
    """Likewise: ``write_app(Path("examples/own_data"), Config(), client="own_data:app")``."""
    write_app(tmp_path, Config(), client="own_data:app")
    assert (OWN_DATA / "pyproject.toml").read_text() == (tmp_path / "pyproject.toml").read_text()


def test_a_readme_of_the_users_own_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write_app(tmp_path, Config(seed=1))
    write_app(tmp_path, Config(seed=2))
    assert (tmp_path / "README.md").read_text() == "mine"
    assert "seed = 2" in (tmp_path / "pyproject.toml").read_text()


def build(app: Path, tmp_path: Path) -> str:
    """Build the app as ``flwr build`` does, without a network."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [find_program("flwr"), "build", "--app", str(app)],
        cwd=tmp_path,
        env={**environment(tmp_path / "home"), **nowhere},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.glob("hashfed.hashfed-app.0-1-0.*.fab"))
    return done.stdout


@pytest.mark.skipif(
    find_spec(SERVER.partition(":")[0]) is None or find_spec(CLIENT.partition(":")[0]) is None,
    reason="the apps themselves are not there yet",
)
def test_flower_builds_the_example(tmp_path: Path) -> None:
    assert "missing" not in build(EXAMPLE, tmp_path)


def test_flower_builds_an_app(tmp_path: Path) -> None:
    assert "missing" not in build(write_trivial_app(tmp_path / "app"), tmp_path)


def test_settings_are_plain_values() -> None:
    assert json.dumps(run_config(app_toml(Config())))
    assert set(run_config(app_toml(Config()))) == {name for name, _ in setting_fields(Config())}
