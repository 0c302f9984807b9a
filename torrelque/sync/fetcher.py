"""Waiting for a task in a thread: claim, block at the doorbell, sweep what is due.

The protocol is that of the asynchronous queue, with a record of its own for each call: no task is popped by a blocking
command, each claim is on record until its reply has come, and whoever goes rings for those that stay.  Whoever comes
when the last claim has left nothing begins at the doorbell, as there (`aio.shelf`): it is the same to a thread which of
them has made that claim.
"""

import collections
import itertools
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis.exceptions

from torrelque import (
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueServerError,
    TorrelqueTaskId,
    TorrelqueTimeoutError,
)
from torrelque.error import ServerPermissionError, no_reply, no_task, of_queue, reason_of
from torrelque.protocol.calls import IS_KEYDB, Calls
from torrelque.protocol.carrying import read_spread
from torrelque.protocol.refusals import server_error
from torrelque.protocol.replies import (
    Claimed,
    UnreadableError,
    is_keydb,
    is_ring,
    read_claim,
    read_sweep,
    tell_not_buried,
    tell_not_returned,
    tell_troubles,
    text,
)
from torrelque.protocol.transition import Arg, pack, with_place

from .connection import Connection
from .link import Link

logger = logging.getLogger('torrelque')

Delivery = tuple[TorrelqueTaskId, Any]

_TROUBLES = (TorrelqueConnectionError, UnreadableError, redis.exceptions.RedisError)
"""What a call may come to that is the fault of the server, or of the way to it."""


class Fetcher:
    """What the threads that wait for tasks of one queue object share."""

    def __init__(self, calls: Calls, link: Link, carry: Callable[[float], None] = lambda until: None) -> None:
        self.calls = calls
        self.carry = carry
        """Has other queues told of tasks of flows, until some time."""
        self.bounds = calls.bounds
        self.link = link
        self.closed = False
        """Whether the queue object was closed."""
        self.listening: set[Connection] = set()
        """Connections at which threads block, waiting for the bell."""
        self.lost: collections.deque[str] = collections.deque()
        """Records of claims whose replies never came: the next claim asks for the same."""
        self._names: tuple[int, str, Iterator[int]] = (0, '', itertools.count())
        """Process, name and counter of the records, in one tuple that one assignment replaces: there is no lock that
        another thread could hold at a fork."""
        self.still_until = -math.inf
        """Until when whoever comes may begin at the bell, because the last claim has left nothing and no deadline."""
        self.found = True
        """Whether whoever came last with a claim was given something, so that the next one is likely to be."""
        self.took = math.inf
        """How long (s) the reply of a claim takes, where nothing keeps it."""
        self._endless: bool | None = None
        """Whether the server has to be waited at without a limit; None is not known yet."""

    def record(self) -> tuple[str, bool]:
        """The key for the record of a claim, and whether it is a repetition."""
        process, name, numbers = self._names
        if process != os.getpid():
            # After a fork the parent goes on with the name and the counter.
            name, numbers = secrets.token_hex(8), itertools.count()
            self._names = os.getpid(), name, numbers
            if process:
                self.lost.clear()
        try:
            return self.lost.popleft(), True
        except IndexError:
            # The thread's number is in the name, because without a global lock `next` may give two threads one number.
            return f'{self.calls.keys["claim"]}:{name}:{next(numbers)}-{threading.get_ident():x}', False

    def call(self, name: str, args: Sequence[Arg], resent: bool = False, until: float = math.inf) -> Any:
        """A call with its head."""
        return self.link.call(self.calls.transitions[name], [*self.calls.heads[name], *args], resent, until)

    def is_endless(self, until: float) -> bool:
        """Whether blocks at the bell are to be without a limit, because the server is KeyDB (see `aio.bell`)."""
        if self._endless is None:
            try:
                self._endless = is_keydb(self.link.call(None, IS_KEYDB, until=until))
            except TorrelqueServerError:
                self._endless = False
        return self._endless

    def close(self) -> None:
        """Wake the threads that wait, because the queue object is closed."""
        self.closed = True
        for connection in list(self.listening):
            connection.interrupt()


