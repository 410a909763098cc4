"""``python -m hashfed``."""

import sys

from hashfed.cli.main import main

sys.exit(main())
