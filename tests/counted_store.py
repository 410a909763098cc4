"""What a source hands out, counted."""

from dataclasses import dataclass

from hashfed.engines.slice_store import SliceSource
from hashfed.federated.slices import Wanted


@dataclass
class Counted:
    """A source of slices that counts: how many it has handed out, and their bytes."""

    source: SliceSource
    requests: int = 0
    served: int = 0

    def get(self, wanted: Wanted) -> bytes:
        """The slice."""
        data = self.source.get(wanted)
        self.requests += 1
        self.served += len(data)
        return data
