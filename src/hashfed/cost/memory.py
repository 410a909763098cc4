"""The peak memory of a client's process above its libraries, from sizes: what is held when.

A client goes through six phases. Each holds what is named here; the largest sum is the peak. All arrays are
float32 (4 bytes) but where noted; m rows are trained on, r are received (r > m only where the client drops
some), o are its own, B is the number of parameters of the body.

    receive  the first message as bytes, and decoded
    hash     the first message; a forward pass without gradients; the queries twice (in parts, then joined)
    rows     the first message; the second as bytes, and decoded
    join     both messages; own and new rows joined, then in order of ids
    drop     (where r > m) rows and body; a forward pass; logits of 64 examples on r rows, and their softmax
    train    rows and body as received, and the copy that moves; the body's gradient; exponentials of the
             logits of one step (p × m); what the forward pass keeps, and a few vectors per position;
             with clipping, or where the exponentials are made in parts, the rows' gradient; with planes,
             what moves the tail, of this step and of all, and each query's products with them
    send     rows and body as received; their change; the update as bytes, twice while it is written

Where the client selects by itself there is one message, and ``rows`` holds it with what the client takes out
of it: own and selected rows, and with slices also their bytes and the collisions of each row (8 bytes). The
index that a client builds of all rows is not predicted.
With compression, both messages in ``hash`` and ``join`` are also held in float32, and the compressed update
in ``send``. Planes come with the rows, and are held with them from then on. A residual for error feedback, as
large as body and rows trained on, is not counted: it may wait on the device's disk.
Where the server learns sums alone, a client holds what ``cost.sum_memory`` says.
"""

from hashfed.cost.case import Case
from hashfed.cost.sum_memory import sum_phases
from hashfed.engines.budget import steps
from hashfed.federated.protocols import SLICES, Down
from hashfed.models.output_layer import MAX_LOGITS

LIBRARIES = 3_000_000
"""Bytes of code and of work space (packed matrices) that torch and its matrix library touch in a client's
round and not in the toy round of the baseline: resident beside the arrays, on Linux with MKL 2 to 4 MB."""
VECTORS = 6
"""Of length d per position in a step, beside those that the model keeps: the queries' gradient, the targets'
rows and what the output layer makes of both."""
SERIALIZED = 2
"""Copies of a message while safetensors writes it."""
FLOAT, ID, COLLISIONS = 4, 8, 8

Phases = dict[str, dict[str, int]]
"""Bytes by phase and by what they are for."""


def predict_memory(case: Case, messages: dict[str, int]) -> Phases:
    """Bytes by phase and term; the phases that the client does not go through are left out.

    ``messages``: bytes by kind (``traffic.message_bytes``).
    """
    client = _Client(case, messages)
    if case.plan is not None:
        return sum_phases(case, messages, client.train(), client.passing(), LIBRARIES)
    phases = {"receive": client.receive()}
    if client.is_asked or (client.selects and case.hashing.asked):
        phases["hash"] = client.hash()
    phases["rows"] = client.select() if client.selects else client.receive_rows()
    if not case.everything or client.narrow:
        phases["join"] = client.join()
    if case.received > case.trained:
        phases["drop"] = client.drop()
    return phases | {"train": client.train(), "send": client.send()}


