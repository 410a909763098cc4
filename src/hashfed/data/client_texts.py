"""What readers give."""

from dataclasses import dataclass
from typing import Literal

Group = Literal["train", "validation", "test"]
Key = tuple[Group | None, str]
"""What tells a client from others: its group where the source states one, and its name there."""
UNKNOWN = "<oov>"
"""The word of a source that had words only as ids, for the id of those that it did not know."""


@dataclass(frozen=True)
class ClientTexts:
    """One client's texts, oldest first.

    Attributes:
        client: its name in the source.
        texts: not cut into words yet.
        group: what it is for, where the source states it; None: its name decides (``group_of``). Clients of
            one name and different groups are different clients.

    """

    client: str
    texts: list[str]
    group: Group | None = None

    @property
    def key(self) -> Key:
        """What tells it from other clients."""
        return self.group, self.client


def full_name(key: Key) -> str:
    """One name for a client among all of a source: ``ann``; ``test/ann`` where it is stated not to train."""
    group, name = key
    return name if group in (None, "train") else f"{group}/{name}"
