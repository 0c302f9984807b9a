"""Hand-made faults in what stands behind the waiting: the guard, coming without a claim, replies of another kind,
stale owners, KeyDB."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

GUARD = (
    Mutant(
        'guard-does-not-claim', 10, 'a wake-up that is lost makes a queue stand still',
        (client('aio/guard', 'if self._looks >= self.patience:', 'if False:'),),
        ('guard::test_work_that_nobody_has_heard_of_is_found_and_told',),
    ),
    Mutant(
        'guard-looks-for-no-call', 10, 'a call that comes to no end makes a queue stand still',
        (client('aio/guard', 'if call not in suspects:', 'if True:'),),
        ('guard::test_a_call_that_is_lost_without_a_word_is_made_again',),
    ),
    Mutant(
        'guard-looks-after-no-link', 10, 'a link whose timer was lost waits for ever for a server that is silent',
        (client('aio/guard', 'link.keep_watch()', 'pass'),),
        ('guard::test_a_link_whose_timer_was_lost_is_looked_after',),
    ),
    Mutant(
        'guard-says-nothing', 10, 'nobody learns that a wake-up was lost',
        (client('aio/shelf', 'if (claimed.tasks or due) and not self._bell.endless:', 'if False:'),),
        ('guard::test_work_that_nobody_has_heard_of_is_found_and_told',),
    ),
    Mutant(
        'end-not-noticed', 10, 'a connection that had come to its end before it was taken over is waited at',
        (client('aio/connection', 'if transport.is_closing() or stream._eof or stream.exception() is not None:',
                'if transport.is_closing():'),),
        ('guard::test_a_connection_that_was_closed_before_it_was_adopted_is_made_anew',),
    ),
    Mutant(
        'not-connected-again', 10, 'a connection that was lost when it was adopted is made anew by the next tick only',
        (
            client('aio/connection', 'if self._transport is not None or self._closed:\n                    return',
                   'return'),
            client('aio/link', 'if self._unsent and self._transport is None:\n            self._connect()', ''),
        ),
        ('guard::test_a_connection_that_was_closed_before_it_was_adopted_is_made_anew',),
    ),
    Mutant(
        'no-claim-after-a-lost-bell', 10, 'a consumer whose bell was lost waits for ever',
        (client('aio/shelf', 'self.loop.call_later(0.2, self.pump)', 'pass'),),
        ('states::test_whoever_waits_is_served_after_any_events',),
    ),
    Mutant(
        'no-claim-after-a-lost-claim', 10, 'a consumer whose claim was lost waits for ever',
        (client('aio/shelf', 'self._error = error\n            self.loop.call_later(0.1, self.pump)',
                'self._error = error'),),
        ('states::test_whoever_waits_is_served_after_any_events',),
    ),
    Mutant(
        'no-sweep-after-a-failed-one', 10, 'a sweep that failed was the last',
        (client('aio/sweeping', 'self._loop.call_later(1, self._claim)', 'pass'),),
        ('states::test_whoever_waits_is_served_after_many_events',),
    ),
    Mutant(
        'bell-asked-once', 10, 'whoever has heard the bell once is deaf from then on',
        (client('aio/bell', 'self.call = None\n        if error is None:', 'if error is None:'),),
        ('states::test_whoever_waits_is_served_after_any_events',),
    ),
    Mutant(
        'keydb-with-a-limit', 10, 'a client that goes makes KeyDB stand still',
        (client('protocol/replies', 'isinstance(reply[0], list) and len(reply[0]) >= 6', 'False'),),
        ('keydb::test_nobody_is_blocked_with_a_limit',),
    ),
    Mutant(
        'keydb-without-a-clock', 10, 'a ring that is lost makes a queue on KeyDB stand still',
        (
            client('aio/bell', 'self._guard.patience = int(self._bounds.block)', 'pass'),
            client('protocol/bounds', 'guard_looks: int = 4', 'guard_looks: int = 10**6'),
        ),
        ('keydb::test_who_is_blocked_without_a_limit_looks_by_a_clock_of_its_own',),
    ),
)  # fmt: skip

STILL = (
    Mutant(
        'comes-without-listening', 10, 'whoever comes without a claim is told of nothing',
        (client('aio/shelf', 'self._timer = self.loop.call_at(old, self._look)\n            self._bell.listen()',
                'self._timer = self.loop.call_at(old, self._look)'),),
        ('still::test_a_ring_that_nobody_has_heard_is_there_for_who_comes',),
    ),
    Mutant(
        'comes-without-the-time', 10, 'what is known of a queue grows old for whoever comes without a claim',
        (client('aio/shelf', 'self._timer = self.loop.call_at(old, self._look)', 'pass'),),
        ('still::test_who_comes_while_the_connection_to_the_bell_is_dead_is_served_when_a_block_is_over',),
    ),
    Mutant(
        'looks-without-asking', BEYOND, 'whoever does not wait is told of nothing that is there',
        (client('aio/shelf', 'if stays and not self._found', 'if not self._found'),),
        ('still::test_who_does_not_wait_asks_all_the_same',),
    ),
    Mutant(
        'silent-taken-for-empty', 12, 'whoever waits for a moment takes a silent server for an empty queue',
        (client('aio/waiters', ' or waiter.replies == self._replies)', ')'),),
        ('still::test_a_time_that_is_over_before_any_reply_ends_with_a_claim',),
    ),
    Mutant(
        'never-still', BEYOND, 'a task now and then is claimed for twice',
        (client('aio/shelf', 'self.still = not (due or claimed.more or self._rang)', 'self.still = False'),),
        ('still::test_a_task_now_and_then_is_one_claim',),
    ),
    Mutant(
        'bell-asked-for-ever', BEYOND, 'whoever enqueues and dequeues by turns waits for the bell each time',
        (client('aio/shelf', 'self._found = True\n        self._rang', 'pass\n        self._rang'),),
        ('still::test_who_enqueues_and_dequeues_by_turns_does_not_wait_for_the_bell',),
    ),
    Mutant(
        'still-though-given-back', BEYOND, 'whoever comes when tasks are on their way back waits for the bell',
        (client('aio/shelf', 'self.still = False\n        # Each', '# Each'),),
        ('still::test_who_was_given_back_its_task_asks',),
    ),
    Mutant(
        'ring-held-for-ever', 10, 'whoever goes in the turn in which the bell rings takes the ring along',
        (client('aio/shelf', 'self.pass_on()\n        if self._again', 'if self._again'),),
        ('states::test_who_goes_in_the_turn_in_which_the_bell_rings_passes_it_on',),
    ),
    Mutant(
        'threads-never-still', BEYOND, 'a task now and then is claimed for twice by threads',
        (client('sync/fetcher', 'fetcher.still_until = self._since + fetcher.bounds.block', 'pass'),),
        ('still::test_a_task_now_and_then_is_one_claim_of_a_thread',),
    ),
    Mutant(
        'threads-look-without-asking', BEYOND, 'a thread that does not wait is told of nothing that is there',
        (client('sync/fetcher', 'if not self._fetcher.found and self._timeout != 0 and',
                'if not self._fetcher.found and'),),
        ('still::test_a_thread_that_does_not_wait_asks_all_the_same',),
    ),
)  # fmt: skip

STALE = (
    Mutant(
        'claim-without-reply-left', 5, 'what a claim took whose reply was no reply waits for the end of its lease',
        (client('aio/shelf', 'if self._again:\n            self._collect()', ''),),
        ('replies::test_what_an_unreadable_claim_took_goes_to_others_at_once',),
    ),
    Mutant(
        'lost-payload-untold', 8, 'a task whose payload was lost is nowhere when the last other task goes',
        (script('_forget', "redis.call('LLEN', pending) <= redis.call('SCARD', holes)", 'true'),),
        ('damage::test_a_task_that_lost_its_payload_is_told_of_though_it_is_the_last',),
    ),
    Mutant(
        'stale-taken-for-done', 3, 'whoever lost the lease is told that it had finished what somebody else has',
        (script('release', "(held == '' or now", '(true or now'),),
        ('stale::test_a_stale_owner_is_not_told_that_it_was_done',),
    ),
    Mutant(
        'stale-untold', 3, 'whoever lost the lease does not say so',
        (client('protocol/lease', 'if monotonic() < task_id._held_until:', 'if True:'),),
        ('stale::test_a_stale_owner_is_not_told_that_it_was_done',),
    ),
    Mutant(
        'touch-unnoted', 6, 'whoever renewed the lease is told that its release was in vain',
        (client('protocol/lease', 'if is_done and isinstance(task_id, TorrelqueTaskId):', 'if False:'),),
        ('stale::test_who_held_the_lease_when_it_called_is_told_that_it_was_done',),
    ),
    Mutant(
        'pickled-is-sure', 3, 'whoever was given an id by another process takes all for done',
        (client('protocol/lease', "if not task_id.token:\n        return ''", 'return task_id.token'),),
        ('stale::test_a_stale_owner_from_another_process_is_not_told_that_it_was_done',),
    ),
)  # fmt: skip

REPLIES = (
    Mutant(
        'any-word-is-done', 6, 'a reply that nobody knows is a success',
        (client('protocol/replies', 'if word not in known or', 'if'),),
        ('replies::test_no_call_hangs_or_succeeds_by_a_reply_of_another_kind',),
    ),
    Mutant(
        'any-reply-is-ok', 6, 'what an operator asked for counts as done by any reply',
        (client('protocol/steps', 'reply = READERS[self.name](reply)', 'pass'),),
        ('replies::test_no_call_hangs_or_succeeds_by_a_reply_of_another_kind',),
    ),
    Mutant(
        'claim-unread-ends-waiting', 12, 'a reply of another kind ends the waiting for tasks',
        (client('aio/shelf', 'lost = lost or isinstance(error, UnreadableError) or', 'lost = lost or'),),
        ('replies::test_no_call_hangs_or_succeeds_by_a_reply_of_another_kind',),
    ),
    Mutant(
        'trickle-is-talk', 12, 'a peer that says a byte at a time holds calls for ever',
        (client('aio/link', 'if self._received >= self.bounds.trickle_bytes * tick:', 'if self._received:'),),
        ('replies::test_no_call_outlives_a_peer_that_trickles',),
    ),
    Mutant(
        'trickle-is-talk-to-threads', 12, 'a peer that says a byte at a time holds threads for ever',
        (client('sync/connection',
                'if not end or heard >= self._bounds.trickle_bytes * self._bounds.silence:', 'if True:'),),
        ('replies::test_no_synchronous_call_hangs_or_succeeds_by_a_reply_of_another_kind',),
    ),
    Mutant(
        'moved-in-circles', 12, 'a server that sends everybody on is followed without a pause',
        (client('aio/link', 'self._connect(pause or self._fruitless > 1)', 'self._connect(pause)'),),
        ('replies::test_what_says_go_on_is_followed_with_pauses_and_an_end',),
    ),
    Mutant(
        'noscript-in-circles', 12, 'a server that knows no script is told it without a pause',
        (client('aio/link', 'is not None and not request.whole:', 'is not None:'),),
        ('replies::test_what_says_go_on_is_followed_with_pauses_and_an_end',),
    ),
    Mutant(
        'damage-of-sweeps-unlogged', 8, 'nobody is told of a task that was found without its state when it was due',
        (client('protocol/steps', 'tell_troubles(swept.troubles, calls.name)\n    calls', 'calls'),),
        ('damage::test_a_broken_key_among_what_is_due_stops_no_sweep',),
    ),
)  # fmt: skip

WAITING = (*GUARD, *STILL, *STALE, *REPLIES)
