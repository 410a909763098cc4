"""Who had what, and when: what every reader makes of its file."""

from array import array
from dataclasses import dataclass

import numpy as np

from hashfed.data.client_texts import Key


@dataclass(frozen=True)
class History:
    """One user's items, the oldest first.

    Attributes:
        user: the name.
        items: (m,) int32 places in ``names``.
        times: (m,) float64 ascending, of any unit; None where the source has none.
        names: of all items of the source.

    """

    user: str
    items: np.ndarray
    times: np.ndarray | None
    names: tuple[str, ...]

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return None, self.user


class Log:
    """Interactions in the order of a file, one number for each name."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._who, self._what, self._when = array("i"), array("i"), array("d")

    def __len__(self) -> int:
        """Number of interactions."""
        return len(self._who)

    def knows(self, user: str) -> bool:
        """Whether there is something of this user."""
        return user in self._users

    def add(self, user: str, item: str, time: float | None = None) -> None:
        """One more; with a time for all or for none."""
        self._who.append(self._users.setdefault(user, len(self._users)))
        self._what.append(self._items.setdefault(item, len(self._items)))
        if time is not None:
            self._when.append(time)

    def histories(self) -> list[History]:
        """By user, in order of first appearance; in order of times, equal ones and others as they came."""
        who, what = (np.frombuffer(column, np.int32) for column in (self._who, self._what))
        when = np.frombuffer(self._when, np.float64) if len(self._when) else None
        order = np.argsort(who, kind="stable") if when is None else np.lexsort((when, who))
        names, ends = tuple(self._items), np.cumsum(np.bincount(who, minlength=len(self._users)))[:-1]
        items = np.split(what[order], ends)
        times = [None] * len(items) if when is None else np.split(when[order], ends)
        return [
            History(user, some, at, names) for user, some, at in zip(self._users, items, times, strict=True)
        ]
