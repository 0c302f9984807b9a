"""An application on three primaries of a Cluster, one of which is killed: ``python example/sharded``; see `killing`."""

import sys

try:
    from killing import main
except ModuleNotFoundError as exc:
    sys.exit(f"{exc}; this example needs more than the others: pip install '.[cli,dashboard,embedded,example]'")

if __name__ == '__main__':
    main()
