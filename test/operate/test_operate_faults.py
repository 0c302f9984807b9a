"""What an error is a case of: alike are those that differ in numbers, ids and quoted texts only, and no others."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable

import pydantic
import pytest
from hypothesis import given, strategies as st

from support.burying import traceback_of
from torrelque.operate.faults import WHOLE, Fault, find_fault, shorten
from torrelque.operate.normalising import base_name, is_own
from torrelque.worker.trace import error_text

pytestmark = pytest.mark.first_server

APP = '/srv/app/mail.py'
LIB = '/usr/lib/python3.12/asyncio/tasks.py'
SITE = '/srv/venv/lib/python3.12/site-packages/redis/client.py'
CAUSE = '\n\nThe above exception was the direct cause of the following exception:\n\n'
DURING = '\n\nDuring handling of the above exception, another exception occurred:\n\n'


def texts_of(call: Callable[[], object]) -> list[str]:
    """An exception as the interpreter writes it, and as the worker does."""
    try:
        call()
    except Exception as exc:
        return [''.join(traceback.format_exception(type(exc), exc, exc.__traceback__)), error_text(exc)]
    raise AssertionError


def told(error: str) -> tuple[str, str, str]:
    fault = find_fault(error)
    assert len(fault.fingerprint) == 8 and int(fault.fingerprint, 16) >= 0
    return fault[1:]


# Where it came from


def test_the_innermost_frame_of_the_application_counts() -> None:
    text = traceback_of((APP, 'outer'), ('/srv/app/send.py', 'inner'), (SITE, 'connect'), (LIB, 'wait_for'))
    assert told(text) == ('ValueError', 'send.py:inner', 'N')


def test_a_traceback_of_others_alone_has_no_place() -> None:
    assert told(traceback_of((SITE, 'connect'), (LIB, 'wait_for'))) == ('ValueError', '', 'N')


@pytest.mark.parametrize(
    ('file', 'own'),
    [
        (APP, True),
        ('mail.py', True),
        ('<stdin>', True),
        ('C:\\app\\mail.py', True),
        ('/srv/lib/mail.py', True),
        ('/home/python/app/mail.py', True),
        ('/srv/python3.12/mail.py', True),
        ('<frozen importlib._bootstrap>', False),
        ('<attrs generated init mail.Mail>', False),
        (LIB, False),
        (SITE, False),
        ('/usr/lib/python3/dist-packages/redis/client.py', False),
        ('/usr/local/lib/python3.13t/asyncio/tasks.py', False),
        ('/usr/lib64/python3.12/json/decoder.py', False),
        ('/opt/pypy/lib/pypy3.10/json/decoder.py', False),
        ('/root/.pyenv/versions/3.11.7/lib/python3.11/json/decoder.py', False),
        ('C:\\Python312\\Lib\\json\\decoder.py', False),
        ('C:\\Users\\ann\\AppData\\Local\\Programs\\Python\\Python312\\Lib\\json\\decoder.py', False),
        ('C:\\app\\venv\\Lib\\site-packages\\redis\\client.py', False),
        ('/Library/Frameworks/Python.framework/Versions/3.12/lib/python3.12/json/decoder.py', False),
        ('/srv/python312.zip/json/decoder.py', False),
        ('/srv/checkout/torrelque/aio/queue.py', False),
        ('', True),
    ],
)
def test_the_application_s_own_files_are_told_from_others(file: str, own: bool) -> None:
    assert is_own(file) is own


@pytest.mark.parametrize(
    ('file', 'name'),
    [
        (APP, 'mail.py'),
        ('C:\\app\\mail.py', 'mail.py'),
        ('mail.py', 'mail.py'),
        ('/srv/shop/__init__.py', 'shop/__init__.py'),
        ('C:\\shop\\__main__.py', 'shop/__main__.py'),
        ('', ''),
    ],
)
def test_a_file_is_named_without_its_folder(file: str, name: str) -> None:
    assert base_name(file) == name


def test_a_release_does_not_split_what_is_alike() -> None:
    one = traceback_of(('/srv/releases/2026-11-01/mail.py', 'send'), (SITE, 'f'), line=7)
    other = traceback_of(('C:\\releases\\2026-11-29\\mail.py', 'send'), line=81)
    assert find_fault(one) == find_fault(other)


def test_another_class_file_function_or_message_is_another_kind() -> None:
    texts = [
        traceback_of((APP, 'send')),
        traceback_of((APP, 'send'), error='KeyError: 1'),
        traceback_of((APP, 'take')),
        traceback_of(('/srv/app/post.py', 'send')),
        traceback_of((APP, 'send'), error='ValueError: no'),
        traceback_of((APP, 'send'), error='ValueError'),
        'ValueError: 1',
    ]
    assert len({find_fault(text).fingerprint for text in texts}) == len(texts)


# What was raised


def test_the_last_of_chained_exceptions_counts() -> None:
    first = traceback_of((APP, 'read'), error="KeyError: 'id'")
    last = traceback_of((APP, 'handle'), error='app.errors.HandlingError: task 7 failed')
    for chain in (CAUSE, DURING):
        assert told(first + chain + last) == ('app.errors.HandlingError', 'mail.py:handle', 'task N failed')


def test_a_last_exception_without_frames_of_its_own_comes_from_where_its_cause_does() -> None:
    # So the worker tells of an error in the process of a handler.
    text = traceback_of((APP, 'read'), error="KeyError: 'id'") + CAUSE + 'RuntimeError: the handler raised KeyError'
    assert told(text) == ('RuntimeError', 'mail.py:read', 'the handler raised KeyError')


def test_a_recursion_is_one_kind_however_deep() -> None:
    def text(times: int) -> str:
        lines = traceback_of((APP, 'walk')).split('\n')
        lines.insert(4, f'  [Previous line repeated {times} more times]')
        return '\n'.join(lines)

    assert told(text(970)) == ('ValueError', 'mail.py:walk', 'N')
    assert find_fault(text(970)) == find_fault(text(3))


def test_a_mistake_of_syntax_comes_from_whoever_compiled_it() -> None:
    for text in texts_of(lambda: compile('x = (', 'form.py', 'exec')):
        assert told(text) == ('SyntaxError', 'test_operate_faults.py:<lambda>', "'…' was never closed")


def test_a_message_of_several_lines_goes_by_its_first_one_that_says_something() -> None:
    assert told(traceback_of((APP, 'send'), error='ValueError: one 1\ntwo\n\nthree'))[2] == 'one N'
    assert told(traceback_of((APP, 'send'), error='ValueError: \n\n  two\nthree'))[2] == 'two'
    assert told(traceback_of((APP, 'send'), error='ValueError'))[2] == ''


@pytest.mark.skipif(not hasattr(BaseException, 'add_note'), reason='Python 3.11')
def test_notes_do_not_split_what_is_alike() -> None:
    def fail(note: str) -> Callable[[], None]:
        def call() -> None:
            error = ValueError('no')
            if note:
                error.add_note(note)  # type: ignore[attr-defined, unused-ignore]
            raise error

        return call

    faults = {find_fault(text) for note in ('', 'of ann', 'of bob') for text in texts_of(fail(note))}
    assert [fault[1:] for fault in faults] == [('ValueError', 'test_operate_faults.py:call', 'no')]


def test_a_message_that_has_a_traceback_in_it_goes_by_that() -> None:
    inner = traceback_of((APP, 'remote'), error='KeyError: 1')
    outer = traceback_of((APP, 'call'), error=f'RemoteError: it said:\n{inner}')
    assert told(outer) == ('KeyError', 'mail.py:remote', 'N')


def test_names_of_classes_are_those_that_people_know() -> None:
    def text(name: str) -> str:
        return traceback_of((APP, 'send'), error=f'{name}: x')

    assert told(text('__main__.SendError'))[0] == 'SendError'
    assert told(text('shop.mail.send.<locals>.SendError'))[0] == 'SendError'
    assert told(text('sqlalchemy.exc.OperationalError'))[0] == 'sqlalchemy.exc.OperationalError'
    assert told(text('Überfluß'))[0] == 'Überfluß'


def test_a_validation_is_told_by_fields_and_kinds() -> None:
    class Order(pydantic.BaseModel):
        size: int
        parts: list[int]

    def text(size: str, parts: list[str]) -> str:
        return texts_of(lambda: Order.model_validate({'size': size, 'parts': parts}))[1]

    what, where, message = told(text('x', ['1', 'y']))
    assert what.endswith('ValidationError') and where == 'test_operate_faults.py:<lambda>'
    assert message == 'N validation errors for Order: parts.N int_parsing; size int_parsing'
    assert find_fault(text('a' * 300, ['z', '2'])) == find_fault(text('x', ['1', 'y']))
    assert find_fault(text('1', ['z'])) != find_fault(text('x', ['1', 'y']))


# Groups of exceptions

GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/srv/app/mail.py", line 5, in send_all
  |     raise ExceptionGroup("many", found)
  | ExceptionGroup: many (3 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/app/mail.py", line 9, in send
    |     raise KeyError(name)
    | KeyError: 'ann'
    +---------------- 2 ----------------
    | KeyError: 'bob'
    +---------------- 3 ----------------
    | Exception Group Traceback (most recent call last):
    |   File "/srv/app/mail.py", line 5, in inner
    |     raise ExceptionGroup("inner", found)
    | ExceptionGroup: inner (1 sub-exception)
    +-+---------------- 1 ----------------
      | ValueError: 17
      +------------------------------------
"""


