"""Decorated functions without the extras: what is there, what is not, and that the error says what to install."""

from __future__ import annotations

import subprocess
import sys
import textwrap

START = """
    import asyncio, dataclasses, datetime as dt, json, sys, typing, uuid
    {missing}
    import redis.asyncio
    from torrelque import Torrelque, TorrelqueTypeError
    from torrelque.tasks import Tasks

    def app(**options):
        return Tasks(Torrelque(redis.asyncio.Redis()), **options)

    @dataclasses.dataclass
    class Item:
        number: int

    def send(to: str, when: dt.datetime = None, *items: Item, more: typing.Callable = None, ids: list[uuid.UUID] = ()):
        pass

    def pack(function, *args, **kwargs):
        try:
            return json.dumps(function._pack(args, kwargs))
        except TorrelqueTypeError as exc:
            return str(exc)
"""
NEITHER = "sys.modules['msgspec'] = sys.modules['pydantic'] = None"


def run(body: str, missing: str) -> list[str]:
    """Lines that a program prints."""
    text = textwrap.dedent(START.format(missing=missing)) + textwrap.dedent(body)
    program = subprocess.run([sys.executable, '-c', text], capture_output=True, text=True, check=False)
    assert program.returncode == 0, program.stderr
    return program.stdout.splitlines()


def test_without_the_extras_nothing_is_converted_and_the_error_names_the_extra() -> None:
    body = """
        mail = app().task(name='mail')(send)
        print(pack(mail, 3, None))
        print(pack(mail, 'joe', dt.datetime(2026, 1, 1)))
        print(pack(mail, 'joe', None, Item(1)))
        print(pack(mail, 'joe', more=len))
        print(pack(mail, 'joe', ids=[uuid.UUID(int=1)]))
        print(pack(mail, 'joe', 'tomorrow', ids=['x']))
    """
    ok, when, item, call, ids, plain = run(body, NEITHER)
    assert ok == '{"task": "mail", "args": [3, null]}'
    assert plain == '{"task": "mail", "args": ["joe", "tomorrow"], "kwargs": {"ids": ["x"]}}'
    assert when.startswith("mail: argument 'when' must be Optional[datetime.datetime], not datetime.datetime(2026, ")
    for line in (when, item, call, ids):
        assert 'is not JSON serializable; the extra msgspec carries what JSON lacks' in line
        assert line.endswith("pip install 'torrelque[msgspec]'")


def test_what_json_carries_needs_no_extra() -> None:
    body = """
        class Options(typing.TypedDict):
            size: int

        def plain(
            one: int, two: list[str] | None, three: dict[str, list[int]], four: typing.Literal['a'],
            five: tuple[int, ...], six: Options, seven: typing.Annotated[int, 'size'],
            *rest: typing.Sequence[float], **more: typing.Mapping,
        ) -> typing.Optional[dict]:
            pass

        print(app().task(plain)._definition.encode)
        print(app(types=None).task(name='a')(send)._definition.encode)
    """
    assert run(body, NEITHER) == ['None', 'None']


def test_an_annotation_that_is_never_resolved_needs_an_extra_to_be_an_error() -> None:
    body = """
        def never(one: 'Never', when: dt.datetime = None) -> 'Never': ...

        never = app().task(name='never')(never)
        print(pack(never, 1, None))
        print(pack(never, 1, dt.datetime(2026, 1, 1)))
        print(never._definition.job.name)
    """
    fine, lacks, name = run(body, NEITHER)
    assert (fine, name) == ('{"task": "never", "args": [1, null]}', 'never')
    assert lacks.endswith("pip install 'torrelque[msgspec]'")
    fine, lacks, name = run(body, "sys.modules['msgspec'] = None; import pydantic")
    assert (fine, name) == ('{"task": "never", "args": [1, null]}', 'never')


def test_a_library_that_is_asked_for_and_missing_is_told() -> None:
    body = """
        for types in ('msgspec', 'pydantic'):
            try:
                app(types=types)
            except TorrelqueTypeError as exc:
                print(exc)
    """
    assert run(body, NEITHER) == [
        "types='msgspec' needs the extra msgspec: pip install 'torrelque[msgspec]'",
        "types='pydantic' needs the extra pydantic: pip install 'torrelque[pydantic]'",
    ]


def test_pydantic_alone_carries_its_models() -> None:
    body = """
        import pydantic

        class Model(pydantic.BaseModel):
            when: dt.date

        def find(model: Model, on: dt.date = None) -> Model: ...

        find = app().task(name='find')(find)
        print(pack(find, Model(when=dt.date(2026, 1, 1))))
        print(pack(find, Model(when=dt.date(2026, 1, 1)), dt.date(2026, 1, 1)))
    """
    fine, lacks = run(body, "sys.modules['msgspec'] = None")
    assert fine == '{"task": "find", "args": [{"when": "2026-01-01"}]}'
    assert lacks.endswith("pip install 'torrelque[msgspec]'")


def test_libraries_are_imported_where_they_are_needed_only() -> None:
    body = """
        def plain(one: int, two: str | None, three: dict[str, typing.Any] = {}, *, four: float = 1) -> bool: ...

        plain = app().task(name='plain')(plain)
        print(pack(plain, 1, 'a', {}, four=2))
        print(sorted({'msgspec', 'pydantic'} & {*sys.modules}))
        print(pack(plain, 'one'))
        def dated(when: dt.datetime): ...

        app().task(dated)
        print(sorted({'msgspec', 'pydantic'} & {*sys.modules}))
    """
    fine, before, _, after = run(body, '')
    assert fine == '{"task": "plain", "args": [1, "a", {}], "kwargs": {"four": 2}}'
    assert (before, after) == ('[]', "['msgspec']")
