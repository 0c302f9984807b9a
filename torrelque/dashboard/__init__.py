"""A dashboard of queues: pages on the web that show the values of `torrelque.operate`, and nothing else.

It needs Starlette, Jinja2 and sse-starlette, of the extra ``dashboard``.
"""

import importlib.util

from torrelque import TorrelqueError

if any(importlib.util.find_spec(name) is None for name in ('starlette', 'jinja2', 'sse_starlette')):
    raise TorrelqueError(
        "the dashboard needs starlette, jinja2 and sse-starlette, of the extra 'dashboard': "
        "pip install 'torrelque[dashboard]'"
    )

from .access import GRANTS, Redirect, Visitor, anyone
from .app import Dashboard

__all__ = ['GRANTS', 'Dashboard', 'Redirect', 'Visitor', 'anyone']