class _Client:
    """What a client holds, in bytes by what they are for: a method for each phase.

    Attributes:
        selects: whether it selects by itself: all that it is sent is the same for all clients.
        is_asked: whether something that it was sent is answered before the training.
        narrow: whether what it is sent is compressed.

    """

    def __init__(self, case: Case, messages: dict[str, int]) -> None:
        *earlier, last = steps(case.config)
        self._first, *self._later = [down for step in (*earlier, last) for down in step.down]
        self.selects, self.is_asked = last.scope == "cohort", any(step.down for step in earlier)
        self.narrow = case.config.compression.rows != "none"
        self._case, self._work, self._messages = case, case.workload, messages
        self._last = last
        # Rows of input tables are held, copied and sent as the body is.
        self._touched = FLOAT * case.sizes.input_parameters(case.workload.touched)
        self._body = FLOAT * case.sizes.body_parameters + self._touched
        self._row = FLOAT * case.sizes.dimension
        self._own, self._received = self._row * case.own, self._row * case.received
        self._of_tail = case.planes * self._row

    def receive(self) -> dict[str, int]:
        return self._arriving(self._first)

    def hash(self) -> dict[str, int]:
        found = {
            **self._at_hand(),
            f"{self._first.kind.kind} in float32": self._body + self._own if self.narrow else 0,
            "forward pass": self.passing(),
            "queries": 2 * self._row * self._work.predictions,
            "libraries": LIBRARIES,
        }
        return found | {"own rows": self._own + self._touched} if self.selects else found

    def receive_rows(self) -> dict[str, int]:
        found = self._at_hand()
        for down in self._later:
            found |= self._arriving(down)
        return found

    def select(self) -> dict[str, int]:
        found = {**self._at_hand(), "own and selected rows": self._received + self._touched}
        if self._first.fetched:
            found |= {SLICES: self._messages[SLICES], "collisions": COLLISIONS * self._case.size}
        return found

    def join(self) -> dict[str, int]:
        again = 0 if self._case.everything else self._received
        if self.selects:
            parts = {"body": self._body, "rows": self._received}
        else:
            widened = self._body + self._received + self._tail()
            later = {down.kind.kind: self._messages[down.kind.kind] for down in self._later}
            parts = {**self._at_hand(), **later, "both in float32": widened if self.narrow else 0}
        return {**parts, "joined": again, "in order": again}

    def drop(self) -> dict[str, int]:
        logits = FLOAT * self._work.hash_positions * self._case.received
        return {
            "model": self._model(self._case.received),
            "forward pass": self.passing(),
            "logits": logits,
            "softmax": logits,
            "libraries": LIBRARIES,
        }

    def train(self) -> dict[str, int]:
        positions, rows = self._work.step_positions, self._row * self._case.trained
        exponentials = step_logits(positions, self._case.trained)
        in_parts = exponentials < positions * self._case.trained
        return {
            "model": self._model(self._case.trained),
            "copy": self._body + rows,
            "gradient of the body": self._body,
            "exponentials": FLOAT * exponentials,
            "gradient of the rows": rows if in_parts or self._case.config.client.clip is not None else 0,
            "forward pass": self._forward(positions, self._work.step_examples, True),
            "gradient of the queries": VECTORS * self._row * positions,
            "planes": 2 * self._of_tail + FLOAT * self._case.planes * positions,
            "libraries": LIBRARIES,
        }

    def send(self) -> dict[str, int]:
        update = self._messages[self._last.up.kind.kind]
        return {
            "model": self._model(self._case.trained),
            "change": self._body + self._row * self._case.trained + self._of_tail,
            "compressed": update if self._case.config.compression.updates != "none" else 0,
            "update as bytes": SERIALIZED * update,
            "libraries": LIBRARIES,
        }

    def _arriving(self, down: Down) -> dict[str, int]:
        kind, size = down.kind.kind, self._messages[down.kind.kind]
        return {f"{kind} as bytes": size, kind: size}

    def _at_hand(self) -> dict[str, int]:
        kind = self._first.kind.kind
        return {kind: self._messages[kind]}

    def _model(self, rows: int) -> int:
        """Body, rows and planes; beside each of a part of the rows its id and its correction."""
        row = self._row if self._case.everything else self._row + ID + FLOAT
        return self._body + row * rows + self._tail()

    def _tail(self) -> int:
        """Slopes of the planes and of their errors; an offset and an error of each."""
        return 2 * self._of_tail + 2 * FLOAT * self._case.planes

    def _forward(self, positions: int, examples: int, backward: bool) -> int:
        return FLOAT * self._case.sizes.activation_floats(positions, examples, self._work.length, backward)

    def passing(self) -> int:
        """A forward pass without gradients."""
        return self._forward(self._work.hash_positions, self._work.hash_examples, False)


def step_logits(positions: int, rows: int) -> int:
    """Logits held at a time by a step: all, or those of as many positions as stay below ``MAX_LOGITS``."""
    return min(positions, max(1, MAX_LOGITS // rows)) * rows


def peak_phase(phases: Phases) -> str:
    """The phase with the largest sum."""
    return max(phases, key=lambda name: sum(phases[name].values()))
