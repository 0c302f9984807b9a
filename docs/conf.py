"""Configuration of Sphinx.  The site is built without network, and with warnings as errors."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / 'torrelque' / 'script'
sys.path.insert(0, str(ROOT))

import torrelque  # noqa: E402 - it is found now

metadata = configparser.ConfigParser()
metadata.read(ROOT / 'setup.cfg')

project = 'Torrelque'
author = 'the Torrelque authors'
release = version = metadata['metadata']['version']

extensions = ['myst_parser', 'sphinx.ext.autodoc']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'Torrelque {release}'
html_copy_source = False
html_show_copyright = False
smartquotes = False
pygments_style = 'friendly'
myst_heading_anchors = 3

# Names in single backticks are links; a name that leads nowhere is a warning.
default_role = 'any'
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
# What is not documented here: other packages, and names that stand for types in signatures.
nitpick_ignore_regex = [
    # Parameters of the embedded server.
    ('any', 'directory|config'),
    ('py:.*', r'(redis|collections|datetime|os|types|typing|asyncio|enum)\..*'),
    ('py:.*', r'(str|int|float|bool|bytes|bytearray|dict|list|tuple|object|type|None|Exception|Path)'),
    ('py:.*', r'(Any|AsyncIterable|Callable|Iterable|Literal|Mapping|NamedTuple|PathLike|Protocol|Self)'),
    ('py:.*', r'(Client|TimeoutError|TypeError|ValueError|LookupError|BaseException|TracebackType)'),
    ('py:class', r'torrelque\.codec\.(Dumps|Loads)'),
    # Type variables.
    ('py:class', r'(torrelque\..*\.)?(Self|T|P|R)'),
]


def leading_comment(script: str) -> str:
    """The comment that a Lua file opens with: its arrow, arguments and replies; and its directives."""
    lines = []
    for line in (SCRIPTS / f'{script}.lua').read_text('utf-8').splitlines():
        if not line.startswith('--'):
            break
        lines.append(re.sub(r'^-- ?(?!@)', '', line))
    return '\n'.join(lines)


class LuaHeader(SphinxDirective):
    """Show the leading comment of a script, so that the page cannot differ from it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        self.env.note_dependency(str(SCRIPTS / f'{name}.lua'))
        block = nodes.literal_block(text=leading_comment(name), language='text')
        return [block]


def drop_field_numbers(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Say nothing, rather than 'Alias for field number 5', of fields whose names say enough."""
    if lines and lines[0].startswith('Alias for field number'):
        lines.clear()


def tell_short_name(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Begin with the name that is to be used, where a class has one without the prefix as well."""
    short = name.removeprefix('torrelque.Torrelque')
    if short != name and getattr(torrelque, short, None) is obj:
        lines[:0] = [f'To be used as ``torrelque.{short}``.', '']


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect('autodoc-process-docstring', drop_field_numbers)
    app.connect('autodoc-process-docstring', tell_short_name)
    app.add_directive('lua-header', LuaHeader)
    return {'parallel_read_safe': True}
