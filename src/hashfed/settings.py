"""The base of every group of settings: typed, immutable, checked when made; and unions of groups by name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, ValidationError
from pydantic_core.core_schema import no_info_before_validator_function

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
        defer_build=True,
        allow_inf_nan=False,
        strict=True,
    )

    @model_validator(mode="after")
    def _check_whole_numbers(self) -> Self:
        for name, value in self:
            if isinstance(value, int) and value > LARGEST and name != "seed":
                raise ValueError(f"{name} = {shown(value)}: must be at most {LARGEST}")
        return self


@dataclass(frozen=True, eq=False)
class ByName:
    """Annotates a group of settings that is one of several kinds, each with its own fields: a union by name.

    Attributes:
        key: the field that names the kind.
        kinds: the groups by that name; one that is added later counts too.
        default: the kind of a group that names none.

    """

    key: str
    kinds: Mapping[str, type[Settings]]
    default: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The kind is chosen before the group is checked."""
        return no_info_before_validator_function(self.choose, handler(source))

    @classmethod
    def of(cls, field: FieldInfo) -> "ByName | None":
        """The annotation of a field that is such a group; None for another."""
        return next((item for item in field.metadata if isinstance(item, cls)), None)

    def fields(self) -> dict[str, dict[str, FieldInfo]]:
        """For each setting that any kind has, the kinds that have it."""
        found: dict[str, dict[str, FieldInfo]] = {}
        for name, kind in self.kinds.items():
            for leaf, field in kind.model_fields.items():
                found.setdefault(leaf, {})[name] = field
        return found

    def strange(self, kind: str, leaf: object) -> bool:
        """Whether a setting is one of other kinds only."""
        return leaf not in self.kinds[kind].model_fields and leaf in self.fields()

    def choose(self, value: Any) -> Any:
        """The group that ``value`` means, a mapping; whatever is none is for the group's own check.

        Raises:
            ValidationError: where the kind is unknown, a field is of other kinds only (``other_kind``), or a
                value is wrong.

        """
        if not isinstance(value, Mapping):
            return value
        name = value.get(self.key, self.default)
        if not isinstance(name, str) or name not in self.kinds:
            *most, last = map(repr, self.kinds)
            expected = f"{', '.join(most)} or {last}" if most else last
            raise _refused("literal_error", self.key, name, {"expected": expected})
        for leaf, given in value.items():
            if self.strange(name, leaf):
                allowed = ", ".join(known for known in self.kinds[name].model_fields if known != self.key)
                error = PydanticCustomError(
                    "other_kind",
                    "not a setting of {key} = {kind} ({allowed})",
                    {
                        "key": self.key,
                        "kind": name,
                        "allowed": f"allowed: {allowed}" if allowed else "which has none",
                    },
                )
                raise _refused(error, leaf, given)
        return self.kinds[name].model_validate(value)


def _refused(
    error: str | PydanticCustomError, leaf: str, value: Any, context: dict[str, Any] | None = None
) -> ValidationError:
    """The error of one field."""
    details = InitErrorDetails(type=error, loc=(leaf,), input=value, ctx=context or {})
    return ValidationError.from_exception_data("settings", [details])


def _expand(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        return value
    try:
        return with_home(os.fsdecode(value))
    except HashfedError as error:
        raise ValueError(str(error)) from None


HOME_EXPANDED = BeforeValidator(_expand)
"""Of a setting that is a path: a ``pathlib.Path`` is one too, and ``~`` is the user's home."""
