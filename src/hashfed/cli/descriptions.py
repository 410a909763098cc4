"""What the docstrings below settings say.

Pydantic reads them too, but whenever settings are imported, also in nodes and workers, which show no help.
"""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise

from hashfed.settings import Settings


def descriptions(group: type[Settings]) -> dict[str, str]:
    """By name of the field, those of parents included; none where there is no source to read."""
    found: dict[str, str] = {}
    for kind in reversed(group.__mro__):
        if issubclass(kind, Settings):
            found |= _docstrings(kind.__module__).get(kind.__name__, {})
    return found


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """By class and by field."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):
        return {}
    kinds = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {kind.name: dict(_described(kind.body)) for kind in kinds}


def _described(body: list[ast.stmt]) -> list[tuple[str, str]]:
    found = []
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                found.append((name, inspect.cleandoc(said)))
    return found
