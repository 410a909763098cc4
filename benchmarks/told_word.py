"""Which of two rare words a client has, guessed from all that the server received of it; prints JSON.

Pairs of clients have the same texts but for one word, and the same name: for each the messages of a round are
recorded as the server receives them, and a linear classifier is fitted to one half of them and tried on the
other, both ways. It sees the size of each message, every number of each array at its place (row numbers as a
vector with a one for each), and of a vector under masks all its numbers. Beside it, the sum that the server
learns: with the other clients' part known, as here, it tells the word, as any sum does.

    python -m benchmarks.told_word --pairs 2000
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashfed.config import Config, make_config
from hashfed.data import ClientTexts
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.common_plan import fresh_known
from hashfed.engines.exchange import play_round
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.federated import wire
from hashfed.federated.messages import Common, Message
from hashfed.federated.privacy.messages import Inbox, MaskedVector, RosterPart, Survivors
from hashfed.federated.privacy.packing import unpack
from hashfed.federated.privacy.parameters import sum_bits
from hashfed.federated.protocols import Exchange, Received, ways
from hashfed.federated.settings import SecureSettings
from hashfed.federated.sum_layout import SumLayout
from hashfed.federated.sum_secrets import SumSecrets
from hashfed.federated.sum_session import MaskedSession
from hashfed.models import Parameters
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from hashfed.tasks.federated_data import Client
from hashfed.tasks.next_word.clients import encode_client
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary

WORDS, WIDTH, PLANES = 60, 8, 4
TEXTS, LENGTH = 3, 6
OTHERS = "other 1", "other 2"
PENALTY = 30.0
"""Of the squared weights of the classifier, for features of variance one."""


@dataclass(frozen=True)
class World:
    """What all rounds have in common.

    Attributes:
        config: with delivery ``on-demand``.
        vocabulary: words by falling frequency, of which the last two are the rare ones.
        parameters: of a model that was not trained, whose rows differ like any.
        counts: (n,) public.

    """

    config: Config
    vocabulary: Vocabulary
    parameters: Parameters
    counts: np.ndarray

    @classmethod
    def make(cls, seed: int) -> "World":
        """One with these random numbers."""
        config = make_config(
            {
                "data": {"source": "texts", "vocabulary": WORDS, "sentence_length": LENGTH},
                "model": {"embedding": WIDTH, "attention": WIDTH, "heads": 2, "ffn": 16, "blocks": 1},
                "client": {"examples": TEXTS, "batch_size": 2},
                "selection": {"budget": 0.3},
                "cohort": 1 + len(OTHERS),
                "seed": seed,
            }
        )
        vocabulary = Vocabulary(tuple(f"w{rank}" for rank in range(WORDS)))
        parameters = build_model(config).init(dict(vocabulary.sizes), stream(seed, "init"))
        counts = np.zeros(len(vocabulary), np.int64)
        counts[-WORDS:] = 10_000 // np.arange(1, WORDS + 1)
        return cls(config, vocabulary, parameters, counts)

    @property
    def rare(self) -> list[int]:
        """Rows of the two words."""
        return self.vocabulary.encode(self.vocabulary.words[-2:])

    def client(self, pair: int, which: int) -> Client:
        """The same texts for both of a pair, but for one word."""
        rng = np.random.default_rng((self.config.seed, pair))
        drawn = rng.zipf(1.5, (TEXTS, LENGTH - 1)) % (WORDS - 2)
        texts = [[f"w{rank}" for rank in text] for text in drawn.tolist()]
        texts[int(rng.integers(TEXTS))][int(rng.integers(LENGTH - 1))] = self.vocabulary.words[which - 2]
        settings = NextWordSettings(vocabulary=WORDS, sentence_length=LENGTH)
        found = encode_client(
            ClientTexts("client", [" ".join(text) for text in texts]), self.vocabulary, settings
        )
        assert found is not None
        return found


@dataclass(frozen=True)
class Seen:
    """What the server received of a client, and the sum that it learned; none where it learns no sum."""

    messages: list[Message]
    total: np.ndarray | None = None


def see_on_demand(world: World, client: Client) -> Seen:
    """A round as it is by default: rows are declared, keys and updates are sent."""
    config, parameters = world.config, world.parameters
    index = build_index(parameters.rows, config.retrieval, world.counts, config.seed)
    there = ServerRound.of(config, parameters, index, 1, world.counts)
    here = ClientRound(config, build_model(config), client, 1, parameters.sizes)
    found: list[Message] = []
    play_round(there, here, found.append)
    return Seen([message for message in found if ways()[message.kind] == "up"])


def see_secure(world: World, client: Client) -> Seen:
    """A round of sums alone, in which the two other clients of the cohort add nothing."""
    config = make_config(
        world.config.model_dump()
        | {"retrieval": {"method": "frequency"}}
        | {"selection": world.config.selection.model_dump() | {"delivery": "secure", "planes": PLANES}}
    )
    parameters, names = world.parameters, [client.name, *OTHERS]
    index = build_index(parameters.rows, config.retrieval, world.counts, config.seed)
    here = ClientRound(config, build_model(config), client, 1, parameters.sizes)
    known = fresh_known(config, here.shape, parameters.rows)
    there = ServerRound.of(config, parameters, index, 1, world.counts, known, names)
    session, secrets = there.session, {name: SumSecrets() for name in OTHERS}
    assert isinstance(session, MaskedSession)
    nothing = np.zeros(here.common_plan.layout.length, np.int32)
    found: list[Message] = []
    for step in there.steps:
        for name in list(session.asked):
            told = Received({down.kind.kind: down.make(there, Exchange(name)) for down in step.down})
            if name == client.name:
                answer = step.up.make(here, told)
                found.append(answer)
            else:
                answer = _stand_in(secrets[name], here, told, nothing)
            assert step.up.take is not None
            step.up.take(there, Exchange(name), answer)
        assert step.close is not None
        step.close(there)
    return Seen(found, session.total)


def _stand_in(secrets: SumSecrets, like: ClientRound, told: Received, vector: np.ndarray) -> Message:
    """The answer of a client that adds this vector, to whatever it is told."""
    if isinstance(part := told.get(RosterPart.kind), RosterPart):
        plan = like.common_plan
        return secrets.share(part, plan.cohort, plan.value_bits, plan.layout.length)
    if isinstance(inbox := told.get(Inbox.kind), Inbox):
        common = told[Common.kind]
        assert isinstance(common, Common)
        return secrets.mask(inbox, vector, common.digest)
    if isinstance(survivors := told.get(Survivors.kind), Survivors):
        return secrets.unmask(survivors)
    return secrets.advertise(like.sum_context)


def features(world: World, messages: Sequence[Message], layout: SumLayout | None) -> np.ndarray:
    """All that is in the messages, at its place."""
    found: list[np.ndarray] = [np.array([wire.size(message) for message in messages], np.float64)]
    size = len(world.parameters.rows)
    for message in messages:
        for name, tensor in sorted(message.tensors().items()):
            if name in ("own", "ids"):
                found.append(np.isin(np.arange(size), tensor.numpy()).astype(np.float64))
            elif isinstance(message, MaskedVector) and name == "vector" and layout is not None:
                found.append(_unpacked(message, layout))
            else:
                found.append(_resized(tensor.double().flatten().numpy(), 64))
    return np.concatenate(found)


def _unpacked(message: MaskedVector, layout: SumLayout) -> np.ndarray:
    bits = sum_bits(SecureSettings().bits, 1 + len(OTHERS))
    found: np.ndarray = unpack(message.vector, layout.length, bits).astype(np.float64) / 2**bits
    return found


def _resized(values: np.ndarray, count: int) -> np.ndarray:
    """The first so many numbers; zeros where there are fewer."""
    return np.pad(values[:count], (0, max(0, count - len(values))))


def guess(given: np.ndarray, which: np.ndarray) -> float:
    """AUC of a linear classifier, fitted to every other pair and tried on the rest, both ways.

    Args:
        given: (2 · pairs, features), the two of a pair side by side.
        which: (2 · pairs,) 0 or 1.

    """
    fold = np.arange(len(given)) // 2 % 2
    scores = np.zeros(len(given))
    for tried in (0, 1):
        known = fold != tried
        mean, deviation = given[known].mean(0), given[known].std(0)
        scaled = np.where(deviation > 0, (given - mean) / np.where(deviation > 0, deviation, 1), 0)
        one = scaled[known]
        # Ridge regression, by whichever of the two Gram matrices is smaller.
        target, penalty = which[known] - 0.5, PENALTY * len(one) ** 0.5
        if one.shape[1] <= len(one):
            weights = np.linalg.solve(one.T @ one + penalty * np.eye(one.shape[1]), one.T @ target)
        else:
            weights = one.T @ np.linalg.solve(one @ one.T + penalty * np.eye(len(one)), target)
        scores[~known] = scaled[~known] @ weights
    return auc(scores, which)


def auc(scores: np.ndarray, which: np.ndarray) -> float:
    """The chance that one of the second kind has a higher score than one of the first; half where equal."""
    order = np.unique(scores, return_inverse=True)[1]
    counts = np.bincount(order)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[order]
    second = which == 1
    count = int(second.sum())
    found = ranks[second].sum() - count * (count + 1) / 2
    return float(found / (count * (len(which) - count)))


def measure(pairs: int, seed: int) -> dict[str, float]:
    """AUC by what is looked at, and the number of pairs."""
    world = World.make(seed)
    which = np.tile([0, 1], pairs)
    layout = see_layout(world)
    seen: dict[str, list[np.ndarray]] = {"on-demand": [], "secure": [], "secure, its sum": []}
    sizes: dict[str, set[int]] = {}
    with single_thread():
        for pair in range(pairs):
            for kind in (0, 1):
                client = world.client(pair, kind)
                seen["on-demand"].append(features(world, see_on_demand(world, client).messages, None))
                found = see_secure(world, client)
                seen["secure"].append(features(world, found.messages, layout))
                assert found.total is not None
                seen["secure, its sum"].append(found.total.astype(np.float64))
                for message in found.messages:
                    sizes.setdefault(message.kind, set()).add(wire.size(message))
    told = {name: guess(np.stack(rows), which) for name, rows in seen.items()}
    return {"pairs": pairs, **told, "sizes of a kind, at most": max(map(len, sizes.values()))}


def see_layout(world: World) -> SumLayout:
    """Of the vectors in ``see_secure``."""
    shape = ClientRound(
        world.config, build_model(world.config), world.client(0, 0), 1, world.parameters.sizes
    ).shape
    return SumLayout.of(shape, shape.size, PLANES, SecureSettings().bits)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.told_word", description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(json.dumps(measure(given.pairs, given.seed)))


if __name__ == "__main__":
    main(sys.argv[1:])
