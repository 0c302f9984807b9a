"""``python -m proof.growth``: all interleavings of a group that moves to a new shard."""

import sys

from proof.growth.growth import main

sys.exit(main())
