"""What a dashboard is made of, whoever asks: queues and their operators, templates, assets, answers that are shared."""

import functools
import hashlib
import importlib.resources
import inspect
import json
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2

from torrelque import TorrelqueLookupError, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Act, Operator
from torrelque.operate.given import find_queues
from torrelque.protocol import check

from . import charts, meters, wording
from .access import Permit
from .doing import Doings
from .links import ask_link, link
from .live import Sampler
from .past import Past
from .reads import Reads, Trouble
from .redacting import Shield, parameters_of
from .ways import way_of

TYPES = {'css': 'text/css; charset=utf-8', 'js': 'text/javascript; charset=utf-8', 'svg': 'image/svg+xml'}


class Lines(str):
    """A text whose ends of lines are kept."""

    __slots__ = ()


class Asset(NamedTuple):
    """A file that pages need, and that never changes under its name."""

    name: str
    """With a hash of what is in it."""
    body: bytes
    type: str


class Site:
    """A dashboard's parts.

    :raises TorrelqueError: something cannot be meant.
    """

    def __init__(
        self, queues: Any, permit: Permit, title: str, shield: Shield, origins: frozenset[str],
        links: Mapping[str, str], on_act: Callable[[Act], Any] | None,
    ) -> None:  # fmt: skip
        self.queues = find_queues(queues, 'a dashboard')
        Operator(self.queues)
        self.operators = {queue.name: Operator(queue) for queue in self.queues}
        self.permit = permit
        self.title = check.check_name(title, 'title')
        self.shield = shield
        self.origins = origins
        self.links = check_links(links)
        self.on_act = on_act
        self.reads = Reads()
        self.past = Past()
        self.sampler = Sampler()
        self.doings = Doings()
        self.assets = read_assets()
        self.templates = make_templates()

    async def aclose(self) -> None:
        """End what goes on by itself.  The queues stay open: they are the application's."""
        await self.sampler.aclose()
        await self.reads.aclose()

    def choose(self, names: Collection[str]) -> Operator:
        """An operator of the queues of these names, or of all.

        :raises TorrelqueLookupError: there is none of a name.
        """
        unknown = [name for name in names if name not in self.operators]
        if unknown:
            raise TorrelqueLookupError(f'there is no queue {unknown[0]!r} here')
        chosen = [queue for queue in self.queues if queue.name in names]
        return Operator(chosen or self.queues)

    def fill_links(self, words: Mapping[str, str]) -> dict[str, str]:
        """Addresses elsewhere, with what is told of a task in them; those that need what is not known are left out."""
        found = {}
        for name, url in self.links.items():
            needed = {field for _, field, _, _ in string.Formatter().parse(url) if field}
            if all(words.get(field) for field in needed):
                quoted = {field: quote(words[field], safe='', errors='surrogateescape') for field in needed}
                found[name] = url.format(**quoted)
        return found


def find_parameters(given: Any) -> dict[str, tuple[str, ...]]:
    """Names of the parameters of decorated functions, of the apps that are given, by the functions' names."""
    apps = [given] if hasattr(given, 'functions') else given if isinstance(given, Iterable) else []
    found: dict[str, tuple[str, ...]] = {}
    for app in apps:
        functions = getattr(app, 'functions', None)
        if isinstance(functions, Mapping):
            found |= {name: parameters_of(function) for name, function in functions.items()}
    return found


def check_links(links: Any) -> dict[str, str]:
    """Templates of addresses elsewhere, by their names.

    :raises TorrelqueError: one is none.
    """
    if not isinstance(links, Mapping):
        raise TorrelqueTypeError(f'links must be addresses by their names, not {links!r}')
    for name, url in links.items():
        if not isinstance(name, str) or not isinstance(url, str) or not url.startswith(('https://', 'http://', '/')):
            raise TorrelqueValueError(
                f'the link {name!r} must be an address such as https://logs/{{task_id}}, not {url!r}'
            )
        try:
            url.format(task_id='', queue='', function='', group='', trace_id='')
        except (LookupError, ValueError) as exc:
            raise TorrelqueValueError(
                f'the link {name!r} may have {{task_id}}, {{queue}}, {{function}}, {{group}}, {{trace_id}}, not {exc}'
            ) from exc
    return dict(links)


@functools.cache
def read_assets() -> dict[str, Asset]:
    """The files that pages need, by their plain names."""
    folder = importlib.resources.files('torrelque.dashboard') / 'asset'
    found = {}
    for path in folder.iterdir():
        stem, _, kind = path.name.rpartition('.')
        if kind in TYPES:
            body = path.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:12]
            found[path.name] = Asset(f'{stem}.{digest}.{kind}', body, TYPES[kind])
    return found


@functools.cache
def make_templates() -> jinja2.Environment:
    """Templates whose texts are escaped, all of them; and made visible, whatever is in them."""
    assets = read_assets()
    env = jinja2.Environment(
        loader=jinja2.PackageLoader('torrelque.dashboard', 'template'),
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=_finalize, trim_blocks=True, lstrip_blocks=True,
        auto_reload=False,
    )  # fmt: skip
    for name, function in inspect.getmembers(wording, inspect.isfunction):
        if function.__module__ == wording.__name__ and not name.startswith('_'):
            env.filters[name] = function
    env.filters['oneline'] = one_line
    env.filters['lines'] = lambda text: Lines(text)
    env.tests['trouble'] = lambda value: isinstance(value, Trouble)
    env.globals |= {'link': link, 'ask_link': ask_link, 'way_of': way_of, 'charts': charts, 'meters': meters}
    env.globals['asset'] = lambda name: f'./{assets[name].name}'
    # A part of a page is rendered by itself, without what its template has imported.
    env.globals['ui'] = env.get_template('macros.html').module
    env.globals['plot'] = env.get_template('chart.html').module
    return env


def one_line(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        return repr(value)


def _finalize(value: Any) -> Any:
    if value is None:
        return ''
    if isinstance(value, Lines):
        return wording.visible_lines(value)
    if isinstance(value, str) and not hasattr(value, '__html__'):
        return wording.visible(value)
    return value