class Fetch:
    """One call of `dequeue`."""

    _fetcher: Fetcher
    """What it shares with other threads."""
    _wanted: int
    """How many tasks it takes at the most."""
    _timeout: float | None
    """How long it was to wait (s), for messages; None is for ever."""
    _end: float
    """When its time is over (as all times here, by `time.monotonic`)."""
    _got: list[Delivery]
    """What it will return."""
    _held: list[TorrelqueTaskId]
    """Tasks of which it has the lease, to be given back when it fails: those of `_got`, and unread ones."""
    _claim_in_doubt: str
    """The record of a claim that was sent and whose reply was not read; '' is none."""
    _since: float
    """When the claim was sent, from which its leases are known to run; -inf is not known."""
    _listened: bool
    """Whether it has waited at the bell, and may have taken a ring that is due to somebody else."""
    _error: Exception | None
    """Why the server is away, of which the log was told; None is not away."""
    _late: bool
    """Whether its time was over, and one last claim got a time of its own."""
    _no_sweep_before: float
    """When a sweep may be sent again, because the last one failed."""

    def __init__(self, fetcher: Fetcher, timeout: float | None, wanted: int) -> None:
        self._fetcher = fetcher
        self._wanted = wanted
        self._timeout = timeout
        self._end = math.inf if timeout is None else time.monotonic() + timeout
        self._got = []
        self._held = []
        self._claim_in_doubt = ''
        self._since = -math.inf
        self._listened = False
        self._error = None
        self._late = False
        self._no_sweep_before = 0.0

    def fetch(self) -> list[Delivery]:
        """At least one task and at most as many as are wanted, or `TorrelqueTimeoutError`."""
        comes = True
        try:
            if not self._fetcher.found and self._timeout != 0 and self._is_still():
                self._listen(None, self._fetcher.still_until - time.monotonic())
                comes = False
            while True:
                over = time.monotonic() >= self._end
                claimed = self._claim(not over and not self._got)
                if claimed is None:
                    continue
                if comes:
                    comes = False
                    self._fetcher.found = bool(claimed.tasks)
                    if not claimed.tasks:
                        took = time.monotonic() - self._since
                        self._fetcher.took = min(took, 1.25 * self._fetcher.took)
                self._take_in(claimed)
                if len(self._got) >= self._wanted:
                    return self._hand_over()
                wait = claimed.wait
                if wait is not None and wait <= 0:
                    if self._sweep():
                        continue
                    wait = max(0.001, self._no_sweep_before - time.monotonic())
                if claimed.more:
                    continue
                if self._got:
                    return self._hand_over()
                if over:
                    raise no_task(self._fetcher.calls.name, self._timeout)
                self._listen(wait)
        except BaseException as exc:
            if self._got and isinstance(exc, _TROUBLES):
                self._keep_doubt()
                return self._hand_over()
            if isinstance(exc, TorrelqueError):
                of_queue(self._fetcher.calls.name, exc)
            self._abandon(exc)
            raise

    def _hand_over(self) -> list[Delivery]:
        if len(self._got) > self._wanted:
            # A repeated claim brings what its first sending wanted, which may be more than this call wants.
            self._give_back([task_id for task_id, _ in self._got[self._wanted :]])
            del self._got[self._wanted :]
        return self._got

    # Claiming

    def _is_still(self) -> bool:
        """Whether the bell is to be asked first, which will tell of whatever there is by now."""
        fetcher = self._fetcher
        return not fetcher.lost and time.monotonic() < fetcher.still_until

    def _claim(self, stays: bool) -> Claimed | None:
        """What a claim brings; None when the server is away and waited for."""
        fetcher = self._fetcher
        if fetcher.closed:
            raise TorrelqueClosedError('the queue was closed while this call waited for a task')
        until = self._end + self._fetcher.bounds.grace
        if time.monotonic() >= until:
            if self._error is not None:
                raise no_reply(fetcher.calls.name, self._error)
            if self._late:
                raise no_task(fetcher.calls.name, self._timeout)
            # The bell was silent, or this process stood still, so the server has not been asked yet at the end.
            self._late, until = True, time.monotonic() + self._fetcher.bounds.grace
        if self._claim_in_doubt:
            record, again = self._claim_in_doubt, True
        else:
            record, again = fetcher.record()
            # Nobody here knows when another call made the claim that is repeated.
            self._since = -math.inf if again else time.monotonic()
        wanted = self._wanted - len(self._got)
        self._claim_in_doubt = record
        fetcher.still_until = -math.inf
        try:
            reply = fetcher.call('claim', fetcher.calls.claim('', record, wanted, 1 if stays else 0), again, until)
            claimed = read_claim(reply, self._since)
        except _TROUBLES as exc:
            lost = isinstance(exc, TorrelqueConnectionError) and fetcher.link.established
            lost = lost or isinstance(exc, UnreadableError)
            if self._got or not (lost or getattr(exc, 'passing', False)):
                raise
            self._error, known = exc, self._error is not None
            if time.monotonic() < until:
                if not known:
                    what = 'queue %r: waiting for the server to come back: %s'
                    logger.warning(what, fetcher.calls.name, reason_of(exc))
                time.sleep(0.1)
            return None
        if not claimed.more and (claimed.wait is None or claimed.wait > fetcher.bounds.block):
            fetcher.still_until = self._since + fetcher.bounds.block
        self._held += [task_id for task_id, _ in claimed.tasks]
        self._claim_in_doubt = ''
        if claimed.tasks or claimed.foreign:
            # The reply has come, so nobody will ask for the record again.
            fetcher.link.post('DEL', record)
        if self._error is not None:
            logger.info('queue %r: the server is back', fetcher.calls.name)
            self._error = None
        return claimed

    def _take_in(self, claimed: Claimed) -> None:
        if claimed.troubles:
            tell_troubles(claimed.troubles, self._fetcher.calls.name)
        for foreign_id, token in claimed.foreign:
            self._reject(foreign_id, token, UnicodeError('its id is not UTF-8'))
        for task_id, payload in claimed.tasks:
            try:
                task = self._fetcher.calls.serialiser.loads(payload)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:
                self._held.remove(task_id)
                self._reject(task_id, task_id.token, exc)
                continue
            self._got.append((task_id, task))

    def _reject(self, task_id: Arg, token: str, error: BaseException) -> None:
        try:
            self._fetcher.call('bury', self._fetcher.calls.reject(task_id, token, error))
        except (TorrelqueConnectionError, redis.exceptions.RedisError) as exc:
            tell_not_buried(self._fetcher.calls.name, text(task_id), exc)

    def _give_back(self, task_ids: Sequence[TorrelqueTaskId], until: float = math.inf) -> None:
        self._fetcher.still_until = -math.inf
        # Each task goes to the head of the queue, so the last is given back first.
        try:
            for args in self._fetcher.calls.give_back(task_ids[::-1]):
                self._fetcher.call('requeue', args, until=until)
        except (TorrelqueConnectionError, redis.exceptions.RedisError) as exc:
            tell_not_returned(self._fetcher.calls.name, task_ids, exc)

    # Waiting

    def _sweep(self) -> bool:
        """Bring back what is due; whether that was tried."""
        if time.monotonic() < self._no_sweep_before:
            return False
        try:
            calls, until = self._fetcher.calls, self._end + self._fetcher.bounds.grace
            swept = read_sweep(self._fetcher.call('sweep', calls.sweep(), until=until))
            tell_troubles(swept.troubles, calls.name)
            calls.tell_low(swept.low)
            out, more = swept.out, swept.spread
            while more and time.monotonic() < until:
                done = read_spread(self._fetcher.call('spread', calls.spread(), until=until))
                out, more = out or done.out, done.left > 0
            if out:
                self._fetcher.carry(until)
        except _TROUBLES as exc:
            logger.warning('queue %r: a sweep failed: %s', self._fetcher.calls.name, reason_of(exc))
            # Each claim would see the same due task and send the next failing sweep, so no sweep is sent for a second.
            self._no_sweep_before = time.monotonic() + 1
            return False
        return True

    def _listen(self, wait: float | None, most: float = math.inf) -> None:
        """Block until the bell rings, it is time to look, or something is due, or for ``most`` (s)."""
        fetcher, link = self._fetcher, self._fetcher.link
        block = max(0.001, min(self._fetcher.bounds.block, most, self._end - time.monotonic()))
        due = wait is not None and wait < block
        self._listened = True
        connection = None
        endless = False
        try:
            endless = fetcher.is_endless(self._end + self._fetcher.bounds.grace)
            longest = block if endless else block + self._fetcher.bounds.silence
            patience = max(0.001, wait) if due and wait is not None else longest
            began = time.monotonic()
            connection = link.take()
            fetcher.listening.add(connection)
            if fetcher.closed:
                raise TorrelqueClosedError('the queue was closed while this call waited for a task')
            words = ['BLPOP', fetcher.calls.keys['bell'], '0' if endless else f'{block:.3f}']
            connection.send(pack(words), patience)
            reply = connection.receive()
            if isinstance(reply, Exception):
                raise server_error(with_place(str(reply), None, words))
            if not is_ring(reply) or reply is None and time.monotonic() - began < block / 2:
                raise ConnectionError(f'this is no bell: {reply!r:.200}')
            if reply is not None and time.monotonic() - began < 2 * fetcher.took:
                # It had rung before the block began, so a claim would have found what it rang for.
                fetcher.found = True
        except (OSError, redis.exceptions.RedisError, redis.exceptions.RedisClusterException) as exc:
            if due and isinstance(exc, TimeoutError):
                # Something is due now; the server would end the block some tenth of a second later.
                self._sweep()
            elif isinstance(exc, ServerPermissionError):
                # Time does not mend it, and without the bell nobody would be woken.
                raise
            elif endless and isinstance(exc, TimeoutError):
                # The server would not end the block, so its time is kept here.
                pass
            elif not fetcher.closed:
                what = 'queue %r: the connection to the doorbell failed: %s'
                logger.debug(what, fetcher.calls.name, reason_of(exc))
                time.sleep(min(0.2, max(0.0, self._end - time.monotonic())))
        else:
            fetcher.listening.discard(connection)
            link.put(connection)
            connection = None
        finally:
            if connection is not None:
                fetcher.listening.discard(connection)
                connection.close()

    # Going

    def _keep_doubt(self) -> None:
        if self._claim_in_doubt:
            self._fetcher.lost.append(self._claim_in_doubt)
            self._claim_in_doubt = ''

    def _abandon(self, exc: BaseException) -> None:
        """Leave nothing behind: give back what was taken, and ring for the consumers that stay."""
        away = isinstance(exc, (TorrelqueTimeoutError, *_TROUBLES))
        until = time.monotonic() + self._fetcher.bounds.grace
        try:
            if self._claim_in_doubt and not away:
                # The record stays until it expires, because the first sending may yet arrive.
                args = self._fetcher.calls.claim('', self._claim_in_doubt, 1, 0)
                claimed = read_claim(self._fetcher.call('claim', args, True, until))
                self._held += [task_id for task_id, _ in claimed.tasks]
                self._claim_in_doubt = ''
            if self._held:
                self._give_back(self._held, until)
            elif self._listened and not away:
                self._fetcher.call('leave', [], until=until)
        except _TROUBLES as error:
            logger.debug('queue %r: leaving the bell failed: %s', self._fetcher.calls.name, reason_of(error))
        finally:
            self._keep_doubt()
