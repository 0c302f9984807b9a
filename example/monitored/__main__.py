"""Workers of a file, watched over: ``python example/monitored``; see `demo`."""

import sys

try:
    from demo import main
except ModuleNotFoundError as exc:
    sys.exit(f"{exc}; this example needs more than the others: pip install '.[cli,embedded,example,monitor,otel]'")

if __name__ == '__main__':
    main()
