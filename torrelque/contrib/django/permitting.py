"""Who may look at the dashboard, and do what there: by Django's own login, sessions and permissions."""

import importlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse

from .connections import looked_after
from .grants import GRANTS

if TYPE_CHECKING:
    from starlette.requests import Request

    from torrelque.dashboard import Redirect, Visitor

VIEW = 'torrelque.view_queue'


async def permit(request: 'Request') -> 'Visitor | Redirect | None':
    """The ``permit`` of a `torrelque.dashboard.Dashboard` beside Django: ``Dashboard(app, permit=permit)``.

    Whoever is logged in to Django, and belongs to the staff or has the permission ``torrelque.view_queue``, may look;
    each thing to do needs the permission of its grant as well, such as ``torrelque.redrive_task``, and superusers have
    all.  Others who are logged in are refused, and whoever is not is sent to log in: to ``LOGIN_URL`` where the
    settings have one, or else to that of the admin.

    The session is read and not changed: it is neither renewed nor ended from here.
    """
    from torrelque.dashboard import Redirect, Visitor

    name, allow = await sync_to_async(_look)(request.cookies.get(settings.SESSION_COOKIE_NAME))
    if name is None:
        return Redirect(_login(request))
    return None if allow is None else Visitor(name, allow)


def _look(key: str | None) -> tuple[str | None, frozenset[str] | None]:
    """The name of who has a session, and what is granted; None where nobody is logged in, and to whom may not look."""
    if not key:
        return None, None
    with looked_after():
        user = _find_user(key)
        if not user.is_authenticated:
            return None, None
        name = str(user.get_username())
        if not (user.is_staff or user.has_perm(VIEW)):
            return name, None
        grants = (grant for grant, (codename, _) in GRANTS.items() if user.has_perm(f'torrelque.{codename}'))
        return name, frozenset(grants)


def _find_user(key: str) -> Any:
    """The user of a session, as Django's own middleware finds it; an anonymous one where there is none."""
    engine: Any = importlib.import_module(settings.SESSION_ENGINE)
    session = engine.SessionStore(key)
    # Django renews or ends some sessions while it looks for the user, and then sends another cookie.  None is sent from
    # here, so the session stays as it is.  (A class of our own would do, were its name not a part of the signature.)
    session.cycle_key = session.flush = session.save = _do_nothing
    request: Any = HttpRequest()
    request.session = session
    return get_user(request)


def _do_nothing(*_: Any, **__: Any) -> None: ...


def _login(request: 'Request') -> str:
    """Where to log in, and to come back from."""
    url = request.url
    # The login leads back by GET, so not to what was to be done by another method.
    back = url.path + (f'?{url.query}' if url.query else '')
    if request.method not in ('GET', 'HEAD'):
        back = f'{request.scope.get("root_path", "")}/'
    place = settings.LOGIN_URL
    if not settings.is_overridden('LOGIN_URL'):
        try:
            place = reverse('admin:login')
        except NoReverseMatch:
            pass
    return f'{resolve_url(place)}?next={quote(back)}'
