"""``hashfed keyboard``."""

import argparse
import webbrowser

import torch

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.command import Command
from hashfed.cli.streams import say
from hashfed.errors import HashfedError
from hashfed.keyboard.server import KeyboardServer, read_columns
from hashfed.runs import RunFolder

LARGEST_PORT = 65_535


def add_keyboard(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument("run_folder", type=path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "other_folder",
        nargs="?",
        type=path,
        metavar="RUN2",
        help="folder of another run, to be shown beside it",
    )
    parser.add_argument(
        "--port",
        type=whole,
        default=0,
        help="where the page is, on this machine alone [default: any free one]",
    )
    parser.add_argument("--open", action="store_true", help="also open the page in the browser")


def keyboard(arguments: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    if not 0 <= arguments.port <= LARGEST_PORT:
        raise HashfedError(f"--port = {arguments.port}: must be from 0 to {LARGEST_PORT}")
    # What one key press computes is too little to share, and its time is to be that of one core.
    torch.set_num_threads(1)
    folders = [folder for folder in (arguments.run_folder, arguments.other_folder) if folder is not None]
    columns = read_columns([RunFolder(folder) for folder in folders])
    with KeyboardServer(columns, arguments.port) as server:
        say("what is typed on the page stays on this machine; Ctrl-C ends")
        print(f"page: {server.url}", flush=True)
        if arguments.open and not webbrowser.open(server.url):
            say("hashfed: --open: no browser found; the page is at the address above")
        server.serve_forever()


KEYBOARD = Command(
    name="keyboard",
    help="a page on which one types and sees a run's next words",
    description="Serve a page to this machine's browser until Ctrl-C. Whoever types there sees the three "
    "likeliest next words of a run, or of two side by side, as on a phone's keyboard.",
    run=keyboard,
    add=add_keyboard,
)
