"""The base of every group of settings: typed, immutable, checked when made."""

import os
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from hashfed.errors import HashfedError
from hashfed.files import with_home


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown names, values out of range, and those of another type.

    A number is no text and a text no number; only a whole number is also a real one.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        strict=True,
    )


def _expand(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        return value
    try:
        return with_home(os.fsdecode(value))
    except HashfedError as error:
        raise ValueError(str(error)) from None


HOME_EXPANDED = BeforeValidator(_expand)
"""Of a setting that is a path: a ``pathlib.Path`` is one too, and ``~`` is the user's home."""
