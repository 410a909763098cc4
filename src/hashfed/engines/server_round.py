"""The server's answers to one client in one round: every engine calls these."""

from dataclasses import dataclass

from hashfed.config import Config
from hashfed.engines.budget import device_budget, sends_everything
from hashfed.federated import server as server_side
from hashfed.federated.clip import clip_update
from hashfed.federated.compression import compress_rows, compress_welcome, expand
from hashfed.federated.messages import ClientKeys, Declare, SelectedRows, Update, Welcome
from hashfed.federated.settings import ServerSettings
from hashfed.models import Parameters
from hashfed.randomness import stream
from hashfed.retrieval import Index, Selection
from hashfed.retrieval.full import FullIndex


@dataclass(frozen=True)
class ServerRound:
    """The server in one round (paper, section 3.2, steps 2 and 4).

    Attributes:
        config: of the run.
        parameters: the model before this round.
        index: over its rows.
        round: the round's number.

    """

    config: Config
    parameters: Parameters
    index: Index
    round: int

    @classmethod
    def of(cls, config: Config, parameters: Parameters, index: Index, round: int) -> "ServerRound":
        """The same, with the index that a full selection needs instead of the given one."""
        if sends_everything(config):
            index = FullIndex(len(parameters.rows))
        return cls(config, parameters, index, round)

    def welcome(self, declared: Declare) -> Welcome:
        """Step 2: body, declared rows and encoder, compressed as the configuration asks.

        Raises:
            HashfedError: where the declaration does not fit.

        """
        message = server_side.welcome(self.parameters, self.index, declared)
        return compress_welcome(message, self.config.compression.rows)

    def select(self, client: str, declared: Declare, keys: ClientKeys | None) -> SelectedRows:
        """Step 4: the other rows of the client's selection, compressed as the configuration asks.

        Args:
            client: its name, for its random numbers.
            declared: its own rows and budget.
            keys: of its queries, None where the method asks for none.

        Raises:
            HashfedError: where declaration or keys do not fit.

        """
        config, size = self.config, len(self.parameters.rows)
        if sends_everything(config):
            selection = Selection.all(size)
        else:
            rng = stream(config.seed, "select", self.round, client)
            sent = keys if keys is not None else ClientKeys(self.round, {})
            dimension = self.parameters.rows.shape[1]
            selection = server_side.retrieve(
                self.index, sent, declared, size, dimension, config.selection, rng
            )
        budget = device_budget(config, size)
        message = server_side.send_rows(self.parameters, selection, declared.own, budget, self.round)
        return compress_rows(message, config.compression.rows)


def accept_update(settings: ServerSettings, client: str, update: Update) -> tuple[Update, bool]:
    """What is summed of a client's update: expanded, checked, and not longer than ``settings.clip``.

    Every engine calls this for every update before the sum. Arrays that need not be expanded are not copied,
    but scaled in place where the update is too long (``clip_update``).

    Args:
        settings: of the run.
        client: its name, for messages.
        update: as it was received, or expanded already, on the CPU.

    Returns:
        The update, and whether it was clipped.

    Raises:
        HashfedError: where a value is NaN or infinite, or a scale is missing.

    """
    update = expand(update)
    update.check_finite(client)
    return update, settings.clip is not None and clip_update(update, settings.clip)