def test_a_group_is_told_by_the_kinds_of_its_members() -> None:
    message = "many; ExceptionGroup: inner; KeyError: '…'; ValueError: N"
    assert told(GROUP) == ('ExceptionGroup', 'mail.py:send_all', message)


def test_a_group_of_more_of_a_kind_is_the_same() -> None:
    second = "    +---------------- 2 ----------------\n    | KeyError: 'bob'\n"
    fewer = GROUP.replace('(3 sub', '(2 sub').replace(second, '')
    assert find_fault(fewer) == find_fault(GROUP)
    assert find_fault(GROUP.replace("KeyError: 'bob'", 'OSError: no')) != find_fault(GROUP)


def test_a_group_that_is_a_cause_gives_way_to_its_effect() -> None:
    text = GROUP + CAUSE[1:] + traceback_of((APP, 'handle'), error='RuntimeError: no')
    assert told(text) == ('RuntimeError', 'mail.py:handle', 'no')


def test_an_effect_that_is_a_group_is_told_as_one() -> None:
    text = traceback_of((APP, 'handle'), error='OSError: no') + CAUSE + GROUP
    assert told(text)[0] == 'ExceptionGroup'


@pytest.mark.skipif(not hasattr(asyncio, 'TaskGroup'), reason='Python 3.11')
def test_tasks_that_failed_in_a_group_are_told_by_the_worker_in_one_way() -> None:
    async def fail(number: int) -> None:
        raise LookupError(f'no {number}')

    async def run(count: int) -> None:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]
            for number in range(count):
                group.create_task(fail(number))

    def text(count: int) -> str:
        return texts_of(lambda: asyncio.run(run(count)))[1]

    assert told(text(2)) == (
        'ExceptionGroup', 'test_operate_faults.py:run', 'unhandled errors in a TaskGroup; LookupError: no N',
    )  # fmt: skip
    assert find_fault(text(5)) == find_fault(text(2))


