"""Hand-made faults in the synchronous queue."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

SYNC = (
    Mutant(
        'sync-resent-untold', 6, 'a thread sends its call again and does not say so',
        (client('sync/link', 'resent = resent or sent', 'pass'),),
        ('sync_faults::test_calls_whose_connection_is_cut_are_done_once',),
    ),
    Mutant(
        'sync-stale-connection', 3, 'a call over a connection that was closed long ago counts as a repetition',
        (client('sync/link', 'if connection.usable():', 'if True:'),),
        ('sync_faults::test_a_connection_that_the_server_closed_meanwhile_is_not_used',),
    ),
    Mutant(
        'sync-script-not-reloaded', 6, 'a server that forgot the scripts refuses the calls of threads',
        (client('sync/link', 'whole = True\n                    continue', 'raise server_error(str(reply))'),),
        ('sync_faults::test_scripts_that_the_server_forgot_are_sent_again',),
    ),
    Mutant(
        'sync-connections-of-the-parent', 6, 'a forked process reads the replies of its parent',
        (client('sync/link', 'self._idle, self._process = [], os.getpid()', 'pass'),),
        ('threads::test_a_fork_shares_nothing',),
    ),
    Mutant(
        'sync-record-not-deleted', 2, 'the record of a claim of a thread stays',
        (client('sync/fetcher', "fetcher.link.post('DEL', record)", 'pass'),),
        ('sync_faults::test_a_claim_leaves_no_record',),
    ),
    Mutant(
        'sync-records-of-the-parent', 4, 'a forked process takes the tasks of its parent',
        (client('sync/fetcher', 'secrets.token_hex(8), itertools.count()', "'same', itertools.count()"),),
        ('threads::test_a_fork_shares_nothing',),
    ),
    Mutant(
        'sync-claim-not-asked-again', 6, 'what a claim brought whose reply came too late waits for its lease',
        (client('sync/fetcher', 'self._fetcher.lost.append(self._claim_in_doubt)', 'pass'),),
        ('sync_faults::test_a_claim_that_was_given_up_is_asked_for_again',),
    ),
    Mutant(
        'sync-interrupted-with-tasks', 7, 'Ctrl-C strands what was taken',
        (client('sync/fetcher', 'self._give_back(self._held, until)', 'pass'),),
        ('sync_faults::test_what_was_taken_when_interrupted_goes_back',),
    ),
    Mutant(
        'sync-interrupted-in-a-claim', 7, 'Ctrl-C strands what a claim was about to bring',
        (client('sync/fetcher', 'if self._claim_in_doubt and not away:', 'if False:'),),
        ('sync_faults::test_ctrl_c_in_the_middle_of_a_claim_gives_the_task_back',),
    ),
    Mutant(
        'sync-deadline-not-kept', 11, 'a thread that waits sees what is due when its block ends',
        (client('sync/fetcher', 'due = wait is not None and wait < block', 'due = False'),),
        ('sync_faults::test_a_delayed_task_comes_when_it_is_due',),
    ),
    Mutant(
        'sync-bell-left-in-silence', 11, 'Ctrl-C takes the ring along that was for another',
        (client('sync/fetcher', "self._fetcher.call('leave', [], until=until)", 'pass'),),
        ('sync_faults::test_who_goes_passes_the_ring_on',),
    ),
    Mutant(
        'sync-closed-unheard', 11, 'whoever waits in another thread is not told of the end',
        (client('sync/fetcher', 'connection.interrupt()', 'pass'),),
        ('sync_faults::test_closing_ends_the_waiting',),
    ),
    Mutant(
        'sync-deadline-not-swept', BEYOND, 'a thread whose deadline has come asks once more before it sweeps',
        (client(
            'sync/fetcher',
            'second later.\n                self._sweep()',
            'second later.\n                pass',
        ),),
        ('sync_promises::test_what_is_due_at_the_end_of_a_block_is_swept_before_it_is_asked_for',),
    ),
    Mutant(
        'sync-waits-beyond-its-time', BEYOND, 'a thread waits for longer than it was told to',
        (client('sync/fetcher', 'min(self._fetcher.bounds.block, most, self._end - time.monotonic())',
                'min(self._fetcher.bounds.block, most)'),),
        ('sync_promises::test_nobody_waits_for_longer_than_they_said',),
    ),
    Mutant(
        'sync-waits-at-once', BEYOND, 'a thread that is not to wait waits',
        (client('sync/fetcher', 'over = time.monotonic() >= self._end', 'over = False'),),
        ('sync_promises::test_no_time_to_wait_is_one_look',),
    ),
    Mutant(
        'sync-takes-too-many', BEYOND, 'what a claim brought too much waits for its lease',
        (client('sync/fetcher', 'self._give_back([task_id for task_id, _ in self._got[self._wanted :]])', 'pass'),),
        ('sync_faults::test_a_claim_that_was_given_up_is_asked_for_again',),
    ),
    Mutant(
        'sync-unreadable-payload-stays', BEYOND, 'a payload that cannot be read is handed out again and again',
        (client('sync/fetcher', 'self._reject(task_id, task_id.token, exc)', 'pass'),),
        ('sync_faults::test_a_payload_that_cannot_be_read_is_dead_and_the_next_is_taken',),
    ),
    Mutant(
        'sync-fewer-than-there-are', BEYOND, 'a thread gets fewer tasks than it wants and there are',
        (client('sync/fetcher', 'if claimed.more:', 'if False:'),),
        ('sync::test_many_go_in_and_out',),
    ),
    Mutant(
        'sync-sweeps-in-vain', BEYOND, 'a sweep that fails is tried again without a pause',
        (client('sync/fetcher', 'self._no_sweep_before = time.monotonic() + 1', 'pass'),),
        ('sync_promises::test_a_sweep_that_fails_is_not_tried_all_the_time',),
    ),
    Mutant(
        'sync-leaves-when-the-server-does', BEYOND, 'a thread that waits gives up when the server goes away',
        (client('sync/fetcher', 'if self._got or not (lost or', 'if True or not (lost or'),),
        ('sync_faults::test_a_server_that_is_away_is_told',),
    ),
    Mutant(
        'sync-given-back-in-another-order', BEYOND, 'Ctrl-C gives back the wrong way round',
        (client('sync/fetcher', 'task_ids[::-1]', 'task_ids'),),
        ('sync_faults::test_a_claim_that_was_given_up_is_asked_for_again',),
    ),
    Mutant(
        'sync-waits-in-a-closed-queue', BEYOND, 'a thread that begins to wait while the queue is closed waits on',
        (client(
            'sync/fetcher',
            'if fetcher.closed:\n                raise TorrelqueClosedError',
            'if False:\n                raise TorrelqueClosedError',
        ),),
        ('sync_promises::test_a_queue_that_is_closed_while_somebody_begins_to_wait_ends_that',),
    ),
    Mutant(
        'sync-repeats-for-ever', BEYOND, 'a call to a server that is away never ends',
        (client('sync/link',
                'if spent >= bounds.repeat or time.monotonic() >= until:', 'if time.monotonic() >= until:'),),
        ('sync_faults::test_a_server_that_is_away_is_told',),
    ),
    Mutant(
        'sync-not-repeated', BEYOND, 'a call that lost its connection is not repeated',
        (client('sync/link', 'if spent >= bounds.repeat or time.monotonic() >= until:', 'if True:'),),
        ('sync_faults::test_calls_whose_connection_is_cut_are_done_once',),
    ),
    Mutant(
        'sync-closing-disconnects-others', BEYOND, 'a queue that is closed takes the connections of the others along',
        (client('sync/client', 'if not left:', 'if True:'),),
        ('sync::test_queues_of_one_client_share_connections',),
    ),
    Mutant(
        'sync-pipeline-of-another', BEYOND, 'a call goes into the transaction of another client',
        (client('sync/client', 'if not same:', 'if False:'),),
        ('sync::test_an_order_and_its_task_are_written_together',),
    ),
    Mutant(
        'sync-pipeline-sends-at-once', BEYOND, 'a call in a pipeline that watches keys is sent at once',
        (client('sync/client', 'if at_once:', 'if False:'),),
        ('sync::test_an_order_and_its_task_are_written_together',),
    ),
    Mutant(
        'sync-busy-server-refuses', BEYOND, 'a server that is not ready yet refuses calls',
        (client('sync/link', "if code in NOT_RUN and not (transition is None and code == 'NOSCRIPT'):", 'if False:'),),
        ('sync_promises::test_a_server_that_is_busy_is_asked_again',),
    ),
    Mutant(
        'sync-dead-connections-stay', BEYOND, 'after a lost connection each of the others is tried',
        (client('sync/link', 'self._lose()\n                error: Exception = exc', 'error: Exception = exc'),),
        ('sync_promises::test_a_lost_connection_takes_those_along_that_are_likely_to_be_lost',),
    ),
    Mutant(
        'sync-works-after-its-end', BEYOND, 'a closed queue goes on',
        (client('sync/queue', "raise of_queue(self._calls.name, TorrelqueClosedError('the queue was closed'))",
                'pass'),),
        ('sync::test_a_closed_queue_does_nothing',),
    ),
    Mutant(
        'sync-stays-connected', BEYOND, 'a closed queue keeps its connections',
        (client('sync/queue', 'leave_link(self._link, self)', 'pass'),),
        ('sync::test_queues_of_one_client_share_connections',),
    ),
    Mutant(
        'sync-sends-behind-a-gap', BEYOND, 'after tasks that were refused others are sent',
        (client('sync/queue', 'made.drop()', 'pass'),),
        ('sync_promises::test_nothing_is_sent_behind_a_call_that_failed',),
    ),
    Mutant(
        'sync-transaction-refused-as-its-own-duplicate', BEYOND,
        'a transaction that the client library repeats refuses its own task',
        (client('sync/queue', 'self._calls.words(call, resent=True)', 'self._calls.words(call)'),),
        ('sync_promises::test_a_transaction_that_is_repeated_enqueues_once',),
    ),
    Mutant(
        'sync-iterable-that-fails-loses-tasks', BEYOND, 'what was taken from an iterable that failed is not sent',
        (client('sync/queue', 'while made.waiting:', 'while False:'),),
        ('sync_story::test_a_story_is_the_same_told_by_both',),
    ),
    Mutant(
        'sync-fork-ends-the-waiting-of-its-parent', BEYOND,
        'a forked process that closes the queue ends the waiting of its parent',
        (client('sync/connection', 'if self._process != os.getpid():', 'if False:'),),
        ('sync_promises::test_a_child_that_closes_the_queue_leaves_the_waiting_of_its_parent',),
    ),
    Mutant(
        'sync-trickle-is-an-answer', BEYOND, 'a server that says a byte now and then is waited for',
        (client('sync/connection',
                'if not end or heard >= self._bounds.trickle_bytes * self._bounds.silence:', 'if True:'),),
        ('sync_promises::test_a_reply_that_drips_is_none',),
    ),
    Mutant(
        'sync-handshake-without-end', BEYOND, 'a handshake that trickles in has no end',
        (client('sync/client', 'left = self._end - time.monotonic()', 'left = 1.0'),),
        ('sync_promises::test_a_handshake_that_drips_comes_to_an_end',),
    ),
    Mutant(
        'sync-reply-of-another-command', BEYOND, 'a reply that nobody waited for is taken for that to a call',
        (client('sync/connection', 'elif self._owed:', 'elif False:'),),
        ('sync_story::test_a_story_is_the_same_told_by_both',),
    ),
)  # fmt: skip
