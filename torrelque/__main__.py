"""``python -m torrelque`` is the command ``torrelque``."""

import sys

from torrelque.cli import main

if __name__ == '__main__':
    sys.exit(main())
