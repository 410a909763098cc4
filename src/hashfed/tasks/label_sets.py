"""Examples that are sets of features with sets of labels (extreme classification)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from hashfed.models.batch import Batch, Targets
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.examples import join_columns, positions, ranges


@dataclass(frozen=True)
class LabelSets:
    """Features with values, and labels; one that is trained on has at least one of either.

    Attributes:
        features: (f,) int32 ids of rows of the input table, example after example.
        values: (f,) float32, what each row is multiplied with.
        feature_counts: (s,) int64 features of each example.
        labels: (l,) int32 ids of rows of the output table, example after example.
        label_counts: (s,) int64 labels of each.
        gains: (l,) float32, what finding each label is worth to metrics that ask; None: the same.

    """

    features: np.ndarray
    values: np.ndarray
    feature_counts: np.ndarray
    labels: np.ndarray
    label_counts: np.ndarray
    gains: np.ndarray | None = None

    batch_columns: ClassVar[tuple[str, ...]] = ("features", "values", "starts")

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.feature_counts)

    def take(self, index: np.ndarray) -> "LabelSets":
        """See ``Examples``."""
        features = ranges(self.feature_counts, index)
        labels = ranges(self.label_counts, index)
        return LabelSets(
            self.features[features],
            self.values[features],
            self.feature_counts[index],
            self.labels[labels],
            self.label_counts[index],
            None if self.gains is None else self.gains[labels],
        )

    def join(self, others: "Sequence[LabelSets]") -> "LabelSets":
        """See ``Examples``."""
        return LabelSets(**join_columns([self, *others]))

    @property
    def weights(self) -> np.ndarray:
        """(s,) int64 ones: an example is one prediction, of all its labels."""
        return np.ones(len(self), np.int64)

    @property
    def weight(self) -> int:
        """Number of examples."""
        return len(self)

    @property
    def shape(self) -> tuple[int, int]:
        """(s, mean number of features, rounded up)."""
        return len(self), -(-len(self.features) // max(1, len(self)))

    def own(self, *tables: str) -> np.ndarray:
        """See ``Examples``."""
        columns = {INPUT: self.features, OUTPUT: self.labels}
        return np.unique(np.concatenate([columns[table] for table in tables])).astype(np.int64)

    def columns(self) -> dict[str, np.ndarray]:
        """See ``Examples``."""
        return {name: values for name, values in vars(self).items() if values is not None}

    def bind(self, held: Mapping[str, np.ndarray | None], device: torch.device) -> "BoundLabelSets":
        """See ``Examples``; the column ``starts`` (s,) says where each example's features begin."""
        return BoundLabelSets(
            self,
            positions(self.features, held[INPUT], device),
            torch.from_numpy(self.values).to(device),
            positions(self.labels, held[OUTPUT], device),
            None if self.gains is None else torch.from_numpy(self.gains).to(device),
        )


@dataclass(frozen=True)
class BoundLabelSets:
    """The same as positions in the rows at hand."""

    examples: LabelSets
    features: torch.Tensor
    values: torch.Tensor
    labels: torch.Tensor
    gains: torch.Tensor | None = None

    @property
    def weights(self) -> torch.Tensor:
        """See ``BoundExamples``."""
        return torch.ones(len(self.examples), dtype=torch.int64, device=self.features.device)

    def batch(self, index: torch.Tensor) -> Batch:
        """See ``BoundExamples``."""
        chosen, device = index.cpu().numpy(), self.features.device
        features = torch.from_numpy(ranges(self.examples.feature_counts, chosen)).to(device)
        labels = torch.from_numpy(ranges(self.examples.label_counts, chosen)).to(device)
        counts = self.examples.feature_counts[chosen]
        return Batch(
            columns={
                "features": self.features[features],
                "values": self.values[features],
                "starts": torch.from_numpy(np.cumsum(counts) - counts).to(device),
            },
            tables={"features": INPUT},
            targets=Targets(
                self.labels[labels],
                torch.from_numpy(self.examples.label_counts[chosen]).to(device),
                None if self.gains is None else self.gains[labels],
            ),
        )
