"""``python -m benchmark.operate``: what operators' questions cost the server."""

import sys

from benchmark.operate.operate import main

sys.exit(main(sys.argv[1:]))
