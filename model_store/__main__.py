"""Runs the command line: `python -m model_store`."""

import sys

from .cli.app import main

if __name__ == "__main__":
    sys.exit(main())
