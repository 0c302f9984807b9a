"""Hand-made faults in the layer of calendars: changes of clocks, lists of instants, what is declared."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

CHANGES = 'cron_clocks::test_the_next_changes_of_clocks'
WALK = 'cron_clocks::test_instants_around_each_change_of_clocks_are_those_of_a_walk_through_utc'

CALENDARS = (
    Mutant(
        'cron-gap-left-out', BEYOND, 'a nightly time that a gap leaves out fires an hour late',
        (client('cron/zones', 'if first >= second else _end_of_gap(wall, zone, first, second)', 'if True else wall'),),
        (CHANGES,),
    ),
    Mutant(
        'cron-gap-fires', BEYOND, 'what follows real time fires for times that a gap leaves out',
        (client('cron/zones', '        if first < second:\n            continue\n', ''),),
        (CHANGES,),
    ),
    Mutant(
        'cron-hour-not-repeated', BEYOND, 'what follows real time fires in the first of two hours of one name only',
        (client('cron/zones', 'if first > second:', 'if False:'),),
        (CHANGES,),
    ),
    Mutant(
        'cron-order-lost', BEYOND, 'the second of two hours of one name comes in between the first',
        (client('cron/zones', 'while again and again[0] < instant:', 'while again:'),),
        (WALK,),
    ),
    Mutant(
        'cron-hours-mixed-up', BEYOND, 'a nightly job fires twice where clocks go back',
        (client('cron/calendar', "each_time if minute[0] == '*' or hour[0] == '*' else once_each", 'each_time'),),
        (CHANGES,),
    ),
    Mutant(
        'cron-start-too-late', BEYOND, 'a start in the first of two hours of one name misses some of the second',
        (client('cron/zones', 'return wall - back if back > timedelta() and not local.fold else wall', 'return wall'),),
        ('cron_clocks::test_a_start_in_a_repeated_hour_is_as_good_as_any',),
    ),
    Mutant(
        'cron-past-given', BEYOND, 'an instant before the start is given',
        (client('cron/calendar', 'lambda found: found <= instant', 'lambda found: False'),),
        ('cron_clocks::test_a_start_in_a_repeated_hour_is_as_good_as_any',),
    ),
    Mutant(
        'cron-never-taken', BEYOND, 'an expression that never fires is taken',
        (client('cron/calendar', 'if walls is None or next(walls, None) is None:', 'if False:'),),
        ('cron_calendar::test_what_cannot_be_meant_is_refused_by_its_field',),
    ),
    Mutant(
        'cron-offset-taken', BEYOND, 'an offset is told to be a time zone that is not known',
        (client('cron/zones', 'if _OFFSET.fullmatch(name.strip()):', 'if False:'),),
        ('cron_calendar::test_an_offset_is_no_time_zone',),
    ),
)

KEEPING = (
    Mutant(
        'cron-list-short', BEYOND, 'a list ends before the week is over',
        (client('cron/ahead', 'count >= LEAST and span >= SPAN', 'count >= LEAST'),),
        ('cron_schedules::test_a_schedule_has_the_instants_of_its_calendar_for_a_week_and_32_of_them',),
    ),
    Mutant(
        'cron-jitter-moves', BEYOND, 'the jitter is another in each process',
        (client('cron/ahead', "hashlib.sha256(name.encode())", 'hashlib.sha256(str(hash(name)).encode())'),),
        ('cron_schedules::test_jitter_is_that_of_the_name_in_all_versions',),
    ),
    Mutant(
        'cron-zones-old', BEYOND, 'a new edition of the time zones is not noticed',
        (client('cron/setting', 'if plan.line.agrees(record, time):', 'if True:'),),
        ('cron_declared::test_a_new_edition_of_the_time_zones_replaces_the_list',),
    ),
    Mutant(
        'cron-end-unlooked', BEYOND, 'a new edition is not noticed that changes what is behind the first ten instants',
        (client('cron/ahead', 'if next(self.after(last - _MILLISECOND), None) != last:', 'if False:'),),
        ('cron_declared::test_a_change_that_comes_after_the_first_ten_instants_is_seen_by_the_last',),
    ),
    Mutant(
        'cron-source-forgotten', BEYOND, 'an app removes schedules that others have set',
        (
            client('cron/keeper', 'if record.source == self._owner.source and', 'if'),
            client('cron/keeper', 'record.name, source=owner.source, revision=owner.revision', 'record.name'),
        ),
        ('cron_declared::test_an_app_with_a_name_removes_what_it_does_not_declare_any_more',),
    ),
    Mutant(
        'cron-nameless-removes', BEYOND, 'an app without a name removes what another one has declared',
        (client('cron/keeper', 'if owner.name is None or not await', 'if not await'),),
        ('cron_declared::test_an_app_without_a_name_removes_nothing_and_one_warning_tells_what_is_left',),
    ),
    Mutant(
        'cron-revision-unlooked', BEYOND, 'a lower revision sets what a higher one has removed',
        (Edit('torrelque/cron/script/declare.lua', 'revision and known and known > revision', 'false'),),
        ('cron_declared::test_a_lower_revision_changes_nothing_that_a_higher_one_has_set',),
    ),
    Mutant(
        'cron-low-unheard', BEYOND, 'what a sweep says of a short list is not heard',
        (client('cron/keeper', 'self._due[place, name] = -math.inf', 'pass'),),
        ('cron_keeper::test_a_list_that_a_sweep_has_found_to_be_short_is_filled_up',),
    ),
    Mutant(
        'cron-half-unlooked', BEYOND, 'a list is not filled up when half of it is used up',
        (client('cron/keeper', 'asyncio.get_running_loop().time() + max(SOONEST, wait)', 'math.inf'),),
        ('cron_keeper::test_a_list_is_filled_up_when_half_of_it_is_used_up',),
    ),
    Mutant(
        'cron-loss-unseen', BEYOND, 'a server that was emptied stays empty',
        (Edit(
            'torrelque/cron/script/declare.lua', '\nif note then',
            "\nnote = note or ARGV[4] == 'look' and 'x'\nif note then",
        ),),
        ('cron_keeper::test_a_server_that_was_emptied_gets_back_what_is_declared',),
    ),
    Mutant(
        'cron-removed-comes-back', BEYOND, 'what was removed by hand comes back after some minutes',
        (client('cron/keeper', "await self._note(place, False) == 'set'", 'await self._note(place, False)'),),
        ('cron_keeper::test_what_was_removed_by_hand_does_not_come_back_by_itself',),
    ),
    Mutant(
        'cron-hook-left', BEYOND, 'the first of two workers that ends takes the keeper with it',
        (client('cron/keeper', 'if not self.users and self._keeping is not None:', 'if self._keeping is not None:'),),
        ('cron_keeper::test_a_keeper_stays_until_the_last_worker_of_its_event_loop_has_stopped',),
    ),
    Mutant(
        'cron-defaults-unlooked', BEYOND, 'a function is scheduled whose arguments have no defaults',
        (client('cron/schedules', 'work = function.s()', "work = function.s('x')"),),
        ('cron_declared::test_arguments_of_a_scheduled_function_have_defaults',),
    ),
    Mutant(
        'cron-options-taken', BEYOND, 'a delay of one call is dropped from a schedule without a word',
        (client('flows/plan', "if options.pop('delay', None) is not None:", 'if False:'),),
        ('cron_schedules::test_work_with_a_delay_is_for_no_schedule',),
    ),
    Mutant(
        'cron-busy-worker-sleeps', BEYOND, 'nothing fires while all workers are busy',
        (client('worker/firing', 'if is_busy and was_busy:', 'if False:'),),
        ('worker_firing::test_a_server_that_refuses_is_told_and_asked_again',),
    ),
    Mutant(
        'cron-busy-worker-late', BEYOND, 'a busy worker looks at schedules twice a minute only',
        (client('worker/firing', 'else min(most, max(int(left), 0) / 1000)', 'else most'),),
        ('worker_firing::test_a_worker_without_a_place_fires_each_instant',),
    ),
    Mutant(
        'cron-clock-unmoved', BEYOND, 'calendars are asked for the time as it is, though a clock was moved',
        (Edit('torrelque/testing/script/move.lua', "  redis.call('INCRBY', base .. 'moved', far)\n", ''),),
        ('cron_clock::test_a_clock_that_moves_fires_schedules_as_time_would',),
    ),
)
