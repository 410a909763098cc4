"""How interactions become examples."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from hashfed.scalars import WHOLE
from hashfed.settings import HOME_EXPANDED
from hashfed.tasks.next_item.readers.reading import Format
from hashfed.tasks.settings import TaskSettings

SHARE, MOST_CUTOFF = 0.1, 10_000


class ItemSettings(TaskSettings):
    """Users' items, one after another."""

    source: Annotated[str, HOME_EXPANDED] = "interactions.txt"
    """File of interactions: lines "user item" (.txt), RecBole's .inter, .csv, .tsv or .parquet; all but the
    last also with .gz."""
    format: Format | None = None
    """Of the file; user-items: lines "user item item ...". None: its name tells."""
    user_column: str | None = Field(None, min_length=1)
    """Of .inter, .csv and .parquet; none: user, user_id or userId."""
    item_column: str | None = Field(None, min_length=1)
    """Likewise; none: item, item_id or itemId."""
    time_column: str | None = Field(None, min_length=1)
    """Likewise, a number; none: time or timestamp, where there is one. Items are in its order, else in the
    file's."""
    items: int | None = Field(None, ge=2, le=2**31 - 2)
    """Number of items, the most frequent ones in training; others are left out. None: all of the source."""
    clients: int | None = Field(None, ge=1)
    """At most this many users, chosen by their names and not by the seed; none: all."""
    length: int = Field(50, ge=1, le=2**20)
    """Most items that are read of a history, and predicted in training: the last ones."""
    split: Literal["leave-one-out", "time"] = "leave-one-out"
    """leave-one-out: of each user the last item is for test, the one before for validation; time: of all
    users what came after one point in time."""
    held_out_share: float = Field(SHARE, gt=0, lt=0.5)
    """With split time: share of all interactions that are after the test's point in time; validation has as
    many before it."""
    cutoffs: str = Field("10", max_length=100)
    """k of HR@k and NDCG@k, between commas: such as 10,20. The first is the one that is plotted."""

    size_setting: ClassVar[str] = "items"
    longest: ClassVar[str | None] = "length"
    names_file: ClassVar[str] = "items.json"

    @field_validator("cutoffs", mode="before")
    @classmethod
    def _as_text(cls, cutoffs: Any) -> Any:
        """One number, or a list, of a file."""
        if isinstance(cutoffs, list):
            return ",".join(map(str, cutoffs))
        return str(cutoffs) if isinstance(cutoffs, int) and not isinstance(cutoffs, bool) else cutoffs

    @field_validator("cutoffs")
    @classmethod
    def _check_cutoffs(cls, cutoffs: str) -> str:
        numbers = [part.strip() for part in cutoffs.split(",")]
        if not all(WHOLE.fullmatch(part) and 1 <= int(part) <= MOST_CUTOFF for part in numbers):
            raise ValueError(f"must be whole numbers from 1 to {MOST_CUTOFF} between commas")
        if len(set(map(int, numbers))) < len(numbers):
            raise ValueError("must differ")
        return ",".join(numbers)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Each k, as a number."""
        return tuple(map(int, self.cutoffs.split(",")))

    @property
    def columns(self) -> dict[str, str | None]:
        """Names of columns, where they are set."""
        return {"user": self.user_column, "item": self.item_column, "time": self.time_column}
