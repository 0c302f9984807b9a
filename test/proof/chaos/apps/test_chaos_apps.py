"""The chaos of applications: its judge on tales that are made up, and a short seed on a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proof.chaos.apps.aim import running_in
from proof.chaos.apps.journal import now
from proof.chaos.apps.judge import RULES, check_tale
from proof.chaos.apps.made_up import BAD, GOOD
from proof.chaos.apps.places import open_site
from proof.chaos.apps.seeds import run_seed
from support.servers import selected_kinds
from torrelque import Torrelque
from torrelque.tasks.address import close_client, make_client


@pytest.mark.one_server
@pytest.mark.parametrize('name', BAD)
def test_a_bad_tale_is_found_by_its_rule_and_by_no_other(name: str) -> None:
    rule, made = BAD[name]
    tale = made().tell()
    assert check_tale(tale)
    assert check_tale(tale, without=rule) == []


@pytest.mark.one_server
@pytest.mark.parametrize('name', GOOD)
def test_a_good_tale_is_accepted(name: str) -> None:
    assert check_tale(GOOD[name]().tell()) == []


def test_each_rule_has_a_bad_tale() -> None:
    assert {rule for rule, _ in BAD.values()} == {*RULES}


@pytest.mark.one_server
def test_a_storm_knows_by_the_journals_who_has_just_renewed_a_lease_and_what_goes_on_for_long(tmp_path: Path) -> None:
    def tell(pid: int, *words: str, fn: str = 'computes', lasts: float = 0) -> None:
        lines = [{'w': word, 'at': now(), 'token': '1', 'fn': fn, 'parent': 5, 'lasts': lasts} for word in words]
        (tmp_path / f'{pid}.json').write_text(''.join(f'{json.dumps(line)}\n' for line in lines) + '{"w": "cut')

    tell(1, 'begins', 'touched', fn='quick')
    tell(2, 'begins', 'touched', 'goes on', fn='quick')
    tell(3, 'begins', 'goes on', lasts=20)
    tell(4, 'begins', 'touched', 'ends')
    found = [*running_in(tmp_path, [1, 2, 3, 4, 9])]
    assert [(one.worker, one.is_renewed, one.is_long) for one in found] == [
        (1, True, False), (2, False, False), (5, False, True)]


@pytest.mark.long
@pytest.mark.whole
@pytest.mark.first_server
@pytest.mark.parametrize(('place', 'used'), [('cluster', [True, True, True]), ('sentinel', [True, False, True])])
async def test_lines_of_an_application_go_through_proxies_and_those_of_the_rig_do_not(
    place: str, used: list[bool]
) -> None:
    async with open_site(place, selected_kinds()[0]) as site:
        for queue in site.queues.values():
            await queue.enqueue({})
        assert not any(proxy.most for proxy in site.proxies)
        client = make_client(site.urls[0])
        # Of a Cluster each node has some of these.
        for number in range(20):
            async with Torrelque(client, queue=f'queue {number}') as other:
                await other.enqueue({})
        assert [proxy.most > 0 for proxy in site.proxies] == used
        await close_client(client)


@pytest.mark.long
@pytest.mark.whole
@pytest.mark.first_server
@pytest.mark.timeout(900)
async def test_an_application_does_all_once_whatever_happens_to_what_serves_it(tmp_path: Path) -> None:
    found = await run_seed(selected_kinds()[0], 'one', 1, 4.0, tmp_path)
    assert not found.found, '\n'.join([*map(str, found.found), f'the journals are in {tmp_path}'])
    assert found.counts['tasks'] and sum(found.site.counts.values()) > 10
