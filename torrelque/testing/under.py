"""Puts the queue of a test under an app that was made for another server."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torrelque import TorrelqueError, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import check_name
from torrelque.tasks import Tasks
from torrelque.tasks.ground import Ground, copy_queue

__all__ = ['Standing', 'Using', 'checked_apps', 'using']


class _QueueGround(Ground):
    """Queues on the server of a test's queue, for one app."""

    def __init__(self, like: TorrelqueQueue, queue: TorrelqueQueue, main: str) -> None:
        # Legend.  _like: the app's own queue object, which has the options.  _main: what the app calls the queue that
        # the test's is put in the place of.
        self._like = like
        self._queue = queue
        self._main = main

    def make(self, name: str | None, max_tasks: int | None) -> TorrelqueQueue:
        there = self.name_of(self._like.name if name is None else name)
        return copy_queue(self._like, max_tasks, there, self._queue)

    def name_of(self, name: str) -> str:
        return self._queue.name if name == self._main else f'{self._queue.name}.{name}'

    @property
    def server(self) -> object:
        return self._queue.client


class Standing:
    """Apps that stand on something else for the length of a block; it may be ``with`` or ``async with``."""

    def __init__(self, apps: Sequence[Tasks]) -> None:
        # Legend.  _aside: for each app, from the begin of the block on, its ground, and what is put back at the end.
        self._apps = [*apps]
        self._aside: list[tuple[Ground, Any]] | None = None

    def _ground_of(self, app: Tasks) -> Ground:
        raise NotImplementedError

    def _begin(self) -> None:
        if self._aside is not None:
            raise TorrelqueError('a block like this is entered once; make another')
        self._aside = []
        try:
            for app in self._apps:
                ground = self._ground_of(app)
                self._aside.append((ground, app._loops.stand_on(ground)))
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> tuple[list[Any], list[TorrelqueError]]:
        """Have the apps stand where they stood; what they had in the block, to be closed, and what went wrong."""
        had, errors = [], []
        for app, (ground, aside) in reversed([*zip(self._apps, self._aside or (), strict=False)]):
            try:
                if not app._loops.stand_again(ground, aside):
                    errors.append(TorrelqueError(f'a worker that was begun in the block still serves {app!r}'))
                had.append(aside)
            except TorrelqueError as exc:
                errors.append(exc)
        return had, errors

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        had, errors = self._leave()
        for each in had:
            each.close_soon()
        if errors and exc is None:
            raise errors[0]

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        had, errors = self._leave()
        for each in had:
            await each.aclose()
        if errors and exc is None:
            raise errors[0]


class Using(Standing):
    """Apps that use a test's queue, see `using`."""

    def __init__(self, apps: Sequence[Tasks], queue: TorrelqueQueue) -> None:
        super().__init__(apps)
        self._queue = queue

    def __repr__(self) -> str:
        return f'<Using {self._queue.name!r} under {", ".join(map(repr, self._apps))}>'

    def __enter__(self) -> Using:
        self._begin()
        return self

    async def __aenter__(self) -> Using:
        self._begin()
        return self

    def queue(self, name: str | None = None) -> TorrelqueQueue:
        """The object of a queue in the running event loop, to look at what is there; closed at the end of the block.

        :param name: what the app calls the queue; None is its own one.
        """
        return self._apps[0]._loops.here().find(None if name is None else check_name(name, 'the name of a queue'))

    def _ground_of(self, app: Tasks) -> Ground:
        return _QueueGround(app._loops.given, self._queue, self._apps[0]._loops.name)


def using(app: Tasks | Sequence[Tasks], queue: TorrelqueQueue) -> Using:
    """Put a test's queue under an app for the length of a block: ``with using(app, queue):``.

    All that enqueues, all handles, and all workers that are made in the block use the server of the queue; a module may
    have made the app, with `Tasks.from_url` or otherwise, when it was imported.

    :param app: an app, or several that are to share the queues.
    :param queue: takes the place of the app's own queue, or that of the first of several.  It gives its client and its
        name; the serialiser and all else stay the app's.  Any other queue of an app, by the name ``urgent``, is a queue
        ``NAME.urgent`` beside it, where ``NAME`` is that of the queue; so ``current().queue.name`` tells.
    :raises TorrelqueError: a worker serves the app.

    What the app had before, in its own event loops and on its own server, is put aside, and is back at the end of the
    block, also where the block raises; what was made in the block is closed then.  ``async with`` closes before the
    block is left; a ``with`` in an event loop closes in the next turns of the loop.  Blocks may be in one another, and
    are left from within.  The queue object itself stays the caller's.
    """
    if not isinstance(queue, TorrelqueQueue):
        what = ''
        if type(queue).__module__.startswith('torrelque.sync'):
            what = '; an app has event loops of its own, also in synchronous tests'
        raise TorrelqueTypeError(f'queue must be a queue of torrelque, not {type(queue)!r}{what}')
    return Using(checked_apps(app), queue)


def checked_apps(app: Tasks | Sequence[Tasks]) -> list[Tasks]:
    """Apps, each once, and at least one.

    :raises TorrelqueTypeError: they are none.
    :raises TorrelqueValueError: one is named twice, or none at all.
    """
    apps: list[Any] = [app] if isinstance(app, Tasks) else [*app] if isinstance(app, Sequence) else [None]
    for one in apps:
        if not isinstance(one, Tasks):
            raise TorrelqueTypeError(f'an app is a torrelque.tasks.Tasks, not {(app if one is None else one)!r}')
    if not apps or len({*map(id, apps)}) < len(apps):
        raise TorrelqueValueError('an app is named twice' if apps else 'at least one app must be named')
    return apps
