"""``torrelque completion``: a script for a shell, made of the parser's tree, so that a key press starts no Python.

Names of queues and groups are not completed, because the server would be asked at each key press.
"""

import argparse

from .asking import PLACES
from .failure import Failure


def completion(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    print(script(found.parser, found.shell))
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell; the parser is of no other use then.

    :raises Failure: what makes it is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise Failure("completion needs shtab, of the extra 'cli': pip install 'torrelque[cli]'") from None
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                # A shell shows a line for each command; a description would be several.
                action.choices[listed.dest].description = listed.help
            for listed in action.choices['tasks']._actions:
                if listed.dest == 'place':
                    listed.choices = PLACES  # those that need no name
    return shtab.complete(parser, shell)
