"""Run the command line with ``python -m msgformer``."""

import sys

from msgformer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
