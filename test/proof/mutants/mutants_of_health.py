"""Hand-made faults in the layers: what a worker tells of itself, its breaker, and the end of a burst."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

HEALTH = (
    Mutant(
        'heart-through-the-pool', BEYOND, 'a heart needs a connection of the pool, in the loop of the pool',
        (client('worker/scripts', "await queue.command('EVALSHA', digest, *rest)",
                'await queue.client.eval(text, *rest)'),),
        ('worker_heart::test_the_heart_needs_no_connection_of_the_client',),
    ),
    Mutant(
        'breaker-through-the-pool', BEYOND, 'a queue stays paused where an application uses the same client',
        (client(
            'worker/breaker',
            'if await queue.resume(group, probing=True):',
            "if await queue.client.hexists(queue.keys['probes'], group or '') and await queue.resume(group):",
        ),),
        ('breaker::test_a_breaker_works_beside_an_application_with_the_same_client',),
    ),
    Mutant(
        'names-of-others-removed', BEYOND, 'a heart whose score is odd is hidden by the next beat of another',
        (Edit('torrelque/worker/script/beat.lua', 'if left == -2 then', 'if true then'),),
        ('worker_heart::test_one_odd_heart_hides_no_other',),
    ),
    Mutant(
        'names-for-ever', BEYOND, 'the names of killed workers are never removed',
        (Edit('torrelque/worker/script/beat.lua', 'if left == -2 then', 'if false then'),),
        ('worker_heart::test_a_worker_that_was_killed_leaves_no_name_for_ever',),
    ),
    Mutant(
        'names-as-short-as-a-beat', BEYOND, 'the names vanish between two beats of a worker that beats seldom',
        (Edit('torrelque/worker/script/beat.lua', "and redis.call('PTTL', names) < tonumber(life) then",
              'then'),),
        ('worker_beats::test_the_names_stay_as_long_as_the_heart_that_is_kept_for_longest',),
    ),
    Mutant(
        'heart-of-an-hour', BEYOND, 'a worker that beats each half an hour is hidden when one beat is late',
        (Edit('torrelque/worker/script/beat.lua', 'math.max(KEPT.heart, 4 * interval)', 'KEPT.heart'),),
        ('worker_heart::test_a_beat_that_is_late_hides_no_worker',),
    ),
    Mutant(
        'no-goodbye', BEYOND, 'a worker that has stopped is told of',
        (client('worker/heart', 'await self._say_goodbye()', 'pass'),),
        ('worker_heart::test_a_heartbeat_shows_live_workers_to_others',),
    ),
    Mutant(
        'end-waits-for-the-beat', BEYOND, 'a beat that hangs keeps the goodbye from being said',
        (client('worker/heart', 'asyncio.wait([beating], timeout=self._bounds.beat_closing)',
                'asyncio.wait([beating])'),),
        ('worker_heart::test_the_last_of_a_heart_is_its_goodbye',),
    ),
    Mutant(
        'hearts-ended-one-by-one', BEYOND, 'a run that is cancelled while it ends leaves a heart that beats for ever',
        (client('worker/heart', 'for heart in self._hearts:\n            heart.end()',
                'for heart in self._hearts:\n            pass'),),
        ('worker_heart::test_a_run_that_is_cancelled_twice_leaves_no_heart',),
    ),
    Mutant(
        'odd-heart-hides-all', BEYOND, 'a heart that is no JSON hides all others',
        (client('worker/health', 'except (ValueError, RecursionError) as exc:', 'except KeyError as exc:'),),
        ('worker_heart::test_one_odd_heart_hides_no_other',),
    ),
    Mutant(
        'healthy-though-all-hang', BEYOND, 'a worker that never takes a task again is healthy',
        (client('worker/health', ' and self.hanging < self.concurrency', ''),),
        ('worker_health::test_a_worker_all_of_whose_threads_hang_is_not_healthy',),
    ),
    Mutant(
        'healthy-though-serving-ended', BEYOND, 'a worker that takes no more says that it does',
        (client('worker/worker', "if state == 'running' and self._serving is not None and self._serving.done():",
                'if False:'),),
        ('worker_health::test_a_worker_whose_serving_has_ended_is_not_healthy',),
    ),
)  # fmt: skip

REPLY = (
    Mutant(
        'no-reply-is-no-task', 12, 'a server that does not answer is told as an empty queue',
        (client('aio/waiters', 'silent = waiter.over and waiter.replies == self._replies', 'silent = False'),),
        ('no_reply::test_an_empty_queue_is_told_from_a_silent_server',),
    ),
    Mutant(
        'no-task-is-no-reply', 12, 'an empty queue is told as a server that does not answer',
        (client('aio/waiters', 'self._replies += 1', 'pass'),),
        ('no_reply::test_whoever_waits_where_a_claim_is_on_its_way_is_told_what_it_says',),
    ),
    Mutant(
        'not-asked-at-the-end', 12, 'a server that went since the last claim is told as an empty queue',
        (client('aio/shelf', ' or self._error is not None or self._bell.call is None', ''),),
        ('no_reply::test_whoever_goes_right_after_the_bell_was_lost_asks_first',),
    ),
    Mutant(
        'sync-no-reply-is-no-task', 12, 'a server that does not answer a thread is told as an empty queue',
        (client('sync/fetcher', 'raise no_reply(fetcher.calls.name, self._error)',
                'raise no_task(fetcher.calls.name, self._timeout)'),),
        ('no_reply::test_an_empty_queue_is_told_from_a_silent_server_in_threads',),
    ),
    Mutant(
        'sync-not-asked-at-the-end', 12, 'a server that went while a thread was at the bell is told as an empty queue',
        (client('sync/fetcher', 'if self._late:', 'if True:'),),
        ('no_reply::test_a_thread_whose_server_went_while_it_waited_is_told',),
    ),
    Mutant(
        'tried-again-in-words', BEYOND, 'a connection that is not tried again says that it is',
        (client('aio/connection', 'if final is None and self._wanted()', 'if self._wanted()'),),
        ('no_reply::test_a_connection_that_is_not_tried_again_does_not_say_that_it_is',),
    ),
    Mutant(
        'tried-again-for-nobody', BEYOND, 'a connection that nobody wants any more says that it is tried again',
        (client('aio/connection', 'if final is None and self._wanted()', 'if final is None'),),
        ('no_reply::test_a_connection_that_nobody_wants_any_more_does_not_say_that_it_is_tried_again',),
    ),
)  # fmt: skip

BURST = (
    Mutant(
        'burst-in-silence', BEYOND, 'a burst takes no reply for an empty queue, and waits for ever',
        (client('worker/source', 'if exc.replied:\n                self._heard(queue)\n            else:',
                'if True:\n                self._heard(queue)\n            else:'),),
        ('bursts::test_a_burst_whose_server_takes_no_writes_for_long_fails',),
    ),
    Mutant(
        'burst-without-an-end', BEYOND, 'a burst whose server is gone waits for ever',
        (client('worker/source', 'if silence >= self._bounds.silence:', 'if False:'),),
        ('bursts::test_a_burst_whose_server_goes_fails',),
    ),
    Mutant(
        'burst-leaves-what-waits', BEYOND, 'a burst leaves tasks that wait for a token',
        (client('worker/source', 'if not self.looks_out or not await self._has_prospects():', 'if True:'),),
        ('bursts::test_a_burst_waits_for_the_tokens_of_a_rate',),
    ),
    Mutant(
        'burst-leaves-what-is-behind-a-slot', BEYOND, 'a burst leaves tasks that wait for a slot',
        (Edit('torrelque/worker/script/outlook.lua', 'if name and not seen[name] then', 'if false then'),),
        ('bursts::test_a_burst_waits_for_a_slot_that_another_holds',),
    ),
    Mutant(
        'burst-looks-at-one-page', BEYOND, 'a burst does not see the slot behind many tasks that are worked on',
        (client('worker/source', "== b'look on':", "== b'no':"),),
        ('bursts::test_a_burst_finds_a_slot_among_many_that_are_worked_on',),
    ),
    Mutant(
        'burst-waits-for-a-pause', BEYOND, 'a burst waits for the end of a pause',
        (Edit('torrelque/worker/script/outlook.lua', " or redis.call('SISMEMBER', paused, '') == 1", ''),),
        ('bursts::test_a_burst_leaves_what_is_paused',),
    ),
    Mutant(
        'burst-waits-for-a-paused-group', BEYOND, 'a burst waits for a paused group as long as somebody works',
        (Edit('torrelque/worker/script/outlook.lua', " == 1 and redis.call('SISMEMBER', paused, name) == 0", ' == 1'),),
        ('bursts::test_a_burst_does_not_wait_behind_a_pause_for_who_works',),
    ),
    Mutant(
        'burst-waits-for-a-probe', BEYOND, 'a burst waits for the probe of a paused group',
        (Edit('torrelque/worker/script/outlook.lua', "waiting_for_token > redis.call('SCARD', paused)",
              'waiting_for_token > 0'),),
        ('bursts::test_a_burst_leaves_what_is_paused',),
    ),
    Mutant(
        'idle-waits-for-tokens', BEYOND, 'a run until idle waits for a token, and does not move the clock',
        (client('testing/idle', 'worker._source.looks_out = False', 'pass'),),
        ('testing_idle::test_a_worker_that_is_run_until_idle_waits_for_no_token_and_for_nobody',),
    ),
)  # fmt: skip

WEB = (
    Mutant(
        'web-looks-then-writes', BEYOND, 'a list of the web example has more tasks than it has room for',
        (Edit('example/web/lists.py', 'transaction(write, self._key(token))', "transaction(write, 'another')"),),
        ('web::test_list_that_another_process_fills_between_the_look_and_the_write_takes_no_more',),
    ),
    Mutant(
        'web-starts-twice', BEYOND, 'what a lost reply told of is started again',
        (Edit('example/web/lists.py', 'if records and await pipeline.hexists(',
              'if False and await pipeline.hexists('),),
        ('web::test_tasks_are_started_once_though_the_reply_is_lost',),
    ),
)  # fmt: skip

HEALTHY = (*HEALTH, *REPLY, *BURST, *WEB)
