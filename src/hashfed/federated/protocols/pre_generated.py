"""Slices that are made before anybody asks: each client fetches what it needs (Charles et al. 2022)."""

import numpy as np

from hashfed.federated.messages import DIGEST, Manifest, Update
from hashfed.federated.protocols.on_demand import check_rows, check_welcomed
from hashfed.federated.protocols.outline import Outline, ids
from hashfed.federated.protocols.step import ClientSide, Down, Received, Step, take
from hashfed.federated.protocols.update import update_of


def _outline(of: Outline) -> Manifest:
    return Manifest(
        of.round,
        of.width,
        of.body,
        of.encoder.kind,
        of.encoder.numbers(),
        np.empty((of.size, DIGEST), np.uint8),
        ids(of.buckets),
        ids(of.buckets),
        np.empty((of.buckets, DIGEST), np.uint8),
        of.encoder.arrays(),
        ids(of.size) if of.counts else None,
        np.empty(of.size, np.uint8) if of.norm_ranges > 1 else None,
        np.empty(of.norm_ranges) if of.norm_ranges > 1 else None,
        {name: np.empty((size, DIGEST), np.uint8) for name, (size, _) in of.inputs.items()},
    )


def _train(client: ClientSide, got: Received) -> Update:
    welcome, selected = client.select_published(take(got, Manifest))
    # Whoever stores the slices may be another than who made them.
    check_welcomed(client, welcome)
    check_rows(client, selected)
    return client.train(welcome, selected)


LISTED = Down(
    Manifest,
    make=lambda server, exchange: server.manifest(),
    check=lambda client, message: None,  # before anything is fetched, by ``select_published``
    outline=_outline,
    fetched=True,
)
STEPS = (Step("train", (LISTED,), update_of(_train), scope="cohort"),)
