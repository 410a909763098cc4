"""What compression lost of each client's last updates (``federated.error_feedback``), kept on its node.

In Flower's ``Context`` it lives as long as the run and its SuperNode. A node with a folder of its own
(``state`` in its settings) keeps it there, so that a run that is resumed goes on with the same bits.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from flwr.app import RecordDict
from safetensors import SafetensorError
from safetensors.torch import load, save

from hashfed.engines.flower import records
from hashfed.errors import HashfedError
from hashfed.federated.error_feedback import ClientMemory
from hashfed.files import with_home, write_atomically

RESIDUAL = "residual."
"""Before a client's name in the context."""


class Memories:
    """Of one node in one run.

    Args:
        state: of the node, where there is no folder.
        node: its settings; ``state`` names the folder.
        identity: of the run (``node.make_setup``): the same when it is resumed.

    """

    def __init__(self, state: RecordDict, node: Mapping[str, object], identity: str) -> None:
        """Choose the place; nothing is read yet."""
        self._state = state
        self._folder = Path(with_home(str(node["state"]))) / identity if "state" in node else None

    def get(self, client: str) -> ClientMemory:
        """A client's; empty where it has none.

        Raises:
            HashfedError: where its file is damaged or not readable.

        """
        if self._folder is None:
            record = self._state.array_records.get(RESIDUAL + client)
            return ClientMemory() if record is None else ClientMemory.read(records.tensors(record))
        path = self._path(self._folder, client)
        try:
            return ClientMemory.read(load(path.read_bytes()))
        except FileNotFoundError:
            return ClientMemory()
        except OSError as error:
            raise HashfedError(f"{path}: cannot be read ({error.strerror or error})") from None
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise HashfedError(f"{path}: not what a client keeps ({error}); delete it") from None

    def set(self, client: str, memory: ClientMemory) -> None:
        """Keep it for the next time that this client trains.

        Raises:
            HashfedError: where the folder cannot be written; what was there stays.

        """
        if self._folder is None:
            self._state[RESIDUAL + client] = records.arrays(memory.tensors())
        else:
            write_atomically(self._path(self._folder, client), save(memory.tensors()))

    @staticmethod
    def _path(folder: Path, client: str) -> Path:
        return folder / f"{hashlib.sha256(client.encode()).hexdigest()}.safetensors"
