"""A configuration as a Flower App folder, and back from the run configuration that Flower hands to apps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic.fields import FieldInfo

from hashfed.config import Config, make_config, setting_fields
from hashfed.errors import HashfedError
from hashfed.files import write_atomically

SERVER = "hashfed.runs.flower_server:app"
CLIENT = "hashfed.engines.flower.client_app:app"
NAME = "hashfed-app"
"""Not ``hashfed``: a project must not depend on another of its own name."""

NONE = "none"
"""TOML has no null."""

README = """\
# hashfed as a Flower App

Written by `hashfed.deploy.app_folder.write_app`. The apps themselves are part of the package
`hashfed`, which the SuperLink and every SuperNode need (`pip install 'hashfed[flower]'`), so this folder
holds settings only: all of hashfed's, under `[tool.flwr.app.config]` in `pyproject.toml`.

```
flwr run .                                                # with these settings
flwr run . --stream -c "rounds=5 client.learning_rate=0.1"
flwr run . -c "output='/srv/runs/first' evaluation.examples='none'"
```

`none` is no value. Another retrieval method has other settings: write them in the table
`[tool.flwr.app.config.retrieval]`. Give `output` an absolute path: the ServerApp runs in a folder of
Flower's. The same `output` again resumes the run that is kept there. Every SuperNode needs a node
configuration that says whose data it holds, such as `--node-config 'texts="/home/ann/texts" client="ann"'`
or `--node-config 'partition-id=0 num-partitions=4'`.

`hashfed serve` and `hashfed join` do all of this with one command each; with `--show-commands` they print the
commands of Flower instead.
"""


def write_app(folder: Path, config: Config, server: str = SERVER, client: str = CLIENT) -> None:
    """Write the folder that ``flwr run`` takes.

    Args:
        folder: made where it is missing; ``pyproject.toml`` in it is replaced, a ``README.md`` is not.
        config: every setting of it becomes a key that ``flwr run -c "<dotted name>=<value>"`` overrides.
        server: the ServerApp, as ``module:attribute``.
        client: the ClientApp, likewise.

    Raises:
        HashfedError: where a value cannot go through Flower, or the folder cannot be written.

    """
    text = app_toml(config, server, client)
    if not (folder / "README.md").exists():
        write_atomically(folder / "README.md", README.encode())
    write_atomically(folder / "pyproject.toml", text.encode())


def app_toml(config: Config, server: str = SERVER, client: str = CLIENT) -> str:
    """The text of the app's ``pyproject.toml``.

    Raises:
        HashfedError: where a value cannot go through Flower.

    """
    app = {
        "publisher": "hashfed",
        "components": {"serverapp": server, "clientapp": client},
        "config": _to_toml(config),
    }
    project = {
        "name": NAME,
        "version": "0.1.0",
        "description": "Federated learning of models whose output layer is huge, with rows found by hashing",
        "license": "Apache-2.0",
        "requires-python": ">=3.11",
        "dependencies": ["hashfed[flower]"],
    }
    return str(tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}))


def config_of(run_config: Mapping[str, Any]) -> Config:
    """The configuration that Flower's run configuration (dotted names, flat) stands for.

    Raises:
        HashfedError: one line naming the field, the value and what is allowed.

    """
    fields = dict(setting_fields())
    tree: dict[str, Any] = {}
    for name, value in run_config.items():
        *groups, last = name.split(".")
        at = tree
        for group in groups:
            at = at.setdefault(group, {})
            if not isinstance(at, dict):
                raise HashfedError(f"{name}: no such setting; {group} is a value")
        at[last] = None if value == NONE and name in fields and _may_be_none(fields[name]) else value
    return make_config(tree)


def _to_toml(config: Config) -> dict[str, Any]:
    """The settings as nested tables; what Flower or TOML would change on the way is refused."""
    tree = config.model_dump(mode="json")
    for name, field in setting_fields(config):
        *groups, last = name.split(".")
        at = tree
        for group in groups:
            at = at[group]
        value = at[last]
        if value is None:
            at[last] = NONE
        elif value == NONE and _may_be_none(field):
            raise HashfedError(f"{name} = '{NONE}': stands for no value; write ./{NONE}")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise HashfedError(f"{name} = {value}: Flower carries whole numbers below 2^63")
    return tree


def _may_be_none(field: FieldInfo) -> bool:
    """Whether the setting can be without a value (and "none" is not one of its own words)."""
    words = get_args(field.annotation)
    return type(None) in words and NONE not in words
