"""Hand-made faults in how a worker ends and what it tells: signals, patience, threads, processes, health."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

ENDS = (
    Mutant(
        'worker-signals-kept', BEYOND, 'after the end of a worker signals do nothing',
        (client('worker/signals', 'signal.signal(number, handler)', 'pass'),),
        ('worker_promises::test_handlers_of_signals_are_as_they_were_after_a_run',),
    ),
    Mutant(
        'worker-signals-given-up-early', BEYOND, 'the first worker that ends leaves the others without signals',
        (client('worker/signals', 'if not caught.stops:', 'if True:'),),
        ('worker_promises::test_handlers_of_signals_are_as_they_were_after_a_run',),
    ),
    Mutant(
        'worker-signal-for-one', BEYOND, 'a signal ends one worker of a program',
        (client('worker/signals', 'for stop in [*self.stops]:', 'for stop in self.stops[:1]:'),),
        ('worker_ends::test_a_signal_ends_all_workers_of_a_program',),
    ),
    Mutant(
        'worker-deaf-to-ctrl-c', BEYOND, 'Ctrl-C kills the worker',
        (client('worker/signals', '(signal.SIGTERM, signal.SIGINT)', '(signal.SIGTERM,)'),),
        ('worker_ends::test_a_signal_ends_a_program_in_order',),
    ),
    Mutant(
        'worker-thread-hides-its-error', BEYOND, 'nobody hears what a worker in a thread failed with',
        (client('worker/thread', 'if error is not None:', 'if False:'),),
        ('worker_health::test_an_error_of_the_worker_is_raised_at_its_end',),
    ),
    Mutant(
        'worker-thread-leaves-its-queue-open', BEYOND, 'a worker in a thread does not close its queue',
        (client('worker/thread', 'await queue.aclose()', 'pass'),),
        ('worker_promises::test_the_queue_of_a_worker_in_a_thread_is_closed_with_it',),
    ),
    Mutant(
        'worker-thread-keeps-the-process', BEYOND, 'a program that ends without stopping its worker does not end',
        (client('worker/thread', 'daemon=True', 'daemon=False'),),
        ('worker_promises::test_a_program_may_end_without_its_worker',),
    ),
    Mutant(
        'worker-thread-stops-as-long-as-it-takes', BEYOND, 'stop() waits for longer than it was told to',
        (client(
            'worker/thread',
            'self._worker.stop()\n        if patience != 0:\n            self._thread.join(patience)',
            'self._worker.stop()\n        if patience != 0:\n            self._thread.join()',
        ),),
        ('worker_promises::test_a_program_may_end_without_its_worker',),
    ),
    Mutant(
        'worker-thread-joined-as-long-as-it-takes', BEYOND, 'join() waits for longer than it was told to',
        (client(
            'worker/thread',
            'self._thread.join(patience)\n        return',
            'self._thread.join()\n        return',
        ),),
        ('worker_promises::test_a_program_may_end_without_its_worker',),
    ),
    Mutant(
        'worker-handler-keeps-the-process', BEYOND, 'a thread that hangs keeps a process that wants to end',
        (client('worker/threads', 'daemon=True', 'daemon=False'),),
        ('worker_promises::test_a_program_may_end_without_its_worker',),
    ),
    Mutant(
        'worker-burst-ends-early', BEYOND, 'a burst ends while its handlers enqueue more',
        (client(
            'worker/worker',
            'if not self._held:\n                    # The last',
            'if True:\n                    # The last',
        ),),
        ('worker_around::test_a_burst_handles_what_its_handlers_enqueue',),
    ),
    Mutant(
        'worker-burst-without-end', BEYOND, 'a burst waits for tasks',
        (client('worker/worker', 'wait=not self._burst', 'wait=True'),),
        ('worker_around::test_a_burst_handles_what_its_handlers_enqueue',),
    ),
    Mutant(
        'worker-impatient', BEYOND, 'at its end a worker waits for nobody',
        (client('worker/worker', 'patience = self._shutdown_timeout', 'patience = 0.0'),),
        ('worker_ends::test_stopping_finishes_what_runs_and_takes_no_more',),
    ),
    Mutant(
        'worker-patient-without-end', BEYOND, 'at its end a worker waits as long as it takes',
        (client('worker/worker', 'if (left := end - self._loop.time()) <= 0:\n                break', 'left = None'),),
        ('worker_time::test_what_runs_may_end_until_the_patience_of_the_worker_is_over',),
    ),
    Mutant(
        'worker-second-stop-ignored', BEYOND, 'a second signal does not end the waiting',
        (client('worker/worker', ' and self._stops < max(2, stops)', ''),),
        ('worker_time::test_what_runs_may_end_until_the_patience_of_the_worker_is_over',),
    ),
    Mutant(
        'worker-cancelled-and-patient', BEYOND, 'a worker that is cancelled waits for its handlers',
        (client('worker/worker', '                        patience = 0\n', '                        pass\n'),),
        ('worker_ends::test_what_does_not_finish_is_given_back_uncounted',),
    ),
    Mutant(
        'worker-ends-in-another-order', BEYOND, 'at the end tasks go back the wrong way round',
        (client('worker/worker', 'for held in reversed(self._held):', 'for held in self._held:'),),
        ('worker_ends::test_what_does_not_finish_is_given_back_uncounted',),
    ),
    Mutant(
        'worker-unwilling-handlers-keep-their-tasks', BEYOND, 'a handler that takes no cancellation keeps its task',
        (client(
            'worker/source',
            'await give_back([(held.delivery.queue, [(held.delivery.id, None)]) for held in unwilling])',
            'pass',
        ),),
        ('worker_ends::test_what_does_not_finish_is_given_back_uncounted',),
    ),
    Mutant(
        'worker-runs-twice', BEYOND, 'a worker may be run twice',
        (client('worker/worker', "if self._state != 'new':", 'if False:'),),
        ('worker_around::test_a_worker_runs_once',),
    ),
    Mutant(
        'worker-stopped-before-it-began', BEYOND, 'a stop before the start is forgotten',
        (client('worker/worker', 'if self._stops:\n            return', 'if False:\n            return'),),
        ('worker_time::test_a_worker_that_is_stopped_before_it_begins_does_nothing',),
    ),
    Mutant(
        'worker-heart-outlives-its-worker', BEYOND, 'a worker that ended is told of as long as its program runs',
        (client('worker/worker', 'await self._hearts.stop()', 'pass'),),
        ('worker_heart::test_a_heartbeat_shows_live_workers_to_others',),
    ),
    Mutant(
        'worker-busy-by-its-clock', BEYOND, "health tells by the event loop's clock when tasks were begun",
        (client('worker/worker', 'tell_running(held, now - clock)', 'tell_running(held, 0)'),),
        ('worker_health::test_health_tells_what_a_worker_is_doing_since_when',),
    ),
    Mutant(
        'worker-heart-of-one-beat', BEYOND, 'a worker whose heart missed one beat is not told of',
        (client('worker/bounds', 'missed_beats: int = 3', 'missed_beats: int = 1'),),
        ('worker_promises::test_a_heart_may_miss_a_beat',),
    ),
    Mutant(
        'worker-list-unsorted', BEYOND, 'workers are told in the order of their last beats',
        (client(
            'worker/health',
            'sorted(found.values(), key=lambda health: health.name)',
            '[*found.values()]',
        ),),
        ('worker_promises::test_workers_are_told_in_the_order_of_their_names',),
    ),
    Mutant(
        'worker-healthy-to-the-last', BEYOND, 'a worker that stops is told as healthy',
        (client('worker/health', "return self.state == 'running'", "return self.state in ('running', 'stopping')"),),
        ('worker_time::test_what_runs_may_end_until_the_patience_of_the_worker_is_over',),
    ),
    Mutant(
        'worker-unpicklable-result-tried-again', BEYOND,
        'a task whose result a process cannot tell is done again and again',
        (client(
            'worker/child',
            "answer = hopeless('the result cannot be pickled', exc)",
            'answer = as_answer(exc)',
        ),),
        ('worker_limits::test_plain_functions_may_run_in_processes',),
    ),
    Mutant(
        'worker-child-without-traceback', BEYOND, 'an error of a process does not tell where it was',
        (client('worker/children', 'raise answer.error from cause', 'raise answer.error'),),
        ('worker_limits::test_plain_functions_may_run_in_processes',),
    ),
    Mutant(
        'worker-strange-errors-kill-the-task', BEYOND,
        'an error that can be written and not be read makes its task dead',
        (client('worker/child', 'if isinstance(pickle.loads(data)[0], Exception):', 'if True:'),),
        ('worker_limits::test_plain_functions_may_run_in_processes',),
    ),
    Mutant(
        'worker-child-of-each-call', BEYOND, 'each call has a process of its own',
        (client('worker/children', 'while self._idle:', 'while False:'),),
        ('worker_promises::test_a_process_is_used_again',),
    ),
    Mutant(
        'worker-takes-signals-that-are-not-its-own', BEYOND, 'signals=False does nothing',
        (client(
            'worker/worker',
            'if self._signals:',
            'if True:',
        ),),
        ('worker_promises::test_handlers_of_signals_are_as_they_were_after_a_run',),
    ),
    Mutant(
        'worker-in-the-background-takes-signals', BEYOND,
        'a worker in the background of a block takes the signals of its application',
        (client('worker/worker', 'self._signals = False', 'pass'),),
        ('worker_promises::test_handlers_of_signals_are_as_they_were_after_a_run',),
    ),
)  # fmt: skip
