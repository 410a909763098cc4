"""Keeping one SuperNode joined to a SuperLink that may not be there yet, or starts anew."""

import time
from collections.abc import Callable
from typing import NoReturn

from hashfed.deploy.control import NotThere, check_health
from hashfed.deploy.processes import SuperNode
from hashfed.engines.proxies import through
from hashfed.errors import HashfedError

Say = Callable[[str], None]

REFUSED = "[code: 2004]"
"""Flower's answer both to an unknown key and to a key whose last heartbeat has not expired."""

START_SECONDS = 120.0
"""For which a SuperNode may take to start and ask, beyond the time to wait: on a busy machine."""

UNREGISTERED = "[code: 2001]"
"""Flower's answer to a node without a key, where keys are needed."""


def stay_joined(node: SuperNode, wait: float, say: Say, show: Say) -> NoReturn:
    """Join, and join again whenever the SuperLink starts anew; ends only by an exception (Ctrl-C).

    Args:
        node: not started yet; the caller terminates it.
        wait: seconds to wait for a SuperLink that is not there, or refuses the node.
        say: called with our own news, one line each.
        show: called with each line of the SuperNode and its ClientApps once it has joined.

    Raises:
        HashfedError: where the SuperLink does not answer or does not take the node within ``wait`` seconds,
            or will never take it.

    """
    if way := _through(node):
        say(f"{node.superlink} is asked{way.removeprefix(',')}")
    while True:
        deadline = time.monotonic() + wait
        _wait_for_superlink(node, wait, deadline, say)
        refused = False
        while not _run(node, deadline, say, show):
            _check_output(node, wait, deadline)
            if not refused:
                say(
                    f"refused with {REFUSED}: the key is not registered there, or the heartbeat of its last "
                    f"SuperNode has not expired (up to 60 s); trying for up to {wait:g} s"
                )
            refused = True
            time.sleep(min(5, max(0, deadline - time.monotonic())))
        if node.child.exit_code:
            raise HashfedError(f"the SuperNode ended by itself: {node.child.last_words()}")
        say("the SuperLink ended the connection, perhaps because it was started anew; joining again")
        time.sleep(1)


def _wait_for_superlink(node: SuperNode, wait: float, deadline: float, say: Say) -> None:
    said = False
    while True:
        try:
            return check_health(node.superlink, node.secure)
        except NotThere as error:
            if time.monotonic() > deadline:
                raise HashfedError(f"{error}, for {wait:g} s") from None
            if not said:
                say(f"{error}; trying for up to {wait:g} s")
            said = True
            time.sleep(1)


def _run(node: SuperNode, deadline: float, say: Say, show: Say) -> bool:
    """Start the SuperNode and wait for its end; returns whether it had joined."""
    node.start()
    child = node.child
    joined = ended = False
    while not ended:
        ended = child.exit_code is not None
        for line in child.new_lines():
            if joined and line.removeprefix("INFO :").strip():
                show(line)
            if "SuperNode ID:" in line:
                joined = True
                say(f"joined {node.superlink} as node {line.rpartition(' ')[2]}; Ctrl-C leaves")
        if not joined and not ended and time.monotonic() > deadline + START_SECONDS:
            raise HashfedError(
                f"{node.superlink}: no answer to flower-supernode: {child.last_words()}{_through(node)}"
            )
        time.sleep(0.2)
    node.kill()  # what is left of its group: it has ended itself
    return joined


def _check_output(node: SuperNode, wait: float, deadline: float) -> None:
    """Return where trying again may help.

    Raises:
        HashfedError: where it will not, or the time is over.

    """
    output = node.child.output()
    quoted = node.child.last_words()
    if "address already in use" in output:
        return  # somebody took the free port before the SuperNode did
    if REFUSED in output:
        if time.monotonic() < deadline:
            return
        key = "its key" if node.node is None else f"the key nodes/{node.node}.pub"
        raise HashfedError(
            f"{node.superlink}: refused this node for {wait:g} s ({quoted}): {key} is not registered there, "
            "or another SuperNode runs with it"
        )
    if UNREGISTERED in output:
        raise HashfedError(
            f"{node.superlink}: takes only nodes with a key; join with --secure DIR --node NAME ({quoted})"
        )
    if "Exit Code: 302" in output and node.secure is not None:
        raise HashfedError(f"{node.secure / 'nodes' / str(node.node)}: no private key of a node ({quoted})")
    raise HashfedError(
        f"{node.superlink}: flower-supernode ended with exit code {node.child.exit_code}: {quoted}"
        f"{_through(node)}"
    )


def _through(node: SuperNode) -> str:
    """The proxy between the node and its SuperLink, for a message."""
    return through(f"{'http' if node.secure is None else 'https'}://{node.superlink}")
