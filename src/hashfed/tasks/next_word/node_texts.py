"""The texts that a node has, from its own settings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hashfed.data import ClientTexts, Part, merge_clients, read_texts
from hashfed.data.client_texts import full_name
from hashfed.data.readers import NAMED
from hashfed.errors import HashfedError
from hashfed.files import with_home


def node_texts(node: Mapping[str, Any], source: str, part: Part, beside_server: bool) -> list[ClientTexts]:
    """The texts of this node's clients.

    Args:
        node: settings of the node (``--node-config``): ``texts``, a folder or JSON Lines file with this
            node's own texts, as one client where ``client`` names it; or ``partition-id`` and
            ``num-partitions``, every so manieth client of the data set ``source``. Without it that is the
            run's, where it has a name; which files are read here is this node's choice, not the server's.
        source: of the run.
        part: of it that is needed.
        beside_server: whether this node may read the server's files.

    Raises:
        HashfedError: where settings are missing or do not fit, or the texts cannot be read.

    """
    if "texts" in node:
        texts = replace(part, clients=None, held_out_clients=None, held_out=None)
        found = read_texts(with_home(str(node["texts"])), "node-config: texts", texts)
        if "client" not in node:
            return found
        name = str(node["client"])
        return merge_clients(ClientTexts(name, item.texts, item.group) for item in found)
    if "partition-id" not in node or "num-partitions" not in node:
        raise HashfedError(
            "node-config: names no data; give texts=FOLDER client=NAME, or partition-id=I num-partitions=N"
        )
    place, parts = _integer(node, "partition-id"), _integer(node, "num-partitions")
    if not 0 <= place < parts:
        raise HashfedError(f"node-config: partition-id = {place}: must be from 0 to {parts - 1}")
    source = with_home(str(node.get("source", source)))
    if "source" not in node and source not in NAMED and not beside_server:
        raise HashfedError(
            f"node-config: the run's data is the file {source} of the server; this node must say itself what "
            "it reads: source=PATH (hashfed join --source PATH)"
        )
    setting = "node-config: source" if "source" in node else "data.source"
    found = read_texts(source, setting, part)
    return sorted(found, key=lambda item: full_name(item.key))[place::parts]


def _integer(node: Mapping[str, Any], name: str) -> int:
    value = node[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise HashfedError(f"node-config: {name} = {value!r}: must be an integer")
    return value
