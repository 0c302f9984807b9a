"""Hand-made faults in decorated tasks: what is sent, options, strict order, handles."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

TASKS = (
    Mutant(
        'tasks-arguments-unchecked', BEYOND, 'wrong arguments are sent',
        (client('tasks/definition', 'self.callee.check_call(args, kwargs)', 'pass'),),
        ('tasks::test_wrong_arguments_are_refused_and_nothing_is_sent',),
    ),
    Mutant(
        'tasks-arguments-uncounted', BEYOND, 'too many arguments are sent',
        (client('tasks/definition', 'if kwargs or not self._least <= len(args) <= self._most:', 'if kwargs:'),),
        ('tasks::test_wrong_arguments_are_refused_and_nothing_is_sent',),
    ),
    Mutant(
        'tasks-keyword-not-asked-for', BEYOND, 'a call without a keyword that it must have is sent',
        (client('tasks/definition', 'elif parameter.kind is parameter.KEYWORD_ONLY and required:', 'elif False:'),),
        ('tasks::test_a_keyword_that_must_be_named_is_asked_for',),
    ),
    Mutant(
        'tasks-ttl-of-a-call-untold', BEYOND, 'the time to live that a call gave its result is not told to the worker',
        (client('tasks/definition', "extras['result_ttl'] = options.result_ttl", 'pass'),),
        ('tasks_run::test_a_time_to_live_of_results_is_of_call_function_worker_or_app',),
    ),
    Mutant(
        'tasks-endless-call-untold', BEYOND, 'a call that is to be tried for ever is tried as often as its function',
        (client('tasks/definition', "extras['max_attempts'] = -1", 'pass'),),
        ('tasks_run::test_attempts_of_the_call_go_before_those_of_the_function',),
    ),
    Mutant(
        'tasks-variants-mixed-up', BEYOND, 'calls of one function share what was said of one',
        (client(
            'tasks/definition',
            'self._variants.get(key)',
            'next(iter(self._variants.values()), None)',
        ),),
        ('tasks_run::test_a_time_to_live_of_results_is_of_call_function_worker_or_app',),
    ),
    Mutant(
        'tasks-generator-taken', BEYOND, 'a generator is taken for a function',
        (client(
            'tasks/definition',
            'if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):',
            'if False:',
        ),),
        ('tasks::test_what_is_no_function_is_refused',),
    ),
    Mutant(
        'tasks-job-without-name', BEYOND, 'health does not tell which function runs',
        (client('tasks/definition', 'job._replace(name=self.name)', 'job'),),
        ('tasks_promises::test_health_tells_which_function_runs',),
    ),
    Mutant(
        'tasks-map-of-characters', BEYOND, 'map takes its elements apart',
        (client(
            'tasks/function',
            '(argument,) for argument in arguments',
            'tuple(argument) for argument in arguments',
        ),),
        ('tasks_handles::test_many_are_enqueued_in_bulk',),
    ),
    Mutant(
        'tasks-starmap-of-lists', BEYOND, 'starmap gives all arguments as one',
        (client('tasks/function', 'tuple(one) for one in arguments', '(one,) for one in arguments'),),
        ('tasks_handles::test_many_are_enqueued_in_bulk',),
    ),
    Mutant(
        'tasks-group-of-place-arguments', BEYOND, 'the function that says the group does not see keywords',
        (client('tasks/function', 'options.group(*args, **kwargs)', 'options.group(*args)'),),
        ('tasks_promises::test_functions_that_say_the_group_are_called_with_all_arguments',),
    ),
    Mutant(
        'tasks-priority-of-place-arguments', BEYOND, 'the function that says the priority does not see keywords',
        (client('tasks/function', 'options.priority(*args, **kwargs)', 'options.priority(*args)'),),
        ('tasks::test_options_reach_the_queue',),
    ),
    Mutant(
        'tasks-map-without-delay', BEYOND, 'map forgets the date',
        (client('tasks/function', "given['delay'] = options.delay_now()", 'pass'),),
        ('tasks::test_a_date_becomes_a_delay',),
    ),
    Mutant(
        'tasks-full-queue-takes-a-call', BEYOND, 'the back-pressure of a call is not kept',
        (client(
            'tasks/function',
            'await here.find(self._queue, options.max_tasks).enqueue(payload',
            'await here.queue.enqueue(payload',
        ),),
        ('tasks::test_options_reach_the_queue',),
    ),
    Mutant(
        'tasks-full-queue-takes-many', BEYOND, 'the back-pressure of a map is not kept',
        (client(
            'tasks/function',
            'queue = here.find(self._queue, options.max_tasks)\n            sending',
            'queue = here.queue\n            sending',
        ),),
        ('tasks::test_options_reach_the_queue',),
    ),
    Mutant(
        'tasks-map-with-an-id', BEYOND, 'a map has one id for all',
        (client('tasks/function', "raise TorrelqueTypeError('a task_id is that of one task')", 'pass'),),
        ('tasks::test_options_reach_the_queue',),
    ),
    Mutant(
        'tasks-map-overtaken', BEYOND, 'a call of an ordered queue overtakes a map before it',
        (client('tasks/function', ', alone=True)', ')'),),
        ('fifo::test_every_way_to_enqueue_keeps_the_order',),
    ),
    Mutant(
        'tasks-order-made-too-late', BEYOND, 'the first calls of an ordered queue run together',
        (client(
            'tasks/function',
            'await self._loops.keep_order(here, fifo)\n            order.open()',
            'order.open()',
        ),),
        ('fifo::test_the_limit_is_set_before_the_first_task_and_its_rate_is_kept',),
    ),
    Mutant(
        'tasks-gone-as-the-queue-says', BEYOND,
        'of a call whose state was to be kept, and is gone, its caller is told that it returned None',
        (client('tasks/function', ' or self._options.result_ttl is not None else', ' else'),),
        ('tasks_promises::test_a_call_that_says_how_long_is_never_told_to_have_returned_what_is_gone',),
    ),
    Mutant(
        'tasks-ordered-calls-leave-their-group', BEYOND, 'a call of an ordered queue may have another group',
        (client(
            'tasks/function',
            'if self._definition.fifo is not None and not (group is None and priority is None and queue is None):',
            'if False:',
        ),),
        ('fifo::test_a_decorator_refuses_what_cannot_be_meant',),
    ),
    Mutant(
        'tasks-one-retry-too-few', BEYOND, 'a call of an ordered queue is tried once less than was said',
        (client('tasks/app', 'max_retries + 1', 'max(1, max_retries)'),),
        ('fifo::test_when_its_retries_are_used_up_it_is_dead_and_the_next_begins',),
    ),
    Mutant(
        'tasks-two-at-a-time', BEYOND, 'two calls of an ordered queue run at a time',
        (client('tasks/loops', 'set_limit(group, concurrency=1,', 'set_limit(group, concurrency=2,'),),
        ('fifo::test_calls_of_a_queue_run_one_at_a_time_in_their_order',),
    ),
    Mutant(
        'tasks-rate-of-an-ordered-queue-removed', BEYOND, 'the rate of an ordered queue is removed',
        (client('tasks/loops', 'rate=None if limit is None else limit.rate', 'rate=None'),),
        ('fifo::test_the_limit_is_set_before_the_first_task_and_its_rate_is_kept',),
    ),
    Mutant(
        'tasks-worker-makes-no-order', BEYOND, 'a worker begins without the limit of an ordered queue',
        (client('tasks/app', 'await self._loops.keep_order(here, definition.fifo)', 'pass'),),
        ('fifo::test_the_limit_is_set_before_the_first_task_and_its_rate_is_kept',),
    ),
    Mutant(
        'tasks-ordered-group-without-its-head', BEYOND, 'an ordered queue and a group of its name are the same',
        (client('tasks/app', "FIFO + check_name(queue, 'queue')", "check_name(queue, 'queue')"),),
        ('fifo::test_the_limit_is_set_before_the_first_task_and_its_rate_is_kept',),
    ),
    Mutant(
        'tasks-name-taken-twice', BEYOND, 'two functions have one name',
        (client('tasks/app', 'if function.name in self._functions:', 'if False:'),),
        ('tasks::test_names_are_of_module_and_function_or_as_given',),
    ),
    Mutant(
        'tasks-blocks-its-own-loop', BEYOND, 'a call that blocks is made in an event loop',
        (client('tasks/loops', 'if running_loop() is not None:', 'if False:'),),
        ('tasks_handles::test_blocking_calls_are_refused_in_an_event_loop',),
    ),
    Mutant(
        'tasks-copy-with-other-times', BEYOND, "a queue object for another event loop has other times than the app's",
        (client('tasks/ground', 'copy.task_timeout, copy.result_ttl = queue.task_timeout, queue.result_ttl', 'pass'),),
        ('tasks_promises::test_all_queue_objects_of_an_app_have_the_times_of_its_own',),
    ),
    Mutant(
        'tasks-delay-beside-a-date', BEYOND, 'a delay that is said after a date is refused',
        (client('tasks/options', "changes.setdefault('eta', None)", 'pass'),),
        ('tasks::test_a_date_becomes_a_delay',),
    ),
    Mutant(
        'tasks-date-beside-a-delay', BEYOND, 'a date that is said after a delay is refused',
        (client('tasks/options', "changes['delay'] = None", 'pass'),),
        ('tasks::test_a_date_becomes_a_delay',),
    ),
    Mutant(
        'tasks-date-that-is-past', BEYOND, 'a date that is past is refused',
        (client('tasks/options', 'max(0.0, self.eta - time.time())', 'self.eta - time.time()'),),
        ('tasks::test_a_date_becomes_a_delay',),
    ),
    Mutant(
        'tasks-none-is-said', BEYOND, 'an option that is not named takes back what was said before',
        (client(
            'tasks/options',
            'for name, value in changes.items() if value is not None}',
            'for name, value in changes.items()}',
        ),),
        ('tasks_run::test_attempts_of_the_call_go_before_those_of_the_function',),
    ),
    Mutant(
        'tasks-date-without-zone', BEYOND, 'a date without a time zone is taken',
        (client('tasks/options', 'if eta.tzinfo is None or eta.utcoffset() is None:', 'if False:'),),
        ('tasks::test_a_date_becomes_a_delay',),
    ),
    Mutant(
        'tasks-any-priority', BEYOND, 'a priority that no queue has is taken',
        (client('tasks/options', 'check_priority(self.priority)', 'pass'),),
        ('tasks::test_options_that_cannot_be_meant_are_refused_at_once',),
    ),
    Mutant(
        'tasks-unfit-arguments-tried-again', BEYOND, 'a task with wrong arguments is tried again and again',
        (client('tasks/callee', "self.signature.bind(*args, **kwargs)\n        except TypeError as exc:\n            "
                "reason", 'pass\n        except TypeError as exc:\n            reason'),),
        ('tasks_run::test_what_cannot_be_run_is_dead_at_once',),
    ),
    Mutant(
        'tasks-delivery-outlives-a-thread', BEYOND, 'what a function in a thread began has its task for ever',
        (client('tasks/running', 'if not awaitable:\n                running.delivery = None', 'pass'),),
        ('loops_workers::test_what_outlives_a_plain_function_has_no_task',),
    ),
    Mutant(
        'tasks-delivery-outlives-a-wrapper', BEYOND, 'what began behind a plain wrapper has its task for ever',
        (client('tasks/running', 'return await awaitable\n    finally:\n        running.delivery = None',
                'return await awaitable\n    finally:\n        pass'),),
        ('loops_workers::test_what_outlives_a_plain_function_has_no_task',),
    ),
    Mutant(
        'tasks-inner-function-in-a-process', BEYOND, 'a function that no process finds is sent to one',
        (client('tasks/running', "if '<locals>' in name:", 'if False:'),),
        ('tasks_handles::test_a_function_that_no_process_finds_is_refused',),
    ),
    Mutant(
        'tasks-dead-is-waited-for', BEYOND, 'a result is waited for after the death of its task',
        (client('tasks/handle', 'if is_dead(last) or last.dead:', 'if last.dead:'),),
        ('tasks_run::test_a_type_error_of_the_function_itself_is_a_failure_like_others',),
    ),
    Mutant(
        'tasks-rejected-has-a-result', BEYOND, 'a rejected task is told to have returned None',
        (client('tasks/handle', 'TorrelqueTaskStatus.REJECTED, ', ''),),
        ('tasks_promises::test_a_task_that_was_rejected_by_hand_has_no_result',),
    ),
    Mutant(
        'tasks-cancelled-has-a-result', BEYOND, 'a cancelled task is told to have returned None',
        (client('tasks/handle', ', TorrelqueTaskStatus.CANCELLED)', ')'),),
        ('tasks_handles::test_who_waits_is_told_of_death_and_cancellation',),
    ),
    Mutant(
        'tasks-none-for-ever', BEYOND, 'a task of long ago is told to have returned None',
        (client(
            'tasks/handle',
            'self._gone is None or time.monotonic() - self._since > self._gone',
            'self._gone is None',
        ),),
        ('tasks_handles::test_a_result_that_may_be_gone_is_not_told_to_be_none',),
    ),
    Mutant(
        'tasks-none-for-anybody', BEYOND, 'a task that nobody knows is told to have returned None',
        (client(
            'tasks/handle',
            'self._gone is None or time.monotonic()',
            'self._gone is not None and time.monotonic()',
        ),),
        ('tasks_handles::test_a_task_that_returned_nothing_is_known_to_its_caller',),
    ),
    Mutant(
        'tasks-waiter-takes-the-call-back', BEYOND, 'whoever is cancelled while waiting takes the call back',
        (client('tasks/handle', 'return await asyncio.shield(sending)', 'return await sending'),),
        ('fifo::test_who_is_cancelled_does_not_take_the_call_back',),
    ),
    Mutant(
        'tasks-error-by-its-head', BEYOND, 'the error of a dead task is told by its first line',
        (client('tasks/handle', "rpartition('\\n')[2]", "partition('\\n')[0]"),),
        ('tasks_run::test_a_type_error_of_the_function_itself_is_a_failure_like_others',),
    ),
    Mutant(
        'tasks-error-lost-on-its-way', BEYOND, 'a TaskFailedError that is pickled has no error',
        (client('tasks/handle', '(self.task_id, self.status, self.error)', '(self.task_id, self.status, None)'),),
        ('tasks_promises::test_an_error_of_a_task_travels_whole',),
    ),
    Mutant(
        'tasks-result-waited-for-without-end', BEYOND, 'wait_result waits for longer than it was told to',
        (client('tasks/handle', 'self._loops.call(self.result(timeout))', 'self._loops.call(self.result())'),),
        ('tasks_promises::test_a_result_is_waited_for_in_synchronous_code_as_long_as_it_says',),
    ),
    Mutant(
        'tasks-order-not-ready', BEYOND, 'calls begin before the first has made the order',
        (client('tasks/order', 'alone or not self.ready', 'alone'),),
        ('fifo_processes::test_an_order_starts_calls_in_turn_whatever_becomes_of_them',),
    ),
    Mutant(
        'tasks-order-alone-beside-others', BEYOND, 'a call that is to be alone begins beside others',
        (client('tasks/order', 'self.ready and not alone and not self._alone', 'self.ready and not self._alone'),),
        ('fifo_processes::test_an_order_starts_calls_in_turn_whatever_becomes_of_them',),
    ),
    Mutant(
        'tasks-order-beside-one-alone', BEYOND, 'calls begin beside one that is to be alone',
        (client('tasks/order', 'self.ready and not alone and not self._alone', 'self.ready and not alone'),),
        ('fifo::test_every_way_to_enqueue_keeps_the_order',),
    ),
    Mutant(
        'tasks-order-stands-still', BEYOND, 'a call that is cancelled before its turn keeps the others',
        (client(
            'tasks/order',
            'if not following.cancelled():\n                self._take(alone)',
            'if True:\n                self._take(alone)',
        ),),
        ('fifo_processes::test_an_order_starts_calls_in_turn_whatever_becomes_of_them',),
    ),
)  # fmt: skip
