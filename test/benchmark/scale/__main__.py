"""``python -m benchmark.scale``: a million tasks, many processes, large payloads."""

import sys

from benchmark.scale.scale import main

sys.exit(main())
