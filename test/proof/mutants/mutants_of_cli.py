"""Hand-made faults in the command line: who is stopped and replaced, what is shown, what a target means."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

COMMANDS = (
    Mutant(
        'cli-signals-left-to-the-worker', BEYOND, 'a service manager is not told that the service ends',
        (client('cli/serve', '        ending.take_signals()\n', ''),),
        ('cli_run::test_a_second_signal_has_it_give_back_what_is_in_hand',),
    ),
    Mutant(
        'cli-signals-counted-twice', BEYOND, 'what is in hand is given back at once where a signal is sent to all',
        (client('cli/serve', 'self._stop(1 if self._held or number == signal.SIGHUP else self._stops + 1)',
                'self._stop(self._stops + 1)'),),
        ('cli_processes::test_all_finish_what_is_in_hand_at_a_signal',),
    ),
    Mutant(
        'cli-second-signal-unheard', BEYOND, 'a second signal does not hurry the processes',
        (client('cli/supervise', '(child.stop if self._stops == 1 else child.hurry)()', 'child.stop()'),),
        ('cli_processes::test_a_second_signal_has_all_give_back_what_is_in_hand',),
    ),
    Mutant(
        'cli-orphans', BEYOND, 'processes outlive the one that supervises them',
        (client('cli/leash', "        self._say('stop')\n        # Nobody", "        return\n        # Nobody"),),
        ('cli_processes::test_nobody_is_left_when_the_parent_is_killed',),
    ),
    Mutant(
        'cli-leash-inherited', BEYOND, 'what a handler starts waits for input from the supervising process',
        (client('cli/leash', '        os.dup2(empty, 0)\n', ''),),
        ('cli_processes::test_what_a_handler_starts_finds_nothing_of_the_leash',),
    ),
    Mutant(
        'cli-service-inherited', BEYOND, 'what a handler starts may pass for the service',
        (client('cli/notify', "os.environ.pop('NOTIFY_SOCKET', '')", "os.environ.get('NOTIFY_SOCKET', '')"),),
        ('cli_processes::test_what_a_handler_starts_finds_nothing_of_the_leash',),
    ),
    Mutant(
        'cli-not-replaced', BEYOND, 'a killed process is not started again',
        (client('cli/supervise', 'while not self._stops:', 'while not self._stops and not slot.tries:'),),
        ('cli_processes::test_a_killed_process_is_replaced_and_its_task_comes_back',),
    ),
    Mutant(
        'cli-replaced-by-nothing', BEYOND, 'a faulty deployment ends the processes that work',
        (client('cli/supervise', 'if not new.ready:', 'if False:'),),
        ('cli_processes::test_all_are_replaced_one_by_one_at_a_hang_up',),
    ),
    Mutant(
        'cli-one-too-many', BEYOND, 'a second hang-up leaves a process of the first, with old code, for ever',
        (client('cli/supervise', 'for child in (slot.child, slot.next) if', 'for child in (slot.child,) if'),),
        ('cli_processes::test_a_hang_up_while_a_replaced_process_finishes_leaves_nobody_over',),
    ),
    Mutant(
        'cli-long-lines-end-it', BEYOND, 'a process that has imported many modules is not heard any more',
        (client('cli/child', 'sock=ours, limit=MOST', 'sock=ours'),),
        ('cli_reload::test_modules_elsewhere_are_watched_too',),
    ),
    Mutant(
        'cli-old-one-first', BEYOND, 'while processes are replaced there is a gap',
        (client('cli/supervise', '                await new.up.wait()', '                pass'),
         client('cli/supervise', 'if not new.ready:', 'if False:')),
        ('cli_processes::test_all_are_replaced_one_by_one_at_a_hang_up',),
    ),
    Mutant(
        'cli-watchdog-blind', BEYOND, 'a watchdog is fed though a process hangs',
        (client('cli/supervise', 'now - child.heard < max(within, 3 * BEAT)', 'child.heard <= now'),),
        ('cli_processes::test_a_watchdog_is_fed_while_the_event_loops_of_all_processes_turn',),
    ),
    Mutant(
        'cli-all-at-once', BEYOND, 'what is wrong with an application is shown by each process',
        (client('cli/supervise', 'if slot.number > 1:', 'if False:'),),
        ('cli_targets::test_a_wrong_import_is_shown_once_and_ends_with_1',),
    ),
    Mutant(
        'cli-wrong-import-again', BEYOND, 'what cannot be imported is tried again and again',
        (client('cli/supervise', 'if child.failed is not None and (', 'if False and ('),),
        ('cli_targets::test_a_wrong_import_is_shown_once_and_ends_with_1',),
    ),
    Mutant(
        'cli-names-alike', BEYOND, 'several processes have one name',
        (client('cli/building', "name = f'{name}-{options.child}'", 'pass'),),
        ('cli_processes::test_processes_have_a_name_each',),
    ),
    Mutant(
        'cli-reload-waits', BEYOND, 'a saved file has no effect while a task is in hand',
        (client('cli/supervise', 'if child.alive:', 'if False:'),),
        ('cli_reload::test_a_saved_file_starts_it_again_and_the_attempt_does_not_count',),
    ),
    Mutant(
        'cli-reload-gives-up', BEYOND, 'a broken file ends the command',
        (client('cli/supervise', 'if self._watcher is not None and not child.ready and', 'if False and'),),
        ('cli_reload::test_a_broken_file_is_shown_once_and_tried_again_at_the_next_change',),
    ),
    Mutant(
        'cli-reload-near-only', BEYOND, 'changes of modules elsewhere are not seen',
        (client('cli/supervise', "self._watcher.add(words.get('files', ()))", 'pass'),),
        ('cli_reload::test_modules_elsewhere_are_watched_too',),
    ),
    Mutant(
        'cli-ready-early', BEYOND, 'a service is ready before its server has answered',
        (client('cli/serve', 'ensure_future(queue.get_queue_stats()) for', 'ensure_future(asyncio.sleep(0)) for'),),
        ('cli_run::test_it_is_not_ready_before_the_server_answers',),
    ),
    Mutant(
        'cli-refused-is-ready', BEYOND, 'a worker that its server refuses replaces one that works',
        (client('cli/serve', "if not refused and worker.health().state == 'running':", 'if True:'),),
        ('cli_run::test_a_server_that_refuses_the_password_ends_it_with_4',
         'cli_processes::test_a_server_that_refuses_ends_all_and_replaces_nobody'),
    ),
    Mutant(
        'cli-servers-together', BEYOND, 'that the server is away is shown by each process',
        (client('cli/supervise', "if 'loaded' in words:", "if 'loaded' in words and not self._first.set():"),),
        ('cli_run::test_a_server_that_is_away_ends_it_with_3',),
    ),
    Mutant(
        'cli-log-writes-to-the-terminal', BEYOND, 'names and payloads write to the terminal',
        (client('cli/logs', 'shown(record.getMessage())', 'record.getMessage()'),),
        ('cli_run::test_nothing_in_names_and_tasks_writes_to_the_terminal',),
    ),
    Mutant(
        'cli-markup', BEYOND, 'names of functions are taken for markup',
        (client('cli/banner', 'table.add_row(Text(name), Text(value))', 'table.add_row(name, value)'),),
        ('cli_run::test_on_a_terminal_a_table_says_what_is_served_and_ctrl_c_ends_it',),
    ),
    Mutant(
        'cli-passwords', BEYOND, 'passwords are shown',
        (client('cli/clean', 'return _SECRETS.sub(_hidden, text)', 'return text'),),
        ('cli_options::test_what_is_shown_has_neither_passwords_nor_control_characters',
         'cli_run::test_lines_of_json_are_objects_with_the_fields_of_the_task'),
    ),
    Mutant(
        'cli-lines-without-task', BEYOND, "the application's own lines do not tell their task",
        (client('cli/logs', 'fields.update(_task())', 'pass'),),
        ('cli_run::test_lines_of_json_are_objects_with_the_fields_of_the_task',),
    ),
    Mutant(
        'cli-order-of-apps', BEYOND, 'queues of several apps are served in another order than was said',
        (client('cli/choosing', 'order != [*queues]', 'False'),),
        ('cli_options::test_each_of_several_apps_has_the_queues_of_its_functions',),
    ),
    Mutant(
        'cli-queue-slip-unseen', BEYOND, 'a slip in the name of a queue is served without a word',
        (client('cli/choosing', '        if name in known:', '        if True:'),),
        ('cli_options::test_a_queue_that_an_app_knows_nothing_of_is_told_with_what_may_be_meant',
         'cli_options::test_a_queue_that_may_not_be_meant_is_told_by_one_process'),
    ),
    Mutant(
        'cli-queues-forgotten', BEYOND, 'of two options with queues the first is forgotten',
        (client('cli/options', 'if getattr(namespace, self.dest) is not self.default:', 'if False:'),),
        ('cli_options::test_a_command_line_that_cannot_be_meant_ends_with_2',),
    ),
    Mutant(
        'cli-foreign-import-error', BEYOND, 'a module that misses another one is said to be missing itself',
        (client('cli/target', "if name == missing or name.startswith(missing + '.'):", 'if True:'),),
        ('cli_targets::test_a_wrong_import_is_shown_once_and_ends_with_1',),
    ),
)  # fmt: skip