# What is no traceback


@pytest.mark.parametrize(
    ('text', 'what', 'message'),
    [
        ('its lease ran out, its attempts are used up', 'its lease ran out, its attempts are used up', ''),
        ('no mail for 12 of 17', 'no mail for N of N', ''),
        ("can't open 'x y' at 0x7fA1", "can't open '…' at N", ''),
        ('TimeoutError: after 12 s\nmore', 'TimeoutError', 'after N s'),
        ('app.SendError: no', 'app.SendError', 'no'),
        ('Error: no', 'Error', 'no'),
        ('note: no', 'note: no', ''),
        ('\n \n first\nsecond', 'first', ''),
        ('', 'no error', ''),
        (' \n\t\n', 'no error', ''),
        ('Traceback (most recent call last):', 'no error', ''),
        ('…', '…', ''),
    ],
)
def test_what_is_no_traceback_goes_by_its_first_line(text: str, what: str, message: str) -> None:
    assert told(text) == (what, '', message)


def test_a_traceback_whose_beginning_was_cut_off_is_one_all_the_same() -> None:
    whole = traceback_of(*[(APP, f'step{n}') for n in range(100)], (SITE, 'get'), error='KeyError: 1')
    cut = '…' + whole[-4000:]
    assert 'Traceback' not in cut
    assert find_fault(cut) == find_fault(whole)


def test_lines_that_end_as_on_windows_are_lines() -> None:
    text = traceback_of((APP, 'send'), error='KeyError: 1\nmore')
    assert find_fault(text.replace('\n', '\r\n')) == find_fault(text)


# Any text


@given(st.text() | st.lists(st.sampled_from([
    'Traceback (most recent call last):', '  + Exception Group Traceback (most recent call last):', CAUSE, DURING, '\n',
    '  File "x.py", line 1, in f', '  File "', '", line ', ', in ', '  | ', '  +-+---------------- 1 ----------------',
    '…',
    'KeyError: 1', 'A' * 300, "'", '"', '\\', '\r', '\0', '\x1b[31m', '\u202e', '😀', '\udc80', '): ', '; ', ' ' * 500,
])).map(''.join))  # fmt: skip
def test_any_text_is_a_case_of_something(text: str) -> None:
    fault = find_fault(text)
    assert isinstance(fault, Fault) and fault.what and '\n' not in fault.where + fault.message
    assert all(len(part) <= 300 for part in fault)
    assert find_fault(text) == fault


@given(st.text(alphabet='aé€😀\n\udc80', max_size=50), st.integers(0, 12_000))
def test_a_long_error_is_a_case_of_the_same_as_its_beginning_and_end(text: str, times: int) -> None:
    whole = (text + 'é') * times
    short = shorten(whole)
    assert len(short.encode('utf-8', 'surrogateescape')) <= WHOLE
    assert shorten(short) == short and find_fault(short) == find_fault(whole)


@pytest.mark.parametrize('n', range(12))
def test_a_hostile_megabyte_takes_no_time_to_speak_of(n: int) -> None:
    head = 'Traceback (most recent call last):\n'
    texts = [
        'a' * 1_000_000, ' ' * 1_000_000, '\n' * 1_000_000, "'" * 1_000_000, "\\'" * 500_000, '1a' * 500_000,
        head * 20_000, head + '  File "' * 100_000, '+---------------- ' * 50_000,
        '  | \n' * 200_000 + '+---------------- ',
        head + 'E: ' + '0:' * 300_000, (head + '  File "x", line 1, in f\n') * 20_000 + 'E: ' + "'a " * 100_000,
    ]  # fmt: skip
    began = time.process_time()
    for k in range(50):
        find_fault(texts[n] + str(k))
    # Milliseconds each; what grows with the square takes minutes.
    assert time.process_time() - began < 60
