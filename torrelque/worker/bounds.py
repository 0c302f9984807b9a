"""The only place that sets a limit or a time of a worker.  All times are seconds, where the name has no other unit.

What only an argument is checked against stands where it is checked.
"""

import dataclasses

from .retry import Backoff


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Limits and times of a worker: what its class has as ``_bounds``.  A test has others."""

    # Beginning

    first_answer: float = 2.0
    """For how long the start of a worker in a thread waits for the server's answer; after that the worker waits for the
    server as any other does."""
    prepare: float = 10.0
    """For how long a burst tries to begin while the server takes no writes."""
    prepare_pause: float = 0.2
    """Until an app is asked to prepare again."""

    # Taking tasks

    silence: float = 10.0
    """Without a reply of a queue's server, after which a burst fails, as calls do."""
    silent_attempt: float = 2.0
    """What one attempt counts of that silence at the most: a process that was stopped has not heard its server either,
    which is not the server's fault."""
    spare: float = 2.0
    """For how long a queue is not asked again whose server was silent, and the others are served."""
    prospect: float = 2.0
    """For how long a burst waits for a task that is going to come, before it looks whether the task still is."""
    resolved_jobs: int = 10_000
    """Jobs that are kept with their defaults at the most, should an app make a new job for each task."""

    # Schedules
    firing_pause: float = 1.0
    """For how long a worker has no place for another task, until it looks whether schedules are due."""
    firing_look: float = 30.0
    """After what time such a worker looks again at the latest: somebody may have set a schedule meanwhile."""

    # Tasks of another version

    unknown: int = 60
    """How often a task that the app does not know is given back, until it is dead."""
    unknown_pause: float = 1.0
    """Until such a task can be taken again, for the first time; each further pause is twice as long."""
    unknown_longest_pause: float = 15.0
    """The same at the most."""

    # Keeping tasks

    watch_after: float = 1.0
    """After what time a task is watched: most are done before."""
    renew_slack: float = 1 / 12
    """Part of its lease that a lease is renewed early, together with others."""
    renew_pause: float = 0.2
    """Until a renewal that failed is tried again."""
    keeper_look: float = 60.0
    """From one look at the tasks in hand to the next, at the most."""
    progress: float = 10.0
    """For how long a progress is written again where the server takes no writes, as after a lost reply."""
    progress_pause: float = 0.1
    """Until that is tried again."""

    # Processes of handlers

    leisure: float = 0.5
    """For how long idle processes may end in their own way."""
    group_grace: float = 0.5
    """What the programs of a process that has ended have between SIGTERM and SIGKILL, and for how long they are waited
    for after that."""
    group_look: float = 0.01
    """From one look at these programs to the next."""
    killed: float = 2.0
    """For how long the end of processes that were killed is waited for: the system may need some time to free their
    memory."""

    # Settling

    release: int = 250
    """Tasks that are released in one call of the queue, which is carried out as a whole or not at all."""
    grouped_release: int = 100
    """The same where some of them have groups."""
    releasers: int = 10_000
    """Releasers that are kept at the most, should an app give each task another time to keep its final state."""
    result_losses: int = 2
    """Losses of a result, each alone while the server answered otherwise, after which the result is given up."""
    longest_delay: float = 1e9
    """What a task waits for its next attempt at the most, some 30 years, whatever its rule says."""
    settle_pause: float = 0.05
    """Until the queue is told again, for the first time, of what it could not take; each further pause is longer."""
    settle_longest_pause: float = 0.5
    """The same at the most."""
    settle_log: float = 10.0
    """From one line of the log to the next that says that a task is not settled yet."""

    # Telling of deaths

    deaths_look: float = 2.0
    """From one look for deaths to the next, about."""
    deaths_spread: float = 0.25
    """Part of that time that it is drawn shorter or longer, so that workers do not look together."""
    deaths: int = 10
    """Deaths that are taken at a time."""
    death_hold: float = 60.0
    """What a worker has to tell of a death, before another one tells of it."""
    deaths_closing: float = 2.0
    """For how long the end of the worker waits for the answer to a look."""

    # Health

    missed_beats: int = 3
    """Beats that the heart of a worker has missed when `get_workers` leaves it out."""
    beat_spread: float = 0.05
    """Part of the time from one beat to the next that it is drawn shorter or longer, so that workers do not beat
    together."""
    functions: int = 50
    """Functions of a queue that a worker counts by their names; the others are counted together."""
    function_name: int = 200
    """Characters of such a name at the most."""
    beat_functions: int = 25
    """Functions of which a beat tells at the most; of the others the next one tells."""
    untold_runs: int = 10_000
    """Run times that are kept one by one at the most, until the next beat makes counts of them."""
    health: int = 16_000
    """Bytes of what a heart tells of its worker, at the most."""
    health_number: float = 1e18
    """What a number in it is below, if it is to be believed."""
    health_page: int = 100
    """Hearts that one call reads."""
    health_running: int = 100
    """Tasks in hand that it tells of, the longest running, at the most."""
    health_functions: int = 100
    """Functions that it tells of, at the most."""
    lag_look: float = 1.0
    """From one look to the next at how late the event loop is, at the most; and at the most a tenth of a heartbeat."""
    wait_pause: float = 0.1
    """Until the wait of another task is asked for, at the least."""
    wait_calls: int = 10
    """Tasks whose waits are being asked for, at the most."""
    claim_patience: float = 5.0
    """For how long a worker with a heartbeat waits for a task, before it waits anew: so it knows that its claims are
    answered."""
    note_pause: float = 60.0
    """From one note that there is this queue to the next."""
    beat_closing: float = 0.5
    """For how long the end of the worker waits for a beat that is on its way, and for the goodbye."""

    # The end

    closing: float = 5.0
    """For how long the end of the worker waits for handlers that it has cancelled; for half of that, the queue is told
    again of what it could not take."""
    abandon: float = 1.0
    """For how long the end waits for calls to the queue that it has cancelled."""

    @property
    def settle_pauses(self) -> Backoff:
        """`settle_pause` and `settle_longest_pause`, as a rule."""
        return Backoff(self.settle_pause, cap=self.settle_longest_pause, jitter=False)

    @property
    def unknown_pauses(self) -> Backoff:
        """`unknown_pause` and `unknown_longest_pause`, as a rule."""
        return Backoff(self.unknown_pause, cap=self.unknown_longest_pause, jitter=False)


BOUNDS = Bounds()
"""Those of every worker that was not given others."""
