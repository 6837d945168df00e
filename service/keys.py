"""The former name of `python -m service.auth`; it works for one release more."""

import sys

from service.auth.__main__ import main

if __name__ == "__main__":
    print("python -m service.keys is now: python -m service.auth", file=sys.stderr)
    sys.exit(main())
