"""The example of an application on three primaries: what it promises holds, and nothing of it goes on afterwards."""

from __future__ import annotations

import os
import re
import signal

import pytest

from support import examples
from support.examples import Example, Run
from support.processes import wait_end
from support.servers import free_port

run = examples.run

pytestmark = pytest.mark.long


def find_servers(example: Example) -> list[int]:
    """Process ids of the primaries."""
    return [*map(int, example.wait_for(r'three primaries, processes (.*)$')[1].split(', '))]


def test_nothing_is_lost_when_a_primary_is_killed_and_the_page_says_which_shards_are_away(run: Run) -> None:
    example = run('sharded/__main__')
    servers = find_servers(example)
    told = example.finish()
    port = re.search(r'^kill -9 +the primary at port (\d+)$', told, re.M)
    assert port
    assert re.search(rf'^page +shards 4, 5, 6, 7 are away, of 127\.0\.0\.1:{port[1]}$', told, re.M)
    assert re.search(r'^proof +\d{3,} acknowledged, 0 of them lost', told, re.M)
    answers = dict(re.findall(r'^(page|goes on|nothing lost|order) +(yes|NO)$', told, re.M))
    assert answers == dict.fromkeys(('page', 'goes on', 'nothing lost', 'order'), 'yes')
    assert example.errors == ''
    for server in servers:
        wait_end(server)


@pytest.mark.whole
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_it_has_started(run: Run, number: signal.Signals) -> None:
    example = run('sharded/__main__')
    servers = find_servers(example)
    example.wait_for('^ready')
    example.process.send_signal(number)
    example.finish()
    assert example.errors == ''
    for server in servers:
        wait_end(server)


@pytest.mark.whole
def test_primaries_by_themselves_are_started_again_when_they_are_killed(run: Run) -> None:
    first = free_port()
    example = run('sharded/cluster', '--port', first)
    servers = [*map(int, example.wait_for(r'process ids: (.*); Ctrl-C')[1].split(', '))]
    os.kill(servers[2], signal.SIGKILL)
    servers[2] = int(example.wait_for(rf'^{first + 2} is there again, as process (\d+)$')[1])
    example.process.send_signal(signal.SIGINT)
    example.finish()
    assert example.errors == ''
    for server in servers:
        wait_end(server)
