"""Hand-made faults in what a state tells of its failed attempts and of its times, and in what becomes of that."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

FAILED = (
    Mutant(
        'failure-not-remembered', BEYOND, 'a task that was given back with an error has no history',
        (script('requeue', 'remember(id, why)', ''),),
        ('attempts::test_a_failed_attempt_is_in_the_history',),
    ),
    Mutant(
        'forgiven-remembered', BEYOND, 'what a shutdown gives back with a reason counts as failed',
        (script('requeue', "elseif why ~= '' then\n    --@", "end\n  if why ~= '' then\n    --@"),),
        ('attempts::test_what_is_given_back_without_a_failure_has_no_history',),
    ),
    Mutant(
        'return-remembered', BEYOND, 'what is given back without an error counts as failed',
        (script('requeue', "elseif why ~= '' then\n    --@", 'else\n    --@'),),
        ('attempts::test_what_is_given_back_without_a_failure_has_no_history',),
    ),
    Mutant(
        'burial-not-remembered', BEYOND, 'a buried task has no history',
        (script('bury', 'remember(id, ARGV[i + 3])\n', ''),),
        ('attempts::test_a_failed_attempt_is_in_the_history',),
    ),
    Mutant(
        'crash-not-remembered', BEYOND, 'a consumer that was killed does not show',
        (script('sweep', "remember(id, 'its lease ran out')", ''),),
        ('attempts::test_a_consumer_that_crashed_shows_in_the_history',),
    ),
    Mutant(
        'requeue-remembered-twice', 6, 'a requeue that is sent twice adds two lines',
        (script('requeue', "outcome = known[1] == DEAD and 'dead' or 'ok'",
                "--@ Uses remember\n    remember(ARGV[i], ARGV[i + 6])\n"
                "    outcome = known[1] == DEAD and 'dead' or 'ok'"),),
        ('attempts::test_a_call_whose_reply_is_lost_adds_one_line',),
    ),
    Mutant(
        'burial-remembered-twice', 6, 'a bury that is sent twice adds two lines',
        (script('bury', "outcome = 'ok'\n  elseif", "outcome = 'ok'\n    remember(id, ARGV[i + 3])\n  elseif"),),
        ('attempts::test_a_call_whose_reply_is_lost_adds_one_line',),
    ),
    Mutant(
        'redrive-forgets', BEYOND, 'a task that is brought back has no history any more',
        (script('redrive', "redis.call('ZREM', untold, id)\n    redis.call('HSET',",
                "redis.call('ZREM', untold, id)\n    redis.call('HDEL', state .. id, 'history')\n"
                "    redis.call('HSET',"),),
        ('attempts::test_redrive_keeps_the_history_and_the_numbers_go_on',),
    ),
)  # fmt: skip

LINES = (
    Mutant(
        'first-line-goes', BEYOND, 'of many attempts the last ten are kept, and not the first',
        (script('_remember', 'string.sub(history, 1, ends[1]) .. string.sub(history, ends[#ends - 8] + 1)',
                'string.sub(history, ends[#ends - 9] + 1)'),),
        ('attempts::test_first_and_the_last_nine_are_kept',),
    ),
    Mutant(
        'eleven-lines', BEYOND, 'of eleven attempts all are kept',
        (script('_remember', 'if #ends >= 10 then', 'if #ends > 10 then'),),
        ('attempts::test_first_and_the_last_nine_are_kept',),
    ),
    Mutant(
        'lines-without-end', BEYOND, 'a history that was written by hand stays as long as it is',
        (script('_remember', "history = #history <= 2500 and history or ''\n", ''),),
        ('attempts::test_a_history_that_was_written_by_hand_breaks_nothing',),
    ),
    Mutant(
        'character-cut-in-two', BEYOND, 'the last character of a long line is half there',
        (script('_remember', 'while cut > 157 and', 'while false and'),),
        ('attempts::test_last_line_that_says_something_is_kept',),
    ),
    Mutant(
        'cut-without-end', BEYOND, 'an error that is no text has no line',
        (script('_remember', 'while cut > 157 and', 'while cut > 0 and'),),
        ('attempts::test_an_error_that_is_no_text_is_cut_and_read_all_the_same',),
    ),
    Mutant(
        'control-characters-kept', BEYOND, 'an error has its escape sequences in the history',
        (script('_remember', "  line = string.gsub(line, '[%z\\1-\\31\\127]', ' ')\n", ''),),
        ('attempts::test_last_line_that_says_something_is_kept',),
    ),
    Mutant(
        'all-lines-of-an-error', BEYOND, 'the end of a traceback is kept, and not its last line',
        (script('_remember', "last = first and string.find(back, '\\n', first, true)", 'last = nil'),),
        ('attempts::test_last_line_that_says_something_is_kept',),
    ),
    Mutant(
        'last-line-empty', BEYOND, 'the last line of a traceback is the empty one behind it',
        (script('_remember', "first = string.find(back, '[^%z\\1-\\32\\127]')", 'first = 1'),),
        ('attempts::test_last_line_that_says_something_is_kept',),
    ),
    Mutant(
        'line-from-its-middle', BEYOND, 'a long last line has lost its beginning',
        (script('_remember', 'size = size < #text and size * 8', 'size = nil'),),
        ('attempts::test_last_line_that_says_something_is_kept',),
    ),
    Mutant(
        'line-behind-a-line', BEYOND, 'the line behind one that was cut off by hand is lost with it',
        (script('_remember', "if history ~= '' and string.sub(history, -1) ~= '\\n' then", 'if false then'),),
        ('attempts::test_a_history_that_was_written_by_hand_breaks_nothing',),
    ),
    Mutant(
        'number-by-hand', BEYOND, 'a task whose count was damaged cannot be buried',
        (script('_remember', 'tonumber(found[2]) or 0', 'found[2]'),),
        ('attempts::test_an_attempt_whose_fields_are_damaged_is_buried_all_the_same',),
    ),
    Mutant(
        'line-by-hand', BEYOND, 'a state of which the history was written by hand cannot be read',
        (client('protocol/attempts', '    except (ValueError, OverflowError):\n        return\n',
                '    except OverflowError:\n        return\n'),),
        ('attempts::test_a_history_that_was_written_by_hand_breaks_nothing',),
    ),
)  # fmt: skip

TIMES = (
    Mutant(
        'first-delay-not-noted', BEYOND, 'a task that was delayed for a day is a day old the moment it is due',
        (script('sweep', "'status', PENDING, 'ready_time', stamp)", "'status', PENDING)"),),
        ('ready::test_a_first_delay_that_is_over_is_when_the_task_became_ready',),
    ),
    Mutant(
        'ready-again-and-again', BEYOND, 'a return is noted as if it were the first delay',
        (script('sweep', "(tonumber(known[5]) or 0) + 1)\n  else",
                "(tonumber(known[5]) or 0) + 1, 'ready_time', stamp)\n  else"),),
        ('ready::test_a_first_delay_that_is_over_is_when_the_task_became_ready',),
    ),
    Mutant(
        'redrive-not-noted', BEYOND, 'a task that was brought back is as old as it was when it died',
        (script('redrive', "with_mark(known[3], mark),\n      'ready_time', stamp)", 'with_mark(known[3], mark))'),),
        ('ready::test_a_redrive_is_when_the_task_became_ready',),
    ),
    Mutant(
        'due-unknown', BEYOND, 'a delayed task does not tell when it is due',
        (script('state', "known[k] = type(due) == 'string' and due", ''),),
        ('ready::test_a_delayed_task_tells_when_it_is_due',),
    ),
    Mutant(
        'due-or-nothing', BEYOND, 'no state can be read while the key of the delayed holds something else',
        (script('state', "redis.pcall('ZSCORE'", "redis.call('ZSCORE'"),),
        ('ready::test_a_delayed_task_that_lost_its_place_is_read_all_the_same',),
    ),
    Mutant(
        'due-by-hand', BEYOND, 'a field that somebody else has made keeps a state from being read',
        (client('protocol/replies', 'if due is not None and status is TorrelqueTaskStatus.DELAYED else None',
                'if due is not None else None'),),
        ('ready::test_a_task_that_is_not_delayed_is_not_due',),
    ),
    Mutant(
        'time-of-every-task', BEYOND, 'the time of a task that is not delayed is asked for as well',
        (client('protocol/steps', 'if not isinstance(values, list) or values[:1] != [_DELAYED]:',
                'if not isinstance(values, list) or values[:1] == [None]:'),),
        ('ready::test_only_the_state_of_a_delayed_task_takes_a_second_call',),
    ),
    Mutant(
        'time-of-no-task', BEYOND, 'the time of a delayed task is not asked for',
        (client('protocol/steps', 'if not isinstance(values, list) or values[:1] != [_DELAYED]:', 'if True:'),),
        ('ready::test_a_watch_tells_it_as_well',),
    ),
)  # fmt: skip

EXPIRY = (
    Mutant(
        'redriven-expired', BEYOND, 'a redriven task is dead again at once, because it was enqueued long ago',
        (client('tasks/expiry', 'since = state.enqueue_time if redriven is None else redriven',
                'since = state.enqueue_time'),),
        ('tasks_expiry::test_a_redriven_task_has_its_time_anew',),
    ),
    Mutant(
        'redriven-without-time', BEYOND, 'a redriven task of which the instant has passed can never be run',
        (client('tasks/expiry', 'if age >= expires and not (redriven is not None and expires == 0):',
                'if age >= expires:'),),
        ('tasks_expiry::test_a_redriven_task_has_its_time_anew',),
    ),
    Mutant(
        'redriven-without-end', BEYOND, 'a redriven task never expires',
        (client('tasks/expiry', 'not (redriven is not None and expires == 0)', 'redriven is None'),),
        ('tasks_expiry::test_a_redriven_task_expires_all_the_same',),
    ),
    Mutant(
        'delayed-taken-for-redriven', BEYOND, 'a task has its time anew when its first delay is over',
        (client('tasks/expiry', 'and state.history and ready > state.history[0].start else None', 'else None'),),
        ('tasks_expiry::test_a_first_delay_is_part_of_the_time_of_a_task',),
    ),
)  # fmt: skip

PLAYED = (
    Mutant(
        'played-failure-forgotten', BEYOND, 'a task of a test whose calls run at once has no failed attempts',
        (client('testing/memory', 'task.failures(error) if error and not forgive else state.history',
                'state.history'),),
        ('eager_attempts::test_a_state_tells_the_same_as_on_a_server',),
    ),
    Mutant(
        'played-failures-without-end', BEYOND, 'a task of a test whose calls run at once keeps all failed attempts',
        (client('testing/states', 'known if len(known) < 10 else (known[0], *known[2:])', 'known'),),
        ('eager_attempts::test_a_state_tells_the_same_as_on_a_server',),
    ),
    Mutant(
        'played-delay-not-noted', BEYOND, 'a delayed task of a test whose calls run at once was never not ready',
        (client('testing/states', 'priority, now if delay else None,', 'priority,'),),
        ('eager_attempts::test_a_state_tells_the_same_as_on_a_server',),
    ),
)  # fmt: skip

ATTEMPTS = (*FAILED, *LINES, *TIMES, *EXPIRY, *PLAYED)
