"""How interactions become examples."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from hashfed.scalars import plain_value
from hashfed.settings import HOME_EXPANDED
from hashfed.tasks.next_item.readers.reading import Format
from hashfed.tasks.settings import TaskSettings

SHARE = 0.1


class ItemSettings(TaskSettings):
    """Users' items, one after another."""

    source: Annotated[str, HOME_EXPANDED] = "interactions.txt"
    """File of interactions: lines "user item" (.txt), RecBole's .inter, .csv, .tsv or .parquet; the text formats
    also with .gz."""
    format: Format | None = None
    """Of the file; user-items: lines "user item item ...". None: its name tells."""
    user_column: str | None = Field(None, min_length=1)
    """Of .inter, .csv and .parquet; none: user, user_id or userId."""
    item_column: str | None = Field(None, min_length=1)
    """Likewise; none: item, item_id or itemId."""
    time_column: str | None = Field(None, min_length=1)
    """Likewise, a number; none: time or timestamp, where there is one. Items are in its order, else in the file's."""
    items: int | None = Field(None, ge=2, le=2**31 - 2)
    """Number of items, the most frequent ones in training; the others are left out. None: all of the source."""
    clients: int | None = Field(None, ge=1)
    """At most this many users, chosen by their names and not by the seed; none: all."""
    length: int = Field(50, ge=1, le=2**20)
    """Most items that are read of a history, and predicted in training: the last ones."""
    split: Literal["leave-one-out", "time"] = "leave-one-out"
    """leave-one-out: of each user the last item is for test, the one before for validation; time: of all users
    what came last, after one point in time."""
    held_out_share: float = Field(SHARE, gt=0, lt=0.5)
    """With split time: share of all interactions that are after the test's point in time, and as many before it
    are validation's."""
    cutoffs: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field((10,), min_length=1, max_length=10)
    """k of HR@k and NDCG@k, such as 10,20; the first is the one that is plotted."""

    size_setting: ClassVar[str] = "items"
    longest: ClassVar[str | None] = "length"
    names_file: ClassVar[str] = "items.json"

    @field_validator("cutoffs", mode="before")
    @classmethod
    def _listed(cls, cutoffs: Any) -> Any:
        """A list of YAML; or one number, or several between commas, of the command line."""
        if isinstance(cutoffs, str):
            return tuple(plain_value(part.strip()) for part in cutoffs.split(","))
        if isinstance(cutoffs, int) and not isinstance(cutoffs, bool):
            return (cutoffs,)
        return tuple(cutoffs) if isinstance(cutoffs, list) else cutoffs

    @field_validator("cutoffs")
    @classmethod
    def _check_cutoffs(cls, cutoffs: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(cutoffs)) < len(cutoffs):
            raise ValueError(f"cutoffs = {', '.join(map(str, cutoffs))}: must differ")
        return cutoffs

    @property
    def columns(self) -> dict[str, str | None]:
        """Names of columns, where they are set."""
        return {"user": self.user_column, "item": self.item_column, "time": self.time_column}
