"""Plain tasks of the synchronous queue go to any shard; see `anywhere`."""

import os
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import redis

from torrelque import TorrelqueConnectionError, TorrelqueError, TorrelqueFullError, TorrelqueServerError
from torrelque.sync import Torrelque

from . import common, inside, shards, threads
from .anywhere import FAILURES, refusal

T = TypeVar('T')


class Anywhere(threads.Base):
    """The ways to any shard."""

    def _anywhere(self, call: Callable[[Torrelque], T], fresh: bool = False) -> T:
        """Carry out what any shard can: at the one whose turn it is, or, where that is full, at another."""
        self._all()
        with self._lock:
            number = self._chooser.choose(time.monotonic(), fresh)
        number = self._meet(number, fresh)
        try:
            return self._carry_out(number, call)
        except FAILURES as exc:
            if not self._notice(number, exc):
                raise
            first = exc
        refused = [first]
        others = [other for other in range(self._chooser.count) if other != number and self._chooser.is_up(other)]
        for other in random.sample(others, len(others)):
            try:
                return self._carry_out(other, call)
            except FAILURES as exc:
                if not self._notice(other, exc):
                    raise
                refused.append(exc)
        raise refusal(self.name, refused)

    def _meet(self, number: int, fresh: bool) -> int:
        """A shard that is there: the one that was chosen or, where that is silent, another."""
        silent: set[int] = set()
        while number not in silent and number not in self._unproven:
            shard = self._shards[number]
            if inside.greet(shard, shards.key_of(shard.name), threads.SOON):
                break
            silent.add(number)
            self._look_after(number)
            with self._lock:
                number = self._chooser.choose(time.monotonic(), fresh)
        # Where nobody has answered, it is any of them, and the call waits as others do.
        return number

    def _notice(self, number: int, error: TorrelqueError) -> bool:
        """A call has failed at a shard, maybe because that is away or takes no writes; whether it surely was not
        carried out, and may be elsewhere."""
        if isinstance(error, TorrelqueConnectionError) or isinstance(error.__cause__, TorrelqueConnectionError):
            self._look_after(number)
        untouched = inside.is_untouched(error)
        if untouched and (isinstance(error, TorrelqueServerError) or isinstance(error.__cause__, TorrelqueServerError)):
            self._pass_by(number)
        return untouched or isinstance(error, TorrelqueFullError)

    def _carry_out(self, number: int, call: Callable[[Torrelque], T]) -> T:
        chooser, began, replied = self._chooser, time.monotonic(), False
        with self._lock:
            chooser.sent(number, began)
        try:
            done = call(self._at(number) if self._unproven else self._shards[number])
            replied = True
            return done
        finally:
            with self._lock:
                chooser.returned(number, began, time.monotonic(), replied)

    def _pass_by(self, number: int) -> None:
        """Have plain tasks go to other shards until a thread finds that one takes writes again."""
        with self._lock:
            if number not in self._refusing and not self._closed:
                self._refusing.add(number)
                self._chooser.is_up = self._takes
                name = 'torrelque probe'
                threading.Thread(target=self._ask_until_it_takes, args=(number,), daemon=True, name=name).start()

    def _takes(self, number: int) -> bool:
        return number not in self._refusing and self._is_up(number)

    def _ask_until_it_takes(self, number: int) -> None:
        process, taken = os.getpid(), False
        while not taken and not self._closed and process == os.getpid():
            time.sleep(common.AGAIN)
            try:
                shard = self._shards[number]
                # Nothing is there to be added to, but it would be a write that needs memory.
                shard.command('LPUSHX', shard.keys['never'], '')
                taken = True
            except TorrelqueConnectionError:
                pass
            except (TorrelqueError, redis.RedisError, IndexError) as exc:
                # Where this may not be asked, the next task asks.
                taken = not inside.is_untouched(exc)
        with self._lock:
            self._refusing.discard(number)
            if not self._refusing:
                self._chooser.is_up = self._is_up
