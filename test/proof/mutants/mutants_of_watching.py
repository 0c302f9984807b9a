"""Hand-made faults in the client: how states are watched."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

WATCH = (
    Mutant(
        'not-read-after-subscribing', 11, 'what changed before the subscription was there is not seen',
        (client('aio/listener', 'self._barred.pop(channel, None)\n                    heard.append(channel)',
                'self._barred.pop(channel, None)'),),
        ('watch_gaps::test_an_end_between_two_steps_is_seen',),
    ),
    Mutant(
        'not-read-after-reconnect', 11, 'what changed while there was no connection is not seen',
        (
            client('aio/listener', '        self._channels = dict.fromkeys(self._channels, False)\n', ''),
            client('aio/listener', "if channel in self._channels:\n                    # A conf",
                   "if not self._channels.get(channel, True):\n                    # A conf"),
        ),
        ('watch_gaps::test_the_end_while_there_is_no_connection_is_seen',),
    ),
    Mutant(
        'not-subscribed-after-reconnect', 11, 'a connection that was made anew listens to nothing',
        (client('aio/listener', 'self._joining = collections.OrderedDict.fromkeys(self._channels)',
                'self._joining = collections.OrderedDict()'),),
        ('watch_gaps::test_a_listener_that_is_killed_is_replaced',),
    ),
    Mutant(
        'read-before-it-joined', 11, 'a watch begins with a state that was read before it was there',
        (client('aio/hub', 'if watcher.since < self._number]', 'if watcher.since < self._number + 1]'),),
        ('watch_gaps::test_who_joins_while_the_first_read_is_on_its_way_is_read_for',),
    ),
    Mutant(
        'second-watch-not-read-for', 11, 'whoever watches what is watched already sees nothing until it changes',
        (client('aio/hub', 'if task.tick >= 0 or self._listener', 'if self._listener'),),
        ('watch_gaps::test_an_end_between_the_steps_of_a_second_watch_is_seen',),
    ),
    Mutant(
        'final-is-not-the-end', 11, 'a watch goes on after the final state',
        (client('aio/watcher', 'if state.status.isfinal():\n            self.end()\n        elif', 'if'),),
        ('watch::test_a_final_state_is_yielded_once',),
    ),
    Mutant(
        'gone-is-not-the-end', 11, 'a watch of what was released and forgotten goes on for ever',
        (client('aio/hub', 'watcher.end(of_queue(self.queue, unknown) if watcher.state is None else None)',
                'watcher.end(of_queue(self.queue, unknown)) if watcher.state is None else None'),),
        ('watch::test_a_task_that_is_released_without_a_result_just_ends',),
    ),
    Mutant(
        'enqueued-anew-is-the-same', 11, 'a watch goes on with another task of the same id',
        (client('aio/watcher', 'if self.state.enqueue_time != state.enqueue_time:', 'if False:'),),
        ('watch::test_an_own_id_that_is_enqueued_again_is_another_task',),
    ),
    Mutant(
        'states-step-back', 11, 'a watch shows a state that is older than one before',
        (client('aio/watcher', 'if _counts(state) < _counts(self.state):', 'if False:'),),
        ('watch_gaps::test_what_was_seen_before_a_server_lost_writes_is_not_seen_again',),
    ),
    Mutant(
        'no-safety-read', 11, 'a notification that is lost delays the end of a watch for ever',
        (client('aio/hub', 'if task.tick == self._ticks - self._bounds.watch_safety_ticks and', 'if False and'),),
        ('watch_gaps::test_a_notification_that_is_lost_delays_the_end_only',),
    ),
    Mutant(
        'silent-listener-kept', 11, 'a connection for notifications that is dead and was not closed is kept',
        (client('aio/listener', 'if self._quiet >= self.bounds.watch_silence_ticks and self._asked:', 'if False:'),),
        ('watch_gaps::test_a_listener_that_falls_silent_is_replaced',),
    ),
    Mutant(
        'connection-for-each-watch', 11, 'each watched task has a connection of its own',
        (client('aio/hub', 'self._listener.subscribe(channel)', 'self._listener = Listener(self._listener._connector, '
                'self._heard, self._refused)\n            self._listener.subscribe(channel)'),),
        ('watch::test_a_thousand_tasks_over_one_connection',),
    ),
    Mutant(
        'connection-for-each-queue', 11, 'each queue object has a connection for calls of its own',
        (client('aio/client', 'if place not in links:',
                'slot = object()\n        if (loop, slot) not in links:'),),
        ('wait::test_queues_of_one_client_share_the_connection_for_calls',),
    ),
    Mutant(
        'connection-not-let-go', 11, 'the connection for calls stays when the last queue object is closed',
        (client('aio/client', 'if gone is not None:\n        link.close()\n', 'if gone is not None:\n'),),
        ('wait::test_queues_of_one_client_share_the_connection_for_calls',),
    ),
    Mutant(
        'farewell-kept', 7, 'a link that was closed is waited for at the end of its loop',
        (client('aio/client', 'farewell.end(gone[2])', 'pass'),),
        ('farewell::test_a_queue_that_is_closed_leaves_nothing_that_its_loop_would_wait_for',),
    ),
    Mutant(
        'subscription-kept', 11, 'whoever leaves a watch leaves its subscription',
        (client('aio/hub', 'self._listener.unsubscribe(task.channel)', ''),),
        ('watch::test_who_leaves_takes_the_subscription_along',),
    ),
    Mutant(
        'closing-ends-with-its-caller', 7, 'what a claim brings is stranded when closing is cancelled',
        (client('aio/session', 'await asyncio.shield(self._closing)', 'await self._closing'),),
        ('ends::test_closing_that_is_cancelled_goes_on_by_itself',),
    ),
    Mutant(
        'script-not-brought-along', 7, 'the last calls of a loop are refused by a server that does not know the script',
        (client('aio/link', 'request.whole = True\n        self._transport', 'pass\n        self._transport'),),
        ('ends::test_a_settle_call_that_is_cancelled_with_its_loop_is_sent',),
    ),
    Mutant(
        'watch-keeps-waiting-at-the-end', 11, 'closing the queue object leaves its watches waiting',
        (client('aio/session', 'self.closed = True\n            self.hub.close()\n',
                'self.closed = True\n'),),
        ('watch::test_closing_the_queue_ends_the_watches',),
    ),
    Mutant(
        'large-states-dropped', 11, 'what is beyond one reply is not read again',
        (client('aio/hub', 'their states would have been too many bytes.\n            self._mark(task)',
                'their states would have been too many bytes.\n            pass'),),
        ('watch::test_large_states_come_in_several_replies',),
    ),
    Mutant(
        'failed-read-not-repeated', 11, 'a read that failed with its connection was the last',
        (client('aio/hub', 'elif self._passing(error):\n            '
                'self.loop.call_later(self._bounds.watch_pause, self._again, tasks)',
                'elif self._passing(error):\n            pass'),),
        ('watch_gaps::test_a_read_that_failed_is_tried_again',),
    ),
    Mutant(
        'hub-stays-behind', 11, 'watches listen where the queue was before a failover',
        (client('aio/hub', 'self._listener.renew()', 'pass'),),
        ('watch_servers::test_idle_watches_follow_a_slot_of_a_cluster',),
    ),
    Mutant(
        'not-looked-at', 11, 'without notifications nothing but the first state of a watch is seen',
        (client('aio/hub', 'return task.deaf or self._setting.mode is Mode.READING', 'return False'),),
        ('watch_reading::test_what_is_not_notified_is_looked_at_with_one_warning',),
    ),
    Mutant(
        'partly-on-is-on', 11, 'where some notifications are missing their changes are seen late',
        (client('aio/setting', "'K' in flags and (", "'K' in flags or ("),),
        ('watch_reading::test_what_is_not_notified_is_looked_at_with_one_warning',),
    ),
    Mutant(
        'silence-is-trusted', 11, 'a server that does not say what it has is taken for one that notifies',
        (client('aio/setting', 'if flags is not None and are_enough(flags):',
                'if flags is None or are_enough(flags):'),),
        ('watch_reading::test_a_server_that_does_not_say_is_read_and_listened_to',),
    ),
    Mutant(
        'refused-is-the-end', 11, 'whoever may not listen to a task does not see its end',
        (client('aio/hub', 'task.deaf = True\n', 'pass\n'),),
        ('watch_reading::test_who_may_not_listen_to_one_task_reads_that_one',),
    ),
    Mutant(
        'refused-for-ever', 11, 'whoever may listen at last goes on reading',
        (client('aio/hub', 'self._listener.retry()', 'pass'),
         client('aio/listener', 'if self._quiet >= self.bounds.watch_silence_ticks:', 'if False:')),
        ('watch_reading::test_who_may_not_listen_reads',),
    ),
    Mutant(
        'setting-asked-once', 11, 'notifications that are switched off later leave the watches to the safety reads',
        (client('aio/hub', 'self._setting.ask()\n            self._listener.retry()', 'self._listener.retry()'),),
        ('watch_reading::test_watches_follow_the_setting_in_both_directions',),
    ),
    Mutant(
        'not-read-when-switched-on', 11, 'what changed between the last look and the first notification is not seen',
        (client('aio/hub', 'if task.values is not None or self._looks_at(task):', 'if self._looks_at(task):'),),
        ('watch_reading::test_what_changed_before_notifications_were_on_is_seen',),
    ),
    Mutant(
        'heard-nonsense-only', 11, 'whoever watches over a listener that is told of other channels waits for ever',
        (
            client('aio/hub', 'if task.values is None or not well and', 'if not well and'),
            client('aio/listener', '        reader = self._reader\n        heard: list',
                   '        self._answered()\n        reader = self._reader\n        heard: list'),
        ),
        ('watch_gaps::test_a_listener_that_is_told_of_others_only_keeps_nobody_waiting',),
    ),
    Mutant(
        'warned-again-and-again', 11, 'each answer of a server without notifications is a warning',
        (client('aio/setting', '_warned.add(self._client)', 'pass'),),
        ('watch_reading::test_watches_follow_the_setting_in_both_directions',),
    ),
    Mutant(
        'no-last-look', 11, 'a task that ended just before the timeout counts as late',
        (client('aio/hub', '(watcher.state is None or self._looks_at(watcher.task))', 'watcher.state is None'),),
        ('watch_looks::test_an_end_just_before_the_timeout_is_seen',),
    ),
    Mutant(
        'looks-go-first', 11, 'a fresh watch waits for the looks at all others',
        (client('aio/hub', 'looks = [] if self._marked and self._looked else', 'looks ='),),
        ('watch_looks::test_a_fresh_watch_does_not_wait_for_the_looks_at_others',),
    ),
    Mutant(
        'another-task-of-the-id', 11, 'a look does not notice that an id was enqueued again',
        (client('aio/reading', "'dequeue_count', 'enqueue_time', 'left',", "'dequeue_count', 'left',"),),
        ('watch_looks::test_an_id_that_is_enqueued_again_between_two_looks_is_another_task',),
    ),
    Mutant(
        'idle-looks-unbounded', BEYOND, 'ten thousand idle watchers are looked at every second',
        (client('aio/reading',
                'return max(self._bounds.paces[-1], max(idle, self._idle) / self._bounds.idle_looks_per_second)',
                'return self._bounds.paces[-1]'),),
        ('watch_schedule::test_many_that_are_idle_are_looked_at_so_many_a_second_and_each_in_its_turn',),
    ),
    Mutant(
        'restless-first', 11, 'what changes all the time keeps all else from being looked at',
        (client('aio/reading', 'number = (k + self._turn) % len(self._paces)', 'number = k'),),
        ('watch_schedule::test_whatever_changes_all_the_time_leaves_room_for_others',),
    ),
    Mutant(
        'no-room-goes-last', 11, 'what a call had no room for waits behind all that is due later',
        (client('aio/reading', 'level.move_to_end(task, last=False)', 'pass'),),
        ('watch_schedule::test_what_a_call_has_no_room_for_keeps_its_place',),
    ),
    Mutant(
        'senseless-for-ever', 11, 'a watch whose states cannot be read goes on without a word',
        (client('aio/hub', '>= self._bounds.repeat])', '>= 10**6])'),),
        ('watch_looks::test_states_that_make_no_sense_are_read_again',),
    ),
    Mutant(
        'senseless-is-taken', 11, 'a connection for notifications over which comes what makes no sense is kept',
        (client('aio/listener', "raise ValueError(f'the server said what makes no sense: {reprlib.repr(reply)}')",
                'pass'),),
        ('watch_looks::test_a_listener_that_hears_no_sense_is_made_anew',),
    ),
)  # fmt: skip
