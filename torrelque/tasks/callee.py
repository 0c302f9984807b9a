"""What is called for a task: a function, the arguments of its calls, how they are converted, what it depends on."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torrelque import TorrelqueTypeError
from torrelque.protocol.check import is_async
from torrelque.worker import Reject

from .adapters import Types
from .converting import Converter, reason_of
from .depends import Need, call_signature, find_made, find_needs
from .hints import Hints, signature_of, spread


class Callee:
    """A function that is run for tasks.

    :param types: what makes the adapters of its annotations; None converts nothing.
    :raises TorrelqueTypeError: it cannot be called for a task, or an annotation or a dependency cannot be meant.
    """

    signature: inspect.Signature
    """The arguments of a call: those of the function but what the worker makes."""
    needs: Mapping[str, Need]
    """The parameters that the worker makes."""
    converter: Converter | None
    """What converts arguments and result; None where they go as they are."""

    def __init__(self, function: Callable[..., Any], name: str, types: Types | None) -> None:
        self.function = function
        self.name = name
        self.types = types
        self.is_async = is_async(function)
        try:
            self._signature = signature_of(function)
        except (TypeError, ValueError) as exc:
            raise TorrelqueTypeError(f'the arguments of {function!r} are not known: {exc}') from exc
        self._hints = Hints(function, self._signature)
        self._missing: NameError | None = None
        self.needs = {}
        self._find_needs()
        self._made = frozenset(find_made(self._signature)) | self.needs.keys()
        plain = call_signature(name, self._signature, self._made)
        self.signature = spread(plain, self._hints.found)
        self.spreads = self.signature is not plain
        """Whether there are arguments by name that the function itself would not miss."""
        self.converter = None
        if types is not None:
            converter = Converter(name, plain, self._hints, types)
            if converter.converts or converter.missing:
                self.converter = converter

    def complete(self) -> None:
        """Have all annotations resolved, before the function is run.

        :raises TorrelqueTypeError: a name is still not there, or an annotation or a dependency cannot be meant.
        """
        if self._hints.missing or self._missing is not None:
            self._hints.look_again()
            self._missing = None
            self._find_needs()
            if self._missing is not None:
                raise TorrelqueTypeError(
                    f'{self.name}: what the worker makes cannot be resolved: {reason_of(self._missing)}; what an '
                    'annotation names must be there, in the module, and not under TYPE_CHECKING only'
                ) from self._missing
            if new := self.needs.keys() - self._made:
                raise TorrelqueTypeError(f'{self.name}: the default of {min(new)!r} must be torrelque.tasks.injected')
        if self.converter is not None and self.converter.missing:
            self.converter.complete()

    @property
    def encode_result(self) -> Callable[[Any], Any] | None:
        """What makes plain JSON values of a result; None where it is kept as it is."""
        return None if self.converter is None else self.converter.encode_result

    @property
    def makes(self) -> bool:
        """Whether there are parameters that a worker makes."""
        return bool(self._made)

    def check_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse arguments that are not those of a call.

        :raises TorrelqueTypeError: they are not.
        """
        if self._made and (made := self._made & kwargs.keys()):
            raise TorrelqueTypeError(f'{self.name}: {min(made)!r} is made by the worker, and is not given by a call')
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TorrelqueTypeError(f'{self.name}{self.signature}: {exc}') from None

    def check_task(self, args: Any, kwargs: dict[str, Any], error: TypeError | None = None) -> None:
        """Reject the arguments of a task that are not those of a call, which no further attempt will mend."""
        try:
            if made := self._made & kwargs.keys():
                raise TypeError(f'{min(made)!r} is made by the worker')
            self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            reason = f'the arguments are not those of {self.name}{self.signature}: {exc}'
            raise Reject(reason) from (error or exc)

    def check_direct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse a call as usual, without a worker, that leaves out what the worker makes.

        :raises TorrelqueTypeError: it does.
        """
        given = self._signature.bind_partial(*args, **kwargs).arguments
        if missing := sorted(self._made - given.keys()):
            raise TorrelqueTypeError(
                f'{self.name}: {", ".join(missing)} would be made by a worker; where the function is called as usual, '
                f'give it: {missing[0]}=…'
            )

    def _find_needs(self) -> None:
        try:
            self.needs = find_needs(self.name, self.function, self._signature, self._hints, self.is_async)
        except NameError as exc:
            self._missing = exc
