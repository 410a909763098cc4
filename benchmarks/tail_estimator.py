"""How good the estimators of the tail are (docs/retrieval.md), on trained models; prints JSON.

For the cohort that would train a run's model next, and several draws of rows, the same for all estimators:
the error of log Z and of one step's gradient at fixed parameters, or with ``--epochs`` that of the cohort's
mean change after so many epochs of local training, each against what all rows give.

    python -m benchmarks.tail_estimator runs/full
    python -m benchmarks.tail_estimator runs/full --epochs 1 4
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.index.problem import client_queries
from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import draw_examples
from hashfed.engines.rounds import draw_cohort
from hashfed.federated.tail import spread
from hashfed.hashing.codes import RotatedCodes
from hashfed.models import Model, Parameters, Targets, WorkSpace, output_gradients
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.randomness import stream
from hashfed.retrieval import Candidates, Selection, sample, select
from hashfed.retrieval.evidence import mass_candidates
from hashfed.retrieval.planes import Planes, Tail, make_planes
from hashfed.retrieval.query_centroids import QueryCentroidsEncoder
from hashfed.retrieval.select import extra_rows
from hashfed.runs.folder import RunFolder
from hashfed.runs.train import load_data
from hashfed.tasks.next_word.vocabulary import PAD
from hashfed.tasks.sequences import Sequences

Estimator = Literal["none", "sample", "planes alone", "value", "value and slope", "planes move rows"]
"""The paper's sum; the sampled sum; own and best rows and a plane; the sampled sum with κ; with κ and ν; the
same, but drawn rows too move as the planes say, and what clients say of them is dropped."""
Draws = Literal["mass", "residual"]
"""Chances in proportion to a row's expected mass; or to that times its distance from the tail's mean."""
Moves = Literal["weighted", "plain", "still"]
"""How a drawn row moves during local training: by 1/π times its gradient; by its gradient alone, or not at
all, and what is sent is 1/π times its gradients all the same."""

SCORE_CENTROIDS, SCORE_BITS, UNIFORM, STRENGTH = 32, 4, 0.1, 16.0
"""What makes the chances: the defaults of retrieval and selection, whatever the planes' points are."""


@dataclass(frozen=True)
class Participant:
    """A client of the cohort, with what only its own device and the benchmark know.

    Attributes:
        name: of the client.
        examples: of the round.
        own: (o,) int64 ascending.
        targets: (q,) int64 ids.
        queries: (q, d), of the whole model.
        scores: of all rows, as the server estimates them.

    """

    name: str
    examples: Sequences
    own: np.ndarray
    targets: torch.Tensor
    queries: torch.Tensor
    scores: Candidates


@dataclass(frozen=True)
class Case:
    """A trained model, and the cohort that would train it next."""

    config: Config
    model: Model
    parameters: Parameters
    round: int
    cohort: list[Participant]

    @property
    def rows(self) -> torch.Tensor:
        """(n, d)."""
        return self.parameters.rows


def load_case(folder: Path, clients: int) -> Case:
    """The last checkpoint of a run, and ``clients`` of the next round's cohort."""
    run = RunFolder(folder)
    config, parameters = run.config(), run.parameters()
    data, model, round = load_data(config), build_model(config), len(run.lines("metrics.jsonl")) + 1
    rows, found = parameters.rows, []
    for position in draw_cohort(config, round, len(data.train))[:clients]:
        client = data.train[position]
        examples = draw_examples(config, model, client, round, len(rows))
        assert isinstance(examples, Sequences), "next word"
        asked = client_queries(model, parameters, examples)
        centroids, counts = sketch(asked.queries, SCORE_CENTROIDS, SCORE_BITS, config.seed)
        scores = mass_candidates(rows, centroids, data.label_counts, STRENGTH, counts)
        targets = torch.from_numpy(examples.targets[examples.targets != PAD].astype(np.int64))
        found.append(Participant(client.name, examples, asked.own, targets, asked.queries, scores))
    return Case(config, model, parameters, round, found)


