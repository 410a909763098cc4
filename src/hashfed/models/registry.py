"""Models by name: a new model adds its file and one line here."""

from collections.abc import Callable
from typing import Any

from hashfed.errors import HashfedError
from hashfed.models.protocol import Model
from hashfed.models.transformer import Transformer

MODELS: dict[str, Callable[..., Model]] = {"transformer": Transformer}


def make_model(name: str, **sizes: Any) -> Model:
    """The model called ``name`` with its sizes.

    Raises:
        HashfedError: for an unknown name.

    """
    if name not in MODELS:
        raise HashfedError(f"model.name = {name}: must be one of {', '.join(MODELS)}")
    return MODELS[name](**sizes)
