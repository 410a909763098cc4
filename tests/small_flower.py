"""A trivial Flower App, for tests of what is around the real one."""

from pathlib import Path

from hashfed.config import Config
from hashfed.deploy.app_folder import app_toml

CODE = """\
import time

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

server = ServerApp()
client = ClientApp()


@server.main()
def main(grid, context):
    if context.run_config["rounds"] == 13:
        raise ValueError("no thirteenth round")
    while context.run_config["rounds"] == 99:
        print("sleeping", flush=True)
        time.sleep(1)
    nodes = list(grid.get_node_ids())
    questions = [Message(RecordDict(), dst_node_id=node, message_type="query") for node in nodes]
    for reply in grid.send_and_receive(questions, timeout=1800):
        node = dict(reply.content["node"]) if reply.has_content() else reply.error
        print("node", sorted(node.items()) if isinstance(node, dict) else node, flush=True)


@client.query()
def query(message, context):
    return Message(RecordDict({"node": ConfigRecord(dict(context.node_config))}), reply_to=message)
"""


def write_trivial_app(folder: Path, config: Config | None = None) -> Path:
    """The app, with hashfed's settings but a server and clients that only tell who they are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trivial.py").write_text(CODE)
    text = app_toml(config or Config(), "trivial:server", "trivial:client")
    (folder / "pyproject.toml").write_text(text)
    return folder
