"""The only place that sets a limit or a time of the core.  All times are seconds, where the name has no other unit."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Limits and times of a queue object: what its class has as ``_bounds``.  A test has others."""

    # Calls

    bulk: int = 250
    """Tasks of one call at the most: a script stops the server for everybody, and Lua unpacks only some thousand."""
    bulk_bytes: int = 1_000_000
    """Payload of one call at the most, where it is more than one task."""
    grouped_tasks: int = 50
    """Tasks of one call that have groups, at the most: their part of a script takes longer."""
    edges: int = 1000
    """Of one call that makes tasks which wait for others, at the most: how many each waits for, added up."""
    instants: int = 1000
    """Instants of a schedule that are known at once, at the most."""
    told_instants: int = 10
    """Of these, those that are told of."""
    sweep: int = 200
    """Tasks of each kind that one sweep moves at the most."""
    calls_in_flight: int = 4
    """Calls of one `release_many` or `touch_many` that are on their way at once, at the most."""
    unsure_calls: int = 10_000
    """Settling calls that are remembered because nobody knows whether they were carried out, the latest."""

    # Waiting for a task

    block: float = 2.0
    """How long consumers block at the doorbell at the most."""
    endless_block: float = 60.0
    """How long a block without a limit may last before its connection counts as dead."""
    grace: float = 0.7
    """For how long a first answer is waited for, where the time to wait for more is shorter or over."""
    record: float = 60.0
    """For how long the server keeps what a claim has taken, until its reply is acknowledged: as in the script."""
    acknowledge: float = 0.1
    """After what time a claim is acknowledged by a call of its own, when no other call did."""
    vain_claims: int = 200
    """Claims that bring nothing, one behind the other, each of which may skip hundreds of holes; then comes a pause."""
    guard_look: float = 1.0
    """From one look of the guard to the next.  Looks are counted, and not the time, because a process that was stopped
    has not had it."""
    guard_looks: int = 4
    """Looks without a claim after which the guard makes one: twice as long as consumers block at the doorbell."""
    claim_closing: float = 2.0
    """For how long closing waits for the reply of a claim that is on its way; a cancelled waiter, for a quarter."""
    closing: float = 3.0
    """For how long closing waits for other calls that are on their way."""

    # Connections

    connect: float = 3.0
    """For one attempt to connect."""
    silence: float = 3.0
    """Without any byte, after which a connection with a reply outstanding counts as dead."""
    repeat: float = 10.0
    """After what time a call fails that could not be carried out."""
    min_call: float = 0.05
    """What a call of a thread has at the least, however late it is."""
    link_tick: float = 0.25
    """From one look at a busy link to the next."""
    trickle_bytes: int = 1024
    """Bytes a second of a reply that are no more than silence."""
    large_bytes: int = 1_000_000
    """Bytes of a call from which on a server may take it for too large; it says so by closing the connection."""
    large_closings: int = 3
    """Connections that the server may close at one large call, with no reply in between, before the call fails."""

    # Watching

    watch_tick: float = 1.0
    """From one look at the hub's connection to the next, while anything is watched."""
    watch_safety_ticks: int = 7
    """Ticks after which a state is read of which nothing was heard."""
    watch_ask_ticks: int = 5
    """Ticks after which the server is asked again for its setting, and for subscriptions that it refused."""
    watch_silence_ticks: int = 3
    """Ticks without a word after which the listening connection counts as dead."""
    watch_pause: float = 0.2
    """Until a read that failed is tried again."""
    setting_age: float = 5.0
    """For how long the server's answer about its notifications is taken for true."""
    subscribe_channels: int = 1000
    """Channels of one call to subscribe, at the most."""
    subscribe_bytes: int = 100_000
    """Bytes of one call to subscribe, about, at the most."""

    # Reading again and again, where the server does not tell

    paces: tuple[float, ...] = (0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.23, 0.34, 0.5, 0.75, 1.0)
    """From one look at a task to the next, level by level."""
    pace_slack: float = 0.1
    """Part of its pace that a task is looked at early, together with others."""
    idle_looks_per_second: int = 3000
    """Looks at all tasks of the last level together, so that ten thousand have each its look in 3.3 s: with 3 to 5 µs
    of the server for each look, 1 to 1.5 % of it."""
    looks_per_second: int = 4000
    """Looks at all tasks together."""
    look_bytes_per_second: int = 10_000_000
    """Bytes of progress that looks bring."""
    min_look: float = 0.005
    """What a call with looks counts for at the least."""
    look_burst: float = 0.1
    """Time that was not spent on looks and may be saved up, so that several calls go one behind the other, which costs
    the server less for each."""
    idle_age: float = 0.5
    """For how long the tasks of all queue objects are taken to be as many as when they were counted."""

    @property
    def grouped_bytes(self) -> int:
        """What a task of a group counts as besides its payload, so that no more than `grouped_tasks` are in a call."""
        return self.bulk_bytes // self.grouped_tasks

    @property
    def block_ms(self) -> str:
        """`block` as it is sent."""
        return str(int(self.block * 1000))


BOUNDS = Bounds()
"""Those of every queue object that was not given others."""
