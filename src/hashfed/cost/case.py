"""One client in a round of one configuration: all that its costs follow from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hashfed.config import Config
from hashfed.cost.keys import Hashing
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.slices import BucketTraffic, typical_buckets
from hashfed.cost.variants import held_planes, held_rows
from hashfed.cost.workload import Workload
from hashfed.engines.budget import sends_everything, steps
from hashfed.engines.common_plan import common_plan
from hashfed.federated.common_plan import CommonPlan
from hashfed.federated.model_shape import ModelShape
from hashfed.federated.protocols import in_lockstep
from hashfed.models.protocol import OUTPUT
from hashfed.retrieval import Selection


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
        common: the rows that all clients hold where the server learns sums alone; where nobody knows, their
            number is taken.

    """

    config: Config
    sizes: ModelSizes
    size: int
    workload: Workload
    hashing: Hashing
    fetched: BucketTraffic | None = None
    common: Selection | None = None

    @property
    def own(self) -> int:
        """Rows that its data need."""
        return len(self.workload.own)

    @cached_property
    def everything(self) -> bool:
        """Whether it gets all rows."""
        return sends_everything(self.config)

    @cached_property
    def plan(self) -> CommonPlan | None:
        """Of the cohort's sum, where the server learns sums alone."""
        if not in_lockstep(steps(self.config)):
            return None
        tables = {OUTPUT: (self.size, self.sizes.dimension), **self.sizes.inputs}
        return common_plan(self.config, ModelShape(tables, self.sizes.body))

    @cached_property
    def received(self) -> int:
        """Rows on the device before any are dropped; of a message with all rows, those that it takes."""
        if self.common is not None:
            return len(np.union1d(self.common.ids, self.workload.own))
        return held_rows(self.config, self.size, self.own)[0]

    @cached_property
    def trained(self) -> int:
        """Rows that it trains on."""
        return self.received if self.common is not None else held_rows(self.config, self.size, self.own)[1]

    @property
    def drawn(self) -> int:
        """Rows of its selection that may be there by chance."""
        if self.common is not None:
            return int(np.count_nonzero(self.common.log_weight))
        return self.received - self.own

    @property
    def rows_held(self) -> list[tuple[int, int]]:
        """How many rows of each table, and their length."""
        inputs = self.sizes.inputs
        touched = [(count, inputs[name][1]) for name, count in self.workload.touched.items()]
        return [(self.received, self.sizes.dimension), *touched]

    @cached_property
    def planes(self) -> int:
        """K, of the tail."""
        if self.plan is not None:
            return self.plan.planes
        return held_planes(self.config, self.size, self.own, self.hashing.planes)

    @cached_property
    def buckets(self) -> BucketTraffic:
        """Slices of buckets that it fetches."""
        return self.fetched or typical_buckets(self.config.retrieval.bucket_shape, self.hashing, self.size)
