"""A ClientApp whose texts come from a device's own database; only ids, keys and changes leave it.

The SuperNode on the device says where: ``--node-config 'messages="/home/ann/messages.db" client="ann"'``.
"""

import contextlib
import sqlite3

from flwr.app import UserConfig

from hashfed.config import Config
from hashfed.data import ClientTexts
from hashfed.engines.flower.client_app import make_client_app


def read_messages(node: UserConfig, config: Config) -> list[ClientTexts]:
    """The messages that this device has sent, as one client; called once for each run, on the device."""
    with contextlib.closing(sqlite3.connect(f"file:{node['messages']}?mode=ro", uri=True)) as database:
        texts = [text for (text,) in database.execute("SELECT text FROM messages WHERE sent ORDER BY rowid")]
    return [ClientTexts(str(node["client"]), texts)]


app = make_client_app(read=read_messages)
