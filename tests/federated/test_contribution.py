"""What a client adds of its own rows, where only some of the rows are summed: right in the mean."""

from pathlib import Path

import numpy as np
import torch

from hashfed.engines.budget import build_model
from hashfed.federated.contribution import _laid_out, select_common
from hashfed.federated.messages import Common, Update
from hashfed.models.protocol import OUTPUT
from hashfed.randomness import stream
from small import small_config, small_data


def test_own_rows_are_held_with_certainty_and_told_by_their_chance(texts: Path) -> None:
    config, data = small_config(texts), small_data(texts)
    model = build_model(config)
    parameters = model.init(dict(data.sizes), stream(0, "init"))
    examples = data.train[0].examples.take(np.arange(2))
    own = examples.own(OUTPUT, "input")
    certain, drawn = int(own[0]), int(own[1])
    chance = 0.25

    def told(held: bool) -> torch.Tensor:
        """What is added of row ``drawn`` for a change of ones."""
        ids = np.array(sorted([certain, drawn] if held else [certain]), np.int32)
        weight = np.where(ids == drawn, -np.log(chance), 0).astype(np.float32)
        points = torch.ones(1, parameters.rows.shape[1])
        message = Common(
            1,
            parameters.body,
            parameters.rows,
            ids,
            weight,
            np.ones(1),
            points,
            torch.full((1,), 5.0),
            torch.zeros_like(points),
        )
        selected = select_common(model, message, examples)
        local = selected.local
        assert local.ids is not None
        assert np.isin(own, local.ids).all()
        assert local.log_weight is None  # it has no row for others
        update = Update(
            1, 1, 0.0, {}, local.ids.astype(np.int32), torch.ones_like(local.rows), tail=torch.zeros(1, 8)
        )
        rows = _laid_out(update, selected, whole=False).rows
        assert torch.equal(rows[np.flatnonzero(local.ids == certain)[0]], torch.ones(8))
        others = np.isin(local.ids, [certain, drawn], invert=True)
        assert not rows[torch.from_numpy(others)].any()
        return rows[np.flatnonzero(local.ids == drawn)[0]]

    assert torch.allclose(chance * told(held=True) + (1 - chance) * told(held=False), torch.ones(8))
