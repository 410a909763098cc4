"""What the server sends each client of a cohort."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hashfed.engines.budget import asks_for_keys, sends_everything, sketcher
from hashfed.engines.cohort.member import Member
from hashfed.engines.cohort.queries import cohort_queries
from hashfed.engines.server_round import ServerRound
from hashfed.federated.messages import ClientKeys
from hashfed.models import Model, Parameters


def ask(there: ServerRound, model: Model, sent: Parameters, members: Sequence[Member]) -> None:
    """Step 3: the keys of all clients."""
    if not asks_for_keys(there.config):
        return
    sketch = sketcher(there.config)
    queries = cohort_queries(model, sent, [member.here.examples for member in members])
    for member, of in zip(members, queries, strict=True):
        with member.here.report.timed("hash"):
            here = of.cpu()
            sketched = {} if sketch is None else dict(sketch.encode(here))
            member.keys = ClientKeys(there.round, dict(there.encoder.encode(here)), sketched)


def select(there: ServerRound, members: Sequence[Member]) -> None:
    """Step 4: the rows of all clients, and the planes of their tails."""
    if sends_everything(there.config):
        return
    for member in members:
        with member.here.report.timed("retrieve"):
            declared = member.here.declared
            selection, made = there.choose(member.here.client.name, declared, member.keys)
            member.selection = selection
            member.planes, member.tail = made or (None, None)
