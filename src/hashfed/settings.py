"""The base of every group of settings: typed, immutable, checked when made."""

import os
from typing import Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.files import with_home

LARGEST = 2**53
"""Whole number that a setting may be, save the seed: JSON and real numbers hold it exactly."""


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

    @model_validator(mode="after")
    def _check_whole_numbers(self) -> Self:
        for name, value in self:
            if isinstance(value, int) and value > LARGEST and name != "seed":
                raise ValueError(f"{name} = {shown(value)}: must be at most {LARGEST}")
        return self


def _expand(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        return value
    try:
        return with_home(os.fsdecode(value))
    except HashfedError as error:
        raise ValueError(str(error)) from None


HOME_EXPANDED = BeforeValidator(_expand)
"""Of a setting that is a path: a ``pathlib.Path`` is one too, and ``~`` is the user's home."""
