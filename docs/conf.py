"""Configuration of Sphinx.  The site is built without network, and with warnings as errors."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
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

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode', 'sphinx_copybutton']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'Torrelque {release}'
html_copy_source = False
html_show_copyright = False
smartquotes = False
pygments_style = 'friendly'
myst_heading_anchors = 3
# What the button of a console block copies: its commands, without prompts and without what they print.
copybutton_prompt_text = '$ '
copybutton_only_copy_prompt_lines = True

# Names in single backticks are links; a name that leads nowhere is a warning.
default_role = 'any'
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
# What has no page to lead to, and names that stand for types in signatures.
nitpick_ignore_regex = [
    # Parameters of the embedded server.
    ('any', 'directory|config'),
    # Of the standard library, what is not in `ELSEWHERE`.
    ('py:.*', r'(asyncio|collections|contextlib|datetime|enum|logging|os|types|typing|zoneinfo)\..*'),
    ('py:class', r'redis\.(asyncio\.)?(client\.Pipeline|cluster\.ClusterPipeline)'),
    ('py:class', r'(starlette\.requests\.)?Request'),
    # A collector of prometheus-client, and its families.
    ('py:class', r'(prometheus_client\.metrics_core\.)?Metric'),
    ('py:.*', r'django\..*'),
    ('py:class', r'torrelque\.codec\.(Dumps|Loads)'),
    # Of Django, whose inventory is not read.
    ('py:.*', r'django\..*'),
    # The queues for threads are documented without targets, because the others have their names.
    ('py:class', r'torrelque\.sync\.queue\.Torrelque'),
    # Type variables.
    ('py:class', r'(torrelque\..*\.)?(Self|T|T_co|P|R|A|A_contra|U|V)'),
]

ELSEWHERE = {
    'https://docs.python.org/3/library/': {
        'asyncio-eventloop.html#asyncio.': 'AbstractEventLoop',
        'collections.abc.html#collections.abc.': (
            'AsyncGenerator AsyncIterable AsyncIterator Awaitable Callable Coroutine Generator Iterable Iterator '
            'Mapping Sequence'
        ),
        'contextlib.html#contextlib.': 'AbstractAsyncContextManager AbstractContextManager',
        'datetime.html#datetime.': 'datetime timedelta',
        'exceptions.html#': 'BaseException Exception LookupError TimeoutError TypeError ValueError',
        'functions.html#': 'bool float int object',
        'os.html#os.': 'PathLike',
        'stdtypes.html#': 'bytes dict list str tuple',
        'types.html#types.': 'TracebackType',
    },
    'https://redis.readthedocs.io/en/stable/': {
        'connections.html#redis.': 'Redis',
        'connections.html#redis.asyncio.client.': 'Redis',
        'connections.html#redis.asyncio.cluster.': 'RedisCluster',
        'connections.html#redis.cluster.': 'RedisCluster',
    },
}
"""Where others document what signatures name, by site, and page with the beginning of the anchor.  An inventory of
theirs would have to be fetched whenever the pages are built."""
OTHERS = {
    anchor.partition('#')[2] + name: f'{site}{anchor}{name}'
    for site, pages in ELSEWHERE.items()
    for anchor, names in pages.items()
    for name in names.split()
}
ALIASES = {
    'AbstractContextManager': 'contextlib.AbstractContextManager',
    'asyncio.events.AbstractEventLoop': 'asyncio.AbstractEventLoop',
    'redis.client.Redis': 'redis.Redis',
}
"""What is defined in another module than the one that it is documented in, or named without its module."""


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


def find_elsewhere(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, content: nodes.TextElement
) -> nodes.reference | None:
    """The link to a name that others document."""
    name = node.get('reftarget', '')
    if node.get('refdomain') == 'py' and (place := OTHERS.get(ALIASES.get(name, name))):
        return nodes.reference('', '', content, internal=False, refuri=place, reftitle=name)
    return None


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
    app.connect('missing-reference', find_elsewhere)
    app.add_directive('lua-header', LuaHeader)
    return {'parallel_read_safe': True}
