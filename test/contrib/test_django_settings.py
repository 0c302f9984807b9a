"""What the settings of Django may say, and what is told of mistakes in them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from support.djangosite import fixtures
from torrelque.contrib.django import Settings, read_settings

site = fixtures.site

pytestmark = pytest.mark.usefixtures('site')

OURS = {'BACKEND': 'torrelque.contrib.django.Backend'}


def read(**settings: Any) -> Settings:
    from django.test import override_settings

    with override_settings(**{'TASKS': {}, **settings}):
        return read_settings()


def check(given: Any, tasks: Any = None) -> list[str]:
    from django.core.checks import run_checks
    from django.test import override_settings

    with override_settings(TORRELQUE=given, TASKS=tasks or {}):
        return [f'{one.id}: {one.msg}; {one.hint}' for one in run_checks(tags=['torrelque'])]


def test_all_may_be_missing() -> None:
    assert read(TORRELQUE={}) == Settings(None, (), (), None)
    assert check({}) == []


def test_settings_are_read() -> None:
    given = {'URL': 'redis://u:secret@host/1', 'APP': 'shop.tasks:app', 'QUEUES': ['a', 'b'], 'DASHBOARD': '/queues/'}
    assert read(TORRELQUE=given) == Settings('redis://u:secret@host/1', ('shop.tasks:app',), ('a', 'b'), '/queues/')
    assert read(TORRELQUE={'APP': ['a:app', 'b.tasks:app']}).apps == ('a:app', 'b.tasks:app')
    assert check(given) == []


def test_backends_of_tasks_are_served_behind_the_apps() -> None:
    tasks = {'default': OURS, 'other': {'BACKEND': 'django.tasks.backends.dummy.DummyBackend'}, 'mail': OURS}
    served = 'torrelque.contrib.django.served'
    assert read(TORRELQUE={'APP': 'shop.tasks:app'}, TASKS=tasks).apps == (
        'shop.tasks:app', f'{served}:default', f'{served}:mail'
    )  # fmt: skip


@pytest.mark.parametrize(
    ('given', 'told'),
    [
        (['redis://localhost'], 'torrelque.E001: TORRELQUE must be a dict, not list; None'),
        ({'QUEUE': ['a']}, "torrelque.E002: TORRELQUE has an unknown key 'QUEUE'; did you mean 'QUEUES'?"),
        ({'url': 'redis://'}, "torrelque.E002: TORRELQUE has an unknown key 'url'; did you mean 'URL'?"),
        ({'BROKER': 1}, "torrelque.E002: TORRELQUE has an unknown key 'BROKER'; known are URL, APP, QUEUES, DASHBOARD"),
        ({'URL': 'amqp://joe:secret@host'}, "torrelque.E003: TORRELQUE['URL']: the address of a server begins with"),
        ({'URL': 6379}, "torrelque.E003: TORRELQUE['URL'] must be an address, such as 'redis://localhost', not 6379"),
        ({'APP': 'shop.tasks.app'}, "torrelque.E004: TORRELQUE['APP'] has 'shop.tasks.app', which is no MODULE:NAME"),
        ({'APP': ['a:app', 3]}, "torrelque.E004: TORRELQUE['APP'] has 3, which is no MODULE:NAME"),
        ({'APP': {'a': 1}}, "torrelque.E004: TORRELQUE['APP'] must be a MODULE:NAME, or a list of such"),
        ({'QUEUES': 'mail'}, "torrelque.E005: TORRELQUE['QUEUES'] must be a list of names, not 'mail'"),
        ({'QUEUES': ['']}, "torrelque.E005: TORRELQUE['QUEUES']: "),
        ({'DASHBOARD': 'queues/'}, "torrelque.E006: TORRELQUE['DASHBOARD'] must be a path, not 'queues/'"),
        ({'DASHBOARD': '//evil'}, "torrelque.E006: TORRELQUE['DASHBOARD'] must be a path, not '//evil'"),
    ],
)
def test_a_mistake_is_told(given: Any, told: str) -> None:
    from django.core.exceptions import ImproperlyConfigured

    [found] = check(given)
    assert found.startswith(told)
    assert 'secret' not in found
    with pytest.raises(ImproperlyConfigured):
        read(TORRELQUE=given)


def test_an_alias_of_a_backend_that_no_command_line_can_name_is_told() -> None:
    [found] = check({}, {'my-tasks': OURS})
    assert found.startswith("torrelque.E007: TASKS has an alias 'my-tasks' for a backend of torrelque; ")


def test_all_mistakes_are_told_together() -> None:
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured) as caught:
        read(TORRELQUE={'QUEUE': 1, 'APP': 2})
    assert str(caught.value).count('\n') == 1


def test_checks_ask_no_server() -> None:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        listener.settimeout(0)
        url = f'redis://127.0.0.1:{listener.getsockname()[1]}'
        assert check({'URL': url, 'APP': 'not.there:app'}) == []
        with pytest.raises(BlockingIOError):
            listener.accept()
