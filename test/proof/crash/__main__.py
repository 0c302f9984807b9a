"""``python -m proof.crash``: consumers that are killed or stopped at any command."""

import sys

from proof.crash.crashes import main

sys.exit(main(sys.argv[1:]))
