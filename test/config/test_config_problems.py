"""What is told of a file that cannot be meant: all of it at once, each with its place."""

from __future__ import annotations

import pickle

import pytest

from support.configuring import Desk
from torrelque.config import Config, ConfigError

pytestmark = pytest.mark.one_server

ALL = '''
[server]
url = "redis://joe:s3cret@host:port"
[servers]
[queues.mail]
max_tasks = -1
task_timeout = 0
[queues.mail.limits]
"*" = { concurency = 5 }
acme = { rate = "fast" }
[workers.mail]
app = "shop.tasks"
concurency = 50
concurrency = "many"
processes = 0
retry = { base = -2, jitter = 1 }
breaker = { failures = 5, per = "worker" }
queues = ["mial"]
[workers.bulk]
app = "a:b"
handler = "a:c"
steal = "mail"
[workers.none]
rate = "none"
retry = "soon"
breaker = { failures = 30, share = 0.5 }
queues = { mail = 0 }
[schedules.a]
queue = "news"
cron = "61 * * * *"
every = "1h"
payload = "x"
[schedules.b]
queue = "mail"
at = "tomorrow"
task = "t"
timezone = "Europe/Nowhere"
[schedules.c]
queue = "mail"
cron = "61 * * * *"
payload = 2026-01-01
phase = "1s"
[health]
bind = "8080"
[alerts]
default = true
[alerts.one]
when = "oldets"
queue = "news"
to = ["ops", "pager"]
[alerts.two]
when = "pending"
[alerts.three]
above = 1
[alerts.four]
when = "failed_share"
above = 20
[alerts.five]
when = "oldest"
above = "1m"
below = "5m"
at_least = 5
[sinks.ops]
webhook = "hooks.example.com/s3cret"
[sinks]
page = "https://hooks.example.com/s3cret"
[dashboard]
allow = ["redrve"]
payloads = "all"
'''.lstrip()

TOLD = [
    "2: server.url: the address 'redis://…@host:port' cannot be meant: in a password / # ? @ : and % are "
    'percent-encoded',
    '3: servers: there is no such key; did you mean server?',
    '5: queues.mail.max_tasks: expected a whole number from 1 on, not -1',
    '6: queues.mail.task_timeout: 0 is no time from 1 ms on',
    '8: queues.mail.limits."*".concurency: there is no such key; did you mean concurrency?',
    "9: queues.mail.limits.acme.rate: 'fast' is no rate, such as 50, 50/s, 100/m or 5/10s",
    "11: workers.mail.app: 'shop.tasks' is no module:name, such as shop.tasks:app",
    '12: workers.mail.concurency: there is no such key; did you mean concurrency?',
    "13: workers.mail.concurrency: expected a whole number from 1 on, not 'many'",
    '14: workers.mail.processes: expected a whole number from 1 to 1000, not 0',
    '15: workers.mail.retry.base: -2 is no time, such as 90, "90s", "5m" or "2h"',
    '15: workers.mail.retry.jitter: expected true or false, not 1',
    "16: workers.mail.breaker.per: expected one of queue, group, not 'worker'",
    "17: workers.mail.queues: there is no queue 'mial'; did you mean mail? If not, add [queues.mial]",
    '18: workers.bulk: it has an app or a handler, and not both',
    '18: workers.bulk: a handler needs queues, whose tasks it is given',
    '22: workers.none: it needs app = "module:name", or handler = "module:name" and queues',
    '23: workers.none.rate: \'none\' is no rate, such as "50/s", "100/m" or "5/10s"',
    "24: workers.none.retry: 'soon' is no time, such as 90, 90s, 5m or 2h",
    '25: workers.none.breaker: 30 failures are never among the last 20 tasks',
    "26: workers.none.queues: {'mail': 0} is no table of queues and weights, such as { mail = 3, news = 1 }",
    '27: schedules.a: when it fires is said by one of cron, every and at',
    "28: schedules.a.queue: there is no queue 'news' in this file, which [queues.news] would be; there are mail, mial",
    "29: schedules.a.cron: the cron expression '61 * * * *' cannot be meant: minute '61'",
    "34: schedules.b.at: 'tomorrow' is no instant, such as 2026-11-29T14:00 or 2026-11-29T14:00Z",
    "36: schedules.b.timezone: there is no time zone 'Europe/Nowhere', such as Europe/Berlin",
    "39: schedules.c.cron: the cron expression '61 * * * *' cannot be meant: minute '61'",
    '40: schedules.c.payload: a task is JSON, which has no dates, times, inf or nan: write a text',
    '41: schedules.c.phase: it goes with every',
    "43: health.bind: '8080' is no address, such as 127.0.0.1:8765 or [::1]:8765",
    '45: alerts.default: there is no such key; did you mean defaults?, and tables [alerts.NAME]',
    "47: alerts.one.when: nothing is called 'oldets'; did you mean oldest?",
    "48: alerts.one.queue: there is no queue 'news' in this file, which [queues.news] would be; there are mail, mial",
    "49: alerts.one.to: there is no sink 'pager', which [sinks.pager] would be; did you mean page?",
    '50: alerts.two: above is missing: pending has no value of its own from which on it is ill',
    '52: alerts.three: when is missing',
    '56: alerts.four.above: a share is a number from 0 to 1, not 20',
    '60: alerts.five.below: it is more than above, so the alert would end where it begins',
    '61: alerts.five.at_least: it goes with failed_share',
    '63: sinks.ops.webhook: a webhook is an address that begins with https:// or http://',
    "65: sinks.page: expected a table, [sinks.page], not 'https://hooks.example.com/…'",
    "67: dashboard.allow: there is no act 'redrve'; did you mean redrive?",
    "68: dashboard.payloads: expected one of redacted, hidden, full, not 'all'",
]


