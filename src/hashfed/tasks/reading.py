"""Who is told how far the reading of a large source is."""

from collections.abc import Callable

Tell = Callable[[str, int], None]
"""``tell(pass, texts)``: how many more texts were read in which pass over the source."""


def tell_nobody(name: str, texts: int) -> None:
    """Nothing."""
