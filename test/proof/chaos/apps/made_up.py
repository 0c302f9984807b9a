"""Tales that are made up, of each rule bad ones that break it, and good ones that look like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proof.chaos.apps.journal import Line
from proof.chaos.apps.tale import LEASE, Tale

WORKER, CHILD = 10, 11


class Teller:
    """Lines of journals, one by one; instants in ms."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def say(self, word: str, at: float = 0, **what: Any) -> Teller:
        self.lines.append({'w': word, 'at': at, 'pid': 1, **what})
        return self

    def send(self, n: int = 1, at: float = 0, until: float | None = 5, kind: str = 'quick', **what: Any) -> Teller:
        self.say('sends', at, n=n, kind=kind, id=None, **what)
        return self if until is None else self.say('sent', until, n=n, id=f't{n}')

    def begin(self, at: float, name: str = 't1', no: int = 1, fn: str = 'quick', pid: int = WORKER) -> Teller:
        """A hand-out at an instant, of which the function begins at once."""
        n = int(name[1:]) if name[1:].isdecimal() else None
        what = {'id': name, 'token': f'{no}-{at:.0f}', 'fn': fn, 'n': n, 'parent': WORKER if pid == CHILD else 2}
        self.lines.append({'w': 'begins', 'at': at, 'pid': pid, **what})
        return self

    def go_on(self, word: str, at: float, claimed: float, name: str = 't1', no: int = 1, **what: Any) -> Teller:
        return self.say(word, at, id=name, token=f'{no}-{claimed:.0f}', **what)

    def run(self, at: float = 100, name: str = 't1', took: float = 20, no: int = 1, fn: str = 'quick') -> Teller:
        """An attempt that ends well."""
        pid = CHILD if fn == 'computes' else WORKER
        told = self.begin(at, name, no, fn, pid).go_on('ends', at + took, at, name, no)
        return told.go_on('released', at + took + 5, at, name, no)

    def final(self, status: str = 'COMPLETED', name: str = 't1') -> Teller:
        return self.say('final', 90_000, id=name, status=status)

    def tell(self) -> Tale:
        return Tale(sorted(self.lines, key=lambda line: float(line['at'])))


def plain(n: int = 1, **send: Any) -> Teller:
    """A task that was enqueued, run and finished."""
    return Teller().send(n, **send).run(name=f't{n}').final(name=f't{n}')


def again(at: float, **first: Any) -> Teller:
    """A task that was handed out, and again."""
    return Teller().send().begin(100, **first).run(at, no=2, fn=first.get('fn', 'quick')).final()


def lost(count: int, word: str = 'raises', after: float = 2000, error: str = 'CancelledError') -> Teller:
    """A task that loses its lease so often, with the faults over."""
    told = Teller().send().say('calm', 50)
    for no in range(1, count + 1):
        told.begin(100 + no * 1600, no=no).go_on(word, 100 + no * 1600 + after, 100 + no * 1600, no=no, error=error)
    return told.run(30_000, no=count + 1).final()


def twice(one: float, other: float) -> Teller:
    """The first of a strict order, run twice, because its worker was killed before the release."""
    told = Teller().send(order='line').begin(one).go_on('ends', one + 10, one)
    return told.run(other, no=2).final()


def stopped(last: float) -> Teller:
    """What goes on for so long in a process whose worker stood still beyond its lease."""
    told = plain().begin(100, 't2', 1, 'computes', CHILD).say('stops', 1000, who=WORKER, until=3000.0)
    return told.go_on('goes on', last, 100, 't2')


def three(order: str | None = None, group: str | None = 'few', at: tuple[float, ...] = (100, 100, 100, 100)) -> Teller:
    told = Teller()
    for place, begin in enumerate(at):
        n = place + 1
        told.send(n, at=place * 10, until=place * 10 + 5, group=group, order=order)
        told.run(begin, name=f't{n}', took=50).final(name=f't{n}')
    return told


def perishable(begin: float) -> Teller:
    return plain_of('perishes', begin, expires=0.5)


def plain_of(kind: str, begin: float, **send: Any) -> Teller:
    return Teller().send(kind=kind, **send).run(begin, fn=kind).final()


