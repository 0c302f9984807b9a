"""The webhook: what is sent, and whatever the other side does with it."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator

import pytest

from support.hooking import DRIP, ENORMOUS, HANG, NOISE, Hook, closed_port, open_hook
from torrelque import TorrelqueError
from torrelque.monitor import Notice, Webhook, sinks
from torrelque.monitor.sinks import Outlet, sinks_of

NOTICE = Notice(
    'firing', False, 'backlog', 'mail', 'oldest', 432.0, 'the oldest task has waited for 7m12s', 1_700_000_000.0,
    1_700_000_120.0, 'torrelque why -q mail', 'n1',
)  # fmt: skip


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setattr(sinks, 'PAUSES', (0.0, 0.0))
    with open_hook() as hook:
        yield hook


def test_it_is_sent_as_json_with_a_text(hook: Hook) -> None:
    Webhook(hook.url)(NOTICE)
    [taken] = hook.taken
    assert taken.path == '/hook/SECRET?key=SECRET'
    assert taken.headers['content-type'] == 'application/json'
    assert taken.body == {
        'text': 'FIRING: backlog on mail: the oldest task has waited for 7m12s; since 2023-11-14 22:13:20Z, 2m ago. '
        'torrelque why -q mail',
        'state': 'firing', 'again': False, 'rule': 'backlog', 'queue': 'mail', 'when': 'oldest', 'value': 432.0,
        'words': 'the oldest task has waited for 7m12s', 'since': 1_700_000_000.0, 'time': 1_700_000_120.0,
        'command': 'torrelque why -q mail', 'number': 'n1',
    }  # fmt: skip


@pytest.mark.parametrize(('again', 'state', 'head'), [
    (True, 'firing', 'STILL FIRING: backlog on mail: '), (False, 'resolved', 'OVER: backlog on mail: '),
    (False, 'test', 'TEST of backlog on mail: nothing is wrong; '),
])  # fmt: skip
def test_the_text_says_what_it_is(again: bool, state: str, head: str) -> None:
    assert dataclasses.replace(NOTICE, again=again, state=state).text.startswith(head)


def test_a_user_and_a_password_are_sent_as_such(hook: Hook) -> None:
    Webhook(f'http://ops:p%40ss@127.0.0.1:{hook.port}/')(NOTICE)
    assert hook.taken[0].headers['authorization'] == 'Basic ' + base64.b64encode(b'ops:p@ss').decode()
    assert hook.taken[0].headers['host'] == f'127.0.0.1:{hook.port}'


@pytest.mark.parametrize(('answers', 'tries'), [
    ([500, 200], 2), ([429, 503, 200], 3), ([HANG, 200], 2), ([NOISE, NOISE, 204], 3), ([ENORMOUS], 1),
])  # fmt: skip
def test_what_may_be_over_soon_is_tried_again(hook: Hook, answers: list[int | str], tries: int) -> None:
    hook.answers = answers
    Webhook(hook.url, timeout=0.2)(NOTICE)
    assert len(hook.taken) == tries
    assert len({one.body['number'] for one in hook.taken}) == 1


@pytest.mark.parametrize(('answers', 'tries', 'message'), [
    ([500], 3, 'its answer, 500'), ([404], 1, 'its answer, 404'), ([301], 1, 'it redirects elsewhere, 301'),
    ([307], 1, 'it redirects elsewhere, 307'), ([HANG], 3, 'no answer in time'), ([NOISE], 3, 'BadStatusLine'),
])  # fmt: skip
def test_what_it_was_not_taken_for_is_told_without_the_address(
    hook: Hook, answers: list[int | str], tries: int, message: str
) -> None:
    hook.answers = answers
    with pytest.raises(TorrelqueError) as caught:
        Webhook(hook.url, timeout=0.1)(NOTICE)
    assert str(caught.value) == f'127.0.0.1:{hook.port} has not taken it: {message}'
    assert [one.path for one in hook.taken] == ['/hook/SECRET?key=SECRET'] * tries


def test_where_nobody_listens_it_says_so(hook: Hook) -> None:
    with pytest.raises(TorrelqueError, match='has not taken it: Connection refused'):
        Webhook(f'http://127.0.0.1:{closed_port()}/')(NOTICE)


def test_of_an_enormous_answer_little_is_read(hook: Hook) -> None:
    hook.answers = [ENORMOUS]
    Webhook(hook.url)(NOTICE)
    assert hook.sent < 20_000_000  # what fits into the buffers of the kernel


async def test_one_that_answers_byte_by_byte_is_waited_for_no_longer_than_others(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, 'PATIENCE', 0.1)
    hook.answers = [DRIP]
    outlet = Outlet('ops', Webhook(hook.url))
    assert await outlet.tell(NOTICE) == 'it has not come back in 0.1 s'
    assert await outlet.tell(NOTICE) == 'the last notice still goes on there'
    assert len(hook.taken) == 1


@pytest.mark.parametrize('url', [
    'ftp://example.com/', 'file:///etc/passwd', 'example.com/hook', 'https://', 'https://a b/', 'https://a/\nb', '',
    'http://a:b/', 'http://[::1/', 'https://user@/', 'http://example.com/ü',
])  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(TorrelqueError) as caught:
        Webhook(url)
    assert str(caught.value) == 'a webhook must be an address of http or https, such as https://example.com/hook'


def test_of_the_address_only_the_host_is_shown() -> None:
    assert repr(Webhook('https://u:SECRET@hooks.example.com/SECRET')) == '<Webhook of hooks.example.com>'
    assert repr(Webhook('http://[::1]:8080/SECRET')) == '<Webhook of [::1]:8080>'


def test_sinks_of_a_file() -> None:
    assert {*sinks_of({'ops': {'webhook': 'https://example.com/', 'timeout': 2}})} == {'ops'}
    for table, message in (
        ({'ops': {'webhook': 'example.com'}}, "sink 'ops': a webhook must be an address"),
        ({'ops': {'webhok': 'https://example.com'}}, "sink 'ops' must be a table with a webhook"),
        ({'ops': 'https://example.com'}, "sink 'ops' must be a table with a webhook"),
        ({'log': {'webhook': 'https://example.com'}}, "sink 'log' is there already"),
        ({'ops': {'webhook': 'https://example.com', 'timeout': 60}}, "sink 'ops': timeout must be"),
        ([], 'sinks must be a table'),
    ):
        with pytest.raises(TorrelqueError, match=message):
            sinks_of(table)  # type: ignore[arg-type]


def test_three_tries_are_over_before_the_right_to_send_is() -> None:
    assert 3 * 5 + sum(sinks.PAUSES) < sinks.PATIENCE < 30
