"""Sums under masks among a few clients, played step by step with drawn secrets."""

import copy
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from hashfed.federated.privacy import client
from hashfed.federated.privacy.client_secrets import ClientSecrets
from hashfed.federated.privacy.context import Context
from hashfed.federated.privacy.messages import (
    Inbox,
    KeyShares,
    MaskedVector,
    RosterPart,
    Survivors,
    Unmasking,
)
from hashfed.federated.privacy.parameters import Demands, Parameters
from hashfed.federated.privacy.server import SecureSum

CONTEXT = Context(bytes(range(32)), 7, "update", bytes(range(32, 64)))
NO_DEMANDS = Demands(corrupt=0)


def drawn(*seed: object) -> Callable[[int], bytes]:
    """Random bytes that are the same every time."""
    calls = 0

    def draw(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(repr((seed, calls)).encode()).digest(count)

    return draw


def copied(server: SecureSum) -> SecureSum:
    """A server that goes its own way from here; what is never changed is shared."""
    found = copy.copy(server)
    for name, value in vars(server).items():
        if isinstance(value, dict | set | np.ndarray):
            setattr(found, name, copy.deepcopy(value) if name == "_answers" else value.copy())
    found._random_bytes = drawn("server", server.context)
    return found


def told(server: SecureSum) -> str:
    """All that a server knows, as text."""
    return repr(
        {name: value for name, value in vars(server).items() if name not in ("_choose", "_random_bytes")}
    )


def names_of(clients: int) -> list[str]:
    return [f"c{number:02}" for number in range(clients)]


def vectors_of(clients: int, length: int = 3, bits: int = 8, seed: int = 1) -> dict[str, np.ndarray]:
    """Numbers of the whole range, the smallest and the largest among them."""
    most = 1 << (bits - 1)
    rng = np.random.default_rng(seed)
    found = {name: rng.integers(-most, most, length).astype(np.int32) for name in names_of(clients)}
    for vector in found.values():
        vector[0], vector[-1] = -most, most - 1
    return found


@dataclass
class Session:
    """A server and its clients, each with its secrets."""

    server: SecureSum
    vectors: Mapping[str, np.ndarray]
    secrets: dict[str, ClientSecrets]

    @classmethod
    def begin(
        cls,
        vectors: Mapping[str, np.ndarray],
        neighbours: int,
        threshold: int,
        least: int = 3,
        context: Context = CONTEXT,
    ) -> "Session":
        """Before any message; each value has 8 bits."""
        length = len(next(iter(vectors.values())))

        def choose(clients: int) -> Parameters:
            degree = min(neighbours, clients - 1)
            return Parameters(clients, degree, threshold, least, 8, length)

        return cls(SecureSum(context, vectors, choose, drawn("server", context)), vectors, {})

    def copy(self) -> "Session":
        return Session(copied(self.server), self.vectors, dict(self.secrets))

    def advertise(self, names: Collection[str]) -> dict[str, RosterPart]:
        for name in names:
            secrets, message = client.advertise(self.server.context, drawn("keys", name, self.server.context))
            self.secrets[name] = secrets
            self.server.take_keys(name, message)
        return self.server.rosters()

    def make_shares(self, parts: Mapping[str, RosterPart], names: Collection[str]) -> dict[str, KeyShares]:
        made = {}
        for name in names:
            draw = drawn("share", name, self.server.context)
            self.secrets[name], made[name] = client.share(self.secrets[name], parts[name], NO_DEMANDS, draw)
        return made

    def share(self, parts: Mapping[str, RosterPart], names: Collection[str]) -> dict[str, Inbox]:
        for name, message in self.make_shares(parts, names).items():
            self.server.take_shares(name, message)
        return self.server.inboxes()

    def make_vectors(self, inboxes: Mapping[str, Inbox], names: Collection[str]) -> dict[str, MaskedVector]:
        made = {}
        for name in names:
            self.secrets[name], made[name] = client.mask(
                self.secrets[name], inboxes[name], self.vectors[name]
            )
        return made

    def mask(self, inboxes: Mapping[str, Inbox], names: Collection[str]) -> dict[str, Survivors]:
        for name, message in self.make_vectors(inboxes, names).items():
            self.server.take_vector(name, message)
        return self.server.survivors()

    def make_answers(
        self, questions: Mapping[str, Survivors], names: Collection[str]
    ) -> dict[str, Unmasking]:
        made = {}
        for name in names:
            self.secrets[name], made[name] = client.unmask(self.secrets[name], questions[name])
        return made

    def answer(self, questions: Mapping[str, Survivors], names: Collection[str]) -> None:
        for name, message in self.make_answers(questions, names).items():
            self.server.take_answer(name, message)

    def plain(self, names: Collection[str]) -> np.ndarray:
        """The sum without masks."""
        total = np.zeros(len(next(iter(self.vectors.values()))), np.int64)
        for name in names:
            total += self.vectors[name]
        return total
