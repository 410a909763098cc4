"""One client in a round of one configuration: all that its costs follow from."""

from dataclasses import dataclass
from functools import cached_property

from hashfed.config import Config
from hashfed.cost.keys import Hashing
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.slices import BucketTraffic, typical_buckets
from hashfed.cost.variants import held_planes, held_rows
from hashfed.cost.workload import Workload
from hashfed.engines.budget import sends_everything


@dataclass(frozen=True)
class Case:
    """A client with this workload, encoder and keys, in a model of ``size`` rows.

    Attributes:
        config: of the run.
        sizes: of the model.
        size: n.
        workload: the client's.
        hashing: its encoder and keys.
        fetched: slices of buckets, where they are pre-generated; where nobody knows, typical ones are taken.

    """

    config: Config
    sizes: ModelSizes
    size: int
    workload: Workload
    hashing: Hashing
    fetched: BucketTraffic | None = None

    @property
    def own(self) -> int:
        """Rows that its data need."""
        return len(self.workload.own)

    @cached_property
    def everything(self) -> bool:
        """Whether it gets all rows."""
        return sends_everything(self.config)

    @cached_property
    def received(self) -> int:
        """Rows on the device before any are dropped."""
        return held_rows(self.config, self.size, self.own)[0]

    @cached_property
    def trained(self) -> int:
        """Rows that it trains on."""
        return held_rows(self.config, self.size, self.own)[1]

    @property
    def rows_held(self) -> list[tuple[int, int]]:
        """How many rows of each table, and their length."""
        inputs = self.sizes.inputs
        touched = [(count, inputs[name][1]) for name, count in self.workload.touched.items()]
        return [(self.received, self.sizes.dimension), *touched]

    @cached_property
    def planes(self) -> int:
        """K, of the tail."""
        return held_planes(self.config, self.size, self.own, self.hashing.planes)

    @cached_property
    def buckets(self) -> BucketTraffic:
        """Slices of buckets that it fetches."""
        return self.fetched or typical_buckets(self.config.retrieval.bucket_shape, self.hashing, self.size)
