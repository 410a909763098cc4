"""What cannot be played as a batch, each refused with a line that names it."""

from hashfed.config import Config
from hashfed.engines.budget import steps
from hashfed.engines.rounds import check_cohort
from hashfed.errors import HashfedError
from hashfed.federated.protocols import in_lockstep
from hashfed.models import Model


def problem(config: Config, model: Model) -> str | None:
    """Why these settings cannot be played as a batch, as ``field = value: what is allowed``; else None."""
    if not model.stackable:
        return (
            f"engine = cohort: model.name = {config.model.name} cannot be mapped over clients "
            "(Model.stackable); must be clients"
        )
    if config.data.build().loss.stacked is None:
        return (
            f"engine = cohort: the loss of data.task = {config.data.task} is of one client; must be clients"
        )
    if config.selection.delivery == "pre-generated":
        return (
            "engine = cohort: selection.delivery = pre-generated makes slices that are fetched one by one; "
            "must be clients, or another delivery, which gives the same numbers"
        )
    if in_lockstep(steps(config)):
        return (
            f"engine = cohort: selection.delivery = {config.selection.delivery} has each client make its own "
            "part of a sum; must be clients"
        )
    if config.memory_map:
        return "engine = cohort: memory_map = true keeps the model in files; must be clients"
    return None


def check_supported(config: Config, model: Model, clients: int) -> None:
    """Refuse what cannot be played.

    Raises:
        HashfedError: one line.

    """
    if (found := problem(config, model)) is not None:
        raise HashfedError(found)
    check_cohort(config, clients)
