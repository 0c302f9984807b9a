"""``python -m proof.flows``: every flow of a few tasks."""

import sys

from proof.flows.exhaust import main

sys.exit(main(sys.argv[1:]))
