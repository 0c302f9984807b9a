"""Several apps, as one for the commands that ask and act."""

from collections.abc import Iterable, Mapping
from typing import Any


class Several(list[Any]):
    """Apps that a target has named together."""

    @property
    def queues(self) -> list[Any]:
        """Their queues; of each name one, that of the first app that has it."""
        found: dict[str, Any] = {}
        for app in self:
            for queue in app.queues:
                found.setdefault(queue.name, queue)
        return [*found.values()]

    @property
    def functions(self) -> dict[str, Any]:
        """Their functions, by name; of each name that of the first app that has it."""
        found: dict[str, Any] = {}
        for app in self:
            own = getattr(app, 'functions', {})
            found = {**own, **found} if isinstance(own, Mapping) else found
        return found

    async def aclose(self) -> None:
        """Close those that can be closed."""
        for app in self:
            if (close := getattr(app, 'aclose', None)) is not None:
                await close()


def together(found: Iterable[Any]) -> Several:
    """What several targets have named, in one list; a list among them brings its own."""
    several = Several()
    for one in found:
        several += one if isinstance(one, (list, tuple)) else [one]
    return several
