"""``python -m hashfed`` and the command ``hashfed``: imports what it needs once Ctrl-C is answered."""

import sys

from hashfed.stopping import end_at_once, end_silently


def main() -> int:
    """Run the command line; returns the exit code."""
    end_at_once()
    from hashfed.cli.main import main as run  # seconds: torch

    code = run()
    end_silently()
    return code


if __name__ == "__main__":
    sys.exit(main())
