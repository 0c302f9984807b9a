"""``python -m benchmark.speed``: Torrelque beside other queues."""

import sys

from benchmark.speed.run import main

sys.exit(main())
