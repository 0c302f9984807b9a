"""Parameters that the worker makes: what may make them, where, and what is refused."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Annotated, Any

import pytest

from support.needing import ASYNCHRONOUS, EVENTS, PLAIN, Session, events, make  # noqa: F401
from torrelque import Torrelque, TorrelqueTypeError
from torrelque.tasks import Depends, Tasks, current, injected
from torrelque.worker import ChildDelivery, Delivery, Worker

# What is tested here has little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


@pytest.mark.parametrize(('make', 'ends'), [*PLAIN, *ASYNCHRONOUS])
async def test_a_coroutine_function_gets_what_anything_makes(app: Tasks, make: Any, ends: list[str]) -> None:
    @app.task
    async def send(to: str, session: Annotated[Session, Depends(make)] = injected) -> str:
        return session.add(to)

    handle = await send.enqueue('joe')
    await drain(app)
    assert await handle.result(10) == 'added joe'
    assert ['open', 'joe', *ends] == EVENTS


@pytest.mark.parametrize(('make', 'ends'), PLAIN)
async def test_a_plain_function_gets_what_a_plain_one_makes(app: Tasks, make: Any, ends: list[str]) -> None:
    @app.task
    def send(to: str, session: Session = Depends(make)) -> str:
        return session.add(to)

    handle = await send.enqueue('joe')
    await drain(app)
    assert await handle.result(10) == 'added joe'
    assert ['open', 'joe', *ends] == EVENTS


@pytest.mark.parametrize(('make', 'ends'), ASYNCHRONOUS)
def test_a_plain_function_is_refused_what_is_asynchronous(app: Tasks, make: Any, ends: list[str]) -> None:
    with pytest.raises(TorrelqueTypeError, match=r"what makes 'session' is asynchronous.*a plain one"):

        @app.task
        def send(to: str, session: Session = Depends(make)) -> None: ...

    assert not app.functions


async def test_nothing_of_it_is_sent(app: Tasks, queue: Torrelque) -> None:
    @app.task(name='mail', group=lambda to, copies=1: to)
    async def send(to: str, session: Annotated[Session, Depends(make)] = injected, copies: int = 1) -> None: ...

    await send.enqueue('joe')
    await send.enqueue('joe', copies=2)
    await send.map(['joe'])
    tasks = [(await queue.dequeue(0)) for _ in range(1)]
    assert [task for _, task in tasks] == [{'task': 'mail', 'args': ['joe']}]
    assert tasks[0][0].group == 'joe'


# Of one another


async def test_what_needs_others_is_made_after_them_and_cleaned_up_before(app: Tasks) -> None:
    def engine() -> Iterator[str]:
        EVENTS.append('engine')
        yield 'E'
        EVENTS.append('engine off')

    async def connect(engine: Annotated[str, Depends(engine)]) -> AsyncGenerator[str, None]:
        EVENTS.append('connect')
        yield engine + 'C'
        EVENTS.append('disconnect')

    def begin(connection: str = Depends(connect)) -> Iterator[str]:
        EVENTS.append('begin')
        yield connection + 'B'
        EVENTS.append('commit')

    @app.task
    async def send(
        one: Annotated[str, Depends(begin)] = injected, *, other: Annotated[str, Depends(engine)] = injected
    ) -> str:
        EVENTS.append('run')
        return f'{one} {other}'

    handle = await send.enqueue()
    await drain(app)
    assert await handle.result(10) == 'ECB E'
    assert EVENTS == ['engine', 'connect', 'begin', 'run', 'commit', 'disconnect', 'engine off']


@pytest.mark.parametrize('use_cache', [True, False])
async def test_a_value_is_shared_within_a_task_unless_that_is_unwanted(app: Tasks, use_cache: bool) -> None:
    def further(session: Annotated[Session, Depends(make, use_cache=use_cache)]) -> Session:
        return session

    @app.task
    def compare(
        one: Annotated[Session, Depends(make)] = injected, other: Annotated[Session, Depends(further)] = injected
    ) -> bool:
        return one is other

    handles = await compare.starmap([()] * 2)
    await drain(app)
    assert [await handle.result(10) for handle in handles] == [use_cache] * 2
    assert ['open'] * (2 if use_cache else 4) == EVENTS


# Where it runs


async def test_it_runs_in_the_event_loop_of_a_coroutine_function(app: Tasks) -> None:
    def place() -> Iterator[int]:
        assert asyncio.get_running_loop() is loop
        yield threading.get_ident()
        assert asyncio.get_running_loop() is loop

    @app.task
    async def send(place: Annotated[int, Depends(place)] = injected) -> bool:
        return place == threading.get_ident()

    loop = asyncio.get_running_loop()
    handle = await send.enqueue()
    await drain(app, max_attempts=1)
    assert await handle.result(10)


async def test_it_runs_in_the_thread_of_a_plain_function(app: Tasks) -> None:
    def place() -> Iterator[int]:
        yield threading.get_ident()
        EVENTS.append(threading.get_ident())

    @app.task
    def send(place: Annotated[int, Depends(place)] = injected) -> list[int]:
        return [place, threading.get_ident()]

    handle = await send.enqueue()
    await drain(app)
    where, *others = await handle.result(10)
    assert [*others, *EVENTS] == [where] * 2
    assert where != threading.get_ident()


def pid(delivery: ChildDelivery) -> Iterator[tuple[int, str]]:
    yield os.getpid(), delivery.id
    # The process of the test has another list of events.
    current().report('cleaned up')


def in_process(number: float, made: Annotated[tuple[int, str], Depends(pid)] = injected) -> tuple[float, int, str, int]:
    return number / 2, made[0], made[1], os.getpid()


async def test_it_runs_in_the_process_of_a_function(app: Tasks) -> None:
    function = app.task(run_in='process', result_ttl=60)(in_process)
    handle = await function.enqueue(1)
    await drain(app)
    half, where, task_id, process = await handle.result(10)
    assert (half, where, task_id) == (0.5, process, handle.id)
    assert process != os.getpid()
    assert (await handle.state()).progress == 'cleaned up'


async def test_the_delivery_is_there_in_what_makes_and_in_what_cleans_up(app: Tasks) -> None:
    async def tell(delivery: Delivery, other: Delivery | None = None) -> AsyncIterator[str]:
        assert delivery is other is current()
        yield f'{delivery.id} {delivery.attempt}'
        EVENTS.append(current().id)

    @app.task
    async def send(told: Annotated[str, Depends(tell)] = injected) -> str:
        return told

    handle = await send.enqueue()
    await drain(app)
    assert await handle.result(10) == f'{handle.id} 1'
    assert [handle.id] == EVENTS


# Refusals


def names_later(it: Annotated[Later, Depends(lambda: Later())] = injected) -> str:
    return type(it).__name__


def names_it_too(it: Annotated[Later, Depends(lambda: Later())]) -> None: ...


class Later:
    """Defined behind the functions."""


async def test_a_name_that_is_defined_later_is_found(app: Tasks) -> None:
    def decorated(it: Annotated[Never, Depends(make)] = injected) -> None:  # type: ignore[name-defined] # noqa: F821
        ...

    later = globals().pop('Later')
    function = app.task(names_later)
    handle = await function.enqueue()
    globals()['Later'] = later
    await drain(app)
    assert await handle.result(10) == 'Later'

    app.task(decorated)
    with pytest.raises(TorrelqueTypeError, match="name 'Never' is not defined"):
        await drain(app)


async def test_what_is_seen_too_late_to_be_made_is_told(queue: Torrelque) -> None:
    for name in ('names_later', 'names_it_too'):
        app, later = Tasks(queue), globals().pop('Later')
        app.task(globals()[name])
        globals()['Later'] = later
        if name == 'names_later':
            await drain(app)
            continue
        # A producer that has not seen the Depends would have asked for the argument.
        with pytest.raises(TorrelqueTypeError, match=r"the default of 'it' must be torrelque\.tasks\.injected"):
            await drain(app)


async def test_what_the_worker_makes_is_not_given_by_a_call(app: Tasks, queue: Torrelque) -> None:
    @app.task(name='mail')
    async def send(to: str, session: Annotated[Session, Depends(make)] = injected, **more: int) -> None: ...

    with pytest.raises(TorrelqueTypeError, match="mail: 'session' is made by the worker"):
        await send.enqueue('joe', session=Session())
    with pytest.raises(TorrelqueTypeError, match='too many positional arguments'):
        await send.enqueue('joe', Session())
    assert (await queue.get_queue_stats()).tasks == 0


async def test_what_is_called_as_usual_is_given_what_it_needs(app: Tasks) -> None:
    @app.task(name='mail')
    async def send(to: str, session: Annotated[Session, Depends(make)] = injected) -> str:
        return session.add(to)

    with pytest.raises(TorrelqueTypeError, match='mail: session would be made by a worker'):
        await send('joe')
    assert await send('joe', session=Session()) == 'added joe'
    assert await send('joe', Session()) == 'added joe'
    with pytest.raises(TorrelqueTypeError, match="'add' of a value that was not made"):
        await send.function('joe')


def test_what_cannot_be_meant_is_refused(app: Tasks) -> None:
    def wants(what: int) -> int:
        return what

    def wants_by_place(what: Session = Depends(make), /) -> int:
        return 1

    def one(it: int = Depends(lambda: 0)) -> int:
        return it

    def itself(it: int = injected) -> int:
        return it

    itself.__annotations__['it'] = Annotated[int, Depends(itself)]

    def unsaid(it: Session = injected) -> None: ...

    def by_place(it: Session = Depends(make), /) -> None: ...

    def before(it: Session = Depends(make), *more: int) -> None: ...

    def many(*it: Annotated[Session, Depends(make)]) -> None: ...

    def needs(it: int = Depends(wants)) -> None: ...

    def needs_by_place(it: int = Depends(wants_by_place)) -> None: ...

    def needs_itself(it: int = Depends(itself)) -> None: ...

    refused: list[tuple[Any, str]] = [
        (unsaid, "the default of 'it' is injected, and its annotation has no Depends"),
        (by_place, "'it' is made by the worker, so it must have a name"),
        (before, r"'it' is made by the worker; it must stand behind \*more"),
        (many, "Depends is for one parameter, and 'it' stands for many"),
        (needs, "nobody gives 'what' to what makes 'it'"),
        (needs_by_place, "nobody gives 'what' to what makes 'it'"),
        (needs_itself, "what makes 'it' depends on itself"),
    ]
    for function, error in refused:
        with pytest.raises(TorrelqueTypeError, match=error):
            app.task(function)
    with pytest.raises(TorrelqueTypeError, match='Depends needs something to call, not 3'):
        Depends(3)  # type: ignore[call-overload]
    assert not app.functions


def test_a_generator_that_a_checker_knows_gives_its_value() -> None:
    def make() -> Generator[int, None, None]:
        yield 1

    # A type checker takes what the generator yields for the type of the parameter.
    def function(it: int = Depends(make)) -> int:
        return it

    assert 'Depends(make)' in repr(function.__defaults__)
    assert repr(injected) == 'injected'
