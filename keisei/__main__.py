"""Let ``python -m keisei`` run the ``keisei`` command."""

import sys

from keisei.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
