"""The examples of the layers: what they promise holds, and fails where a fault is put in."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import examples
from support.examples import Example, Run, server_of
from support.processes import is_alive, wait_end
from test_example_groups import count_keys, find_numbers, pids_of, run_on_terminal, with_faults
from torrelque.embedded import Server

run = examples.run
BOTH = pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that is not the example's own; one kind is enough here."""
    with Server() as server:
        yield server


def until(condition: Callable[[], Any]) -> Any:
    """Ask a program until it answers so; it has a minute and a half."""
    deadline = time.monotonic() + 90
    while not (answer := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


# A sign-up


class Visitor:
    def __init__(self, example: Example) -> None:
        self.url = example.wait_for(r'at (http://\S+)/signup')[1]

    def ask(self, path: str, **body: str) -> tuple[int, Any]:
        """Status and answer; with a body it is a POST."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.url + path, data, {'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, json.load(exc)

    def sign_up(self, address: str) -> str:
        status, answer = self.ask('/signup', address=address)
        assert status == 202
        return str(answer['mail'])

    def wait_for(self, mail: str, state: str) -> Any:
        return until(lambda: (answer := self.ask(mail)[1])['state'] == state and answer)


def test_a_sign_up_is_answered_at_once_and_its_mail_is_sent(run: Run, tmp_path: Path) -> None:
    pytest.importorskip('fastapi')
    example = run('signup', '--port', 0, '--mails', tmp_path)
    visitor = Visitor(example)
    mail = visitor.sign_up('joe@doe.com')
    assert visitor.wait_for(mail, 'completed') == {'state': 'completed', 'attempts': 1, 'last error': None}
    (path,) = tmp_path.iterdir()
    assert f'/mail/{path.name}' == f'{mail}.eml'
    assert 'To: joe@doe.com\n' in path.read_text()

    # The same visitor again, a wrong address, and a mail that nobody asked for.
    assert visitor.ask('/signup', address='Joe@doe.com') == (409, {'detail': f'this address has signed up: {mail}'})
    assert visitor.ask('/signup', address='joe')[0] == 422
    assert visitor.ask('/mail/welcome-1')[0] == 404
    assert visitor.ask('/health') == (200, {'sent': 1, 'failed attempts': 0, 'in hand': 0})
    example.process.send_signal(signal.SIGINT)
    example.finish()
    assert [*tmp_path.iterdir()] == [path]
    assert example.errors == ''


def test_a_mail_that_the_mail_server_refuses_is_sent_when_it_takes_it(run: Run, tmp_path: Path) -> None:
    pytest.importorskip('fastapi')
    example = run('signup', '--port', 0, '--mails', tmp_path)
    visitor = Visitor(example)
    (tmp_path / 'down').touch()
    mail = visitor.sign_up('joe@doe.com')
    until(lambda: visitor.ask(mail)[1]['attempts'] >= 2)
    assert visitor.wait_for(mail, 'delayed')['last error'] == 'ConnectionRefusedError: the mail server is down'
    assert [path.name for path in tmp_path.iterdir()] == ['down']
    (tmp_path / 'down').unlink()
    assert visitor.wait_for(mail, 'completed')['attempts'] >= 3
    assert [path.suffix for path in tmp_path.iterdir()] == ['.eml']
    example.process.send_signal(signal.SIGTERM)
    example.finish()
    # The worker tells of each attempt that failed, and nothing else goes wrong.
    refusals = example.errors.count('\nConnectionRefusedError: the mail server is down\n')
    assert example.errors.count('Traceback') == refusals >= 2


@pytest.mark.long
def test_a_mail_outlives_the_application_that_was_to_send_it(run: Run, tmp_path: Path, server: Server) -> None:
    pytest.importorskip('fastapi')
    options = ('--port', 0, '--mails', tmp_path, '--url', server.url)
    (tmp_path / 'down').touch()
    first = run('signup', *options)
    mail = Visitor(first).sign_up('joe@doe.com')
    first.process.send_signal(signal.SIGTERM)
    first.finish()
    (tmp_path / 'down').unlink()
    second = run('signup', *options)
    Visitor(second).wait_for(mail, 'completed')
    assert [path.suffix for path in tmp_path.iterdir()] == ['.eml']
    second.process.send_signal(signal.SIGTERM)
    second.finish()
    assert second.errors == ''


# Webhooks in order, from a synchronous script


def sent(output: str, shop: str) -> list[tuple[int, str]]:
    found = re.findall(rf"^  {shop} +\[(\d+), '(\w+)'\]  sent at attempt", output, re.M)
    return [(int(order), what) for order, what in found]


def test_webhooks_are_sent_in_the_order_of_the_calls(run: Run) -> None:
    example = run('fifo', '--orders', 3)
    output = example.finish()
    expected = [(order, what) for order in (1, 2, 3) for what in ('paid', 'shipped', 'delivered')]
    assert sent(output, 'books') == sent(output, 'flowers') == expected
    assert output.count("books    [1, 'shipped']  HTTP Error 503") == 3
    assert "books    [1, 'shipped']  sent at attempt 4" in output
    assert output.count('HTTP Error') == 3
    assert '18 webhooks are in the queue' in output
    assert output.endswith('books    got   9 webhooks, in order\nflowers  got   9 webhooks, in order')
    # Nobody waits for another shop.
    lines = output.splitlines()
    assert lines.index("  flowers  [1, 'delivered']  sent at attempt 1") < lines.index(
        "  books    [1, 'shipped']  sent at attempt 4"
    )
    assert example.errors == ''


@pytest.mark.long
def test_webhooks_lose_their_order_without_fifo(run: Run, tmp_path: Path) -> None:
    faults = [
        ("@app.fifo(queue='books', max_retries=-1, retry_wait=0.2, name=", '@app.task(retry=0.2, name='),
        ('append(tell_books(', 'append(tell_books.push('),
    ]
    output = run(with_faults('fifo', tmp_path, *faults), '--orders', 3).finish(status=1)
    assert 'books    got   9 webhooks, NOT in order\nflowers  got   9 webhooks, in order' in output


@pytest.mark.long
@BOTH
def test_webhooks_are_interrupted_without_a_trace(run: Run, server: Server, number: signal.Signals) -> None:
    example = run('fifo', '--orders', 2000, '--url', server.url)
    example.wait_for('sent at attempt')
    os.killpg(example.process.pid, number)
    assert example.finish().endswith('\nStopped before the end.')
    assert example.errors == ''
    assert count_keys(server) == 0


# A service that goes down

DOWN = ('--tasks', 200, '--down-after', 50, '--down', 1, '--pause', 0.2, '--work', 0.005)


def test_the_breaker_spares_a_service_that_is_down(run: Run) -> None:
    example = run('worker', *DOWN)
    server = server_of(example.wait_for(r'tasks on (\S+)')[1])
    pids = pids_of(example)
    output = example.finish()
    story = re.findall(r'^(service|queue) (.+)$', output, re.M)
    # It may have been paused and resumed within one look, before or after.
    assert {('service', 'down'), ('queue', 'paused'), ('service', 'up again'), ('queue', 'resumed')} <= {*story}
    assert story.index(('queue', 'paused')) < story.index(('queue', 'resumed'))
    assert find_numbers(r'^answered +(\d+) ', output) == [200]
    (unanswered,) = find_numbers(r'^unanswered +(\d+) ', output)
    # What both had in hand or had taken when the fifth in a row failed; and the probes of a second.
    assert 5 <= unanswered < 60
    assert output.endswith('\nEvery task is done.')
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in (server, *pids))


@pytest.mark.long
def test_without_the_breaker_the_service_is_not_spared(run: Run) -> None:
    output = run('worker', *DOWN, '--no-breaker').finish()
    assert find_numbers(r'^unanswered +([\d,]+) ', output)[0] > 60
    assert 'paused' not in output
    assert output.endswith('\nEvery task is done.')


@pytest.mark.long
def test_workers_are_seen_live_on_a_terminal(run: Run, server: Server) -> None:
    # Long enough for some heartbeats with something in hand.
    slow = (*DOWN, '--tasks', 800, '--down-after', 200, '--work', 0.02)
    output = run_on_terminal(run, 'worker', *slow, '--url', server.url)
    text = re.sub(r'\x1b\[\d*[AKm]', '', output)
    assert re.search(r'^service +down +\d+ answered +\d+ failed +\d+ unanswered$', text, re.M)
    assert re.search(r'^queue +\d+ pending +\d+ working +\d+ delayed   paused, one task at times ', text, re.M)
    for number in (1, 2):
        assert re.search(rf'^worker-{number} running +\d+ done +\d+ failed   in hand: \d+\.\d\d s', text, re.M)
    assert '\x1b[4A' in output
    assert output.endswith('\nEvery task is done.\n')
    assert count_keys(server) == 0


@pytest.mark.long
@BOTH
def test_workers_are_interrupted_without_a_trace(run: Run, server: Server, number: signal.Signals) -> None:
    example = run('worker', '--url', server.url)
    pids = pids_of(example)
    example.wait_for('worker-1 has done [1-9]')
    os.killpg(example.process.pid, number)
    assert example.finish().endswith('\nStopped before the end.')
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in pids)
    assert count_keys(server) == 0


# Strict order across processes

BANK = ('--accounts', 4, '--operations', 12, '--work', 0.005)


@pytest.mark.long
def test_operations_keep_their_order_when_a_process_is_killed(run: Run) -> None:
    example = run('ordered_processes', *BANK)
    server = server_of(example.wait_for(r'accounts on (\S+)')[1])
    pids = pids_of(example)
    assert int(example.wait_for(r'^process (\d+) killed')[1]) in pids
    output = example.finish()
    rows = re.findall(r'^ +(\d) +(\d+) +(\d+) +[\d,]+\.\d\d  (\w+) +(\w+)$', output, re.M)
    assert [(row[0], row[1], *row[3:]) for row in rows] == [(str(account), '12', 'yes', 'yes') for account in range(4)]
    assert sum(int(row[2]) for row in rows) > 48  # attempts
    shares = re.findall(r'(\d+) (\d+)', output[output.index('by process:') :])
    assert {int(pid) for pid, _ in shares} <= {*pids}
    assert sum(int(count) for _, count in shares) == 48
    assert output.endswith('\nThe proof holds.')
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in (server, *pids))


@pytest.mark.long
def test_operations_lose_their_order_when_their_functions_share_no_queue(run: Run, tmp_path: Path) -> None:
    faulty = with_faults('ordered_processes', tmp_path, ("queue=f'account-{account}'", "queue=f'{account}-{kind}'"))
    output = run(faulty, *BANK).finish(status=1)
    assert re.search(r'\d  NO', output)
    assert output.endswith('\nThe proof FAILS.')


@pytest.mark.long
@BOTH
def test_the_bank_is_interrupted_without_a_trace(run: Run, server: Server, number: signal.Signals) -> None:
    example = run('ordered_processes', '--work', 0.1, '--url', server.url)
    pids = pids_of(example)
    example.wait_for('[1-9] of 320')
    os.killpg(example.process.pid, number)
    assert example.finish().endswith('\nStopped before the end; nothing is proven.')
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in pids)
    assert count_keys(server) == 0


@pytest.mark.long
@pytest.mark.parametrize(('name', 'begun'), [('worker', 'has done [1-9]'), ('ordered_processes', '[1-9] of 320')])
def test_processes_end_when_the_main_process_is_killed(run: Run, name: str, begun: str) -> None:
    example = run(name)
    server = server_of(example.wait_for(r' on (unix:\S+)')[1])
    guardian = int(Path(f'/proc/{server}/stat').read_text().rpartition(')')[2].split()[1])
    pids = pids_of(example)
    example.wait_for(begun)
    example.process.kill()
    for pid in (*pids, server, guardian):
        wait_end(pid)


@pytest.mark.long
def test_each_night_has_one_report_whatever_clocks_do(run: Run) -> None:
    output = run('nightly_report', '--days', 2).finish(0)
    line = r'^\w{3} (\d\d \w{3} \d{4})  \|(.{47})\|  report (\S+), measured (\d+) times$'
    nights = re.findall(line, output, re.M)
    assert len(nights) == 2 + 3 + 3 + 3
    changes = re.findall(r'^Clocks change on (\d+) (\w{3})\w* (\d{4})$', output, re.M)
    measured = {day: int(count) for day, _, _, count in nights}
    assert sorted(measured[f'{int(day):02} {month} {year}'] for day, month, year in changes) == [23, 25]
    assert re.search(r'^8 nights that are shown whole, 8 reports$', output, re.M)


# A gallery as a flow

FEW_IMAGES = ('--images', 12, '--processes', 3, '--work', 0)


def verdicts_of(output: str) -> dict[str, tuple[str, str]]:
    """The lines of the proof: what was found, and whether it is as it has to be."""
    rows = re.findall(r'^(\w[\w ]+?) {2,}(\S.*?) {2,}(yes|NO)$', output, re.M)
    return {title: (told, verdict) for title, told, verdict in rows}


@pytest.mark.long
def test_a_gallery_has_each_image_once_though_processes_are_killed(run: Run, tmp_path: Path) -> None:
    example = run('gallery', *FEW_IMAGES, '--keep', tmp_path)
    server = server_of(example.wait_for(r'a flow on (\S+)$')[1])
    pids = pids_of(example)
    output = example.finish()
    verdicts = verdicts_of(output)
    assert len(verdicts) == 8
    assert {verdict for _, verdict in verdicts.values()} == {'yes'}
    assert verdicts['images in the gallery'][0] == '12 of 12, each once'
    assert len(re.findall(r'^process \d+  thumbnail \d+  failed$', output, re.M)) == 1
    killed = [int(pid) for pid in re.findall(r'^process (\d+)  thumbnail \d+  killed$', output, re.M)]
    assert len({*killed}) == 2 and {*killed} < {*pids}
    assert {path.name for path in tmp_path.iterdir()} == {'index.html', *(f'{number:03}.png' for number in range(12))}
    assert output.endswith('\nThe proof holds.')
    assert '\x1b' not in output
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in (server, *pids))


@pytest.mark.long
def test_thumbnails_are_seen_where_they_will_be_on_a_terminal(run: Run, server: Server) -> None:
    output = run_on_terminal(run, 'gallery', *FEW_IMAGES, '--url', server.url)
    frames = [re.sub(r'\x1b\[[\d;]*m', '', frame) for frame in re.split(r'\x1b\[12F\x1b\[J', output)]
    assert len(frames) > 3
    assert re.search(r'^unpack \w+   thumbnails 0 of 12   gallery waiting   remove waiting$', frames[0], re.M)
    ended = r'^unpack completed   thumbnails 12 of 12   gallery completed   remove completed$'
    assert re.search(ended, frames[-1], re.M)
    assert len(re.findall(r'^process \d+  killed at image \d{3}$', frames[-1], re.M)) == 2
    assert re.findall('▀+', frames[-1]) == 3 * 12 * ['▀' * 8]
    assert output.endswith('\nThe proof holds.\n')
    # The limit of the map is a setting of the queue, and goes with the rest.
    assert count_keys(server) == 0


@pytest.mark.long
def test_what_was_unpacked_stays_without_the_cleanup_and_is_seen(run: Run, tmp_path: Path) -> None:
    faults = [('    thumbnails.at_end(remove.s())\n', ''), ('result_ttl=RESULT_TTL', 'result_ttl=600')]
    verdicts = verdicts_of(run(with_faults('gallery', tmp_path, *faults), *FEW_IMAGES).finish(status=1))
    assert [title for title, (_, verdict) in verdicts.items() if verdict == 'NO'] == ['cleanup', 'keys left over']


@pytest.mark.long
def test_what_a_killed_process_has_written_in_part_is_removed(run: Run, tmp_path: Path) -> None:
    hung = "            self._files.note('hung', image)\n"
    part = "            (self._files.gallery / f'{image}.png.0123.part').touch()\n"
    faulty = with_faults('gallery', tmp_path, (hung, part + hung))
    assert verdicts_of(run(faulty, *FEW_IMAGES).finish())['files left over'] == ('0', 'yes')


@pytest.mark.long
def test_no_gallery_is_made_where_a_thumbnail_is_dead_and_it_is_said(run: Run, tmp_path: Path) -> None:
    faulty = with_faults('gallery', tmp_path, ('retry=0.3', 'max_attempts=1'))
    example = run(faulty, *FEW_IMAGES)
    assert 'proof' not in example.finish(status=1)
    last = example.errors.splitlines()[-1]
    assert re.search(r"flow '\w+' stands still: thumbnail\.\d+: OSError: no space left on device", last)


@pytest.mark.long
@BOTH
def test_the_gallery_is_interrupted_without_a_trace(run: Run, server: Server, number: signal.Signals) -> None:
    example = run('gallery', '--images', 60, '--url', server.url)
    pids = pids_of(example)
    example.wait_for('thumbnail 005  done')
    os.killpg(example.process.pid, number)
    assert example.finish().endswith('\nStopped before the end; nothing is proven.')
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in pids)
    assert count_keys(server) == 0


@pytest.mark.long
@BOTH
def test_the_gallery_is_interrupted_while_its_processes_start(run: Run, server: Server, number: signal.Signals) -> None:
    example = run('gallery', '--images', 12, '--url', server.url)
    pids = pids_of(example)
    os.killpg(example.process.pid, number)
    assert example.finish().endswith('\nStopped before the end; nothing is proven.')
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in pids)
    assert count_keys(server) == 0
