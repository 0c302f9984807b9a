"""What a file of settings means: its keys, the variables in it, where it is found."""

from __future__ import annotations

import dataclasses
import math
import typing

import pytest

from support.configuring import EXAMPLE, Desk
from torrelque.config import BreakerConfig, Config, ConfigError, LimitConfig, RetryConfig, RuleConfig
from torrelque.config.checks import ALONE, FLAGS, GRANTS, NUMBERS, TIMES, WHENS
from torrelque.config.writing import as_toml
from torrelque.monitor.measures import MEASURES
from torrelque.operate import Overview

pytestmark = pytest.mark.one_server


def test_the_example_means_what_it_says(desk: Desk) -> None:
    config = desk.load(EXAMPLE)
    said = config.sections
    assert config.url == 'redis://localhost'
    assert said.queues['mail'].max_tasks == 1_000_000
    assert said.queues['mail'].limits == {
        '*': LimitConfig(concurrency=5), 'acme': LimitConfig(concurrency=20, rate=(50, 1))
    }  # fmt: skip
    mail, bulk = said.workers['mail'], said.workers['bulk']
    assert (mail.app, mail.concurrency, mail.processes) == ('shop.tasks:app', 50, 2)
    assert mail.retry == RetryConfig(base=2, cap=3600)
    assert mail.breaker == BreakerConfig(failures=5, pause=30)
    assert (bulk.handler, bulk.queues, bulk.steal) == ('shop.bulk:work', {'bulk': 3, 'mail': 1}, ('report',))
    assert (bulk.rate, bulk.max_attempts, bulk.timeout, bulk.run_in) == ((100, 1), 5, 600, 'process')
    assert said.health.bind == ('0.0.0.0', 8080)
    assert said.alerts.rules['backlog'] == RuleConfig(
        queue=('mail',), when='oldest', above=300, for_=120, below=60, clear_for=120, repeat=3600, to=('log', 'ops')
    )
    assert said.sinks['ops'].webhook == 'https://hooks.example.com/in/secret'
    assert (said.dashboard.bind, said.dashboard.allow) == (('127.0.0.1', 8765), ('redrive', 'pause'))
    assert [*config.queues] == ['mail', 'bulk', 'report']


def test_an_empty_file_is_well(desk: Desk) -> None:
    config = desk.load('')
    assert (config.url, [*config.queues], [*config.workers]) == ('redis://localhost', [], [])


def test_what_is_shown_means_the_same_again(desk: Desk) -> None:
    text = EXAMPLE + """
    [queues.bulk]
    serialiser = "orjson"
    task_timeout = 1.5
    [queues.bulk.limits]
    a = { concurrency = "none", rate = "5/10s" }
    "b c" = { rate = "none" }
    [workers.fixed]
    app = "a:b, c:d"
    retry = "90s"
    breaker = { share = 0.5, window = 10, per = "group" }
    max_attempts = -1
    [schedules.tick]
    queue = "bulk"
    payload = { a = [1, 2.5, true, "tä\\"g\\u0007"] }
    every = "90m"
    until = 2030-01-01T00:00:00Z
    [alerts]
    defaults = true
    [alerts.share]
    when = "failed_share"
    above = 0.25
    at_least = 50
    """  # fmt: skip
    desk.monkeypatch.setenv('OPS_WEBHOOK', 'https://hooks.example.com/other')
    before = desk.load(text)
    shown = as_toml(before)
    assert 'secret' not in shown and 'other' not in shown
    assert desk.load(shown).sections == before.sections


def test_numbers_are_seconds_and_words_are_limits(desk: Desk) -> None:
    said = desk.load("""
        [queues.a]
        task_timeout = 1.5
        result_ttl = "2h"
        [queues.a.limits]
        one = { concurrency = "none" }
        two = { rate = 7 }
        three = {}
    """).sections.queues['a']
    assert (said.task_timeout, said.result_ttl) == (1.5, 7200)
    assert said.limits == {
        'one': LimitConfig(concurrency=math.inf), 'two': LimitConfig(rate=(7, 1)), 'three': LimitConfig(),
    }  # fmt: skip


# Variables


def test_variables_are_filled_in_anywhere(desk: Desk) -> None:
    desk.monkeypatch.setenv('NUMBER', '7')
    desk.monkeypatch.setenv('EMPTY', '')
    desk.monkeypatch.setenv('WORD', 'ad')
    said = desk.load("""
        [workers.a]
        app = "shop.${WORD}min:app"
        concurrency = "${NUMBER}"
        timeout = "${NUMBER}m"
        uvloop = "${EMPTY:-true}"
        imports = ["x_${WORD}", "${NONE:-y}"]
        breaker = { failures = "${NUMBER}" }
        [queues.q]
        [schedules.s]
        queue = "q"
        every = "${EMPTY:-1h}"
        payload = { text = "$$5, ${EMPTY}$, $${WORD}" }
    """).sections
    one = said.workers['a']
    assert (one.app, one.concurrency, one.timeout, one.uvloop) == ('shop.admin:app', 7, 420, True)
    assert one.imports == ('x_ad', 'y') and one.breaker == BreakerConfig(failures=7)
    assert said.schedules['s'].payload == {'text': '$5, $, ${WORD}'} and said.schedules['s'].every == 3600


