"""Waiting for a task in a thread: claim, block at the doorbell, sweep what is due.

The protocol is that of the asynchronous queue, with a record of its own for each call: no task is popped by a blocking
command, each claim is on record until its reply has come, and whoever goes rings for those that stay.
"""

import collections
import itertools
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
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
from torrelque.error import no_reply, no_task, of_queue, reason_of
from torrelque.protocol.calls import BLOCK_MS, Plan, claim_args, tell_not_buried, tell_not_returned, tell_troubles
from torrelque.protocol.refusals import SILENT
from torrelque.protocol.replies import (
    Claimed,
    UnreadableError,
    is_keydb,
    is_ring,
    read_claimed,
    read_swept,
    server_error,
    text,
)
from torrelque.protocol.transition import BLOCK, BULK, GRACE, IS_KEYDB, SWEEP, Arg, pack

from .connection import Wire
from .link import Line

logger = logging.getLogger('torrelque')

Delivery = tuple[TorrelqueTaskId, Any]

_TROUBLES = (TorrelqueConnectionError, UnreadableError, redis.exceptions.RedisError)
"""What a call may come to that is the fault of the server, or of the way to it."""


class Fetcher:
    """What the threads that wait for tasks of one queue object share."""

    def __init__(self, plan: Plan, line: Line) -> None:
        self.plan = plan
        """The builders of calls."""
        self.line = line
        """The connections to the server."""
        self.closed = False
        """Whether the queue object is closed."""
        self.listening: set[Wire] = set()
        """Connections at which threads block at the doorbell."""
        self.lost: collections.deque[str] = collections.deque()
        """Keys of the records of claims whose replies never came: the next claim asks for the same."""
        # Process, name and counter in one tuple, replaced by one assignment: no lock that another thread could hold at
        # a fork.
        self._names: tuple[int, str, Iterator[int]] = (0, '', itertools.count())
        """Of which the keys of the records are made."""
        self._endless: bool | None = None
        """Whether blocks at the bell are without a limit; None where the server was not asked yet."""

    def record(self) -> tuple[str, bool]:
        """The key for the record of a claim, and whether it is a repetition."""
        process, name, numbers = self._names
        if process != os.getpid():
            # The process was forked, and its parent goes on with these names.
            name, numbers = secrets.token_hex(8), itertools.count()
            self._names = os.getpid(), name, numbers
            if process:
                self.lost.clear()
        try:
            return self.lost.popleft(), True
        except IndexError:
            # The key has the thread in it, because without a global lock two threads may be given one number.
            return f'{self.plan.keys["claim"]}:{name}:{next(numbers)}-{threading.get_ident():x}', False

    def call(self, name: str, args: Sequence[Arg], resent: bool = False, until: float = math.inf) -> Any:
        """A call with its head."""
        return self.line.call(self.plan.transitions[name], [*self.plan.head(name), *args], resent, until)

    def is_endless(self, until: float) -> bool:
        """Whether blocks at the bell are to be without a limit, because the server is KeyDB (see `aio.bell`)."""
        if self._endless is None:
            try:
                self._endless = is_keydb(self.line.call(None, IS_KEYDB, until=until))
            except TorrelqueServerError:
                self._endless = False
        return self._endless

    def close(self) -> None:
        """Wake the threads that wait, so that they see the end."""
        self.closed = True
        for wire in list(self.listening):
            wire.interrupt()


