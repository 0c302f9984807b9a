"""The command line: ``torrelque run shop.tasks:app``, or ``python -m torrelque run shop.tasks:app``.

It stands on the public names of the other layers.  What a command needs is imported when it runs, and the extra ``cli``
by what shows something; so help and version are there without.
"""

from .parser import main
from .program import Program

__all__ = ['Program', 'main']