def test_all_that_is_wrong_is_told_at_once(desk: Desk) -> None:
    assert desk.problems(ALL) == TOLD
    assert 's3cret' not in '\n'.join(TOLD)


def test_an_error_has_its_problems_as_values_and_travels(desk: Desk) -> None:
    desk.write('[queues]\na = 1\n')
    with pytest.raises(ConfigError) as caught:
        Config.load()
    [problem] = pickle.loads(pickle.dumps(caught.value)).problems
    assert problem == ('torrelque.toml', 2, 'queues.a', 'expected a table, [queues.a], not 1')


@pytest.mark.parametrize(
    'text, told',
    [
        ('a = [1\n', '2: it is no TOML: Unclosed array (at end of document)'),
        ('[queues.a]\nmax_tasks = 01\n', '2: it is no TOML: '),
        ('[queues.a]\n[queues.a]\n', '2: it is no TOML: '),
        ('queues = []\n', '1: queues: expected a table, [queues.NAME], not []'),
        ('server = "redis://a:b@c"\n', "1: server: expected a table, [server], not 'redis://…@c'"),
        ('[queues.""]\n', '1: queues."": a name has one character at least'),
        ('[queues.a.limits]\n"" = {}\n', '2: queues.a.limits."": a name has one character at least'),
        ('queues."a.b".limit = 1\n', '1: queues."a.b".limit: there is no such key; did you mean limits?'),
        ("a = '''\n[queues.b]\nx = 1\n'''\n[queues.b]\nx = 1\n", '1: a: there is no such key; '),
        ('[workers.w]\napp = "a:b"\nsteal = ["x", "x"]\n', "3: workers.w.steal: ['x', 'x'] has a name twice"),
        ('[workers.w]\napp = "a:b"\nqueues = []\n', '3: workers.w.queues: a list of queues has one at least'),
        ('[workers.w]\nhandler = "a:b"\nqueues = "q"\nsteal = "q"\n', "4: workers.w.steal: 'q' is one of its queues; "
         'a queue is served, or stolen from'),
        ('[workers.w]\napp = "a:b,c"\n', "2: workers.w.app: 'c' is no module:name, such as shop.tasks:app"),
        ('[workers.w]\napp = "a:b"\nmax_attempts = 0\n', '3: workers.w.max_attempts: 0 is no number from 1 on, nor -1, '
         'which is without end'),
        ('[workers.w]\napp = "a:b"\nretry = true\n', '3: workers.w.retry: True is no time, such as 90, "90s", "5m" or '
         '"2h"'),
        ('[queues.q]\n[alerts.a]\nwhen = "dead"\nabove = 5\nto = []\n', '5: alerts.a.to: nobody would be told; without '
         'this key all sinks are'),
        ('[queues.q]\n[schedules.s]\nqueue = "q"\nevery = 5\noverlap = "queue"\ngroup = "g"\npayload = 1\n',
         '5: schedules.s.overlap: firings that queue are in a group of their own, so there is no other group'),
        ('[queues.q]\n[schedules.s]\nqueue = "q"\nevery = 5\n', '2: schedules.s: what it enqueues is said by one of '
         'task, with args and kwargs, and payload'),
        ('[sinks.log]\nwebhook = "http://a"\n', '1: sinks.log: the sink log is there already'),
        (f'[sinks.{"a" * 101}]\nwebhook = "http://a"\n', f'1: sinks.{"a" * 101}: a name has 100 characters at '
         'the most'),
        ('[queues.q]\n[alerts."a\\tb"]\nwhen = "oldest"\n', '2: alerts."a\tb": a name has 100 characters at the most, '
         'all of which can be printed'),
        ('[queues.q.limits]\na = { concurrency = 9007199254740992 }\n', '2: queues.q.limits.a.concurrency: '
         '9007199254740992 is no number from 1 on, nor "none" or "default"'),
        ('[queues.q]\n[alerts.a]\nwhen = "no_worker"\nabove = "5m"\n', '2: alerts.a: above must be from 0 to 1, not '
         '300'),
        ('[queues.q]\n[alerts.a]\nwhen = "dead"\nabove = 0\n', '2: alerts.a: above must be more than 0, or it fires '
         'always'),
        ('[queues.q]\n[alerts.a]\nwhen = "oldest"\nbelow = "10m"\n', '2: alerts.a: below must not be more than above'),
        ('[sinks.a]\nwebhook = "https://[::1"\n', '1: sinks.a: a webhook must be an address of http or https, '
         'such as '),
        ('[queues.q]\nserialiser = "my codec"\n', "2: queues.q.serialiser: 'my codec' is no module or module:name, "
         'such as orjson or shop.codec:codec'),
    ],
)  # fmt: skip
def test_a_slip_is_told(desk: Desk, text: str, told: str) -> None:
    assert desk.problems(text)[0].startswith(told)


