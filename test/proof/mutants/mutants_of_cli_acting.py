"""Hand-made faults in commands that act and in the live view: what is changed unasked, told, written."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

RUN = 'counts, whole = await _run(session, verb, selection'

ACTING = (
    Mutant(
        'cli-acts-unasked', BEYOND, 'a script changes many tasks that nobody has agreed to',
        (client('cli/mass', 'if not (one or found.yes or found.dry_run or may_ask(found)):', 'if False:'),),
        ('cli_acting::test_several_tasks_are_not_changed_unasked',),
    ),
    Mutant(
        'cli-no-is-yes', BEYOND, 'whoever says no is not heard',
        (client('cli/consent', ".strip().lower() in ('y', 'yes')", ".strip().lower() != 'x'"),),
        ('cli_acting_terminal::test_nothing_is_changed_by_any_other_answer',),
    ),
    Mutant(
        'cli-all-by-itself', BEYOND, 'a cancel without filters cancels everything',
        (client('cli/mass', 'if not (narrow or found.all or verb.open):', 'if False:'),),
        ('cli_acting::test_what_may_be_all_tasks_is_to_be_said',),
    ),
    Mutant(
        'cli-dry-run-wet', BEYOND, 'a dry run changes tasks',
        (client('cli/mass', f'    {RUN}, dry_run=True)\n    if not', f'    {RUN})\n    if not'),),
        ('cli_acting::test_a_dry_run_changes_nothing_and_shows_some',),
    ),
    Mutant(
        'cli-count-wet', BEYOND, 'tasks are changed while they are counted for the question',
        (client('cli/mass', f'        {RUN}, dry_run=True, plan', f'        {RUN}, plan'),),
        ('cli_acting_terminal::test_several_tasks_are_counted_and_changed_when_somebody_says_yes',),
    ),
    Mutant(
        'cli-consent-grows', BEYOND, 'whoever has agreed to two tasks finds hundreds cancelled, which came meanwhile',
        (client('cli/mass', 'total=total, plan=plan)', 'total=total)'),),
        ('cli_acting_terminal::test_who_has_agreed_to_some_tasks_has_not_agreed_to_those_that_come',),
    ),
    Mutant(
        'plan-knows-no-time', BEYOND, 'an act that was counted changes tasks that came since, where it has no ids',
        (client('operate/plan', 'return not any(began < instant', 'return not any(False and began < instant'),),
        ('operate_plan::test_what_is_enqueued_while_somebody_thinks_is_not_cancelled',),
    ),
    Mutant(
        'cli-slip-is-a-queue', BEYOND, 'who mistypes a queue is told that it is paused, and the other goes on',
        (client('cli/consent', '        if unknown is None:\n', '        if True:\n'),),
        ('cli_acting_slips::test_a_slip_of_the_pen_is_no_queue',),
    ),
    Mutant(
        'cli-read-only-acts', BEYOND, 'an act is carried out where only reading is allowed',
        (client('cli/consent', '    if is_read_only(found):\n', '    if False:\n'),),
        ('cli_acting::test_an_act_is_refused_where_only_reading_is_allowed',),
    ),
    Mutant(
        'cli-read-only-lists', BEYOND, 'acts are offered where only reading is allowed',
        (client('cli/parser', '{} if command.acts and is_read_only() else', '{} if False else'),),
        ('cli_page::test_commands_that_act_are_not_listed_where_only_reading_is_allowed',),
    ),
    Mutant(
        'cli-end-untold', BEYOND, 'an act that is ended by a key passes for one that was finished',
        (client('cli/mass', 'return (last, False) if outcome is None', 'return (last, True) if outcome is None'),),
        ('cli_acting_terminal::test_an_act_that_is_ended_tells_what_it_did_and_is_on_record',),
    ),
    Mutant(
        'cli-refused-is-well', BEYOND, 'a script does not learn that a task it named was not changed',
        (client('cli/mass', 'Exit.ILL if not outcome.done or outcome.refused and selection.ids is not None',
                'Exit.ILL if False'),),
        ('cli_acting::test_what_is_not_changed_is_told_with_why_and_ends_with_1',),
    ),
    Mutant(
        'cli-limit-forgets', BEYOND, 'who sets one limit of a group takes the other away',
        (client('cli/switching', 'starts = before.rate if found.rate is KEEP else found.rate',
                'starts = None if found.rate is KEEP else found.rate'),),
        ('cli_acting_queues::test_limits_are_set_one_by_one_and_shown',),
    ),
    Mutant(
        'cli-resume-always-well', BEYOND, 'who resumes the wrong queue is told that it goes on',
        (client('cli/switching', '            code = Exit.ILL\n', '            code = Exit.WELL\n'),),
        ('cli_acting_queues::test_a_queue_is_paused_and_goes_on',),
    ),
    Mutant(
        'cli-lines-half-way', BEYOND, 'a slip in the last line leaves those before it enqueued',
        (client('cli/payloads', "_read_json(line, f'line {n}') for n, line in lines if line.strip()]",
                "_read_json(line, f'line {n}') if n < 3 else line for n, line in lines if line.strip()]"),),
        ('cli_acting_queues::test_all_lines_are_read_before_the_first_is_enqueued',),
    ),
    Mutant(
        'cli-enqueue-unrecorded', BEYOND, 'nobody learns who enqueued a task by hand',
        (client('cli/enqueuing', "    await Operator(queue).record('enqueue', what, 1)\n", ''),),
        ('cli_acting_queues::test_a_task_is_enqueued_and_its_id_is_printed',),
    ),
    Mutant(
        'cli-schedule-is-nobodys', BEYOND, 'what is set by hand is removed by a worker that does not declare it',
        (client('cli/scheduling', '        source=API, **when', '        **when'),),
        ('cli_schedules::test_a_schedule_by_a_period_is_set_once_and_is_the_api_s',),
    ),
    Mutant(
        'cli-schedule-that-never-fires', BEYOND, 'a slip in the year sets a schedule of which nothing ever comes',
        (client('cli/scheduling', '    if not ahead:\n', '    if False:\n'),),
        ('cli_schedules::test_what_cannot_be_meant_sets_nothing',),
    ),
    Mutant(
        'cli-cron-of-nobody', BEYOND, 'workers do not know what a schedule was made from, and it runs dry',
        (client('cli/scheduling', "return {'times': times, 'spec': due.spec}", "return {'times': times}"),),
        ('cli_schedules_cron::test_an_expression_is_stored_as_the_app_itself_stores_it',),
    ),
    Mutant(
        'cli-schedule-breaks-order', BEYOND, 'calls of an ordered function run at once, where a schedule makes them',
        (client('cli/scheduling', '    if group is not None:\n', '    if False:\n'),),
        ('cli_schedules_cron::test_calls_of_an_ordered_function_stay_in_order',),
    ),
    Mutant(
        'cli-instants-in-the-wrong-zone', BEYOND, 'an instant fires hours early where instants are shown in UTC',
        (client('cli/scheduling', 'return in_zone(given, utc).timestamp()', 'return given.timestamp()'),),
        ('cli_schedules::test_an_instant_without_a_zone_is_read_as_instants_are_shown',),
    ),
    Mutant(
        'cli-schedules-tell-secrets', BEYOND, 'payloads are in the logs of whoever lists schedules',
        (client('cli/timetable', 'dataclasses.replace(view, payload=None, raw=None)', 'view'),),
        ('cli_schedules::test_json_has_all_and_the_payload_where_it_is_asked_for',),
    ),
    Mutant(
        'cli-over-is-dry', BEYOND, 'a schedule that is over passes for one that waits for its calendar',
        (client('operate/scheduled', "'over' if ends else 'dry'", "'dry'"),),
        ('cli_schedules::test_a_schedule_without_instants_is_dry_or_over',),
    ),
    Mutant(
        'cli-period-that-never-fires', BEYOND, 'a period whose first instant is behind its end is set, and never fires',
        (client('cli/scheduling', 'if until is not None and found.every > 0 and', 'if False and until and'),),
        ('cli_schedules::test_what_cannot_be_meant_sets_nothing',),
    ),
    Mutant(
        'cli-declared-is-taken-over', BEYOND, 'nobody is told that no app removes any more what was set by hand again',
        (client('cli/scheduling', 'if before is not None and (before', 'if done and before and (before'),),
        ('cli_schedules::test_what_code_declares_comes_back_and_that_is_told',),
    ),
    Mutant(
        'cli-past-to-its-end', BEYOND, 'an instant at the end of a time in the past is fired as well',
        (client('cli/firing', 'lambda one: one < end', 'lambda one: one <= end'),),
        ('cli_schedules_backfill::test_the_instants_of_a_time_are_fired_as_the_app_itself_does_it',),
    ),
    Mutant(
        'cli-past-unrecorded', BEYOND, 'nobody learns who fired a hundred instants before the server refused more',
        (client('cli/firing', '    finally:\n        if fired:\n', '    finally:\n        if fired == len(times):\n'),),
        ('cli_schedules_backfill::test_what_was_done_before_it_failed_is_on_record',),
    ),
    Mutant(
        'cli-next-behind-the-end', BEYOND, 'instants are told that are behind the end of a schedule',
        (client('cli/timetable', 'lambda it: it <= end', 'lambda it: True'),),
        ('cli_schedules_next::test_the_next_instants_are_those_of_the_list_and_then_of_the_calendar',),
    ),
    Mutant(
        'cli-firing-untold', BEYOND, 'whoever fires a schedule that skips is told that all is well',
        (client('cli/firing', '    if not ids:\n', '    if False:\n'),),
        ('cli_schedules::test_a_schedule_is_fired_now_unless_it_skips',),
    ),
    Mutant(
        'schedules-spoilt-take-all-down', BEYOND, 'one key that was written by hand hides all schedules',
        (Edit('torrelque/operate/script/schedules.lua', "look('LLEN', times) or 0",
              "redis.call('LLEN', base .. times)"),),
        ('operate_schedules::test_what_is_spoilt_is_told_and_the_rest_is_shown',),
    ),
    Mutant(
        'operator-pauses-schedules-unrecorded', BEYOND, 'nobody learns who has paused a schedule',
        (client('operate/operator', "            await self._record(one, 'pause', f'schedule {name}')\n",
                '            pass\n'),),
        ('operate_schedules::test_acts_on_schedules_are_on_record_where_they_change_something',),
    ),
    Mutant(
        'cli-top-unasked', BEYOND, 'a key of the live view acts at once',
        (client('cli/topkeys', "act = state.question if key in ('y', 'Y') else None", 'act = state.question'),),
        ('cli_top_keys::test_an_act_is_done_when_it_was_agreed_to',),
    ),
    Mutant(
        'cli-top-read-only-acts', BEYOND, 'the live view acts where only reading is allowed',
        (client('cli/topkeys', '    if state.read_only:\n', '    if False:\n'),),
        ('cli_top_keys::test_an_act_is_done_when_it_was_agreed_to',),
    ),
    Mutant(
        'cli-top-raw', BEYOND, 'names and errors write to the terminal',
        (client('cli/topview', '        text.append(shown(content), style)', '        text.append(content, style)'),),
        ('cli_top::test_nothing_of_hostile_data_is_written_raw_or_taken_for_markup',),
    ),
    Mutant(
        'cli-top-row-slips', BEYOND, 'another row is marked when rows move, and the act is about that one',
        (client('cli/topkeys', 'if row.key == spot.chosen), 0)', 'if False), 0)'),),
        ('cli_top_keys::test_a_row_is_marked_by_its_name_and_stays_marked_when_rows_move',),
    ),
    Mutant(
        'cli-top-terminal-kept', BEYOND, 'the terminal shows no keys after the view',
        (client('cli/top', 'termios.tcsetattr(self.input, termios.TCSADRAIN, self._before)', 'pass'),),
        ('cli_top_terminal::test_it_follows_the_size_of_the_terminal',),
    ),
    Mutant(
        'cli-top-errors-kept', BEYOND, 'a fault of a key leaves the view standing, and the terminal taken',
        (client('cli/top', '                    self._ended.set_exception(exc)\n\n        return guarded',
                '                    pass\n\n        return guarded'),),
        ('cli_top_terminal::test_the_terminal_is_as_before_at_any_end',),
    ),
    Mutant(
        'cli-top-gaps', BEYOND, 'minutes without a worker pass for minutes without work',
        (client('cli/topview', '[known.get(minute) for minute', '[known.get(minute, 0) for minute'),),
        ('cli_top::test_minutes_that_are_over_are_shown_and_gaps_are_gaps',),
    ),
    Mutant(
        'cli-completion-describes', BEYOND, 'a shell shows a paragraph for each command',
        (client('cli/completion', 'action.choices[listed.dest].description = listed.help', 'pass'),),
        ('cli_completion::test_a_line_is_shown_for_each_command',),
    ),
)  # fmt: skip
