"""``python -m proof.spec``: every interleaving of a small queue."""

import sys

from proof.spec.spec import main

sys.exit(main())
