"""Hand-made faults in the client: how states are watched."""

from __future__ import annotations

from mutant import Mutant, client

WATCH = (
    Mutant(
        'not-read-after-subscribing', 11, 'what changed before the subscription was there is not seen',
        (client('listen', 'self._channels[channel] = True\n                        heard.append(channel)',
                'self._channels[channel] = True'),),
        ('watch_gaps::test_an_end_between_two_steps_is_seen',),
    ),
    Mutant(
        'not-read-after-reconnect', 11, 'what changed while there was no connection is not seen',
        (
            client('listen', '        self._channels = dict.fromkeys(self._channels, False)\n', ''),
            client('listen', "if channel in self._channels:\n                        self._channels",
                   "if not self._channels.get(channel, True):\n                        self._channels"),
        ),
        ('watch_gaps::test_the_end_while_there_is_no_connection_is_seen',),
    ),
    Mutant(
        'not-subscribed-after-reconnect', 11, 'a connection that was made anew listens to nothing',
        (client('listen', 'self._joining = collections.OrderedDict.fromkeys(self._channels)',
                'self._joining = collections.OrderedDict()'),),
        ('watch_gaps::test_a_listener_that_is_killed_is_replaced',),
    ),
    Mutant(
        'read-before-it-joined', 11, 'a watch begins with a state that was read before it was there',
        (client('hub', 'if watcher.since < self._number]', 'if watcher.since < self._number + 1]'),),
        ('watch_gaps::test_who_joins_while_the_first_read_is_on_its_way_is_read_for',),
    ),
    Mutant(
        'second-watch-not-read-for', 11, 'who watches what is watched already sees nothing until it changes',
        (client('hub', 'if task.tick >= 0 or self._listener', 'if self._listener'),),
        ('watch_gaps::test_an_end_between_the_steps_of_a_second_watch_is_seen',),
    ),
    Mutant(
        'final-is-not-the-end', 11, 'a watch goes on after the final state',
        (client('hub', 'if state.status.isfinal():\n            self.end()\n        elif', 'if'),),
        ('watch::test_a_final_state_is_yielded_once',),
    ),
    Mutant(
        'gone-is-not-the-end', 11, 'a watch of what was released and forgotten goes on for ever',
        (client('hub', 'watcher.end(unknown if watcher.state is None else None)',
                'watcher.end(unknown) if watcher.state is None else None'),),
        ('watch::test_a_task_that_is_released_without_a_result_just_ends',),
    ),
    Mutant(
        'enqueued-anew-is-the-same', 11, 'a watch goes on with another task of the same id',
        (client('hub', 'if self.state.enqueue_time != state.enqueue_time:', 'if False:'),),
        ('watch::test_an_own_id_that_is_enqueued_again_is_another_task',),
    ),
    Mutant(
        'states-step-back', 11, 'a watch shows a state that is older than one before',
        (client('hub', 'if _counts(state) < _counts(self.state):', 'if False:'),),
        ('watch_gaps::test_what_was_seen_before_a_server_lost_writes_is_not_seen_again',),
    ),
    Mutant(
        'no-safety-read', 11, 'a notification that is lost delays the end of a watch for ever',
        (client('hub', 'if task.tick == self._ticks - SAFETY:', 'if False:'),),
        ('watch_gaps::test_a_notification_that_is_lost_delays_the_end_only',),
    ),
    Mutant(
        'silent-listener-kept', 11, 'a connection for notifications that is dead and was not closed is kept',
        (client('listen', 'if self._quiet >= SILENCE and self._asked:', 'if False:'),),
        ('watch_gaps::test_a_listener_that_falls_silent_is_replaced',),
    ),
    Mutant(
        'connection-for-each-watch', 11, 'each watched task has a connection of its own',
        (client('hub', 'self._listener.subscribe(channel)', 'self._listener = Listener(self._listener._connector, '
                'self._heard, self._refused)\n            self._listener.subscribe(channel)'),),
        ('watch::test_a_thousand_tasks_over_one_connection',),
    ),
    Mutant(
        'connection-for-each-queue', 11, 'each queue object has a connection for calls of its own',
        (client('client', 'links.setdefault((loop, slot), (', 'links.setdefault((loop, object()), ('),),
        ('wait::test_queues_of_one_client_share_the_connection_for_calls',),
    ),
    Mutant(
        'connection-not-let-go', 11, 'the connection for calls stays when the last queue object is closed',
        (client('client', 'if gone is not None:\n        link.close()', 'del gone'),),
        ('wait::test_queues_of_one_client_share_the_connection_for_calls',),
    ),
    Mutant(
        'subscription-kept', 11, 'who leaves a watch leaves its subscription',
        (client('hub', 'self._listener.unsubscribe(task.channel)', ''),),
        ('watch::test_who_leaves_takes_the_subscription_along',),
    ),
    Mutant(
        'closing-ends-with-its-caller', 7, 'what a claim brings is stranded when closing is cancelled',
        (client('session', 'await asyncio.shield(self._closing)', 'await self._closing'),),
        ('ends::test_closing_that_is_cancelled_goes_on_by_itself',),
    ),
    Mutant(
        'script-not-brought-along', 7, 'the last calls of a loop are refused by a server that does not know the script',
        (client('link', 'request.whole = True\n        self._in_flight', 'pass\n        self._in_flight'),),
        ('ends::test_a_settle_call_that_is_cancelled_with_its_loop_is_sent',),
    ),
    Mutant(
        'watch-keeps-waiting-at-the-end', 11, 'closing the queue object leaves its watches waiting',
        (client('session', 'self.closed = True\n            self.hub.close()\n',
                'self.closed = True\n'),),
        ('watch::test_closing_the_queue_ends_the_watches',),
    ),
    Mutant(
        'large-states-dropped', 11, 'what is beyond one reply is not read again',
        (client('hub', '                # They would have been too many bytes.\n                self._mark(task)',
                '                pass'),),
        ('watch::test_large_states_come_in_several_replies',),
    ),
    Mutant(
        'failed-read-not-repeated', 11, 'a read that failed with its connection was the last',
        (client('hub', '            self.loop.call_later(PAUSE, self._read)', '            pass'),),
        ('watch_gaps::test_a_read_that_failed_is_tried_again',),
    ),
    Mutant(
        'hub-stays-behind', 11, 'watches listen where the queue was before a failover',
        (client('hub', 'self._listener.renew()', 'pass'),),
        ('watch_servers::test_idle_watches_follow_a_slot_of_a_cluster',),
    ),
)  # fmt: skip
