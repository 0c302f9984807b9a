"""Hand-made faults in the synchronous queue."""

from __future__ import annotations

from mutant import Mutant, client

SYNC = (
    Mutant(
        'sync-resent-untold', 6, 'a thread sends its call again and does not say so',
        (client('sync/line', 'resent = resent or sent', 'pass'),),
        ('sync_faults::test_calls_whose_connection_is_cut_are_done_once',),
    ),
    Mutant(
        'sync-stale-connection', 3, 'a call over a connection that was closed long ago counts as a repetition',
        (client('sync/line', 'if wire.usable():', 'if True:'),),
        ('sync_faults::test_a_connection_that_the_server_closed_meanwhile_is_not_used',),
    ),
    Mutant(
        'sync-script-not-reloaded', 6, 'a server that forgot the scripts refuses the calls of threads',
        (client('sync/line', 'whole = True\n                    continue', 'raise server_error(str(reply))'),),
        ('sync_faults::test_scripts_that_the_server_forgot_are_sent_again',),
    ),
    Mutant(
        'sync-connections-of-the-parent', 6, 'a forked process reads the replies of its parent',
        (client('sync/line', 'self._idle, self._process = [], os.getpid()', 'pass'),),
        ('sync_faults::test_a_fork_shares_nothing',),
    ),
    Mutant(
        'sync-record-not-deleted', 2, 'the record of a claim of a thread stays',
        (client('sync/fetch', "fetcher.line.post('DEL', record)", 'pass'),),
        ('sync_faults::test_a_claim_leaves_no_record',),
    ),
    Mutant(
        'sync-records-of-the-parent', 4, 'a forked process takes the tasks of its parent',
        (client('sync/fetch', 'secrets.token_hex(8), itertools.count()', "'same', itertools.count()"),),
        ('sync_faults::test_a_fork_shares_nothing',),
    ),
    Mutant(
        'sync-claim-not-asked-again', 6, 'what a claim brought whose reply came too late waits for its lease',
        (client('sync/fetch', 'self._fetcher.lost.append(self._claim_in_doubt)', 'pass'),),
        ('sync_faults::test_a_claim_that_was_given_up_is_asked_for_again',),
    ),
    Mutant(
        'sync-interrupted-with-tasks', 7, 'Ctrl-C strands what was taken',
        (client('sync/fetch', 'self._give_back(self._held, until)', 'pass'),),
        ('sync_faults::test_what_was_taken_when_interrupted_goes_back',),
    ),
    Mutant(
        'sync-interrupted-in-a-claim', 7, 'Ctrl-C strands what a claim was about to bring',
        (client('sync/fetch', 'if self._claim_in_doubt and not away:', 'if False:'),),
        ('sync_faults::test_ctrl_c_in_the_middle_of_a_claim_gives_the_task_back',),
    ),
    Mutant(
        'sync-deadline-not-kept', 11, 'a thread that waits sees what is due when its block ends',
        (client('sync/fetch', 'due = wait is not None and wait < block', 'due = False'),),
        ('sync_faults::test_a_delayed_task_comes_when_it_is_due',),
    ),
    Mutant(
        'sync-bell-left-in-silence', 11, 'Ctrl-C takes the ring along that was for another',
        (client('sync/fetch', "self._fetcher.call('leave', ['', BLOCK_MS], until=until)", 'pass'),),
        ('sync_faults::test_who_goes_passes_the_ring_on',),
    ),
    Mutant(
        'sync-closed-unheard', 11, 'who waits in another thread is not told of the end',
        (client('sync/fetch', 'wire.interrupt()', 'pass'),),
        ('sync_faults::test_closing_ends_the_waiting',),
    ),
)  # fmt: skip