def test_a_file_that_cannot_be_read_is_told(desk: Desk) -> None:
    with pytest.raises(ConfigError, match=r'other\.toml: it cannot be read: No such file'):
        Config.load('other.toml')
    (desk.path / 'torrelque.toml').write_bytes(b'a = "\xff"')
    with pytest.raises(ConfigError, match='it is no UTF-8, at byte 5'):
        Config.load()
    (desk.path / 'torrelque.toml').write_bytes(b'\xef\xbb\xbf[queues.a]\n')
    assert [*Config.load().queues] == ['a']


@pytest.mark.parametrize('text', [f'a = {"[" * 5000}{"]" * 5000}', f'{"a." * 5000}a = 1', f'queues.{"a." * 200}a = 1'])
def test_a_file_that_is_nested_without_end_is_no_setting(desk: Desk, text: str) -> None:
    (desk.path / 'torrelque.toml').write_text(text)
    with pytest.raises(ConfigError, match='nested'):
        Config.load()
    (desk.path / 'torrelque.toml').rename(desk.path / 'pyproject.toml')
    (desk.path / 'pyproject.toml').write_text(f'# torrelque\n{text}')
    with pytest.raises(ConfigError, match='there is no such file, and none is named'):
        Config.load()


def test_a_part_of_a_file_is_read_whatever_is_wrong_with_the_rest(desk: Desk) -> None:
    desk.write(ALL)
    assert [*Config.load_part(None, ['metrics']).queues] == ['mail', 'mial']
    with pytest.raises(ConfigError) as caught:
        Config.load_part(None, ['server', 'health'])
    assert [one.key for one in caught.value.problems] == ['server.url', 'health.bind']


def test_names_that_differ_by_their_ends_are_no_slips(desk: Desk) -> None:
    assert desk.problems("""
        [queues.mail]
        [queues.eu-1]
        [workers.w]
        handler = "a:b"
        queues = ["mail-late", "mails", "eu-2", "bulk"]
    """) == []


def test_a_queue_that_a_worker_serves_is_one_that_alerts_may_name(desk: Desk) -> None:
    assert desk.problems("""
        [queues.mail]
        [workers.w]
        handler = "a:b"
        queues = ["bulk"]
        steal = ["report"]
        [alerts.a]
        when = "oldest"
        queue = ["mail", "bulk", "report"]
    """) == []
