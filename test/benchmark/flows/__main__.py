"""``python -m benchmark.flows``: what flows cost."""

import sys

from benchmark.flows.run import main

sys.exit(main(sys.argv[1:]))
