"""Hand-made faults in the layers: decorated tasks, their event loops, and the worker in a thread."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

LOOPS = (
    Mutant(
        'push-through-any-loop', BEYOND, 'a synchronous call waits for a loop of another thread, which may wait for it',
        (client('tasks/loops', 'return run_in_loop(background.loop, coroutine)',
                'return run_in_loop(next((loop for loop in self._in_loops if loop.is_running()), background.loop),'
                ' coroutine)'),),
        ('loops::test_a_loop_may_wait_for_threads_that_push',
         'loops::test_a_push_does_not_wait_for_a_busy_loop_of_another_thread'),
    ),
    Mutant(
        'background-takes-the-given-queue', BEYOND, 'after a synchronous call a caller cannot use its own queue object',
        (client('tasks/loops', ' and not self._spent and not is_background(loop)', ' and not self._spent'),),
        ('loops::test_a_synchronous_call_leaves_the_queue_object_to_its_owner',),
    ),
    Mutant(
        'closing-is-a-lost-connection', BEYOND, 'whoever pushes while the app is closed hears that the server is away',
        (client('tasks/loops', 'if background.stopped:', 'if False:'),),
        ('loops::test_closing_ends_what_is_on_its_way_in_another_thread',),
    ),
    Mutant(
        'closing-waits-for-its-own-call', BEYOND, 'the end of the app, through its loop, waits for itself',
        (client('tasks/loops', 'background is not None and background.loop is not running:',
                'background is not None:'),),
        ('loops::test_the_end_of_the_app_is_waited_for_by_a_call_that_goes_through_it',),
    ),
    Mutant(
        'call-ends-the-loop-of-all', BEYOND, 'a call that exits takes the calls of other threads along',
        (client('tasks/background', 'while not self.stopped:', 'for _ in range(1):'),),
        ('loops::test_something_that_ends_the_loop_for_synchronous_calls_is_no_end_of_them',),
    ),
    Mutant(
        'background-of-the-parent', BEYOND, 'a forked child waits for a thread that it has not',
        (client('tasks/loops', 'self._in_loops, self._background = {}, None\n        for',
                'self._in_loops = {}\n        for'),),
        ('loops::test_a_program_that_pushes_forks_and_ends',),
    ),
    Mutant(
        'bound-client-in-two-loops', BEYOND, 'the client of a Cluster or a Sentinel is used in a second event loop',
        (client('tasks/loops', 'if bound and any(', 'if False and any('),),
        ('loops::test_a_client_of_one_loop_is_given_to_no_other',
         'loops::test_a_cluster_client_is_given_to_no_other_loop'),
    ),
    Mutant(
        'sentinel-not-known-to-be-bound', BEYOND, 'the client of a Sentinel is used in a second event loop',
        (client('tasks/loops',
                'return isinstance(client.connection_pool, redis.asyncio.sentinel.SentinelConnectionPool)',
                'return False'),),
        ('loops::test_a_client_of_one_loop_is_given_to_no_other',),
    ),
    Mutant(
        'made-queue-not-looked-at', BEYOND, 'what makes no queue, or that of others, is used',
        (client('tasks/loops', 'if queue is given or queue.name != given.name or is_one(queue) != is_one(given):',
                'if False:'),),
        ('loops::test_what_makes_no_queue_of_the_app_is_refused',),
    ),
    Mutant(
        'handle-waits-for-a-loop-that-stands', BEYOND, 'whoever awaits a call of a loop that has ended waits for ever',
        (client('tasks/handle', 'while not here.done() and still < 2:', 'while not here.done():'),),
        ('loops::test_a_handle_of_a_loop_that_has_ended_says_so',),
    ),
)  # fmt: skip

THREAD = (
    Mutant(
        'call-blocks-its-own-loop', BEYOND, 'a call from the loop that it waits for stops the worker for ever',
        (client('worker/crossing', 'if asyncio._get_running_loop() is loop:', 'if False:'),),
        ('loops_workers::test_calls_that_would_block_their_own_loop_are_refused',),
    ),
    Mutant(
        'join-of-oneself', BEYOND, 'a handler that waits for the end of its worker gets an error of the interpreter',
        (client('worker/thread', 'if threading.current_thread() is self._thread:', 'if False:'),),
        ('loops_workers::test_calls_that_would_block_their_own_loop_are_refused',),
    ),
    Mutant(
        'thread-starts-without-asking', BEYOND, 'start() returns where the worker has the queue object of another loop',
        (client('worker/thread', '            raise errors[0]\n        self.ready()',
                '            pass\n        self.ready()'),),
        ('loops_workers::test_a_worker_of_a_thread_that_has_the_queue_of_this_loop_does_not_start',
         'loops_workers::test_a_queue_that_cannot_be_served_does_not_start'),
    ),
    Mutant(
        'thread-starts-before-it-is-ready', BEYOND, 'what a worker fails with when it begins is not told by start()',
        (client('worker/thread', 'if not self._begun:', 'if False:'),),
        ('loops_workers::test_what_an_app_cannot_prepare_is_told_at_the_start',),
    ),
    Mutant(
        'thread-waits-for-its-server', BEYOND, 'a worker does not start while its server is away',
        (client('worker/thread', 'except (TorrelqueConnectionError, redis', 'except (redis'),
         client('worker/thread', 'timeout=self._bounds.first_answer)\n        for one in late',
                'timeout=None)\n        for one in late')),
        ('loops_workers::test_a_worker_starts_though_its_server_is_away',),
    ),
    Mutant(
        'clean-up-hides-the-error', BEYOND, 'stop() tells what went wrong at the end, not what ended the worker',
        (client('worker/thread', 'if errors and not quiet:', 'if errors:'),),
        ('loops_workers::test_the_first_error_of_a_worker_is_told_not_what_follows_from_it',),
    ),
    Mutant(
        'call-of-an-ended-worker-waits', BEYOND, 'a call of a worker that ends raises what is no error of ours',
        (client('worker/crossing', 'except concurrent.futures.CancelledError as exc:',
                'except concurrent.futures.InvalidStateError as exc:'),),
        ('loops_workers::test_calls_of_a_worker_that_ends_come_to_an_end',),
    ),
)  # fmt: skip

CURRENT = (
    Mutant(
        'task-unknown-behind-a-decorator', BEYOND, 'a coroutine that a plain wrapper makes does not know its task',
        (client('tasks/running', 'async def _rest(awaitable: Awaitable[Any], running: _Running) -> Any:\n'
                '    """The rest of a plain function that has returned an awaitable; it runs in the event loop."""\n'
                '    _running.set(running)',
                'async def _rest(awaitable: Awaitable[Any], running: _Running) -> Any:'),),
        ('tasks_run::test_a_function_knows_its_task_behind_decorators',),
    ),
    Mutant(
        'coroutine-left-in-a-process', BEYOND, 'a coroutine that is made in a process is not run',
        (client('tasks/running', 'if not isinstance(delivery, ChildDelivery):\n            return rest',
                'if True:\n            return rest'),),
        ('tasks_handles::test_a_function_runs_in_a_process',),
    ),
    Mutant(
        'delivery-outlives-its-function', BEYOND, 'connections that a function began keep its delivery',
        (client('tasks/running', 'return await coroutine\n        finally:\n            running.delivery = None',
                'return await coroutine\n        finally:\n            pass'),),
        ('tasks_run::test_a_delivery_is_gone_though_its_function_began_what_stays',
         'loops_workers::test_what_outlives_a_function_has_no_task'),
    ),
)  # fmt: skip

SAID = (
    Mutant(
        'final-state-not-kept', BEYOND, 'a status page cannot tell a task that is done from one that never was',
        (client('tasks/app', "'', max_attempts, retry, timeout, result_ttl, run_in, on_success, on_error, on_dead"
                ', self._keep',
                "'', max_attempts, retry, timeout, result_ttl, run_in, on_success, on_error, on_dead, None"),),
        ('tasks_run::test_the_final_state_of_a_task_stays_for_ten_minutes',),
    ),
    Mutant(
        'final-state-of-ordered-not-kept', BEYOND, 'nobody can tell an ordered call that is done from none',
        (client('tasks/app', "_unmade, '', most, retry_wait, timeout, result_ttl, run_in, on_success, on_error, on_dead"
                ', self._keep',
                "_unmade, '', most, retry_wait, timeout, result_ttl, run_in, on_success, on_error, on_dead, None"),),
        ('tasks_run::test_the_final_state_of_a_task_stays_for_ten_minutes',),
    ),
    Mutant(
        'forgotten-is-returned', BEYOND, 'a cancelled task that is forgotten is told to have returned None',
        (client('tasks/function',
                'return None if self._definition.keep or self._options.result_ttl is not None else here',
                'return here'),),
        ('tasks_run::test_a_cancelled_task_that_is_forgotten_is_not_told_to_have_returned',),
    ),
    Mutant(
        'parameter-self-taken', BEYOND, 'a parameter called self cannot be given by its name',
        (client('tasks/function', 'async def enqueue(self, /,', 'async def enqueue(self,'),),
        ('tasks::test_parameters_may_have_any_names',),
    ),
    Mutant(
        'longest-time-not-known', BEYOND, 'a time that the queue refuses is accepted, and breaks later',
        (client('protocol/check', 'if not least <= seconds <= most and', 'if not least <= seconds < math.inf and'),),
        ('tasks::test_options_that_cannot_be_meant_are_refused_at_once',),
    ),
    Mutant(
        'any-retry-function', BEYOND, 'a retry rule that cannot be called is accepted, and fails with the task',
        (client('worker/retry', "check_call(rule, what, 'exception', 'attempt')", 'pass'),),
        ('tasks::test_a_decorator_refuses_what_cannot_be_meant',),
    ),
    Mutant(
        'any-group-function', BEYOND, 'a group function that does not take the arguments is accepted',
        (client('tasks/function', "        check_fits(group, 'group', self._definition.signature)\n", ''),),
        ('tasks::test_options_that_cannot_be_meant_are_refused_at_once',),
    ),
    Mutant(
        'coroutine-function-for-a-group', BEYOND, 'a group function that gives a coroutine is accepted',
        (client('tasks/options', 'if callable(choose) and (is_async(choose) or', 'if callable(choose) and ('),),
        ('tasks::test_options_that_cannot_be_meant_are_refused_at_once',),
    ),
    Mutant(
        'ordered-without-a-wait', BEYOND, 'an ordered function whose wait is None is accepted',
        (client('worker/retry', '    elif rule is None or isinstance(rule,',
                '    elif rule is None:\n        pass\n    elif isinstance(rule,'),),
        ('tasks::test_a_decorator_refuses_what_cannot_be_meant',),
    ),
    Mutant(
        'commands-of-a-turn-forgotten', 12, 'commands that were to share a write have no end after a loss in that turn',
        (client('aio/link', 'for request, _ in joined:\n                self.submit(request)', 'pass'),),
        ('states_of_link::test_each_request_has_one_end_after_any_events',),
    ),
)  # fmt: skip

CALLING = (*LOOPS, *THREAD, *CURRENT, *SAID)
