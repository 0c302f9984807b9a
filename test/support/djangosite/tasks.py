"""Tasks of the site of the tests, for Django 6."""

from __future__ import annotations

from typing import Any

from django.tasks import task

from support.djangosite.models import Order

told: list[Any] = []


class Broken(Exception):  # noqa: N818 - it is what a user may have called it
    """Something is."""


@task
def add(a: Any, b: Any) -> list[Any]:
    return [a, b]


@task
async def add_async(a: int, b: int) -> int:
    return a + b


@task
def fail(text: str) -> None:
    raise Broken(text)


@task(backend='tried')
def fail_twice() -> int:
    from torrelque.tasks import current

    if current().attempt < 3:
        raise ValueError(current().attempt)
    return current().attempt


@task(takes_context=True)
def tell(context: Any, word: str) -> list[Any]:
    return told_of(context)


@task(takes_context=True)
async def tell_async(context: Any, word: str) -> list[Any]:
    return told_of(context)


def told_of(context: Any) -> list[Any]:
    result = context.task_result
    own = result.task
    return [result.id, context.attempt, str(result.status), result.args, own.priority, own.queue_name]


@task
def note(word: Any) -> None:
    told.append(word)


@task
def give_object() -> Any:
    return object()


@task
def order(name: str) -> None:
    Order.objects.create(name=name)


@task
async def order_async(name: str) -> None:
    await Order.objects.acreate(name=name)


def plain() -> None:
    """No task."""
    raise AssertionError('this is never called')
