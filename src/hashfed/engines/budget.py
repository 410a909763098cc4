"""How many rows a client of this configuration holds, and which steps its round has."""

from hashfed.config import Config
from hashfed.federated.compression import NUMBERS
from hashfed.federated.messages import Declare
from hashfed.federated.protocols import WITHOUT_MASKS, Step, Terms, steps_of
from hashfed.federated.server import PlanesPlan, client_budget
from hashfed.hashing.codes import RotatedCodes
from hashfed.models import Model
from hashfed.models.protocol import input_tables
from hashfed.retrieval import NoEncoder, device_rows
from hashfed.retrieval.corrections import uses_planes, uses_sketch
from hashfed.retrieval.query_centroids import QueryCentroidsEncoder


def build_model(config: Config) -> Model:
    """The model that the configuration names."""
    return config.model.build()


def sends_everything(config: Config) -> bool:
    """Whether every client gets all rows, so that it need not say which it wants."""
    selection = config.selection
    everything = selection.budget == 1 and selection.extra is None
    unlimited = everything and selection.max_rows is None and selection.max_bytes is None
    return config.retrieval.sends_all or unlimited


def clients_declare(config: Config) -> bool:
    """Whether clients say which rows they need: not where they get all, or select by themselves.

    Of input tables nobody gets more rows than the data touch.
    """
    some = not sends_everything(config) or bool(input_tables(build_model(config)))
    return config.selection.delivery == "on-demand" and some


def asks_for_keys(config: Config) -> bool:
    """Whether a client answers with keys, or with a sketch for the planes."""
    if sends_everything(config):
        return False
    shape = config.retrieval.encoder_shape(config.model.dimension, config.seed)
    return shape.kind != NoEncoder.kind or sketcher(config) is not None


def steps(config: Config) -> tuple[Step, ...]:
    """The exchanges of a round."""
    terms = Terms(declares=clients_declare(config), asks=asks_for_keys(config))
    delivery: str = config.selection.delivery
    return steps_of(WITHOUT_MASKS if delivery == "secure" and not config.secure.masks else delivery, terms)


def sends_counts(config: Config) -> bool:
    """Whether clients that select by themselves need the counts that the index is built of."""
    return not sends_everything(config) and config.retrieval.uses_counts


def device_budget(config: Config, size: int, own: int | None = None) -> int:
    """Rows a client may hold, of ``size``; that needs ``own`` of them, or nobody knows yet how many."""
    if sends_everything(config):
        return size
    return min(size, device_rows(config.selection, size, config.model.dimension, own))


def agreed_budget(config: Config, declared: Declare, size: int) -> int:
    """Rows that a client may hold that declares this: of all ``size``, or as many as both sides allow."""
    if sends_everything(config):
        return size
    return client_budget(declared, size, config.model.dimension, config.selection)


def sends_planes(config: Config) -> bool:
    """Whether the server sends planes of the tail with the rows."""
    takes = config.data.build().loss.planes_problem is None
    return takes and not sends_everything(config) and uses_planes(config.retrieval, config.selection)


def planes_plan(config: Config) -> PlanesPlan:
    """How those planes are made."""
    return PlanesPlan(
        config.selection.planes,
        config.seed,
        sketcher(config),
        NUMBERS[config.compression.rows],
        config.server.clip is not None,
    )


def sketcher(config: Config) -> QueryCentroidsEncoder | None:
    """Makes the centroids that a client sends for the planes alone; None where it sends none."""
    if not sends_planes(config) or not uses_sketch(config.retrieval, config.selection):
        return None
    codes = RotatedCodes(config.model.dimension, config.selection.sketch_bits, config.seed)
    return QueryCentroidsEncoder(codes, config.selection.planes)
