"""Who takes part in a sum: names, keys, and who neighbours whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hashfed.federated.privacy.context import VERSION, Context, Session, digest
from hashfed.federated.privacy.graph import neighbours
from hashfed.federated.privacy.messages import KEYS, RosterPart, as_array
from hashfed.federated.privacy.parameters import Parameters
from hashfed.federated.privacy.primitives import KEY


@dataclass(frozen=True)
class Roster:
    """All clients of a session, by ascending name.

    Attributes:
        names: of the clients; a client's position is its place here.
        keys: of each, 64 bytes: to encrypt shares, and for masks.
        seed: 32 bytes that draw the graph.
        parameters: of the session.
        neighbours: positions of each client's, ascending.

    """

    names: tuple[str, ...]
    keys: tuple[bytes, ...] = field(repr=False)
    seed: bytes
    parameters: Parameters
    neighbours: tuple[tuple[int, ...], ...] = field(repr=False)

    @classmethod
    def of(cls, keys: Mapping[str, bytes], seed: bytes, parameters: Parameters) -> "Roster":
        """Of clients' keys by name.

        Raises:
            HashfedError: where the parameters are of another number of clients.

        """
        names = tuple(sorted(keys))
        graph = neighbours(seed, parameters.clients, parameters.neighbours)
        return cls(names, tuple(keys[name] for name in names), seed, parameters, tuple(graph))

    def digest(self) -> bytes:
        """32 bytes that stand for all names and keys."""
        told = [
            part for name, key in zip(self.names, self.keys, strict=True) for part in (name.encode(), key)
        ]
        return digest(VERSION, b"roster", *told)

    def session(self, context: Context) -> Session:
        """What every seed is bound to."""
        return Session.of(context.digest(), self.digest(), self.seed, self.parameters)

    def parts(self, context: Context) -> dict[str, RosterPart]:
        """What each client is told, by name."""
        told, roster, graph = as_array(context.digest()), as_array(self.digest()), as_array(self.seed)
        return {
            name: RosterPart(
                round=context.round,
                context=told,
                **vars(self.parameters),
                roster=roster,
                graph=graph,
                position=np.array([position], np.int32),
                own_keys=as_array(self.keys[position], KEYS, KEY),
                neighbour_keys=as_array(
                    b"".join(self.keys[at] for at in self.neighbours[position]), -1, KEYS, KEY
                ),
            )
            for position, name in enumerate(self.names)
        }
