"""Hand-made faults in the client: calls, waiting, and connections."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

FENCE = (
    Mutant(
        'no-token-sent', 3, 'a delivered id settles as a plain one, whoever holds the task by now',
        (client('protocol/lease', "return task_id.token if isinstance(task_id, TorrelqueTaskId) else ''",
                "return ''"),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told',),
    ),
    Mutant(
        'token-by-clients-time', 4, 'the token of a delivery has the time of the wrong clock',
        (client('protocol/replies', 'stamp, wait, more, troubles = reply[1].decode(),',
                "stamp, wait, more, troubles = str(__import__('time').time_ns() // 1000000),"),),
        ('verbs::test_life_of_a_task_leaves_no_key',),
    ),
    Mutant(
        'refusal-untold', 3, 'whoever no longer holds a task is told that all went well',
        (client('protocol/replies', 'done = settled(outcome, task_id, queue)',
                'done = settled(outcome, task_id, queue) or True'),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told',),
    ),
    Mutant(
        'refusal-unlogged', 3, 'whoever does not look at the answer never learns that the lease was lost',
        (client('protocol/replies', "logging.INFO if outcome == 'cancelled' else logging.WARNING", 'logging.DEBUG'),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told',),
    ),
    Mutant(
        'bulk-tells-what-is-not-in', 5, 'a bulk call that fails names tasks that the queue refused',
        (client('protocol/bulk', 'if wrong is None:\n                self.task_ids.append(task_id)',
                'self.task_ids.append(task_id)'),),
        ('bulk::test_a_full_queue_half_way',),
    ),
    Mutant(
        'bulk-goes-on-after-a-gap', 5, 'what comes after a call that failed is sent, and not told',
        (client('aio/bulk', 'self.made.drop()\n            raise', 'raise'),),
        ('bulk::test_nothing_is_sent_behind_a_gap',),
    ),
    Mutant(
        'bulk-drops-the-rest', 5, 'what was taken from an iterable before it failed is in no place',
        (client('aio/bulk', 'await sender.finish()\n            raise', 'raise'),),
        ('bulk::test_a_failure_half_way_tells_what_is_in',),
    ),
)  # fmt: skip

TWICE = (
    Mutant(
        'resent-untold', 6, 'a call that is sent again does not say so',
        (client('aio/link', 'request.resent = True', 'pass'),),
        ('faults::test_enqueue_into_a_full_queue_is_once',),
    ),
    Mutant(
        'resent-always-told', 6, 'each call says that it is sent again',
        (client('protocol/transition', "packed: bytes = _pack(('1' if resent else '', *args))",
                "packed: bytes = _pack(('1', *args))"),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told',),
    ),
    Mutant(
        'not-resent', 6, 'a call whose reply was lost fails',
        (client('aio/link',
                'repeated = [request for request in requests if request.repeat and request.ticks < self._give_up]',
                'repeated = [request for request in requests if request.transition is None]'),),
        ('faults::test_enqueue_is_once',),
    ),
    Mutant(
        'script-not-reloaded', 6, 'a server that forgot the scripts refuses everything',
        (client('aio/link', "if code == 'NOSCRIPT' and request.transition is not None and not request.whole:",
                'if False:'),),
        ('faults::test_scripts_that_the_server_forgot_are_sent_again',),
    ),
    Mutant(
        'transaction-not-marked', 6, 'a transaction that the client library repeats enqueues twice',
        (client('aio/queue', 'self._calls.words(call, resent=True)', 'self._calls.words(call)'),),
        ('pipeline::test_a_transaction_that_is_repeated_after_the_end_enqueues_nothing',),
    ),
    Mutant(
        'one-mark-for-all', 6, 'a second call is taken for the repetition of the first',
        (client('protocol/calls', 'return os.urandom(8).hex()[:15]', "return '0' * 15"),),
        ('verbs::test_an_own_id_is_taken_once',),
    ),
    Mutant(
        'claim-not-asked-again', 6, 'what a claim brought whose reply never came waits for its lease',
        (client('aio/shelf', 'self._again = True', 'self._again = False'),),
        ('silence::test_a_claim_that_was_given_up_is_asked_for_again',),
    ),
    Mutant(
        'record-not-deleted', 2, 'the record of a claim stays where the consumer has nothing more to say',
        (client('aio/records', 'if self._timer is None:', 'if False:'),),
        ('wait::test_a_claim_is_acknowledged_by_itself',),
    ),
    Mutant(
        'never-key-dropped', 1, 'a script fails in its middle while its slot is half moved',
        (client('protocol/keys', "DECLARED = ('pending', 'never')", "DECLARED = ('pending',)"),),
        ('clients::test_a_half_moved_slot_stops_scripts_where_all_keys_of_the_queue_are_there',),
    ),
    Mutant(
        'first-word-of-an-error', 6, 'what was not carried out is not sent again by older servers\' wording',
        (client('protocol/refusals', 'if nested:\n', 'if False:\n'),),
        ('protocol::test_errors_of_servers_old_and_new_are_told_apart',),
    ),
    Mutant(
        'refused-not-sent-again', 6, 'a call that a server in passing trouble did not carry out fails',
        (client('aio/link', 'again = request.repeat and request.ticks < self._give_up', 'again = False'),),
        ('clients::test_a_slot_that_moves_loses_nothing',),
    ),
)  # fmt: skip

CANCEL = (
    Mutant(
        'frames-kept', 7, 'after a handshake that was reset, asyncio complains of an error that nobody retrieved',
        (client('aio/connection', '                _forget_frames(exc)\n', ''),),
        ('silence::test_a_handshake_that_was_reset_leaves_nothing_to_the_garbage_collector',),
    ),
    Mutant(
        'surplus-kept', 7, 'what was claimed for nobody is held until its lease ends',
        (client('aio/shelf', 'self.give_back(surplus)', 'pass'),),
        ('ends::test_a_waiter_cancelled_at_any_turn_strands_nothing',),
    ),
    Mutant(
        'cancelled-waiter-keeps', 7, 'a waiter that was cancelled keeps what it was handed',
        (client('aio/waiters', 'if waiter.got:\n                    shelf.give_back(waiter.got)', 'pass'),),
        ('ends::test_a_waiter_cancelled_when_it_was_just_served_gives_back',),
    ),
    Mutant(
        'loop-ends-at-once', 7, 'a slow server drops what it has not read',
        (client('aio/farewell', 'if link is not None and link.in_flight:', 'if False:'),),
        ('farewell::test_all_calls_of_a_loop_that_ends_reach_a_server_that_is_slow',),
    ),
    Mutant(
        'cancelled-waiter-does-not-wait', 7, 'a loop that ends takes along what a claim brings',
        (client('aio/waiters', 'if waiter.future.cancelled() and (claims := shelf.claims):', 'if False:'),),
        ('farewell::test_a_waiter_that_is_cancelled_waits_for_what_its_claim_brings',),
    ),
    Mutant(
        'given-back-counted', 7, 'what was claimed for nobody loses an attempt',
        (client('protocol/calls', "task_id.token, '0', '', '1', '')", "task_id.token, '0', '', '', '')"),),
        ('ends::test_a_waiter_cancelled_at_any_turn_strands_nothing',),
    ),
    Mutant(
        'given-back-upside-down', 7, 'what a bulk waiter gives back comes in the opposite order',
        (client('aio/shelf', 'for task_id, _ in reversed(deliveries)', 'for task_id, _ in deliveries'),),
        ('bulk::test_a_cancelled_bulk_waiter_gives_back_in_order',),
    ),
    Mutant(
        'cancelled-caller-poisons-batch', 7, 'the calls behind one that was cancelled get no answer',
        (client('aio/batch', "                if not future.cancelled():\n                    future.set_result('ok')",
                "                future.set_result('ok')"),),
        ('ends::test_a_cancelled_caller_takes_nobody_along',),
    ),
    Mutant(
        'cancelled-caller-poisons-link', 7, 'the connection is lost with a call that was cancelled',
        (client('aio/link', 'if future.cancelled():\n                return\n            if error', 'if error'),),
        ('ends::test_a_cancelled_call_costs_no_connection',),
    ),
    Mutant(
        'settle-call-dropped', 7, 'a settle call that is cancelled before it is sent has no effect',
        (client('aio/session', 'ROWS[name].droppable', 'True'),),
        ('ends::test_a_settle_call_that_is_cancelled_before_it_is_sent_is_sent',),
    ),
    Mutant(
        'settle-call-late', 7, 'a settle call that is cancelled waits for the others, and dies with its loop',
        (client('aio/session', 'batch.hurry()\n                raise', 'raise'),),
        ('ends::test_a_settle_call_that_is_cancelled_with_its_loop_is_sent',),
    ),
    Mutant(
        'cancellation-in-disguise', 7, 'whoever was cancelled sees another error',
        (client('aio/session', 'batch.hurry()\n            raise', "batch.hurry()\n            raise TorrelqueError('')"
                ' from None'),),
        ('ends::test_a_call_cancelled_at_any_turn_is_whole_and_poisons_nothing',),
    ),
    Mutant(
        'waiting-cancellation-in-disguise', 7, 'whoever was cancelled while waiting sees a timeout',
        (client('aio/waiters', 'shelf.give_back(waiter.got)\n            raise',
                "self._return(waiter.got)\n            raise TorrelqueTimeoutError('') from None"),),
        ('ends::test_a_waiter_cancelled_at_any_turn_strands_nothing',),
    ),
    Mutant(
        'closing-keeps', 7, 'what was claimed while the queue object was closed is held until its lease ends',
        (client('aio/shelf', 'if self.claiming is not None:\n                await asyncio.wait([self.claiming], '
                'timeout=self.bounds.claim_closing)', 'pass'),),
        ('ends::test_closing_gives_back_what_a_claim_that_is_sent_again_brings',),
    ),
    Mutant(
        'closing-does-not-wait', 7, 'closing cuts off calls that are on their way',
        (client('aio/session', 'if waiting or self._futures:', 'if False:'),),
        ('ends::test_closing_waits_for_calls_that_are_on_their_way',),
    ),
    Mutant(
        'closing-cut-off', 7, 'a loop that ends while an object is being closed leaves its connection at the bell open',
        (client('aio/session', 'if closing.cancelled():', 'if False:'),),
        ('objects::test_a_loop_that_ends_while_an_object_is_being_closed_takes_its_connections_along',),
    ),
    Mutant(
        'closing-cut-off-twice', 7, 'an object whose closing was cut off by the end of the loop cannot be closed again',
        (client('aio/session', ' and not self._closing.done()', ''),),
        ('objects::test_a_loop_that_ends_while_an_object_is_being_closed_takes_its_connections_along',),
    ),
)  # fmt: skip

HARM = (
    Mutant(
        'payload-fails-all', 8, 'one payload that cannot be read fails the claim of all',
        (client('aio/shelf', 'self._reject(task_id, task_id.token, exc)', 'raise'),),
        ('payloads::test_an_unreadable_payload_is_dead_and_harms_no_other',),
    ),
    Mutant(
        'payload-not-buried', 8, 'one payload that cannot be read is held until its lease ends, again and again',
        (client('aio/shelf', 'self._reject(task_id, task_id.token, exc)', 'pass'),),
        ('payloads::test_an_unreadable_payload_is_dead_and_harms_no_other',),
    ),
    Mutant(
        'one-error-for-all', 8, 'one task that is refused fails the calls of strangers',
        (client('aio/batch', 'wrong = error or outcome_error(outcomes[k], task_id, self._transition.queue)',
                'wrong = error or next(filter(None, (outcome_error(o, task_id) for o in outcomes)), None)'),),
        ('damage::test_a_broken_key_fails_no_other_settle_call',),
    ),
    Mutant(
        'damage-of-claims-unlogged', 8, 'nobody is told of a task of which a part was lost',
        (client('aio/shelf', 'tell_troubles(claimed.troubles, self.name)', 'pass'),),
        ('payloads::test_a_damaged_task_is_reported_and_harms_no_other',),
    ),
    Mutant(
        'foreign-id-fails-all', 8, 'one id that is no text fails the claim of all',
        (client('protocol/replies', 'foreign.append((word, token))', 'raise'),),
        ('damage::test_an_id_that_is_no_text_harms_no_other',),
    ),
    Mutant(
        'waiters-last-in-first-out', BEYOND, 'whoever called last is served first',
        (client('aio/waiters', 'self.waiting.append(waiter)', 'self.waiting.appendleft(waiter)'),),
        ('wait::test_waiters_get_tasks_in_the_order_of_their_calls',),
    ),
)  # fmt: skip

LIVE = (
    Mutant(
        'tasks-of-a-call-without-bound', 10, 'a call is as long as its caller likes, and stops the server',
        (client('protocol/bounds', 'bulk: int = 250', 'bulk: int = 1_000_000'),),
        ('bulk::test_no_call_is_longer_than_its_bounds',),
    ),
    Mutant(
        'bytes-of-a-call-without-bound', 10, 'a call has as many bytes as its caller likes',
        (client('protocol/bounds', 'bulk_bytes: int = 1_000_000', 'bulk_bytes: int = 10**12'),),
        ('bulk::test_a_large_payload_goes_by_itself',),
    ),
    Mutant(
        'sweeps-without-bound', 10, 'a sweep is as long as there is something due, and stops the server',
        (client('protocol/bounds', 'sweep: int = 200', 'sweep: int = 1_000_000'),),
        ('bulk::test_no_call_is_longer_than_its_bounds',),
    ),
    Mutant(
        'tasks-of-groups-without-bound', 10, 'a call has as many tasks of groups as others',
        (client('protocol/bounds', 'return self.bulk_bytes // self.grouped_tasks', 'return 0'),),
        ('bulk::test_no_call_is_longer_than_its_bounds',),
    ),
    Mutant(
        'timer-not-armed', 10, 'what is due comes with the next wake only',
        (client('aio/shelf', 'self._timer = self.loop.call_later(wait, self._due)', 'pass'),),
        ('bell::test_what_is_due_comes_on_time_to_who_waits',),
    ),
    Mutant(
        'due-not-swept', 10, 'a claim that finds something due leaves it at that',
        (client('aio/shelf', 'if due:\n            self._sweeping.sweep()', 'if due:\n            pass'),),
        ('wait::test_what_came_due_while_nobody_waited_is_there_now',),
    ),
    Mutant(
        'failed-sweep-at-once', 10, 'a sweep that fails is tried again at once, and so for ever',
        (client('aio/sweeping', 'self._none_before = self._loop.time() + 0.9', 'pass'),
         client('aio/sweeping', 'self._loop.call_later(1, self._claim)', 'self._loop.call_soon(self._claim)')),
        ('bell::test_a_sweep_that_fails_is_not_tried_again_at_once',),
    ),
    Mutant(
        'one-batch-swept', 10, 'a sweep leaves what is beyond one batch',
        (client('protocol/steps', 'more = swept.more', 'more = False'),),
        ('verbs::test_sweep_brings_back_what_is_due_in_bounded_steps',),
    ),
    Mutant(
        'swept-not-claimed', 10, 'what a consumer brought back it does not look for',
        (client('aio/sweeping', 'self._later()\n        else:\n            self._claim()', 'self._later()'),),
        ('states::test_what_came_due_during_a_claim_is_claimed_when_it_was_swept',),
    ),
    Mutant(
        'schedule-ends-with-an-error', 10, 'a scheduled sweep that failed was the last',
        (client('aio/sweeper',
                "logger.warning('queue %r: a scheduled sweep failed: %s', self._queue, reason_of(exc))", 'return'),),
        ('damage::test_a_scheduled_sweep_outlives_an_error',),
    ),
    Mutant(
        'bell-without-end', 10, 'a consumer whose connection to the bell is dead does not notice',
        (client('aio/bell', "'0' if self.endless else f'{self._bounds.block:g}'", "'0'"),),
        ('keydb::test_others_are_waited_at_with_a_limit',),
    ),
    Mutant(
        'ring-during-a-claim-lost', 10, 'a ring that comes while a claim is on its way is not heard',
        (client('aio/shelf', 'if claimed.more or (self._rang and self.demand.waiting):', 'if claimed.more:'),),
        ('bell::test_a_ring_during_a_claim_is_not_lost',),
    ),
    Mutant(
        'ring-without-use-kept', 10, 'whoever was rung and has gone tells nobody',
        (client('aio/shelf', 'if self._held and not self._closed:', 'if False:'),),
        ('bell::test_a_ring_during_a_claim_is_not_lost',),
    ),
    Mutant(
        'time-kept-by-nobody', 10, 'whoever has gone while its claim was on its way takes the time along',
        (client('aio/shelf', 'if near and not self.demand.waiting:', 'if False:'),),
        ('bell::test_who_leaves_while_its_claim_is_on_its_way_keeps_no_time',),
    ),
    Mutant(
        'late-ring-kept', 10, 'whoever is rung when nobody waits here any more tells nobody',
        (client('aio/shelf', 'elif rang or error is not None:\n            self._ring()', ''),),
        ('bell::test_a_ring_for_who_has_gone_is_passed_on',),
    ),
    Mutant(
        'time-not-handed-on-by-waiter', 10, 'a waiter that goes takes the time along',
        (client('aio/shelf', 'if soon and not self._closed:\n                self._ring()', ''),),
        ('bell::test_who_leaves_while_it_keeps_the_time_wakes_another',),
    ),
    Mutant(
        'closing-rings-not', 10, 'a queue object that is closed takes the ring along',
        (client('aio/shelf', 'if self._records.number and self._link.connected:', 'if False:'),),
        ('bell::test_who_ends_with_a_ring_on_its_way_passes_it_on',),
    ),
    Mutant(
        'collected-rings-not', 10, 'a queue object that was forgotten takes the ring along',
        (client('aio/shelf', 'if self._bell.call is not None and not self._closed and self._link.connected:',
                'if False:'),),
        ('bell::test_who_ends_with_a_ring_on_its_way_passes_it_on',),
    ),
    Mutant(
        'no-reconnect', 10, 'a connection that is lost is lost for good',
        (
            client('aio/link', 'self._connect(pause or self._fruitless > 1)', 'pass'),
            client('aio/link', 'if self._unsent and self._transport is None:\n            self._connect()', ''),
        ),
        ('faults::test_enqueue_is_once',),
    ),
    Mutant(
        'silence-endured', 10, 'a connection that is dead and was not closed holds calls for ever',
        (client('aio/link',
                'if self._in_flight and (overdue or self._quiet > int(self.silence / tick)):', 'if False:'),),
        ('silence::test_silence_of_the_server_cuts_the_line',),
    ),
    Mutant(
        'demoted-server-kept', 10, 'a primary that became a replica is asked again and again',
        (client('protocol/refusals', "frozenset({'READONLY', 'MOVED',", "frozenset({'MOVED',"),),
        ('silence::test_a_bell_that_became_read_only_or_moved_is_connected_anew',),
    ),
    Mutant(
        'slots-not-looked-up', 10, 'a slot that moved is looked for where it was',
        (client('aio/client', 'if anew:', 'if False:'),),
        ('clients::test_a_slot_that_has_moved_is_found_where_it_is',),
    ),
    Mutant(
        'error-ends-waiting', 12, 'an idle consumer ends with its server',
        (client('aio/waiters', 'if waiter.got or not lost:', 'if True:'),),
        ('silence::test_a_lost_server_is_an_error_in_the_end',),
    ),
    Mutant(
        'deadline-put-off', 12, 'a deadline is put off for as long as a claim is on its way',
        (client('aio/waiters', 'if not waiter.over and (self', 'if (self'),),
        ('silence::test_a_deadline_is_a_deadline',),
    ),
    Mutant(
        'no-deadline', 12, 'a deadline counts from the last claim that found nothing',
        (client('aio/waiters',
                'waiter.timer = shelf.loop.call_later(timeout or self._bounds.grace, self._expire, waiter)\n',
                '\n'),),
        ('wait::test_timeout_is_kept',),
    ),
    Mutant(
        'resent-for-ever', 12, 'a call to a server that is gone never ends',
        (
            client('aio/link', 'late = [request for request in self._unsent if request.ticks >= give_up]',
                   'late: list[Request] = []'),
            client('aio/link',
                   'late = [request for request in requests if request.repeat and request.ticks >= self._give_up]',
                   'late: list[Request] = []'),
            client('aio/link', 'if request.repeat and request.ticks < self._give_up]\n        for',
                   'if request.repeat]\n        for'),
        ),
        ('silence::test_a_lost_server_is_an_error_in_the_end',),
    ),
    Mutant(
        'given-up-one-by-one', 12, 'calls behind one that was given up are given up ten seconds later each',
        (client('aio/batch', 'if isinstance(error, TorrelqueConnectionError):', 'if False:'),),
        ('silence::test_calls_behind_one_that_was_given_up_fail_with_it',),
    ),
    Mutant(
        'wrong-password-tried-for-ever', 12, 'a call with a wrong password is told after ten seconds',
        (client('aio/connection', 'final = final_error(exc)', 'final = None'),),
        ('silence::test_wrong_password_is_told_at_once',),
    ),
)  # fmt: skip

CLIENT = (*FENCE, *TWICE, *CANCEL, *HARM, *LIVE)
