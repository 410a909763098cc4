"""One client of a cohort that is played as a batch: what is known of it between the steps of a round."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hashfed.engines.client_round import ClientRound
from hashfed.engines.cohort.joined import batched
from hashfed.federated import client as client_side
from hashfed.federated.client import LocalModel
from hashfed.federated.messages import ClientKeys
from hashfed.federated.stacked_client import Held
from hashfed.models import OUTPUT, Parameters
from hashfed.retrieval import Selection
from hashfed.retrieval.planes import Planes


@dataclass(eq=False)
class Member:
    """A client in a round.

    Attributes:
        here: its data, what it declares, and its report.
        keys: of its queries; none where it is not asked.
        selection: the rows that it is sent; None for all.
        planes: how many of its tail it was sent (``cohort.planes``).
        number: of the client among those whose examples were joined.

    """

    here: ClientRound
    keys: ClientKeys
    selection: Selection | None = None
    planes: int = 0
    number: int = 0

    def holds(self, sent: Parameters) -> Held:
        """What it trains on, of parameters as they travel."""
        if self.selection is None:
            return Held(None, None, self.inputs, self.planes)
        ids, weight = self.selection.ids, self.selection.log_weight
        kept = self._kept(sent)
        if kept is not None:
            ids, weight = ids[kept], weight[kept]
        return Held(ids, weight if self.selection.log_weight.any() else None, self.inputs, self.planes)

    def _kept(self, sent: Parameters) -> np.ndarray | None:
        """Which of the rows that it is sent; None for all. Copied only where it has to look at them."""
        here, selection = self.here, self.selection
        assert selection is not None
        ids, own, budget = selection.ids, here.declared.own, here.agreed_budget
        if len(ids) <= budget:
            return None
        fixed = client_side.fixed_rows(ids, own, selection.log_weight)
        count = int(fixed.sum())
        if client_side.kept_rows(len(ids), count, budget) == count:
            return None if count == len(ids) else np.flatnonzero(fixed)
        left = client_side.drop_rows(here.model, self.local(sent), own, here.examples, budget)
        assert left.ids is not None
        return np.searchsorted(ids, left.ids)

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """Ids (t,) int64 by input table, of the rows that its data touch."""
        return {name: ids.astype(np.int64) for name, ids in self.here.declared.inputs.items()}

    def local(self, sent: Parameters, planes: Planes | None = None) -> LocalModel:
        """What it holds before it drops rows, as a client by itself does."""
        inputs = self.inputs
        rows, ids, log_weight, device = sent.rows, None, None, sent.rows.device
        if self.selection is not None:
            ids = self.selection.ids
            rows = sent.rows[torch.from_numpy(ids).to(device)]
            if self.selection.log_weight.any():
                log_weight = torch.from_numpy(self.selection.log_weight).to(device)
        touched = {name: sent.tables[name][torch.from_numpy(of).to(device)] for name, of in inputs.items()}
        return LocalModel(ids, rows, log_weight, sent.body, planes, inputs, touched)

    def orders(self) -> list[np.ndarray]:
        """In what order it trains on its examples, of each batch."""
        settings, rng, count = self.here.config.client, self.here.order, len(self.here.examples)
        return batched([rng.permutation(count) for _ in range(settings.epochs)], settings.batch_size)

    @property
    def shares_its_step(self) -> bool:
        """Whether nothing of it is needed but its part of a sum (``federated.shared_step``)."""
        config = self.here.config
        clipped = config.client.clip is not None or config.server.clip is not None
        weighs = config.server.weighting != "uniform" and config.compression.updates == "none"
        return self.selection is None and self.steps == 1 and weighs and not clipped

    @cached_property
    def steps(self) -> int:
        """Of its training."""
        settings = self.here.config.client
        return settings.epochs * -(-len(self.here.examples) // settings.batch_size)

    @cached_property
    def positions(self) -> float:
        """Predictions of one of its batches, about."""
        examples = self.here.examples
        return examples.weight * min(1.0, self.here.config.client.batch_size / len(examples))

    @property
    def rows(self) -> int:
        """Rows of the output table that it is sent."""
        return self.here.sizes[OUTPUT] if self.selection is None else len(self.selection.ids)

    def trained(self, held: Held) -> int:
        """Rows of the output table that it trains on."""
        return self.rows if held.ids is None else len(held.ids)
