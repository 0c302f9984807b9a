"""``python -m proof.chaos.apps``: seeds of faults over an application."""

import sys

from proof.chaos.apps.seeds import main, parse

sys.exit(main(parse()))
