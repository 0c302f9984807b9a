"""``python -m proof.chaos``: seeds of faults over a crowd."""

import sys

from proof.chaos.chaos import main, parse

sys.exit(main(parse()))
