"""Hand-made faults in what probes are told of workers, and in what becomes of processes that stand still."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

HEALTH = 'health::'
CLI = 'cli_health::'

PROBES = (
    Mutant(
        'probes-live-by-the-server', BEYOND, 'a server that is away has all workers restarted',
        (client('monitor/judging', 'late = max(one.silent, one.state.stall if one.state else 0.0)',
                'late = 100 * len(_not_ready(one))'),),
        (HEALTH + 'test_a_server_that_is_restarted_makes_nobody_less_live',),
    ),
    Mutant(
        'probes-never-stuck', BEYOND, 'an event loop that stood still is live',
        (client('monitor/pulse', 'self._stalls.append((now, now - self._due))', 'self._stalls.append((now, 0.0))'),),
        (HEALTH + 'test_an_event_loop_that_stood_still_is_not_live_for_a_while',),
    ),
    Mutant(
        'probes-stuck-for-ever', BEYOND, 'a stall is never forgotten',
        (client('monitor/pulse', 'if since > now - MEMORY', 'if since'),
         client('monitor/pulse', 'while self._stalls[0][0] < now - MEMORY:', 'while self._stalls[0][0] < 0:')),
        (HEALTH + 'test_an_event_loop_that_stood_still_is_not_live_for_a_while',),
    ),
    Mutant(
        'probes-ready-without-claims', BEYOND, 'a worker that takes nothing is ready',
        (client('monitor/judging', 'if max(state.idle, seen.silent) > CLAIM:', 'if state.idle < 0:'),),
        (HEALTH + 'test_a_worker_that_claims_nothing_is_live_and_not_ready',),
    ),
    Mutant(
        'probes-full-is-idle', BEYOND, 'a worker all of whose places are in use is not ready',
        (client('monitor/pulse', """        if health.throttled or health.busy >= health.concurrency:
            self._free = now
        claimed =""", '        claimed ='),
         client('monitor/pulse', """        if health.throttled or health.busy >= health.concurrency:
            self._free = now
        self._due""", '        self._due')),
        (HEALTH + 'test_a_worker_all_of_whose_places_are_in_use_is_ready',),
    ),
    Mutant(
        'probes-unobserved', BEYOND, 'a worker without a heartbeat does not know whether its claims are answered',
        (client('monitor/pulse', '        worker.observe()\n', ''),),
        (HEALTH + 'test_a_worker_that_waits_for_tasks_hears_that_it_is_answered',),
    ),
    Mutant(
        'probes-crowded-out', BEYOND, 'whoever holds all connections keeps probes from an answer',
        (client('monitor/connection', 'next(iter(self._open)).cut()', 'transport.abort()'),),
        (HEALTH + 'test_a_probe_is_answered_however_many_connections_others_hold',),
    ),
    Mutant(
        'probes-for-ever-connected', BEYOND, 'a client that sends nothing keeps its connection',
        (client('monitor/connection', 'self._end = self.loop.call_later(LIFE, self.cut)', 'self._end = None'),),
        (HEALTH + 'test_a_client_that_is_slow_or_sends_too_much_is_cut',),
    ),
    Mutant(
        'probes-uncounted', BEYOND, 'what a beat has sent is no attempt of the process any more',
        (client('worker/counts', 'self._packed[name] = _plus(counts, self._packed.get(name))', 'pass'),),
        (HEALTH + 'test_metrics_are_those_of_the_process',),
    ),
    Mutant(
        'probes-stuck-stays', BEYOND, 'a process that stands still is not replaced',
        (client('cli/supervise', 'loop.time() - child.heard > stall + 2 * BEAT', 'child.heard < 0'),),
        (CLI + 'test_a_process_whose_event_loop_is_blocked_is_not_live_and_is_replaced',),
    ),
    Mutant(
        'probes-file-of-another', BEYOND, 'a link that somebody has put there is followed',
        (client('cli/probes', 'os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK',
                'os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK'),),
        (CLI + 'test_a_file_that_cannot_be_touched_ends_it_before_anything_begins',),
    ),
)
