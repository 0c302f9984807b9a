"""Names that say by how many shards their place was found, so that the shard can refuse who goes by too few."""


class Routed(str):
    """A group, or an id of a caller's own, of a queue with shards."""

    __slots__ = ('keyed',)

    keyed: int
    """Among how many shards groups and ids were divided when its shard was looked for."""

    def __new__(cls, value: str, keyed: int) -> 'Routed':
        """A name, and among how many shards."""
        self = str.__new__(cls, value)
        self.keyed = keyed
        return self


def keyed_of(name: str | None) -> int | None:
    """Among how many shards the place of a name was looked for; None where it was not."""
    return name.keyed if type(name) is Routed else None
