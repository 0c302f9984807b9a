"""``python -m proof.record``: the next parts of the proof, and what they came to."""

import sys

from proof.record.command import main

sys.exit(main(sys.argv[1:]))
