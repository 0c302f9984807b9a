"""What ``TORRELQUE`` of Django's settings says: the only place that reads it."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from torrelque import TorrelqueError
from torrelque.protocol.check import check_name
from torrelque.tasks.address import make_client

KEYS = ('URL', 'APP', 'QUEUES', 'DASHBOARD')
BACKEND = 'torrelque.contrib.django.Backend'


class Settings(NamedTuple):
    """What ``TORRELQUE`` of Django's settings says."""

    url: str | None
    """``URL``, the address of the server; None is as the environment says, see `torrelque.tasks.Tasks.from_url`."""
    apps: tuple[str, ...]
    """``APP``, each as ``MODULE:NAME``; and behind them those of the backends of ``TASKS`` that are torrelque's."""
    queues: tuple[str, ...]
    """``QUEUES``, what commands are about where they name no queue; by default those of the apps."""
    dashboard: str | None
    """``DASHBOARD``, the path at which the dashboard is mounted; the index of the admin has a link to it."""


class Mistake(NamedTuple):
    """What is wrong with the setting."""

    number: int
    sentence: str
    hint: str | None = None


def read_settings() -> Settings:
    """Read ``TORRELQUE`` of Django's settings; all of it may be missing.

    :raises django.core.exceptions.ImproperlyConfigured: it cannot be meant, with all that is wrong.  Nothing is
        connected, and no app imported.
    """
    if mistakes := [*find_mistakes()]:
        lines = (f'{one.sentence}; {one.hint}' if one.hint else one.sentence for one in mistakes)
        raise ImproperlyConfigured('\n'.join(lines))
    given: Mapping[str, Any] = getattr(settings, 'TORRELQUE', {})
    apps = given.get('APP') or ()
    named = [apps] if isinstance(apps, str) else [*apps]
    named += [f'torrelque.contrib.django.served:{alias}' for alias in backends()]
    return Settings(given.get('URL'), tuple(named), tuple(given.get('QUEUES') or ()), given.get('DASHBOARD'))


def backends() -> list[str]:
    """The aliases of the backends of ``TASKS`` that are torrelque's, or made of that."""
    found: Mapping[str, Any] = getattr(settings, 'TASKS', {})
    if not isinstance(found, Mapping):
        return []
    return [alias for alias, given in found.items() if isinstance(given, Mapping) and _is_ours(given.get('BACKEND'))]


def _is_ours(path: Any) -> bool:
    """Whether a path is that of the backend, or of a class that is made of it."""
    if not isinstance(path, str) or path == BACKEND or path.startswith('django.'):
        return path == BACKEND
    try:
        found = import_string(path)
    except ImportError:
        return False
    names = [f'{one.__module__}.{one.__qualname__}' for one in getattr(found, '__mro__', ())]
    return 'torrelque.contrib.django.backend.Backend' in names


def find_mistakes() -> Iterator[Mistake]:
    """What is wrong with the setting."""
    given = getattr(settings, 'TORRELQUE', {})
    if not isinstance(given, Mapping):
        yield Mistake(1, f'TORRELQUE must be a dict, not {type(given).__name__}')
        return
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key).upper(), KEYS, 1, 0.5)
            hint = f'did you mean {near[0]!r}?' if near else f'known are {", ".join(KEYS)}'
            yield Mistake(2, f'TORRELQUE has an unknown key {key!r}', hint)
    yield from _of_url(given.get('URL'))
    yield from _of_app(given.get('APP'))
    yield from _of_queues(given.get('QUEUES'))
    yield from _of_dashboard(given.get('DASHBOARD'))
    for alias in backends():
        if not alias.isidentifier():
            yield Mistake(7, f'TASKS has an alias {alias!r} for a backend of torrelque', 'it must be a Python name')


def _of_url(url: Any) -> Iterator[Mistake]:
    if url is None:
        return
    if not isinstance(url, str) or not url:
        yield Mistake(3, f"TORRELQUE['URL'] must be an address, such as 'redis://localhost', not {url!r}")
        return
    try:
        make_client(url)
    except TorrelqueError as exc:
        yield Mistake(3, f"TORRELQUE['URL']: {exc}")


def _of_app(apps: Any) -> Iterator[Mistake]:
    if apps is None:
        return
    if not isinstance(apps, (str, list, tuple)):
        yield Mistake(4, f"TORRELQUE['APP'] must be a MODULE:NAME, or a list of such, not {apps!r}")
        return
    for app in [apps] if isinstance(apps, str) else apps:
        module, _, name = app.partition(':') if isinstance(app, str) else ('', '', '')
        if not all(part.isidentifier() for part in [*module.split('.'), *name.split('.')]):
            yield Mistake(
                4, f"TORRELQUE['APP'] has {app!r}, which is no MODULE:NAME", "it is spelt as in 'shop.tasks:app'"
            )


def _of_queues(queues: Any) -> Iterator[Mistake]:
    if queues is None:
        return
    if not isinstance(queues, (list, tuple)):
        yield Mistake(5, f"TORRELQUE['QUEUES'] must be a list of names, not {queues!r}")
        return
    for name in queues:
        try:
            check_name(name, 'a name')
        except TorrelqueError as exc:
            yield Mistake(5, f"TORRELQUE['QUEUES']: {exc}")


def _of_dashboard(path: Any) -> Iterator[Mistake]:
    if path is None:
        return
    if not isinstance(path, str) or not path.startswith('/') or path.startswith('//'):
        yield Mistake(
            6, f"TORRELQUE['DASHBOARD'] must be a path, not {path!r}", "it begins with one /, as '/queues/' does"
        )
