"""Hand-made faults in the layers: the worker and its processes."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

PLACES = (
    Mutant(
        'children-born-hearing', BEYOND, 'a process is killed by a signal to all while its interpreter starts',
        (client('worker/process', 'with blocked():', 'with contextlib.nullcontext():'),),
        ('children_inside::test_a_process_is_deaf_from_its_birth',),
    ),
    Mutant(
        'children-hearing', BEYOND, 'a process is killed by a signal to all processes of a service',
        (client('worker/deaf', 'signal.signal(number, _do_nothing)', 'signal.signal(number, signal.SIG_DFL)'),),
        ('children_programs::test_a_signal_to_all_processes_leaves_those_of_handlers_their_time',),
    ),
    Mutant(
        'children-in-the-group', BEYOND, 'what a process started is not ended with it',
        (client('worker/process', 'start_new_session=True', 'start_new_session=False'),),
        ('children::test_what_a_process_started_has_ended_before_its_task_is_settled',),
    ),
    Mutant(
        'children-ignoring', BEYOND, 'the programs of a handler ignore SIGTERM',
        (client('worker/deaf', 'signal.signal(number, _do_nothing)', 'signal.signal(number, signal.SIG_IGN)'),),
        ('children_inside::test_what_a_process_starts_hears_signals',),
    ),
    Mutant(
        'children-left-blocked', BEYOND, 'the programs of a handler have SIGTERM blocked',
        (client('worker/child', '    unblock()\n', '    pass\n'),),
        ('children_inside::test_what_a_process_starts_hears_signals',),
    ),
    Mutant(
        'children-deaf-forks', BEYOND, 'multiprocessing cannot end what it has forked in a handler',
        (client('worker/child', '    hear_in_forks()\n', '    pass\n'),),
        ('children_inside::test_what_a_process_starts_hears_signals',),
    ),
    Mutant(
        'children-deaf-once', BEYOND, 'a process hears signals after a handler that set handlers of its own',
        (client('worker/child', '_flush()\n            be_deaf()', '_flush()'),),
        ('children_inside::test_a_handler_that_sets_signal_handlers_has_them_for_itself',),
    ),
    Mutant(
        'children-polite-only', BEYOND, 'programs that ignore SIGTERM outlive the process that started them',
        (client('worker/group', 'os.killpg(number, signal.SIGKILL)', 'pass'),),
        ('children::test_what_a_process_started_has_ended_before_its_task_is_settled',),
    ),
    Mutant(
        'children-killed-unasked', BEYOND, 'the programs of a killed process cannot clear up',
        (client('worker/process', 'os.killpg(pid, signal.SIGTERM)', 'os.killpg(pid, signal.SIGKILL)'),),
        ('children::test_what_a_process_started_may_clear_up',),
    ),
    Mutant(
        'children-orphaned', BEYOND, 'the processes of a killed worker work on',
        (client('worker/child', '    end_with_parent()\n', '    pass\n'),),
        ('children_programs::test_a_worker_that_is_killed_takes_its_processes_along',),
    ),
    Mutant(
        'children-orphaned-in-computing', BEYOND, 'a process that computes outlives its killed worker',
        (client('worker/child', 'fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)', 'raise OSError'),),
        ('children_programs::test_a_worker_that_is_killed_takes_its_processes_along',),
    ),
    Mutant(
        'children-kept-by-forks', BEYOND, 'the processes of a killed worker live as long as what it had forked',
        (client('worker/process', 'os.register_at_fork(after_in_child=_forget_all)', 'pass'),),
        ('children_programs::test_what_the_application_forked_does_not_keep_the_processes_of_a_killed_worker',),
    ),
    Mutant(
        'children-unclean-end', BEYOND, 'an idle process is killed, and does not close what it has open',
        (client('worker/process', '_join_all(some, bounds.leisure)', 'pass'),),
        ('children_inside::test_an_idle_process_ends_in_its_own_way',),
    ),
    Mutant(
        'children-hidden-death', BEYOND, 'a process whose forks live on is not missed',
        (client('worker/process', 'end_group(pid, self._bounds)\n\n',
                'end_group(pid, self._bounds)\n        self._gone.wait()\n\n'),),
        ('children::test_a_death_is_noticed_though_something_that_was_forked_lives_on',),
    ),
    Mutant(
        'children-idle-death', BEYOND, 'a process that was killed while idle costs an attempt',
        (
            client('worker/children', 'if not child.dead:', 'if True:'),
            client('worker/children', 'if exc.begun:', 'if True:'),
        ),
        ('children::test_a_process_that_is_killed_while_idle_costs_no_attempt',),
    ),
    Mutant(
        'children-unread-task', BEYOND, 'a process that is killed before it has read its task costs an attempt',
        (client('worker/children', 'unread = not sent or isinstance(exc, ConnectionResetError)', 'unread = False'),),
        ('children::test_a_process_that_is_killed_before_it_has_read_its_task_costs_no_attempt',),
    ),
    Mutant(
        'children-begun-again', BEYOND, 'what killed its process is begun again, and not counted',
        (client('worker/children', '_DiedError(begun=heard or not unread)', '_DiedError(begun=False)'),),
        ('children::test_a_call_that_kills_its_process_is_one_attempt',),
    ),
    Mutant(
        'children-interrupting', BEYOND, 'KeyboardInterrupt in a process is read by the worker as nothing',
        (client('worker/child', 'return Answer(as_failure(error)', 'return Answer(error'),),
        ('children::test_whatever_a_handler_raises_is_a_failed_attempt',),
    ),
    Mutant(
        'threads-stop-iteration', BEYOND, 'the task of a handler that raises StopIteration is never settled',
        (client('worker/threads', ' and not isinstance(error, StopIteration)', ''),),
        ('children::test_whatever_a_handler_raises_is_a_failed_attempt',),
    ),
    Mutant(
        'threads-noisy', BEYOND, 'asyncio speaks of what was raised after a time limit',
        (client('worker/threads', '            future.exception()\n', ''),),
        ('children::test_nothing_is_said_of_what_nobody_waits_for_any_more',),
    ),
    Mutant(
        'children-open-files', BEYOND, 'a process that has died leaves its pipe open',
        (client('worker/children', 'if asking.done():\n                    child.pipe.close()', 'pass'),),
        ('children::test_nothing_is_left_of_processes',),
    ),
    Mutant(
        'children-report-out-of-step', BEYOND, 'the answer of an interrupted report is taken for the next task',
        (client('worker/child', 'answer._replace(usable=False)', 'answer'),),
        ('children_answers::test_a_report_that_is_interrupted_is_not_the_next_task',),
    ),
    Mutant(
        'children-report-of-a-fork', BEYOND, 'a fork reports over the pipe of its parent',
        (client('worker/child', 'if os.getpid() != self._process:', 'if False:'),),
        ('children_answers::test_reports_come_from_threads_and_not_from_forks_nor_too_late',),
    ),
    Mutant(
        'children-late-report', BEYOND, 'a thread of a handler that has ended reports into the next call',
        (client('worker/child', 'if self._ended:', 'if False:'),),
        ('children_answers::test_reports_come_from_threads_and_not_from_forks_nor_too_late',),
    ),
    Mutant(
        'children-refused-progress', BEYOND, 'a progress that is refused kills the process',
        (client('worker/children', 'return pack_failure(as_answer(exc))', 'raise'),),
        ('children_answers::test_a_progress_that_is_refused_is_raised_in_the_handler',),
    ),
    Mutant(
        'children-unreadable-result', BEYOND, 'a result that cannot be read is computed again and again',
        (client('worker/children', "return hopeless('the result cannot be read', exc)", 'raise'),),
        ('children_answers::test_what_cannot_be_sent_back_is_told',),
    ),
    Mutant(
        'children-no-exception', BEYOND, 'an exception that is read as something else is raised',
        (client('worker/child', 'if isinstance(pickle.loads(data)[0], Exception):', 'if pickle.loads(data):'),),
        ('children_answers::test_what_cannot_be_sent_back_is_told',),
    ),
    Mutant(
        'children-unpicklable-task', BEYOND, 'a task that cannot be pickled is tried for ever',
        (client('worker/children', "return hopeless('the task cannot be pickled', exc)", 'raise'),),
        ('children_answers::test_a_task_that_no_process_can_have_is_dead_at_once',),
    ),
    Mutant(
        'children-import-for-ever', BEYOND, 'a handler that no process can import is tried for ever',
        (client('worker/child', 'return Answer(Reject(f', 'return Answer(ChildError(f'),),
        ('children_answers::test_a_handler_that_cannot_be_imported_is_told_and_not_tried_for_ever',),
    ),
    Mutant(
        'children-import-never-again', BEYOND, 'the tasks of a module that could not connect on its import are dead',
        (client('worker/child', 'if isinstance(error, (OSError, MemoryError)):', 'if False:'),),
        ('children_answers::test_a_handler_that_cannot_be_imported_is_told_and_not_tried_for_ever',),
    ),
    Mutant(
        'children-untold-main', BEYOND, 'a main program that no process can import has it die without a reason',
        (client('worker/child', '        return exc\n    finally:\n', '        raise\n    finally:\n'),),
        ('children_programs::test_a_main_program_that_no_process_can_import_is_told',),
    ),
    Mutant(
        'children-worker-of-a-child', BEYOND, 'a main program without its guard works in each of its processes',
        (client('worker/worker', 'check_not_imported()\n        self._loop', 'self._loop'),),
        ('children_programs::test_a_main_program_that_no_process_can_import_is_told',),
    ),
    Mutant(
        'children-of-standard-input', BEYOND, 'a program that was read from standard input has no processes',
        (client('worker/process', "if not os.path.exists(main.get('init_main_from_path', os.curdir)):", 'if False:'),),
        ('children_programs::test_a_program_from_standard_input_has_its_handlers_in_modules',),
    ),
    Mutant(
        'children-no-start', BEYOND, 'what was open for a process that could not be started stays open',
        (client('worker/process', '_living.discard(self)\n            self._owned.close()\n            if', 'if'),),
        ('children::test_a_process_that_cannot_be_started_is_a_failure',),
    ),
    Mutant(
        'children-forks-answer', BEYOND, 'a task is given the answer of the one before, by a fork of its handler',
        (client('worker/child', 'if os.getpid() != process:', 'if False:'),),
        ('children_inside::test_a_fork_that_comes_back_answers_nobody',),
    ),
)  # fmt: skip