def flow(join: float) -> Teller:
    told = Teller().send(3, kind='flow', parts={'t3.p0': 4}).run(100, name='t3.p0')
    return told.run(join, name='t3.total', fn='total').final(name='t3')


def fired(name: str, *instants: int, fired: int | None = None, skipped: int = 0, before: float = 500) -> Teller:
    """A schedule, of which tasks ran at once at their instants."""
    told = Teller()
    for instant in instants:
        told.run(instant + 10, name=f'{name}@{instant}', fn=name)
    count = len(instants) if fired is None else fired
    return told.say('firing', 80_000, name=name, fired=count, skipped=skipped, last=float(max(instants)),
                    before=before, after=before + 400)  # fmt: skip


def counted(number: int, fn: str = 'quick') -> Teller:
    """A worker that was told to end in the end, and what was counted."""
    told = plain().say('calm', 50_000).say('told', 60_000, who=WORKER)
    return told.say('counted', 70_000, fn=fn, succeeded=number)


Made = Callable[[], Teller]

BAD: Mapping[str, tuple[str, Made]] = {
    'a task is not known': ('lost', lambda: plain().final('')),
    'a task stays': ('lost', lambda: plain().final('PENDING')),
    'a task is dead, and had no end of use': ('lost', lambda: plain().final('DEAD')),
    'a task has completed, and never ran': ('done', lambda: Teller().send().final()),
    'a task has completed, and its function has not returned': (
        'done', lambda: Teller().send().begin(100).final()),
    'released before its function had returned': (
        'done', lambda: plain().begin(200, 't2').go_on('released', 210, 200, 't2').go_on('ends', 300, 200, 't2')),
    'two tasks of one call': ('once', lambda: twice_enqueued()),
    'a hand-out begins twice': ('once', lambda: plain().begin(100)),
    'handed out after its release': ('over', lambda: plain().begin(3000, no=2)),
    'handed out within a lease': ('alone', lambda: again(1000).say('kills', 200, who=WORKER)),
    'handed out within the lease of a process that ended with its worker': (
        'alone', lambda: again(1000, fn='computes', pid=CHILD).say('kills', 200, who=WORKER)
        .say('told', 200, who=CHILD)),
    'handed out within the lease of what has returned': ('alone', lambda: again(1000).go_on('ends', 900, 100)),
    'handed out within a lease that was renewed': (
        'alone', lambda: again(2900).go_on('touched', 1510, 100, began=1500.0).go_on('goes on', 2000, 100)),
    'goes on beside another': ('ending', lambda: again(2000).go_on('goes on', 9000, 100)),
    'goes on after its worker': (
        'ending', lambda: plain().begin(100, 't2', 1, 'computes', CHILD).go_on('goes on', 9000, 100, 't2')
        .say('kills', 200, who=WORKER)),
    'goes on in a process whose worker has lost the lease': ('ending', lambda: stopped(8000)),
    'leases that nobody renews': ('endless', lambda: lost(12)),
    'leases that nobody renews, whose functions are ended before': ('endless', lambda: lost(12, after=1510)),
    'leases that nobody renews, whose functions return too late': ('endless', lambda: lost(12, 'ends', 1550)),
    'four of a group of three': ('limits', three),
    'two of an order at once': ('limits', lambda: three(None, 'fifo:line', (100, 120))),
    'out of order': ('order', lambda: three('line', 'fifo:line', (200, 100))),
    'the second begins before a retry of the first': (
        'order', lambda: twice(100, 1700).send(2, at=10, until=15, order='line').run(200, name='t2').final(name='t2')),
    'begins when it has expired': ('expiry', lambda: perishable(510)),
    'expires too early': (
        'expiry', lambda: perishable(50).say('dead', 400, id='t1', error='expired: it was handed out 0.6 s after')),
    'a join begins too early': ('joins', lambda: flow(110)),
    'a join begins before a retry of what it waits for': (
        'joins', lambda: Teller().send(3, kind='flow', parts={'t3.p0': 4}).begin(100, 't3.p0')
        .go_on('ends', 110, 100, 't3.p0').run(1700, 't3.p0', no=2)
        .run(200, name='t3.total', fn='total').final(name='t3')),
    'an instant is missing': ('schedules', lambda: fired('each', 1000, 3000, skipped=1)),
    'an instant that is none': ('schedules', lambda: fired('each', 1000, 2000, 2500, skipped=1)),
    'an id that has no instant': ('schedules', lambda: fired('lone', 1000, 2000)
        .run(2100, 'lone@2000.again', fn='lone')),
    'fewer have run than have fired': ('schedules', lambda: fired('lone', 1000, 2000, fired=3, before=-500)),
    'more have run than have fired': ('schedules', lambda: fired('lone', 1000, 2000, fired=1, skipped=1)),
    'an instant is counted twice': ('schedules', lambda: fired('last', 2000, 4000, fired=4, before=1000)),
    'instants are passed over, and nobody counts them': ('schedules', lambda: fired('lone', 5000, 6000)),
    'two of a schedule at once': (
        'schedules', lambda: fired('lone', 2000, fired=2).begin(1000, 'lone@1000', 1, 'lone')
        .go_on('ends', 1010, 1000, 'lone@1000').run(2510, name='lone@1000', no=2, fn='lone')),
    'counted twice': ('counts', lambda: counted(2)),
    'not counted': ('counts', lambda: counted(0)),
    'something else': ('troubles', lambda: Teller().say('trouble', text='KeyError')),
}  # fmt: skip
"""By what is wrong: the rule that sees it, and a tale."""


