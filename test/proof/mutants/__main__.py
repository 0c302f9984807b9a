"""``python -m proof.mutants``: hand-made faults and the tests that see them."""

import sys

from proof.mutants.mutants import main

sys.exit(main(sys.argv[1:]))