def sketch(queries: torch.Tensor, centroids: int, bits: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Centroids (c, d) as the server decodes them, and how many queries each holds."""
    encoder = QueryCentroidsEncoder(RotatedCodes(queries.shape[1], bits, seed), centroids)
    return encoder.decode(encoder.encode(queries))


def draw_rows(case: Case, client: Participant, extra: float, draws: Draws, number: int) -> Selection:
    """Own rows, and ``extra`` others drawn, the same for the same ``number``."""
    size, budget = len(case.rows), len(client.own) + extra_rows(extra, len(case.rows))
    scores = client.scores if draws == "mass" else residual_scores(case.rows, client.scores, client.own)
    rng = stream(case.config.seed, "tail estimator", number, client.name)
    return sample(client.own, scores, size, budget, UNIFORM, True, rng)


def residual_scores(rows: torch.Tensor, scores: Candidates, own: np.ndarray) -> Candidates:
    """Scores times the distance of each row from the tail's mean: what planes miss is first order in it."""
    weights = np.zeros(len(rows))
    weights[scores.ids] = scores.scores
    weights[own] = 0
    weights /= weights.sum()
    mean = torch.from_numpy(weights.astype(np.float32)) @ rows
    distance = (rows - mean).norm(dim=1).double().numpy()
    return Candidates(scores.ids, scores.scores * distance[scores.ids])


def best_rows(case: Case, client: Participant, extra: float) -> Selection:
    """Own rows and the best others: all of them certain."""
    size, budget = len(case.rows), len(client.own) + extra_rows(extra, len(case.rows))
    rng = stream(case.config.seed, "tail estimator best", 0, client.name)
    return select(client.own, client.scores, size, budget, 0.0, False, rng)


def tail_ids(case: Case, client: Participant, extra: float) -> torch.Tensor:
    """Ids of the rows that no draw by mass holds with certainty: the same for all estimators."""
    drawn = draw_rows(case, client, extra, "mass", 0)
    uncertain = np.ones(len(case.rows), bool)
    uncertain[drawn.ids[drawn.log_weight == 0]] = False
    return torch.from_numpy(np.flatnonzero(uncertain))


def hold(
    case: Case, client: Participant, estimator: Estimator, selection: Selection, points: torch.Tensor | None
) -> tuple[Selection, Planes | None, Tail | None]:
    """What a client gets under an estimator: rows with their logits' corrections, and planes."""
    if estimator == "none":
        return replace(selection, log_weight=np.zeros_like(selection.log_weight)), None, None
    if estimator == "sample" or points is None:
        return selection, None, None
    made = make_planes(case.rows, points, selection)
    assert made is not None, "no client of the cohort holds all rows"
    planes, tail = made
    if estimator == "value":
        errors = planes.errors - (tail.points * planes.error_slopes).sum(1)
        planes = replace(planes, errors=errors, error_slopes=torch.zeros_like(planes.error_slopes))
    if estimator == "planes move rows":
        tail = replace(tail, factors=torch.from_numpy(selection.log_weight != 0).float())
    return selection, planes, tail


@dataclass(frozen=True)
class Step:
    """One step's log Z (q,), gradient of the rows (n, d), own ones 0, and Σ p w for each query (q, d)."""

    log_z: torch.Tensor
    rows: torch.Tensor
    queries: torch.Tensor
    bounded: int = 0


def exact_step(case: Case, client: Participant) -> Step:
    """With all rows."""
    logits = client.queries @ case.rows.T
    log_z = logits.logsumexp(1)
    shares = logits.sub_(log_z[:, None]).exp_()
    rows = shares.T @ client.queries / len(client.queries)
    rows[torch.from_numpy(client.own)] = 0
    return Step(log_z, rows, shares @ case.rows)


def estimated_step(
    case: Case, client: Participant, selection: Selection, planes: Planes | None, tail: Tail | None
) -> Step:
    """With the rows of a selection, and what planes say of the others."""
    ids, count = torch.from_numpy(selection.ids), len(client.queries)
    held, weight = case.rows[ids], torch.from_numpy(selection.log_weight)
    positions = torch.searchsorted(ids, client.targets)
    output = output_gradients(client.queries, held, weight, Targets(positions), WorkSpace(), planes)
    part = torch.zeros_like(held)
    output.add_to(part, 1.0)
    rows = over_all_rows(case.rows, selection.ids, part, tail, output.tail)
    rows[torch.from_numpy(client.own)] = 0
    sums = log_sums(client.queries, held, weight, planes)
    return Step(sums, rows, output.queries * count + case.rows[client.targets], output.bounded)


def over_all_rows(
    rows: torch.Tensor, ids: np.ndarray, part: torch.Tensor, tail: Tail | None, given: torch.Tensor | None
) -> torch.Tensor:
    """A client's own change ``part`` of the rows ``ids``, and what is ``given`` to its tail, for all (n, d).

    Of rows that the tail's planes move by all of π̂·G its own change is forgotten, in ``part`` too.
    """
    if tail is not None:
        part[tail.factors > 0] = 0
    table = torch.zeros_like(rows)
    table[torch.from_numpy(ids)] = part
    if tail is not None and given is not None:
        spread(rows, [(tail, given)], table)
    return table


def log_sums(
    queries: torch.Tensor, held: torch.Tensor, weight: torch.Tensor, planes: Planes | None
) -> torch.Tensor:
    """The estimate of log Z at each query, (q,); bounded as in ``models.output_layer``."""
    sums = torch.addmm(weight, queries, held.T).logsumexp(1)
    if planes is None:
        return sums
    value, index = torch.addmm(planes.offsets, queries, planes.slopes.T).max(1)
    factor = planes.errors[index] - (queries * planes.error_slopes[index]).sum(1)
    return sums + (1 + (value - sums).exp() * factor).clamp_min(0.05).log()


@dataclass
class StepErrors:
    """Sums over clients and draws of squared errors, and of squares of what is right."""

    sums: dict[str, float] = field(default_factory=dict)

    def add(self, found: Step, right: Step, tail: torch.Tensor) -> None:
        """Count one draw of one client, whose draws do not hold the rows ``tail`` with certainty."""
        off, rows_off = found.log_z - right.log_z, found.rows - right.rows
        for name, value in {
            "queries": float(len(off)),
            "bias": off.double().sum().item(),
            "square": square(off),
            "rows error": square(rows_off),
            "rows right": square(right.rows),
            "tail error": square(rows_off[tail]),
            "tail right": square(right.rows[tail]),
            "queries error": square(found.queries - right.queries),
            "queries right": square(right.queries),
            "bounded": found.bounded,
        }.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def result(self) -> dict[str, float]:
        """Errors of log Z in nats, of gradients relative to the exact ones' norms."""
        sums = self.sums
        return {
            "log_z_rmse": (sums["square"] / sums["queries"]) ** 0.5,
            "log_z_bias": sums["bias"] / sums["queries"],
            "rows_error": (sums["rows error"] / sums["rows right"]) ** 0.5,
            "tail_rows_error": (sums["tail error"] / sums["tail right"]) ** 0.5,
            "queries_error": (sums["queries error"] / sums["queries right"]) ** 0.5,
            "bounded_share": sums["bounded"] / sums["queries"],
        }


def square(values: torch.Tensor) -> float:
    """The squared norm."""
    return float(torch.linalg.vector_norm(values)) ** 2


@dataclass(frozen=True)
class Variant:
    """One line of the result."""

    estimator: Estimator
    extra: float
    planes: int | None = None
    bits: int = 8
    draws: Draws = "mass"

    def described(self) -> dict[str, object]:
        """For JSON."""
        found: dict[str, object] = {"estimator": self.estimator, "extra": self.extra, "draws": self.draws}
        return found if self.planes is None else found | {"planes": self.planes, "bits": self.bits}


def step_variants(extras: Iterable[float], planes: Iterable[int], bits: list[int]) -> Iterator[Variant]:
    """All that one step compares: every estimator with points of the first ``bits``, the best with all."""
    for extra in extras:
        yield Variant("none", extra)
        if extra == 0:  # without draws there is no noise to take out
            yield from (Variant("planes alone", extra, count, width) for count in planes for width in bits)
            continue
        yield Variant("sample", extra)
        yield Variant("sample", extra, draws="residual")
        for count in planes:
            yield Variant("planes alone", extra, count, bits[0])
            yield Variant("value", extra, count, bits[0])
            yield from (Variant("value and slope", extra, count, width) for width in bits)
            yield Variant("value and slope", extra, count, bits[0], "residual")
            yield Variant("planes move rows", extra, count, bits[0])


def measure_steps(case: Case, variants: list[Variant], draws: int) -> Iterator[dict[str, object]]:
    """The errors of one step at fixed parameters."""
    errors = {variant: StepErrors() for variant in variants}
    for client in case.cohort:
        right = exact_step(case, client)
        tails = {extra: tail_ids(case, client, extra) for extra in {variant.extra for variant in variants}}
        for variant in variants:
            points = None
            if variant.planes is not None:
                points = sketch(client.queries, variant.planes, variant.bits, case.config.seed)[0]
            certain = variant.estimator == "planes alone" or variant.extra == 0
            for number in range(1 if certain else draws):
                selection = (
                    best_rows(case, client, variant.extra)
                    if certain
                    else draw_rows(case, client, variant.extra, variant.draws, number)
                )
                held = hold(case, client, variant.estimator, selection, points)
                errors[variant].add(estimated_step(case, client, *held), right, tails[variant.extra])
        print(f"{client.name}: {len(client.own)} own rows, {len(client.queries)} queries", file=sys.stderr)
    for variant in variants:
        yield variant.described() | errors[variant].result()


@dataclass(frozen=True)
class Change:
    """What local training asks for: by ``body`` in one vector, and of rows, (n, d) each, 0 elsewhere."""

    body: torch.Tensor
    own: torch.Tensor
    others: torch.Tensor

    @classmethod
    def of(cls, body: dict[str, torch.Tensor], rows: torch.Tensor, own: np.ndarray) -> "Change":
        """Of all rows (n, d), which are used up, among them a client's ``own``."""
        mine, held = torch.from_numpy(own), torch.zeros_like(rows)
        held[mine] = rows[mine]
        rows[mine] = 0
        return cls(torch.cat([value.flatten() for value in body.values()]), held, rows)

    def parts(self) -> dict[str, torch.Tensor]:
        """By name."""
        return {"body": self.body, "own": self.own, "others": self.others}


def train_locally(
    case: Case,
    client: Participant,
    selection: Selection,
    planes: Planes | None,
    tail: Tail | None,
    epochs: int,
    moves: Moves,
    follow: bool,
) -> Change:
    """``federated.client.train`` from the case's parameters, with a choice of how drawn rows move.

    Args:
        case: model and settings.
        client: who trains.
        selection: rows that it holds.
        planes: of the tail, if any.
        tail: likewise.
        epochs: passes over its examples.
        moves: of drawn rows.
        follow: whether planes follow the moves of the tail's rows (``overlaps``).

    """
    settings, ids = case.config.client, selection.ids
    rows = case.rows[torch.from_numpy(ids)]
    start, weight = rows.clone(), torch.from_numpy(selection.log_weight)
    chance = (-weight).exp()[:, None]
    factor = {"weighted": torch.ones_like(chance), "plain": chance, "still": (chance == 1).float()}[moves]
    asked = torch.zeros_like(rows)  # the full move of every row, whatever of it is made here
    body = {name: value.clone().requires_grad_() for name, value in case.parameters.body.items()}
    bound = client.examples.bind({OUTPUT: ids, INPUT: ids}, rows.device)
    given = None if planes is None else torch.zeros_like(planes.slopes)
    overlap = overlaps(case.rows, tail, selection) if follow and tail is not None else None
    rng, space = stream(case.config.seed, "train", case.round, client.name), WorkSpace()
    for _ in range(epochs):
        for index in torch.from_numpy(rng.permutation(len(client.examples))).split(settings.batch_size):
            batch, touched = case.model.pack(bound.batch(index)).touched({INPUT: rows})
            inputs = touched[INPUT]
            queries = case.model.queries(body, {INPUT: inputs.rows}, batch)
            output = output_gradients(queries.detach(), rows, weight, batch.targets, space, planes)
            by_input, *by_body = torch.autograd.grad(queries, [inputs.rows, *body.values()], output.queries)
            change = torch.zeros_like(rows)
            output.add_to(change, -settings.learning_rate)
            change.index_add_(0, inputs.index, by_input, alpha=-settings.learning_rate)
            asked += change
            rows += change * factor
            with torch.no_grad():
                for value, gradient in zip(body.values(), by_body, strict=True):
                    value.sub_(gradient, alpha=settings.learning_rate)
            if given is not None and planes is not None and output.tail is not None:
                moved = -settings.learning_rate * output.tail
                given += moved
                if overlap is not None:
                    planes = replace(planes, slopes=planes.slopes + overlap @ moved)
    if moves == "weighted":
        asked = rows - start  # the bits of today's training
    new = {name: value.detach() - case.parameters.body[name] for name, value in body.items()}
    return Change.of(new, over_all_rows(case.rows, ids, asked, tail, given), client.own)


def overlaps(rows: torch.Tensor, tail: Tail, selection: Selection) -> torch.Tensor:
    """Σ_{i∈T} π̂ π̂ᵀ (K, K): how far a change of one plane's rows moves the mean of another's."""
    shares = torch.exp(rows @ tail.points.T - tail.log_sums)
    shares[torch.from_numpy(selection.ids[selection.log_weight == 0])] = 0
    return shares.T @ shares


@dataclass
class Moments:
    """Mean and mean square of draws of a vector."""

    count: int = 0
    total: torch.Tensor | None = None
    squares: float = 0.0

    def add(self, value: torch.Tensor) -> None:
        """Count a draw."""
        self.total = value.clone() if self.total is None else self.total.add_(value)
        self.squares += square(value)
        self.count += 1

    def against(self, right: torch.Tensor) -> dict[str, float]:
        """Relative to the norm of ``right``.

        Returns:
            ``bias``, less what the draws' noise adds to its square; ``noise`` of one draw; and ``along``, the
            mean's share along ``right``, less 1.

        """
        assert self.total is not None, "at least one draw"
        mean, scale = self.total / self.count, square(right)
        variance = 0.0
        if self.count > 1:
            variance = max(0.0, self.squares - self.count * square(mean)) / (self.count - 1)
        bias = max(0.0, square(mean - right) - variance / self.count)
        along = (mean.double() * right.double()).sum().item() / scale - 1
        return {"bias": (bias / scale) ** 0.5, "noise": (variance / scale) ** 0.5, "along": along}


@dataclass(frozen=True)
class LocalVariant:
    """One line of the result."""

    estimator: Estimator
    extra: float
    planes: int | None
    moves: Moves
    follow: bool = False

    def described(self) -> dict[str, object]:
        """For JSON."""
        return {
            "estimator": self.estimator,
            "extra": self.extra,
            "planes": self.planes,
            "moves": self.moves,
            "planes_follow": self.follow,
        }


def local_variants(extras: Iterable[float], planes: Iterable[int]) -> Iterator[LocalVariant]:
    """All that local training compares."""
    moves: list[Moves] = ["weighted", "plain", "still"]
    for extra in extras:
        if extra == 0:
            for count in planes:
                for follow in (False, True):
                    yield LocalVariant("planes alone", extra, count, "plain", follow)
            continue
        for move in moves:
            yield LocalVariant("sample", extra, None, move)
        for count in planes:
            for move in moves:
                yield LocalVariant("value and slope", extra, count, move)
            yield LocalVariant("value and slope", extra, count, "plain", True)
            yield LocalVariant("planes move rows", extra, count, "plain")


def measure_training(
    case: Case, variants: list[LocalVariant], draws: int, epochs: int
) -> Iterator[dict[str, object]]:
    """Bias and noise of the cohort's mean change after local training, each client's with equal weight."""
    everything = Selection.all(len(case.rows))
    right = mean_change(
        train_locally(case, client, everything, None, None, epochs, "weighted", False)
        for client in case.cohort
    )
    for variant in variants:
        moments = {name: Moments() for name in right.parts()}
        points = {
            client.name: sketch(client.queries, variant.planes, 8, case.config.seed)[0]
            for client in case.cohort
            if variant.planes is not None
        }
        for number in range(1 if variant.extra == 0 else draws):
            changes = []
            for client in case.cohort:
                selection = (
                    draw_rows(case, client, variant.extra, "mass", number)
                    if variant.extra
                    else best_rows(case, client, 0)
                )
                held = hold(case, client, variant.estimator, selection, points.get(client.name))
                changes.append(train_locally(case, client, *held, epochs, variant.moves, variant.follow))
            for name, value in mean_change(changes).parts().items():
                moments[name].add(value)
        found = {name: moments[name].against(value) for name, value in right.parts().items()}
        print(f"{epochs} epochs: {variant}: {found}", file=sys.stderr)
        yield {"epochs": epochs} | variant.described() | found


def mean_change(changes: Iterable[Change]) -> Change:
    """Of several clients."""
    total, count = None, 0
    for change in changes:
        count += 1
        if total is None:
            total = change
        else:
            for name, value in total.parts().items():
                value.add_(change.parts()[name])
    assert total is not None, "a cohort has clients"
    return Change(*(value / count for value in total.parts().values()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs; each is one age of a model")
    parser.add_argument("--epochs", type=int, nargs="+", help="measure local training, not one step")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--extra", type=float, nargs="+", default=[0, 0.01, 0.05])
    parser.add_argument("--planes", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 8], choices=[1, 2, 4, 8])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for folder in arguments.runs:
        case = load_case(folder, arguments.clients)
        known = {"run": folder.name, "rounds": case.round - 1}
        if arguments.epochs is None:
            steps = list(step_variants(arguments.extra, arguments.planes, arguments.bits))
            found += [known | line for line in measure_steps(case, steps, arguments.draws)]
            continue
        local = list(local_variants(arguments.extra, arguments.planes))
        for epochs in arguments.epochs:
            found += [known | line for line in measure_training(case, local, arguments.draws, epochs)]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
