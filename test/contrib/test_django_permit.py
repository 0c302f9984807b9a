"""Who may look at the dashboard beside Django, what they may do, and where it is written."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from support.djangosite import fixtures
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.contrib.django import log_act, mount, permit
from torrelque.dashboard import GRANTS, Dashboard, Redirect, Visitor
from torrelque.operate import Act, Operator

site = fixtures.site

pytestmark = [pytest.mark.usefixtures('site'), pytest.mark.one_server]

HOST = 'http://testserver'


def make_user(name: str, permissions: Iterable[str] = (), **more: Any) -> Any:
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission

    user = get_user_model().objects.create_user(name, password='right', **more)
    for one in permissions:
        user.user_permissions.add(Permission.objects.get(codename=one, content_type__app_label='torrelque'))
    return user


def log_in(user: Any) -> Any:
    """The key of a new session."""
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def ask(key: str | None, path: str = '/queues/', method: str = 'GET', query: str = '', name: str = 'sessionid') -> Any:
    """What `permit` answers."""
    from starlette.requests import Request

    cookie = [] if key is None else [(b'cookie', f'{name}={key}'.encode())]
    scope = {
        'type': 'http', 'method': method, 'path': path, 'root_path': '/queues', 'query_string': query.encode(),
        'headers': [(b'host', b'testserver'), *cookie], 'scheme': 'http', 'server': ('testserver', 80),
    }  # fmt: skip
    return asyncio.run(permit(Request(scope)))


# Who


def test_staff_may_look_and_others_need_the_permission() -> None:
    assert ask(log_in(make_user('staff', is_staff=True))) == Visitor('staff')
    assert ask(log_in(make_user('looker', ['view_queue']))) == Visitor('looker')
    assert ask(log_in(make_user('customer'))) is None
    assert ask(log_in(make_user('redriver', ['redrive_task']))) is None


def test_each_grant_has_a_permission_and_superusers_have_all() -> None:
    from torrelque.contrib.django.grants import GRANTS as OURS

    assert {*OURS} == {*GRANTS}
    for grant, (codename, _) in OURS.items():
        user = make_user(f'of-{grant}', [codename], is_staff=True)
        assert ask(log_in(user)) == Visitor(f'of-{grant}', {grant})
    assert ask(log_in(make_user('root', is_superuser=True, is_staff=True))) == Visitor('root', GRANTS)


def test_permissions_are_those_of_the_migration_and_no_other_is_due() -> None:
    from django.contrib.auth.models import Permission
    from django.core.management import call_command

    from torrelque.contrib.django.grants import GRANTS as OURS

    found = {*Permission.objects.filter(content_type__app_label='torrelque').values_list('codename', 'name')}
    assert found == {('view_queue', 'Can view queue'), *OURS.values()}
    call_command('makemigrations', 'torrelque', check=True, dry_run=True, verbosity=0)


def test_whoever_is_not_logged_in_is_sent_to_the_login_and_back() -> None:
    login = '/admin/login/?next='
    assert ask(None, '/queues/task', query='q=a&id=b%2Fc') == Redirect(f'{login}/queues/task%3Fq%3Da%26id%3Db%252Fc')
    assert ask('nothing-that-was-a-session') == Redirect(f'{login}/queues/')
    # What was to be done by another method is not to be done by the login.
    assert ask(None, '/queues/act', 'POST', 'q=a') == Redirect(f'{login}/queues/')


def test_the_login_of_the_settings_goes_first(settings: Callable[..., Any]) -> None:
    with settings(LOGIN_URL='/enter/'):
        assert ask(None) == Redirect('/enter/?next=/queues/')


@pytest.fixture
def settings() -> Any:
    from django.test import override_settings

    return override_settings


def test_a_session_ends_as_it_does_in_django(settings: Callable[..., Any]) -> None:
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    user = make_user('staff', is_staff=True)
    old, outdated, current = log_in(user), log_in(user), None
    Session.objects.filter(session_key=outdated).update(expire_date=timezone.now())
    assert ask(old) == Visitor('staff')
    assert isinstance(ask(outdated), Redirect)
    user.set_password('another')
    user.save()
    assert isinstance(ask(old), Redirect)
    current = log_in(user)
    assert ask(current) == Visitor('staff')
    user.is_active = False
    user.save()
    assert isinstance(ask(current), Redirect)
    # Looking has ended none of them: whoever comes back to the site sees to that.
    assert Session.objects.filter(session_key__in=[old, current]).count() == 2


def test_a_session_of_an_old_key_of_the_site_is_good_and_keeps_its_cookie(settings: Callable[..., Any]) -> None:
    user = make_user('staff', is_staff=True)
    key = log_in(user)
    with settings(SECRET_KEY='new', SECRET_KEY_FALLBACKS=['nothing that is kept']):
        assert [ask(key), ask(key)] == [Visitor('staff')] * 2


@pytest.mark.parametrize('engine', ['cache', 'cached_db', 'signed_cookies', 'file'])
def test_any_engine_of_sessions_will_do(settings: Callable[..., Any], engine: str) -> None:
    with settings(SESSION_ENGINE=f'django.contrib.sessions.backends.{engine}', SESSION_COOKIE_NAME='own'):
        user = make_user('staff', is_staff=True)
        assert ask(log_in(user), name='own') == Visitor('staff')
        assert isinstance(ask(log_in(user)), Redirect)


# The dashboard itself


def application(queue: Torrelque) -> Any:
    from django.core.asgi import get_asgi_application

    return mount(get_asgi_application(), Dashboard(queue, permit=permit, on_act=log_act))


async def test_the_dashboard_is_beside_django(queue: Torrelque) -> None:
    user = await asyncio.to_thread(apart, make_user, 'ann', ['view_queue'])
    key = await asyncio.to_thread(apart, log_in, user)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application(queue)), base_url=HOST) as browser:
        answer = await browser.get('/queues/')
        assert (answer.status_code, answer.headers['location']) == (303, '/admin/login/?next=/queues/')
        assert (await browser.get('/admin/login/')).status_code == 200
        browser.cookies['sessionid'] = key
        page = await browser.get('/queues/')
        assert page.status_code == 200
        assert queue.name in page.text
        assert 'ann' in page.text


async def test_an_act_needs_its_permission_and_is_in_the_log_of_the_admin(queue: Torrelque) -> None:
    people = {'reader': ['view_queue'], 'operator': ['view_queue', 'pause_queue']}
    users = [await asyncio.to_thread(apart, make_user, name, granted) for name, granted in people.items()]
    keys = [await asyncio.to_thread(apart, log_in, user) for user in users]
    query = {'act': 'pause', 'q': queue.name}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application(queue)), base_url=HOST) as browser:
        for key, status in zip(keys, (403, 303), strict=True):
            browser.cookies['sessionid'] = key
            headers = {'origin': HOST, 'sec-fetch-site': 'same-origin'}
            page = await browser.get('/queues/ask', params=query)
            hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)
            form = {'query': urlencode(query), **{name: html.unescape(value) for name, value in hidden}}
            answer = await browser.post('/queues/act', data=form, headers=headers)
            assert answer.status_code == status, answer.text
        done = await browser.get(f'/queues/{answer.headers["location"]}')
        assert 'operator' in done.text
    assert (await Operator(queue).overview()).paused
    assert await asyncio.to_thread(apart, entries) == [('operator', queue.name, 'pause: the queue (0)')]


def apart(call: Callable[..., Any], *args: Any) -> Any:
    """Call something that asks the database, in a thread of its own, and leave no connection there."""
    from django.db import connections

    try:
        return call(*args)
    finally:
        connections.close_all()


def entries() -> list[tuple[str, str, str]]:
    from django.contrib.admin.models import LogEntry

    return [(entry.user.username, entry.object_id, entry.change_message) for entry in LogEntry.objects.all()]


# The admin


def test_an_act_of_nobody_that_django_knows_is_in_no_log() -> None:
    act = Act(queue='mail', time=0.0, who='deploy@host', act='redrive', what='all', count=3)
    asyncio.run(log_act(act))
    assert entries() == []
    make_user('deploy@host')
    asyncio.run(log_act(act))
    assert entries() == [('deploy@host', 'mail', 'redrive: all (3)')]


def test_the_index_of_the_admin_leads_to_the_dashboard(settings: Callable[..., Any]) -> None:
    from django.test import Client

    make_user('staff', is_staff=True)
    browser = Client()
    assert browser.login(username='staff', password='right')
    page = browser.get('/admin/').content.decode()
    assert 'href="/admin/torrelque/queue/"' in page
    assert '/admin/torrelque/queue/add/' not in page
    assert browser.get('/admin/torrelque/queue/').headers['location'] == '/queues/'
    assert browser.get('/admin/torrelque/queue/a%20b/change/').headers['location'] == '/queues/queue?q=a+b'
    with settings(TORRELQUE={}):
        assert 'torrelque' not in browser.get('/admin/').content.decode()
        assert browser.get('/admin/torrelque/queue/').status_code == 403


def test_an_entry_of_the_log_leads_to_its_queue(server: RealServer) -> None:
    from django.contrib.admin.models import LogEntry
    from django.test import Client

    user = make_user('staff', is_staff=True)
    asyncio.run(log_act(Act(queue='a/b', time=0.0, who='staff', act='pause', what='a/b', count=1)))
    browser = Client()
    browser.force_login(user)
    url = LogEntry.objects.get().get_admin_url()
    assert f'href="{url}"' in browser.get('/admin/').content.decode()
    assert browser.get(url).headers['location'] == '/queues/queue?q=a%2Fb'
