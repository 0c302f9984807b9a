"""More shards, and fewer again, of the synchronous queue: the same steps, each waited for."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from torrelque import Duration, TorrelqueError
from torrelque.protocol.check import check_seconds
from torrelque.sync import Torrelque

from . import generations, grow, inside, moving, shards
from .shards import Shape
from .syncplacing import Placing

logger = logging.getLogger(__package__)

T = TypeVar('T')


class Following(Placing):
    """Reads the map every ten seconds, where anything is called or waited for meanwhile."""

    _settled_at = 0.0
    """When fresh shards are used as well."""

    def _renew(self) -> None:
        super()._renew()
        self._closed_shards: dict[int, Torrelque] = getattr(self, '_closed_shards', {})
        """Shards that are gone: a delivery may know its shard."""
        if self._shape is not None:
            self._heed()

    def _opened(self) -> None:
        now = time.monotonic()
        self._known_until, self._settled_at = now + grow.EVERY, now + grow.KNOWN
        self._heed()

    def _look_in_time(self) -> None:
        now = time.monotonic()
        with self._lock:
            if now <= self._known_until or self._closed:
                return
            self._known_until = now + grow.EVERY
        try:
            self._look()
        except TorrelqueError as exc:
            logger.warning('queue %r: the map of its shards was not read again: %s', self.name, self._why(exc))
        with self._lock:
            self._heed()
        if shards.MOVED in self._shape.more:
            number = random.randrange(len(self._shards))
            try:
                if self._is_up(number):
                    self._carry(number)
            except TorrelqueError as exc:
                why = inside.reason_of(exc)
                logger.debug('queue %r: the stage of shard %d was not looked at: %s', self.name, number, why)

    def _learn(self) -> None:
        try:
            self._newest()
        except TorrelqueError:
            with self._lock:
                self._known_until = 0.0
            self._look_in_time()

    def _carry(self, number: int) -> None:
        """Put the tasks on the stage of a shard where they belong, which the newest map says."""
        if not inside.run_sync(self._at(number), inside.growing.read_stage):
            return
        self._learn()
        self._take_steps(moving.carry(number, self._shape))

    # Operators

    def grow(self, count: int, *, keyed: bool = False, timeout: Duration | None = None) -> None:
        """Have more shards, for plain tasks or for groups and ids as well, as the asynchronous one."""
        limit = None if timeout is None else check_seconds(timeout, 'timeout')
        steps = moving.grow(self.name, count, grow.KNOWN + grow.EVERY, keyed, grow.LOOK, limit)
        self._take_steps(steps)

    def shrink(self, count: int, timeout: Duration | None = None) -> None:
        """Have fewer shards for plain tasks, as the asynchronous one."""
        limit = None if timeout is None else check_seconds(timeout, 'timeout')
        self._take_steps(moving.shrink(count, grow.KNOWN, grow.LOOK, limit))

    def _take_steps(self, steps: 'moving.Steps[T]') -> T:
        """Do what a generator says, step by step; what it comes to."""
        began, answer = time.monotonic(), None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, moving.At):
                    answer = inside.run_sync(self._at(step.number), step.make)
                elif isinstance(step, moving.Wait):
                    time.sleep(step.seconds)
                    answer = time.monotonic() - began
                elif isinstance(step, moving.Spread):
                    answer = self._drive(generations.spread(self.name, step.shape))
                else:
                    answer = self._newest() if isinstance(step, moving.Newest) else self._write(step.shape)
        except StopIteration as over:
            result: T = over.value
            return result
        except TorrelqueError as exc:
            raise self._told(exc) from exc.__cause__

    def _newest(self) -> Shape:
        """The map as it is now."""
        self._all()
        [text] = self._drive(shards.send((0, self.name, ('GET', shards.key_of(self.name)))))
        with self._lock:
            shape = generations.newer(self.name, text, self._shape)
            if shape is not None:
                self._adopt(shape)
            found: Shape = self._shape
        if shape is not None:
            # Whoever wrote it may be dead.
            self._drive(generations.spread(self.name, shape))
        return found

    def _write(self, shape: Shape) -> Shape:
        """Write a map, and go by it."""
        found = self._drive(generations.write(self.name, shape))
        if found != shape:
            raise self._told(TorrelqueError('the map of the shards was changed by somebody else meanwhile: look again'))
        with self._lock:
            self._adopt(shape)
        return shape

    # What the map says

    def _look(self) -> bool:
        """Read the map; whether it was a newer one."""
        up = [number for number in range(len(self._shards)) if self._is_up(number)]
        number = 0 if 0 in up or not up else random.choice(up)
        shard = self._shards[number]
        text = shard.command('GET', shards.key_of(shard.name))
        lost = self._drive(generations.restore(self.name, self._shape)) if text is None else None
        with self._lock:
            shape = lost or generations.newer(shard.name, text, self._shape)
            if shape is None:
                return False
            self._adopt(shape)
        # Whoever wrote it may be dead.
        self._drive(generations.spread(self.name, shape))
        return True

    def _adopt(self, shape: Shape) -> None:
        old, count = self._shards, len(shape.tags)
        found = [*old[:count]]
        for number in range(len(old), count):
            known = self._closed_shards.pop(number) if number in self._closed_shards else None
            found.append(known or self._make_shard(shape, number))
        self._closed_shards.update({number: old[number] for number in range(count, len(old))})
        self._shape, self._shards = shape, tuple(found)
        self._settled_at = time.monotonic() + grow.KNOWN
        self._takers.add(self._shards)
        self._heed()

    def _heed(self) -> None:
        """Have plain tasks go to the shards that the map says."""
        count = generations.used(self._shape, time.monotonic() >= self._settled_at)
        if count != self._chooser.count:
            self._chooser.use(count, max(len(self._shards), count))

    def _everywhere(self, call: Callable[[Torrelque], T], changes: bool = False) -> list[T]:
        done = super()._everywhere(call)
        while changes and self._look():
            done = super()._everywhere(call)
        return done