def test_a_variable_that_is_missing_is_told_with_its_key(desk: Desk) -> None:
    assert desk.problems("""
        [workers.a]
        app = "shop:app"
        timeout = "${TIME}"
        imports = ["${A}", "${b-c}", "${OPEN"]
    """) == [
        '4: workers.a.timeout: the variable TIME is not set; ${TIME:-…} has a default',
        '5: workers.a.imports.0: the variable A is not set; ${A:-…} has a default',
        '5: workers.a.imports.1: ${b-c} names no variable: these are ${NAME} and ${NAME:-default}, and $$ is a dollar',
        '5: workers.a.imports.2: ${OPEN has no end: a variable is ${NAME}, and $$ is a dollar',
    ]


def test_what_a_variable_has_is_not_told(desk: Desk) -> None:
    desk.monkeypatch.setenv('HIDDEN', 's3cret')
    told = '\n'.join(desk.problems("""
        [workers.a]
        app = "${HIDDEN}"
        concurrency = "${HIDDEN}"
        run_in = "${HIDDEN}"
        steal = "${HIDDEN}"
        breaker = "${HIDDEN}"
        [server]
        url = "${HIDDEN}"
        [alerts.a]
        when = "${HIDDEN}"
        to = "${HIDDEN}"
    """))  # fmt: skip
    assert told.count('\n') >= 5 and '${HIDDEN}' in told and 's3cret' not in told


# The server


def test_the_environment_goes_before_the_file(desk: Desk) -> None:
    text = '[server]\nurl = "redis://file"\n'
    assert desk.load(text).url == 'redis://file'
    desk.monkeypatch.setenv('REDIS_URL', 'redis://generic')
    assert (desk.load(text).url, desk.load(text).variable) == ('redis://generic', 'REDIS_URL')
    desk.monkeypatch.setenv('TORRELQUE_URL', 'redis://own')
    assert (desk.load(text).url, desk.load(text).variable) == ('redis://own', 'TORRELQUE_URL')


# Where it is found


def test_a_file_is_found_in_its_order(desk: Desk) -> None:
    with pytest.raises(ConfigError, match='there is no such file, and none is named'):
        Config.load()
    desk.write('[project]\nname = "torrelque-user"\n', 'pyproject.toml')
    with pytest.raises(ConfigError, match='none is named'):
        Config.load()
    desk.write('[tool.torrelque.queues.project]\n', 'pyproject.toml')
    assert [*Config.load().queues] == ['project']
    desk.write('[queues.own]\n')
    assert [*Config.load().queues] == ['own']
    desk.write('[queues.named]\n', 'other.toml')
    desk.monkeypatch.setenv('TORRELQUE_CONFIG', 'other.toml')
    assert [*Config.load().queues] == ['named']
    desk.write('[queues.given]\n', 'given.toml')
    assert [*Config.load('given.toml').queues] == ['given']
    desk.monkeypatch.setenv('TORRELQUE_CONFIG', '')
    assert [*Config.load().queues] == ['own']


def test_keys_of_a_project_are_told_as_they_stand_there(desk: Desk) -> None:
    desk.write('[tool.torrelque.queues.mail]\nmax_taks = 1\n[tool.other]\nx = 1\n', 'pyproject.toml')
    with pytest.raises(ConfigError) as caught:
        Config.load()
    assert str(caught.value) == (
        'pyproject.toml:2: tool.torrelque.queues.mail.max_taks: there is no such key; did you mean max_tasks?'
    )
    desk.write('[project]\n', 'pyproject.toml')
    with pytest.raises(ConfigError, match=r'pyproject\.toml: it has no table \[tool\.torrelque\]'):
        Config.load('pyproject.toml')


# What others have as well


def test_names_that_others_have_as_well_are_theirs() -> None:
    from torrelque import dashboard

    assert {*GRANTS} == {*dashboard.GRANTS, 'all'}
    fields = typing.get_type_hints(Overview)
    counts = {field.name for field in dataclasses.fields(Overview) if fields[field.name] is int}
    assert {*NUMBERS} == counts - {'overdue'} | {'dead_new', 'dry', 'shards_away'}
    assert len({*TIMES, *NUMBERS, *FLAGS, 'failed_share'}) == len(WHENS) and {*ALONE} <= {*WHENS}
    kinds = {'time': TIMES, 'number': NUMBERS, 'flag': FLAGS, 'share': ('failed_share',)}
    assert {name: one.kind for name, one in MEASURES.items()} == {
        name: kind for kind, names in kinds.items() for name in names
    }
    assert {*ALONE} == {name for name, one in MEASURES.items() if one.above is not None}
