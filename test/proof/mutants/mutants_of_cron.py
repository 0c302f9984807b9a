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
        (client('cron/ahead', 'count >= LEAST and last - time.now >= SPAN', 'count >= LEAST'),),
        ('cron_schedules::test_a_schedule_has_the_instants_of_its_calendar_for_a_week_and_32_of_them',),
    ),
    Mutant(
        'cron-jitter-moves', BEYOND, 'the jitter is another in each process',
        (client('cron/ahead', "hashlib.sha256(name.encode())", 'hashlib.sha256(str(hash(name)).encode())'),),
        ('cron_schedules::test_jitter_is_that_of_the_name_in_all_versions',),
    ),
    Mutant(
        'cron-zones-old', BEYOND, 'a new edition of the time zones is not noticed',
        (client('cron/setting', 'if plan.line.agrees(await read_times(queue, plan.name), time):', 'if True:'),),
        ('cron_declared::test_a_new_edition_of_the_time_zones_replaces_the_list',),
    ),
    Mutant(
        'cron-end-unlooked', BEYOND, 'a new edition is not noticed that changes what is behind the first ten instants',
        (client('cron/setting', 'await read_times(queue, plan.name)', '(await read_times(queue, plan.name))[:10]'),),
        ('cron_declared::test_a_change_that_comes_after_the_first_ten_instants_is_seen',),
    ),
    Mutant(
        'cron-source-forgotten', BEYOND, 'an app removes schedules that others have set',
        (
            client('cron/keeper', 'if counts and record.source == self._owner.source and', 'if counts and'),
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
        (Edit('torrelque/cron/script/declare.lua', 'revision > known and', ''),),
        ('cron_declared::test_a_lower_revision_changes_nothing_that_a_higher_one_has_set',),
    ),
    Mutant(
        'cron-low-unheard', BEYOND, 'what a sweep says of a short list is not heard',
        (client('cron/keeper', 'self._due[place, name] = -math.inf', 'pass'),),
        ('cron_keeper::test_a_list_that_a_sweep_has_found_to_be_short_is_filled_up',),
    ),
    Mutant(
        'cron-low-unfound', BEYOND, 'a list that runs low by the sweeps of others is not found',
        (client('cron/keeper', 'self._due.update(dict.fromkeys([(place, name) for name in low], now))', 'pass'),),
        ('cron_keeper::test_lists_that_somebody_else_has_swept_are_filled_up',),
    ),
    Mutant(
        'cron-pages-begin-again', BEYOND, 'of many schedules only the first are looked at',
        (client('cron/keeper', "self._pages.get(place, b'0')", "b'0'"),),
        ('cron_keeper::test_lists_that_somebody_else_has_swept_are_filled_up',),
    ),
    Mutant(
        'cron-ear-taken', BEYOND, 'the second of two apps that share a queue object takes the ear of the first',
        (client('cron/keeper', 'if not self._ears.open and self._queue', 'if self._queue'),),
        ('cron_keeper::test_apps_that_share_a_queue_object_hear_of_low_lists_one_beside_the_other',),
    ),
    Mutant(
        'cron-half-unlooked', BEYOND, 'a list is not filled up when half of it is used up',
        (client('cron/keeper', 'asyncio.get_running_loop().time() + max(SOONEST, wait)', 'math.inf'),),
        ('cron_keeper::test_a_list_is_filled_up_when_half_of_it_is_used_up',),
    ),
    Mutant(
        'cron-loss-unseen', BEYOND, 'a server that was emptied stays empty',
        (Edit('torrelque/cron/script/declare.lua', "word = 'lost'", "word = start and 'own' or 'lost'"),),
        ('cron_losses::test_a_server_that_was_emptied_gets_back_what_is_declared',),
    ),
    Mutant(
        'cron-older-stays', BEYOND, 'what a snapshot of before a deployment has stays',
        (Edit('torrelque/cron/script/declare.lua', '(not start or start > since)', 'not start'),),
        ('cron_losses::test_what_a_snapshot_of_before_a_deployment_has_is_replaced',),
    ),
    Mutant(
        'cron-removed-comes-back', BEYOND, 'what was removed by hand comes back after some minutes',
        (client('cron/keeper', "if word in ('lost', 'older'):", 'if word:'),),
        ('cron_losses::test_what_was_removed_by_hand_does_not_come_back_by_itself',),
    ),
    Mutant(
        'cron-owner-taken', BEYOND, 'to add the very same of what is declared takes it from its app',
        (client('cron/setting', 'if source != API or record is None or record.source == API:', 'if True:'),),
        ('cron_edges::test_to_add_what_is_declared_is_to_leave_it_alone',),
    ),
    Mutant(
        'cron-queue-left', BEYOND, 'a schedule that moves to another queue stays in the one before',
        (client('cron/schedules', '                await queue.remove_schedule(plan.name)\n', ''),),
        ('cron_edges::test_a_schedule_moves_to_the_queue_of_its_function',),
    ),
    Mutant(
        'cron-future-filled', BEYOND, 'a backfill fires what is to come',
        (client('cron/schedules', 'instant < end and instant <= time.now', 'instant < end'),),
        ('cron_edges::test_a_backfill_leaves_what_is_to_come_to_the_schedule',),
    ),
    Mutant(
        'cron-cut-refused', BEYOND, 'a list of instants with microseconds cannot be gone on with',
        (client('cron/ahead', 'found <= last < exact and not begun', 'False'),),
        ('cron_schedules::test_a_list_of_instants_with_microseconds_is_gone_on_with',),
    ),
    Mutant(
        'cron-others-keep', BEYOND, 'what is odd of a schedule of others keeps workers from beginning',
        (client('cron/keeper', "                self._told.add((place, record.name))\n", '                raise\n'),),
        ('cron_keeper::test_a_calendar_that_is_not_known_here_is_told_once_and_left_alone',),
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
        'cron-end-unknown', BEYOND, 'a schedule that has come to its end counts as one that somebody has to extend',
        (client('cron/ahead', 'taken.append(time.stored(found))\n            if until is not None and found > until:',
                'if until is None or found <= until:\n                taken.append(time.stored(found))\n'
                '            if until is not None and found > until:'),),
        ('cron_clock::test_a_list_that_ends_before_its_until_is_over_and_not_dry',),
    ),
    Mutant(
        'cron-clock-unmoved', BEYOND, 'calendars are asked for the time as it is, though a clock was moved',
        (Edit('torrelque/testing/script/move.lua', "  redis.call('INCRBY', base .. 'moved', far)\n", ''),),
        ('cron_clock::test_a_clock_that_moves_fires_schedules_as_time_would',),
    ),
)