def twice_enqueued() -> Teller:
    told = plain()
    told.lines += [{**line, 'id': 'other'} for line in told.lines if line['w'] in ('begins', 'ends', 'released')]
    return told


GOOD: Mapping[str, Made] = {
    'a task': plain,
    'a call that nobody knows of': lambda: Teller().send(until=None),
    'a call that nobody knows of, and that is there': lambda: plain().send(2, until=None).run(200, name='t2'),
    'handed out when the lease was over': lambda: again(100 + LEASE + 5).say('kills', 200, who=WORKER),
    'handed out when the function had failed': lambda: again(1000).go_on('raises', 900, 100),
    'handed out when its process was killed': lambda: again(300, fn='computes', pid=CHILD).say('kills', 200, who=CHILD),
    'a thread, given back at the end of its worker': lambda: again(300).say('told', 200, who=WORKER),
    'ended, but not released, when its worker was killed': lambda: again(2000).go_on('ends', 200, 100),
    'goes on, because it was stopped': lambda: again(2000).go_on('goes on', 9000, 100)
    .say('stops', 150, who=WORKER, until=8800.0),
    'ended by its worker, which was stopped': lambda: stopped(5000),
    'goes on in a process, because it has renewed its lease': lambda: stopped(8000)
    .go_on('touched', 3010, 100, 't2', began=3005.0),
    'a thread that cannot be ended': lambda: Teller().send().begin(100, fn='blocks').run(2000, no=2, fn='blocks')
    .go_on('goes on', 9000, 100).final(),
    'groups of one name in two queues': lambda: three(at=(100, 100, 100)).send(5, group='few', queue='side')
    .run(100, 't5').final(name='t5'),
    'a few leases that are lost': lambda: lost(5),
    'a task that fails again and again': lambda: lost(12, after=100, error='ValueError'),
    'three of a group of three': lambda: three(at=(100, 100, 100, 160)),
    'in order': lambda: three('line', 'fifo:line', (100, 200, 300)),
    'in no order, because they were sent at once': lambda: Teller().send(1, until=50, order='line').send(
        2, until=40, order='line').run(200, name='t1').run(100, name='t2').final().final(name='t2'),
    'just in time': lambda: perishable(504),
    'expired': lambda: Teller().send(kind='perishes', expires=0.5).say('dead', 600, id='t1', error='expired: it')
    .final('DEAD'),
    'a join': lambda: flow(130),
    'a schedule': lambda: fired('each', 1000, 2000, 3000),
    'one that passes over': lambda: fired('lone', 1000, 4000, skipped=2),
    'one whose firings are cancelled': lambda: fired('last', 2000, 6000, fired=3, before=1000),
    'counts': lambda: counted(1),
    'counts that were taken along': lambda: counted(0).say('kills', 55_000, who=WORKER),
    'left by a busy machine': lambda: plain().final('PENDING').say('late', 85_000),
    'lost by its server': lambda: plain().final('').say('gap', 80_000, begin=0.0, end=1000.0),
}  # fmt: skip
"""By what they are."""
