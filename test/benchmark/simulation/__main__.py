"""``python -m benchmark.simulation``: shards by the hundred, on two cores."""

import sys

from benchmark.simulation.simulation import main

sys.exit(main())
