"""The program of a worker process: imports hashfed as its parent found it, and tells it what goes wrong.

Run by its path, so that nothing but Python's own library is needed to tell. The parent's main program is not
imported: a script needs no ``if __name__ == "__main__":``.
"""

import json
import sys
import traceback
from multiprocessing.connection import Connection


def main() -> None:
    """Arguments: the handle of the socket to the parent, and its ``sys.path`` as JSON."""
    handle, path = int(sys.argv[1]), sys.argv[2]
    sys.path[:] = json.loads(path)
    try:
        from hashfed.engines.local.workers import work
    except BaseException:
        text = traceback.format_exc()
        Connection(handle).send_bytes(text.encode(errors="replace"))
        sys.exit(1)
    work(handle)


if __name__ == "__main__":
    main()
