"""A shop in Django, with the dashboard of its queue beside it: ``python example/django_shop``; see `shop.demo`."""

import sys

try:
    from shop.demo import main
except ModuleNotFoundError as exc:
    sys.exit(f"{exc}; this example needs more than the others: pip install '.[cli,dashboard,django,embedded]'")

if __name__ == '__main__':
    main()