class Visit:
    """One call of `dequeue`."""

    def __init__(self, fetcher: Fetcher, timeout: float | None, wanted: int) -> None:
        self._fetcher = fetcher
        """What it shares with other threads."""
        self._wanted = wanted
        """How many tasks it takes at the most."""
        self._timeout = timeout
        """How long it waits (s), as its caller has said; None is for ever."""
        self._end = math.inf if timeout is None else time.monotonic() + timeout
        """When its time is over, by `time.monotonic`, as the other instants here."""
        self._got: list[Delivery] = []
        """The tasks that it has got so far."""
        self._held: list[TorrelqueTaskId] = []
        """The ids of all tasks that it has claimed, to be given back if it fails."""
        self._claim_in_doubt = ''
        """The key of the record of a claim whose reply has not come; '' where there is none."""
        self._since = -math.inf
        """When that claim was first made."""
        self._listened = False
        """Whether it was at the bell, and may have taken a ring."""
        self._error: Exception | None = None
        """Why the last claim failed, while the server is waited for."""
        self._late = False
        """Whether it has asked the server once more after its time was over."""
        self._no_sweep_before = 0.0
        """When a sweep may be sent again, because the last one failed."""

    def fetch(self) -> list[Delivery]:
        """At least one task and at most as many as are wanted, or `TorrelqueTimeoutError`."""
        try:
            while True:
                over = time.monotonic() >= self._end
                claimed = self._claim(not over and not self._got)
                if claimed is None:
                    continue
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
                    raise no_task(self._fetcher.plan.name, self._timeout)
                self._listen(wait)
        except BaseException as exc:
            if self._got and isinstance(exc, _TROUBLES):
                self._keep_doubt()
                return self._hand_over()
            if isinstance(exc, TorrelqueError):
                of_queue(self._fetcher.plan.name, exc)
            self._abandon(exc)
            raise

    def _hand_over(self) -> list[Delivery]:
        if len(self._got) > self._wanted:
            # The claim was the repetition of one that another call had made, and that had wanted more.
            self._give_back([task_id for task_id, _ in self._got[self._wanted :]])
            del self._got[self._wanted :]
        return self._got

    # Claiming

    def _claim(self, stays: bool) -> Claimed | None:
        """What a claim brings; None when the server is away and waited for."""
        fetcher = self._fetcher
        if fetcher.closed:
            raise TorrelqueClosedError('the queue was closed while this call waited for a task')
        until = self._end + GRACE
        if time.monotonic() >= until:
            if self._error is not None:
                raise no_reply(fetcher.plan.name, self._error)
            if self._late:
                raise no_task(fetcher.plan.name, self._timeout)
            # The bell was silent, or this process stood still: ask the server once more before giving up.
            self._late, until = True, time.monotonic() + GRACE
        if self._claim_in_doubt:
            record, again = self._claim_in_doubt, True
        else:
            record, again = fetcher.record()
            # It is not known when a claim that another call had made was made.
            self._since = -math.inf if again else time.monotonic()
        wanted = min(BULK, self._wanted - len(self._got))
        self._claim_in_doubt = record
        try:
            reply = fetcher.call('claim', claim_args('', record, wanted, 1 if stays else 0), again, until)
            claimed = read_claimed(reply, self._since)
        except _TROUBLES as exc:
            lost = isinstance(exc, TorrelqueConnectionError) and fetcher.line.established
            lost = lost or isinstance(exc, UnreadableError)
            if self._got or not (lost or getattr(exc, 'passing', False)):
                raise
            self._error, known = exc, self._error is not None
            if time.monotonic() < until:
                if not known:
                    what = 'queue %r: waiting for the server to come back: %s'
                    logger.warning(what, fetcher.plan.name, reason_of(exc))
                time.sleep(0.1)
            return None
        self._held += [task_id for task_id, _ in claimed.tasks]
        self._claim_in_doubt = ''
        if claimed.tasks or claimed.foreign:
            # Delete the record, because its reply has come.
            fetcher.line.post('DEL', record)
        if self._error is not None:
            logger.info('queue %r: the server is back', fetcher.plan.name)
            self._error = None
        return claimed

    def _take_in(self, claimed: Claimed) -> None:
        tell_troubles(claimed.troubles, self._fetcher.plan.name)
        for foreign_id, token in claimed.foreign:
            self._reject(foreign_id, token, UnicodeError('its id is not UTF-8'))
        for task_id, payload in claimed.tasks:
            try:
                task = self._fetcher.plan.serialiser.loads(payload)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:
                self._held.remove(task_id)
                self._reject(task_id, task_id.token, exc)
                continue
            self._got.append((task_id, task))

    def _reject(self, task_id: Arg, token: str, error: BaseException) -> None:
        try:
            self._fetcher.call('bury', self._fetcher.plan.reject(task_id, token, error))
        except (TorrelqueConnectionError, redis.exceptions.RedisError) as exc:
            tell_not_buried(self._fetcher.plan.name, text(task_id), exc)

    def _give_back(self, task_ids: Sequence[TorrelqueTaskId], until: float = math.inf) -> None:
        # The last comes first, because each is put to the head: so the first is the head in the end.
        try:
            for args in self._fetcher.plan.give_back(task_ids[::-1]):
                self._fetcher.call('requeue', args, until=until)
        except (TorrelqueConnectionError, redis.exceptions.RedisError) as exc:
            tell_not_returned(self._fetcher.plan.name, task_ids, exc)

    # Waiting

    def _sweep(self) -> bool:
        """Bring back what is due; whether that was tried."""
        if time.monotonic() < self._no_sweep_before:
            return False
        try:
            reply = self._fetcher.call('sweep', [str(SWEEP)], until=self._end + GRACE)
            tell_troubles(read_swept(reply), self._fetcher.plan.name)
        except _TROUBLES as exc:
            logger.warning('queue %r: a sweep failed: %s', self._fetcher.plan.name, reason_of(exc))
            # No sweep is sent for a second.  Each claim would otherwise see the same due task and send the next failing
            # sweep.
            self._no_sweep_before = time.monotonic() + 1
            return False
        return True

    def _listen(self, wait: float | None) -> None:
        """Block until the bell rings, it is time to look, or something is due."""
        fetcher, line = self._fetcher, self._fetcher.line
        block = max(0.001, min(BLOCK, self._end - time.monotonic()))
        due = wait is not None and wait < block
        self._listened = True
        wire = None
        endless = False
        try:
            endless = fetcher.is_endless(self._end + GRACE)
            patience = max(0.001, wait) if due and wait is not None else block if endless else block + SILENT
            began = time.monotonic()
            wire = line.take()
            fetcher.listening.add(wire)
            if fetcher.closed:
                raise TorrelqueClosedError('the queue was closed while this call waited for a task')
            wire.send(pack(['BLPOP', fetcher.plan.keys['bell'], '0' if endless else f'{block:.3f}']), patience)
            reply = wire.receive()
            if isinstance(reply, Exception):
                raise server_error(str(reply))
            if not is_ring(reply) or reply is None and time.monotonic() - began < block / 2:
                raise ConnectionError(f'this is no bell: {reply!r:.200}')
        except (OSError, redis.exceptions.RedisError, redis.exceptions.RedisClusterException) as exc:
            if due and isinstance(exc, TimeoutError):
                # A task is due now; the server would end the block some tenth of a second late.
                self._sweep()
            elif endless and isinstance(exc, TimeoutError):
                # The block has no limit, so the server would not end it.
                pass
            elif not fetcher.closed:
                what = 'queue %r: the connection to the doorbell failed: %s'
                logger.debug(what, fetcher.plan.name, reason_of(exc))
                time.sleep(min(0.2, max(0.0, self._end - time.monotonic())))
        else:
            fetcher.listening.discard(wire)
            line.put(wire)
            wire = None
        finally:
            if wire is not None:
                fetcher.listening.discard(wire)
                wire.close()

    # Going

    def _keep_doubt(self) -> None:
        if self._claim_in_doubt:
            self._fetcher.lost.append(self._claim_in_doubt)
            self._claim_in_doubt = ''

    def _abandon(self, exc: BaseException) -> None:
        """Leave nothing behind: give back what was taken, and ring for the consumers that stay."""
        away = isinstance(exc, (TorrelqueTimeoutError, *_TROUBLES))
        until = time.monotonic() + GRACE
        try:
            if self._claim_in_doubt and not away:
                # The claim's record is left to expire, because the first sending may yet arrive.
                args = claim_args('', self._claim_in_doubt, 1, 0)
                claimed = read_claimed(self._fetcher.call('claim', args, True, until))
                self._held += [task_id for task_id, _ in claimed.tasks]
                self._claim_in_doubt = ''
            if self._held:
                self._give_back(self._held, until)
            elif self._listened and not away:
                self._fetcher.call('leave', ['', BLOCK_MS], until=until)
        except _TROUBLES as error:
            logger.debug('queue %r: leaving the bell failed: %s', self._fetcher.plan.name, reason_of(error))
        finally:
            self._keep_doubt()
