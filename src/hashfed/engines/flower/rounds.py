"""Federated rounds over Flower."""

from collections.abc import Callable
from typing import Any

from flwr.serverapp import Grid

from hashfed.config import Config
from hashfed.engines.flower.node import make_setup
from hashfed.engines.flower.transport import FlowerTransport
from hashfed.engines.network.post import Post
from hashfed.engines.network.rounds import NetworkRounds
from hashfed.tasks.federated_data import FederatedData


class FlowerRounds(NetworkRounds):
    """A server whose clients are on Flower's nodes."""

    def __init__(
        self,
        grid: Grid,
        config: Config,
        data: FederatedData[Any],
        say: Callable[[str], None] = lambda line: None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Set up round 0.

        Args:
            grid: of the run.
            config: of the run.
            data: as of ``NetworkRounds``.
            say: told what a person who watches the run wants to know.
            stop: asked now and then; once true, ``run_round`` raises ``Interrupted``. None: never.

        Raises:
            HashfedError: where settings do not go together over a network, or tables cannot be mapped.

        """
        transport = FlowerTransport(grid, make_setup(config, data.names), stop)
        super().__init__(Post(transport, stop), config, data, say)
