"""What a client adds of its own rows, where only some of the rows are summed: right in the mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hashfed.engines.budget import build_model
from hashfed.federated.contribution import _laid_out, select_common
from hashfed.federated.messages import Common, Update
from hashfed.models.protocol import OUTPUT
from hashfed.randomness import stream
from small import small_config, small_data


def test_own_rows_are_held_with_certainty_and_told_where_they_are_common(texts: Path) -> None:
    config, data = small_config(texts), small_data(texts)
    model = build_model(config)
    parameters = model.init(dict(data.sizes), stream(0, "init"))
    examples = data.train[0].examples.take(np.arange(2))
    own = examples.own(OUTPUT, "input")
    certain, drawn = int(own[0]), int(own[1])
    ids = np.array(sorted([certain, drawn]), np.int32)
    weight = np.where(ids == drawn, np.log(4), 0).astype(np.float32)
    points = torch.ones(1, parameters.rows.shape[1])
    planes = points, torch.full((1,), 5.0), torch.zeros_like(points)
    message = Common(1, parameters.body, parameters.rows, ids, weight, np.ones(1), *planes)
    selected = select_common(model, message, examples)
    local = selected.local
    assert local.ids is not None
    assert local.log_weight is None  # a row of its own stands for no other
    assert np.array_equal(local.ids, own)
    changed = torch.ones_like(local.rows)
    update = Update(1, 1, 0.0, {}, local.ids.astype(np.int32), changed, tail=torch.zeros(1, 8))
    some, whole = (
        _laid_out(replace(update, rows=changed.clone()), selected, whole).rows for whole in (False, True)
    )
    assert torch.equal(whole, changed)
    assert torch.equal(some, changed * torch.from_numpy(np.isin(local.ids, ids))[:, None])


def test_own_rows_undo_what_the_planes_will_do_to_them(texts: Path) -> None:
    """A row outside U is moved by π̂·G, one that is drawn with chance 1/4 by (1 − 4) π̂·G."""
    config, data = small_config(texts), small_data(texts)
    model = build_model(config)
    parameters = model.init(dict(data.sizes), stream(0, "init"))
    parameters.rows.zero_()
    examples = data.train[0].examples.take(np.arange(2))
    own = examples.own(OUTPUT, "input")
    drawn = np.array([own[0]], np.int32)
    points = torch.ones(1, 8)
    planes = points, torch.full((1,), float(np.log(40))), torch.zeros_like(points)
    weight = np.array([np.log(4)], np.float32)
    message = Common(1, parameters.body, parameters.rows, drawn, weight, np.ones(1), *planes)
    selected = select_common(model, message, examples)
    told = torch.full((1, 8), 1.0)
    update = Update(1, 1, 0.0, {}, own.astype(np.int32), torch.zeros(len(own), 8), tail=told)
    rows = _laid_out(update, selected, whole=True).rows
    left = 1 - len(own) / 40
    assert torch.allclose(rows[1:], torch.full((len(own) - 1, 8), -1 / 40 / left))
    assert torch.allclose(rows[0], torch.full((8,), 3 / 40 / left))
