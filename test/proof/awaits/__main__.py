"""``python -m proof.awaits``: calls that are cancelled at any await."""

import sys

from proof.awaits.awaits import main

sys.exit(main(sys.argv[1:]))
