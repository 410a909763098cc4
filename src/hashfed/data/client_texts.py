"""What readers give."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClientTexts:
    """One client's texts, oldest first."""

    client: str
    texts: list[str]
