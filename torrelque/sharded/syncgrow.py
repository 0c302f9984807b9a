"""Has the shards of a synchronous queue object be those of the newest map; it is written by the one for coroutines."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from torrelque import TorrelqueError
from torrelque.sync import Torrelque

from . import generations, grow, shards
from .shards import Shape
from .threads import Base

logger = logging.getLogger(__package__)

T = TypeVar('T')


class Following(Base):
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
            logger.warning('queue %r: the map of its shards was not read again: %s', self.name, exc)
        with self._lock:
            self._heed()

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
