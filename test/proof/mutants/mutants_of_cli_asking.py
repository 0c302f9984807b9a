"""Hand-made faults in the commands that look: what reaches a terminal, what is cut, which queue, how they end."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

HOSTILE = 'cli_hostile::test_nothing_hostile_reaches_a_terminal'

ASKING = (
    Mutant(
        'cli-raw-lines', BEYOND, 'escape sequences in names and reasons reach the terminal',
        (client('cli/out', 'return self._encodable(shown(text))', 'return self._encodable(text)'),),
        (HOSTILE,),
    ),
    Mutant(
        'cli-raw-blocks', BEYOND, 'escape sequences in payloads and errors reach the terminal',
        (client('cli/out', 'self._encodable(shown_lines(shortened(text, most)))',
                'self._encodable(shortened(text, most))'),),
        (HOSTILE,),
    ),
    Mutant(
        'cli-raw-complaints', BEYOND, 'a word that is no argument reaches the terminal as it is',
        (client('cli/parser', 'super().error(shown(message))', 'super().error(message)'),),
        (HOSTILE,),
    ),
    Mutant(
        'cli-markup-in-data', BEYOND, 'what rich takes for markup in data is carried out',
        (client('cli/out', 'self.console.print(Text(self.safe(text), style), soft_wrap=True)',
                'self.console.print(self.safe(text), style=style, soft_wrap=True, markup=True)'),),
        (HOSTILE,),
    ),
    Mutant(
        'cli-megabytes-in-lists', BEYOND, 'an error of a megabyte is a line of a table',
        (client('cli/out', 'return shortened(cell, IN_CELL)', 'return cell'),),
        ('cli_tables::test_a_cell_of_a_megabyte_says_how_much_more_there_is',),
    ),
    Mutant(
        'cli-ids-cut', BEYOND, 'in a narrow terminal an id is cut, so that it cannot be copied',
        (client('cli/tables', 'width if column.right or column.whole else', 'width if column.right else'),),
        ('cli_tables::test_columns_of_least_importance_go_first_and_ids_stay_whole',
         'cli_asking_terminal::test_a_table_fits_a_terminal_and_ids_can_be_copied'),
    ),
    Mutant(
        'cli-important-columns-first', BEYOND, 'in a narrow terminal the most important columns are left out',
        (client('cli/tables', 'first = max(kept', 'first = min(kept'),),
        ('cli_tables::test_columns_of_least_importance_go_first_and_ids_stay_whole',),
    ),
    Mutant(
        'cli-pipes-cut', BEYOND, 'a table in a pipe is cut at the width of a terminal',
        (client('cli/out', 'return self.console.width if self.terminal else self.width', 'return self.console.width'),),
        ('cli_tables::test_in_a_pipe_nothing_is_cut_and_nothing_is_coloured',),
    ),
    Mutant(
        'cli-numbers-rounded', BEYOND, 'a number beyond 2^53 is told as another',
        (client('cli/out', "return f'{value:,}' if isinstance(value, int) else f'{value:,.0f}'",
                "return f'{value:,.0f}'"),),
        ('cli_tables::test_numbers_have_commas_and_are_exact',),
    ),
    Mutant(
        'cli-ascii-crash', BEYOND, 'an output without Unicode ends a command with a traceback',
        (client('cli/out', 'if text.isascii() or self._has(text):', 'if True:'),),
        ('cli_tables::test_an_output_without_such_characters_gets_plain_ones',
         'cli_asking_terminal::test_a_stream_without_unicode_gets_escapes'),
    ),
    Mutant(
        'cli-words-of-the-locale', BEYOND, 'without a locale, names that are no ASCII are refused',
        (client('cli/parser', 'for word in map(as_text, words):', 'for word in words:'),),
        ('cli_asking_terminal::test_a_stream_without_unicode_gets_escapes',),
    ),
    Mutant(
        'cli-closed-pipe-told', BEYOND, 'a reader that has seen enough makes a command fail',
        (client('cli/out', '            raise  # noqa', '            super().on_broken_pipe()  # noqa'),),
        ('cli_asking_terminal::test_a_pipe_that_closes_ends_it_quietly',),
    ),
    Mutant(
        'cli-slips-noted', BEYOND, 'a slip in the name of a queue becomes a queue that is known',
        (client('cli/naming', 'if found:', 'if True:'),),
        ('cli_asking_server::test_a_queue_is_noted_when_it_is_used_and_a_slip_is_not',),
    ),
    Mutant(
        'cli-read-only-notes', BEYOND, 'a shell that is to change nothing writes a name',
        (client('cli/session', 'elif not is_read_only(found):', 'else:'),),
        ('cli_asking_server::test_a_queue_is_noted_when_it_is_used_and_a_slip_is_not',),
    ),
    Mutant(
        'cli-first-queue-taken', BEYOND, 'of several queues one is taken that was not named',
        (client('cli/session', 'if len(queues) == 1 or several and queues:', 'if queues:'),),
        ('cli_asking_server::test_without_a_name_it_is_the_only_queue_that_is_known',),
    ),
    Mutant(
        'cli-refusal-is-away', BEYOND, 'a wrong password is told as a server that is away',
        (client('cli/session', 'for one in (exc, exc.__cause__)):', 'for one in (exc,)):'),),
        ('cli_asking_server::test_a_user_who_may_only_read_can_do_all_that_looks',),
    ),
    Mutant(
        'cli-cluster-away-is-a-fault', BEYOND, 'a Cluster that is away is told as a fault of the command',
        (client('cli/session', 'redis.exceptions.RedisError, redis.exceptions.RedisClusterException, *more',
                'redis.exceptions.RedisError, *more'),),
        ('cli_asking_server::test_a_server_that_is_away_is_told_within_seconds',),
    ),
    Mutant(
        'cli-sentinels-told', BEYOND, 'the arguments of Sentinels are told, passwords too',
        (client('cli/session', 'except redis.asyncio.sentinel.MasterNotFoundError as exc:',
                'except ZeroDivisionError as exc:'),),
        ('cli_asking_server::test_a_server_that_is_away_is_told_within_seconds',),
    ),
    Mutant(
        'cli-payloads-told', BEYOND, 'a list tells what was enqueued, unasked',
        (client('cli/listing', 'task if found.payload else dataclasses.replace(task, payload=None, raw=None)',
                'task'),),
        ('cli_asking::test_payloads_are_told_where_they_are_asked_for_only',),
    ),
    Mutant(
        'cli-short-page-ends-it', BEYOND, 'a list ends at a page that is short',
        (client('cli/listing', '            if after is None:\n',
                '            if after is None or not page.tasks:\n'),),
        ('cli_asking::test_a_list_goes_on_through_pages_that_are_short',),
    ),
    Mutant(
        'cli-check-always-well', BEYOND, 'monitoring is told that all is well, whatever is wrong',
        (client('cli/checking', 'return Exit.ILL if wrong else Exit.WELL', 'return Exit.WELL'),),
        ('cli_asking_why::test_check_ends_with_1_where_something_is_wrong',),
    ),
    Mutant(
        'cli-holders-unbounded', BEYOND, 'ten thousand tasks in the way are shown, and the command that helps is gone',
        (client('cli/reasons', 'for holder in reason.holders[:HOLDERS]:', 'for holder in reason.holders:'),),
        ('cli_asking_why::test_reasons_are_numbered_with_whoever_is_in_the_way_and_the_command_last',),
    ),
    Mutant(
        'cli-cancelled-is-well', BEYOND, 'a script that waits for a task takes a cancelled one for done',
        (client('cli/telling', 'return Exit.ILL if bad or not', 'return Exit.ILL if not'),),
        ('cli_asking_why::test_a_watch_of_a_task_ends_where_it_was_told_to',),
    ),
    Mutant(
        'cli-gaps-left-out', BEYOND, 'a time in which no worker wrote is not seen in a history',
        (client('cli/rates', 'return [_step(start, step, groups.get(start, [])) for start in starts]',
                'return [_step(start, step, groups[start]) for start in starts if start in groups]'),),
        ('cli_asking::test_history_is_told_in_so_few_lines_that_it_can_be_read',),
    ),
    Mutant(
        'cli-instants-of-another-zone', BEYOND, 'an instant without a zone is UTC for a filter, and local elsewhere',
        (client('cli/filters', 'if utc else given.astimezone()', 'if True else given.astimezone()'),),
        ('cli_filters::test_an_instant_without_a_zone_is_local_time',),
    ),
    Mutant(
        'cli-names-unquoted', BEYOND, 'a command that is copied does something else, by what is in a name',
        (client('cli/session', "words += f' -q {quoted(queue)}'", "words += f' -q {queue}'"),),
        ('cli_asking_ends::test_commands_are_copied_whatever_is_in_a_name',),
    ),
    Mutant(
        'cli-check-passes-pauses', BEYOND, 'a queue that is paused and has tasks is well',
        (client('cli/checking', 'if one.paused and one.pending:', 'if False:'),),
        ('cli_asking_why::test_what_is_wrong_is_judged_by_limits',),
    ),
    Mutant(
        'cli-check-passes-orphans', BEYOND, 'a lost worker that has tasks in hand is well',
        (client('cli/checking', 'if more.orphaned:', 'if False:'),),
        ('cli_asking_why::test_what_figures_do_not_tell_is_judged_too',),
    ),
    Mutant(
        'cli-check-passes-slips', BEYOND, 'a queue of which nothing is known is well',
        (client('cli/naming', 'return None if queue.name in names else', 'return None if names else'),),
        ('cli_asking_server::test_a_queue_that_nothing_is_known_of_is_told_with_the_one_that_may_be_meant',),
    ),
    Mutant(
        'cli-check-unread', BEYOND, 'a check that is ill ends with 0 where nobody reads why',
        (client('cli/checking', '    except BrokenPipeError:', '    except ZeroDivisionError:'),),
        ('cli_asking_terminal::test_the_check_ends_with_1_even_if_nobody_reads_why',),
    ),
    Mutant(
        'cli-window-exact', BEYOND, 'counts of a window look as if they were of all',
        (client('cli/errors', 'count = number(one.count) if whole else', 'count = number(one.count) if True else'),),
        ('cli_asking_why::test_errors_end_with_the_command_that_brings_them_back',),
    ),
    Mutant(
        'cli-watch-refused', BEYOND, 'a user who may only read cannot watch a task',
        (client('cli/telling', 'redis.exceptions.NoPermissionError', 'redis.exceptions.ReadOnlyError'),),
        ('cli_asking_server::test_a_user_who_may_only_read_can_do_all_that_looks',),
    ),
    Mutant(
        'cli-columns-silent', BEYOND, 'nothing says that columns were left out',
        (client('cli/out', 'if layout.left_out:', 'if False:'),),
        ('cli_asking::test_what_is_decisive_is_there_in_80_columns',),
    ),
)  # fmt: skip
