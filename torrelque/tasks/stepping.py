"""Calls that are made for flows: arguments of which some are results that are not there yet."""

from collections.abc import Callable, Mapping
from typing import Any

from torrelque import TorrelqueTypeError
from torrelque.flows.graph import Made, Node
from torrelque.flows.references import Found, has_references, take_references
from torrelque.flows.steps import Step

from .definition import Definition
from .loops import Loops
from .options import Options


class Stepper:
    """Makes the calls of one `Enqueuer`.

    :param given: the options that all its calls pass to the queue alike.
    :param head: what all its payloads begin with.
    """

    def __init__(
        self,
        loops: Loops,
        definition: Definition,
        options: Options,
        queue: str,
        given: Mapping[str, Any],
        head: Mapping[str, Any],
    ) -> None:
        self._loops = loops
        self._definition = definition
        self._options = options
        self._queue = queue
        self._given = given
        self._head = head

    def step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step[Any]:
        """A call with arguments.

        :raises TorrelqueTypeError: they are not those of the function; or an option is of one call at one time.
        """
        self._check()
        definition = self._definition
        definition.check(args, kwargs)
        payload: dict[str, Any] = {}
        found: list[Found] = []
        options = dict(self._given)
        waits = has_references((args, kwargs)) if args or kwargs else False
        if waits:
            if definition.encode_around is not None:
                args, kwargs = definition.encode_around(args, kwargs, has_references)
            args = take_references([*args], ['args'], found)
            kwargs = take_references(kwargs, ['kwargs'], found)
        elif definition.encode is not None:
            args, kwargs = definition.encode(args, kwargs)
        if args:
            payload['args'] = [*args]
        if kwargs:
            payload['kwargs'] = kwargs
        for name in ('group', 'priority'):
            choose: Callable[..., Any] | Any = options.get(name)
            if callable(choose):
                if waits:
                    raise TorrelqueTypeError(
                        f'{definition.name}: its {name} is chosen by the arguments, of which some are results that are '
                        f'not there yet; say which by .options({name}=…)'
                    )
                its_args, its_kwargs = definition.unpack(payload)
                options[name] = choose(*its_args, **its_kwargs)
        return Step((node := Node(self._made(options), payload, found),), (node,))

    def for_each(self, limit: int | None) -> Made:
        """What is known of the calls for the elements of a list.

        :raises TorrelqueTypeError: the function takes no single argument; an option is of one call at one time, or is
            chosen by the argument.
        """
        self._check()
        self._definition.check((None,), {})
        if chosen := [name for name, value in self._given.items() if callable(value)]:
            raise TorrelqueTypeError(
                f'{self._definition.name}: its {chosen[0]} is chosen by the argument, which is not there yet; say '
                f'which by .options({chosen[0]}=…)'
            )
        if limit is not None and self._given.get('group') is not None:
            raise TorrelqueTypeError(
                f'{self._definition.name} has the group {self._given["group"]!r}; set the limit of that'
            )
        return self._made(self._given)

    # Parts

    def _check(self) -> None:
        """Refuse what can only be said of one call at one time."""
        options = self._options
        single = {
            'eta': options.eta, 'task_id': options.task_id, 'max_tasks': options.max_tasks,
            'an instant for expires': options.deadline, 'depends_on': options.depends_on,
        }  # fmt: skip
        if said := [name for name, value in single.items() if value is not None]:
            raise TorrelqueTypeError(
                f'{self._definition.name}: {said[0]} is for one call; work that others enqueue has none'
            )

    def _made(self, options: Mapping[str, Any]) -> Made:
        kept = {name: value for name, value in options.items() if value is not None}
        definition = self._definition
        return Made(
            self._loops, definition.name, self._queue, self._head, kept, definition.fifo, definition.decode_result
        )
