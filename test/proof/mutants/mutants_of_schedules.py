"""Hand-made faults in schedules: what fires, when, and what their verbs do."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

OVERLAP = 'schedules::test_a_firing_while_the_one_before_is_not_finished_is_as_overlap_says'
SEVERAL = 'schedules::test_of_several_that_are_due_at_once_those_fire_that_missed_says'
SPOILT = 'schedules_faults::test_a_schedule_that_was_spoilt_by_hand_stops_no_other_and_no_sweep'
BOUNDED = 'schedules::test_many_instants_and_many_schedules_are_fired_in_bounded_calls'
ONCE = 'schedules_faults::test_each_verb_has_the_effect_of_once_and_answers_as_it_would_have'
AFTER_OTHERS = 'schedules_faults::test_a_call_that_is_sent_again_has_no_effect_after_that_of_somebody_else'
LATE = 'schedules_faults::test_a_call_that_arrives_after_its_repetition_has_no_effect_any_more'
FULL = 'schedules_faults::test_a_full_memory_refuses_a_schedule_whole_and_lets_what_is_there_go_on'
FLOWS = 'schedules::test_a_flow_that_a_firing_has_started_is_unfinished_until_it_ends_or_a_task_of_it_is_dead'

FIRING = (
    Mutant(
        'schedule-times-stay', 13, 'an instant is looked at again by each sweep',
        (script('_fire', 'if popped > 0 then', 'if popped > 1 then'),),
        ('schedules::test_a_task_is_enqueued_at_each_instant_as_it_was_said', 'model'),
    ),
    Mutant(
        'schedule-score-stays', 13, 'a schedule is due for ever',
        (script('_fire', "string.format('%.0f', following), name)", 'stamp, name)'),),
        ('schedules::test_a_task_is_enqueued_at_each_instant_as_it_was_said',),
    ),
    Mutant(
        'schedule-known-id-enqueued', 13, 'a firing takes the place of a task of the same id',
        (script('_enter', "if redis.call('EXISTS', state .. id) == 1 or redis.call('HEXISTS', tasks, id) == 1 then",
                'if false then'),),
        ('schedules::test_a_task_whose_id_is_known_is_not_enqueued',),
    ),
    Mutant(
        'schedule-of-working-unfinished', 13, "'skip' looks at tasks that wait only",
        (script('_fire', 'return status == PENDING or status == WORKING or', 'return status == PENDING or'),),
        (OVERLAP,),
    ),
    Mutant(
        'schedule-of-delayed-unfinished', 13, "'skip' does not see a task that waits for its retry",
        (script('_fire', 'WORKING or status == DELAYED or\n      status', 'WORKING or\n      status'),),
        (OVERLAP,),
    ),
    Mutant(
        'schedule-of-held-finished', 13, "with 'skip' a task begins beside a cancelled one that somebody works on",
        (script('_fire', "status == CANCELLED and redis.call('ZSCORE', working, id) ~= false", 'false'),),
        (OVERLAP,),
    ),
    Mutant(
        'schedule-replaces-none', BEYOND, "with 'replace' the task of the firing before goes on",
        (script('_fire', "known[3] == 'replace' and rest_of(last)", "known[3] == 'never'"),),
        (OVERLAP,),
    ),
    Mutant(
        'schedule-forgets-its-flow', BEYOND, 'a firing counts as finished while the flow goes on that it has started',
        (script('_fire', "is_unfinished(id) and id or is_unfinished(id .. '.flow')",
                'is_unfinished(id) and id or false'),),
        (FLOWS,),
    ),
    Mutant(
        'schedule-waits-for-the-dead', BEYOND, 'a flow of which a task is dead stops its schedule',
        (script('_fire', '(tonumber(known[2] or nil) or 0) <= 0', 'true'),),
        (FLOWS,),
    ),
    Mutant(
        'schedule-replaced-in-list', 1, 'a task that came back in the sweep that replaces it stays in the list',
        (script('_fire', 'if fresh[k] == last then', 'if false then'),),
        ('schedules::test_who_came_back_in_the_sweep_that_replaces_it_is_gone', 'model'),
    ),
    Mutant(
        'schedule-replaced-in-group', 9, 'a task that came back in the sweep that replaces it is a second head',
        (script('_groups', 'if members[j] == id then', 'if false then'),),
        ('schedules::test_who_came_back_in_the_sweep_that_replaces_it_is_gone', 'model'),
    ),
    Mutant(
        'schedule-rest-dropped', 13, 'instants beyond a hundred are never fired',
        (script('_fire', 'first + taken * every, taken < count', 'first + count * every, false'),),
        (BOUNDED,),
    ),
    Mutant(
        'schedule-more-untold', 13, 'a sweep ends though schedules are due',
        (script('_fire', 'MOST_DUE, {}, #names == MOST_DUE, 0', 'MOST_DUE, {}, false, 0'),
         script('_fire', '        more = true\n        break', '        break')),
        (BOUNDED,),
    ),
    Mutant(
        'schedule-few-read', 13, 'of more instants than are read at first the last does not fire',
        (script('_fire', "(instant_of(list[AT_FIRST]) or math.huge) <= last then", 'false then'),),
        ('schedules::test_however_many_are_due_the_last_fires',),
    ),
    Mutant(
        'schedule-before-time', 13, 'a schedule whose place is before all time keeps the server counting for ever',
        (script('_fire', 'return instant and math.max(0, instant)', 'return instant'),
         script('_fire', 'first and first < since and since <= now and since or first', 'first')),
        (SPOILT,),
    ),
    Mutant(
        'schedule-since-time', 13, 'a schedule whose place is long ago fires for each period since',
        (script('_fire', 'first and first < since and since <= now and since or first', 'first'),),
        (SPOILT,),
    ),
    Mutant(
        'schedule-times-of-no-number', 13, 'a list of instants in which one is no number fails each sweep',
        (script('_fire', 'return instant and math.max(0, instant)', 'return instant'),),
        (SPOILT,),
    ),
    Mutant(
        'schedule-none-as-latest', BEYOND, "'none' fires the last of several that are due",
        (script('_fire', "known[4] == 'none' and passed > 0", 'false'),),
        (SEVERAL,),
    ),
    Mutant(
        'schedule-grace-to-the-ms', BEYOND, 'an instant that is as late as it may be does not fire',
        (script('_fire', 'now - instant > grace', 'now - instant >= grace'),),
        ('schedules::test_an_instant_that_is_too_late_is_passed_over',),
    ),
    Mutant(
        'schedule-end-passes-over-all', BEYOND, 'instants behind the end keep the last one before it from firing',
        (script('_fire', 'math.min(now, over))', 'now)'),),
        ('schedules::test_what_is_behind_the_end_does_not_fire_and_is_not_missed',),
    ),
    Mutant(
        'schedule-never-over', BEYOND, 'a schedule has a next instant behind its end',
        (script('_fire', 'following = following > over and math.huge or following', 'following = following'),),
        ('schedules::test_what_is_behind_the_end_does_not_fire_and_is_not_missed',),
    ),
    Mutant(
        'schedule-paused-fires', BEYOND, 'a schedule that is paused fires',
        (script('_fire', 'if not (known[7] or now', 'if not (now'),),
        ('schedules_verbs::test_a_pause_passes_over_what_is_due_and_its_end_brings_back_none_of_it',),
    ),
    Mutant(
        'schedule-full-memory-stops', 10, 'with a full memory each sweep fails while a schedule is due',
        (script('_fire', "    redis.call('ZREM', schedules, name)\n    redis.call('ZADD'", "    redis.call('ZADD'"),),
        (FULL,),
    ),
    Mutant(
        'schedule-spoilt-options', 8, 'options that were written by hand stop each sweep',
        (script('_fire', "or not are_options(given) then", 'then'),),
        (SPOILT,),
    ),
    Mutant(
        'schedule-spoilt-times', 8, 'a key that is a text stops each sweep',
        (script('_fire', "redis.pcall('LLEN', times)", "redis.call('LLEN', times)"),),
        (SPOILT,),
    ),
    Mutant(
        'schedule-spoilt-every', 8, 'a sweep never ends',
        (script('_fire', 'every = every and every >= 1 and every or nil\n', 'every = every or nil\n'),),
        (SPOILT,),
    ),
    Mutant(
        'schedule-spoilt-count', 8, 'a count that was written by hand stops each sweep',
        (script('_fire', "(tonumber(known[10]) or 0) + fired", 'known[10] + fired'),),
        (SPOILT,),
    ),
    Mutant(
        'schedule-few-untold', BEYOND, 'nobody is told that the instants of a schedule run out',
        (script('_fire', '(tonumber(left) or 0) < FEW', 'false'),),
        ('schedules_told::test_whoever_sweeps_is_told_of_schedules_with_few_instants',),
    ),
    Mutant(
        'schedule-over-told-of', BEYOND, 'somebody is to extend what is over',
        (script('_fire', 'not closed and', 'true and'),),
        ('schedules_told::test_whoever_sweeps_is_told_of_schedules_with_few_instants',),
    ),
    Mutant(
        'schedule-no-deadline', 10, 'who waits does not wake for a schedule',
        (script('claim', 'local other = coming and math.min(coming, probe_at or math.huge) or probe_at',
                'local other = probe_at'),),
        ('schedules::test_whoever_waits_keeps_the_time_of_schedules', 'model'),
    ),
    Mutant(
        'schedule-no-deadline-at-leaving', 10, 'who leaves the bell takes the time of a schedule with him',
        (script('leave', 'other = coming and math.min(coming, other or math.huge) or other\n', ''),),
        ('model',),
    ),
)

VERBS = (
    Mutant(
        'schedule-near-unrung', 10, 'who waits already does not learn of a schedule that fires soon',
        (script('schedule', 'or rung or near or begun then', 'or rung or begun then'),),
        ('schedules_verbs::test_a_change_is_taken_by_whoever_waits',
         'schedules::test_who_waits_already_is_told_of_a_schedule_that_fires_soon'),
    ),
    Mutant(
        'schedule-extended-unrung', 10, 'who waits already does not learn of instants that came',
        (script('extend', 'if plan(name, true, tonumber(ARGV[2])) then', 'if not plan(name, true, 0) and false then'),),
        ('schedules_verbs::test_a_change_is_taken_by_whoever_waits',),
    ),
    Mutant(
        'schedule-change-drops', 13, 'what was due when a schedule was changed never fires',
        (script('schedule', 'local fired, _, more = fire(name, ready, 100)', 'local fired, more = 0, false'),),
        ('schedules_verbs::test_a_change_fires_what_was_due_and_nothing_that_ran',),
    ),
    Mutant(
        'schedule-change-hurries', 13, 'of more than a hundred instants that were due some never fire',
        (client('protocol/schedules', "if outcome != 'due':", 'if True:'),
         script('schedule', 'if more then', 'if false then')),
        ('schedules_verbs::test_a_change_fires_all_that_was_due_however_much_it_is',),
    ),
    Mutant(
        'schedule-change-repeats', 13, 'an instant fires again when the clock went back and a schedule is set anew',
        (script('schedule', 'append_times(math.max(now, tonumber(known[3]) or 0))', 'append_times(now)'),
         script('_plan', 'math.max(now, tonumber(known[4]) or 0)', 'now')),
        ('schedules_faults::test_nothing_fires_twice_where_the_clock_goes_an_hour_back_and_forth',),
    ),
    Mutant(
        'schedule-past-comes-in', BEYOND, 'times that were over fire when a schedule is set again',
        (script('schedule', 'math.max(tonumber(known[4]) or now, tonumber(known[3]) or 0)',
                'tonumber(known[3]) or 0'),),
        ('schedules_verbs::test_times_that_were_over_when_it_was_set_do_not_come_in_by_setting_it_again',),
    ),
    Mutant(
        'schedule-always-changed', BEYOND, 'each start of a process throws away what is known of a schedule',
        (script('schedule', "(ARGV[13] ~= '' or ARGV[11] ~= '')", 'false'),),
        ('schedules_verbs::test_the_very_same_is_left_alone',),
    ),
    Mutant(
        'schedule-older-wins', BEYOND, 'a deployment that ends changes what the next has set',
        (script('schedule', 'revision < (tonumber(known[1]) or 0)', 'false'),),
        ('schedules_verbs::test_a_lower_revision_changes_nothing',),
    ),
    Mutant(
        'schedule-set-twice', 6, 'a repetition tells that nothing has changed',
        (script('schedule', 'if marked(known[2], mark) then', 'if false then'),),
        (ONCE,),
    ),
    Mutant(
        'schedule-extended-by-another', BEYOND, 'two extend a schedule from the same last instant',
        (script('extend', "or (redis.call('LINDEX', times, -1) or '') ~= ARGV[5] then", 'then'),),
        ('schedules_verbs::test_a_schedule_is_extended_by_who_knows_it',),
    ),
    Mutant(
        'schedule-extended-twice', 6, 'a repetition tells that a schedule was not extended',
        (script('extend', 'elseif marked(known[5], mark) then', 'elseif false then'),),
        (ONCE,),
    ),
    Mutant(
        'schedule-without-bound', BEYOND, 'a schedule has as many instants as anybody gives',
        (script('extend', 'and #fresh < room then', 'then'),),
        ('schedules_verbs::test_a_schedule_has_a_thousand_instants_at_the_most',),
    ),
    Mutant(
        'schedule-removed-by-others', BEYOND, 'an application removes what is not its own',
        (script('unschedule', "elseif ARGV[3] ~= '' and known[1] ~= ARGV[3] then", 'elseif false then'),),
        ('schedules_verbs::test_whoever_does_not_own_a_schedule_may_be_kept_from_removing_it',),
    ),
    Mutant(
        'schedule-limit-left', 2, 'a limit stays for ever of a schedule that was removed',
        (script('unschedule', "redis.call('HDEL', limits, group)", "redis.call('EXISTS', limits)"),),
        ('schedules_verbs::test_a_limit_of_the_schedules_own_group_goes_with_it',),
    ),
    Mutant(
        'schedule-bell-left', 2, 'the bell stays for ever of schedules that were removed',
        (script('unschedule', '  forget()\n', ''),),
        ('schedules_verbs::test_a_change_is_taken_by_whoever_waits',),
    ),
    Mutant(
        'schedule-paused-late', BEYOND, 'what was due before a pause is passed over',
        (script('hold', 'local fired, _, more = fire(name, ready, 100)', 'local fired, more = 0, false'),),
        ('schedules_verbs::test_a_pause_passes_over_what_is_due_and_its_end_brings_back_none_of_it',),
    ),
    Mutant(
        'schedule-not-paused-when-full', 10, 'with a full memory nobody can pause a schedule',
        (script('hold', "  redis.call('HDEL', key, 'paused')\n", ''),),
        (FULL,),
    ),
    Mutant(
        'fired-twice', 6, 'a firing by hand is twice when its reply is lost',
        (script('fire', "string.sub(one, 1, #mark) == mark", 'false'),),
        ('schedules_faults::test_a_firing_by_hand_is_once',),
    ),
    Mutant(
        'fired-twice-by-two', BEYOND, 'a firing by hand is twice when its reply is lost, and others fire meanwhile',
        (script('fire', "' '), before[1], before[2], before[3]}", "' ')}"),),
        (AFTER_OTHERS,),
    ),
    Mutant(
        'schedule-set-after-others', BEYOND, 'what somebody else has set meanwhile is overwritten by a call sent again',
        (script('schedule', "'mark', with_mark(known[2], mark), 'since'", "'mark', mark, 'since'"),),
        (AFTER_OTHERS,),
    ),
    Mutant(
        'schedule-held-after-others', BEYOND, 'what somebody else has let go on meanwhile is held by a call sent again',
        (script('hold', 'elseif marked(known[3], mark) then', 'elseif false then'),),
        (AFTER_OTHERS,),
    ),
    Mutant(
        'schedule-set-late', BEYOND, 'a call whose first sending comes late sets again what somebody has changed since',
        (script('schedule', 'if marked(known[2], mark) then', 'if resent and marked(known[2], mark) then'),),
        (LATE,),
    ),
    Mutant(
        'schedule-held-late', BEYOND, 'a schedule that goes on again is held by a first sending that comes late',
        (script('hold', 'elseif marked(known[3], mark) then', 'elseif resent and marked(known[3], mark) then'),),
        (LATE,),
    ),
    Mutant(
        'schedule-extended-late', BEYOND, 'a first sending that comes late is taken for one more extension',
        (script('extend', 'elseif marked(known[5], mark) then', 'elseif resent and marked(known[5], mark) then'),),
        (LATE,),
    ),
    Mutant(
        'redrive-late', BEYOND, 'a task that died again is brought back by a first sending that comes late',
        (script('redrive', '(resent or known[1] == DEAD) and marked', 'resent and marked'),),
        (LATE,),
    ),
    Mutant(
        'schedule-until-dry', BEYOND, 'nobody is to extend what was used up at once before its end',
        (script('_fire', 'over < following and following < math.huge', 'over < following'),),
        ('schedules_told::test_whoever_sweeps_is_told_of_schedules_with_few_instants',),
    ),
    Mutant(
        'fired-and-forgotten', 13, 'what was fired by hand is not looked at by the next firing',
        (script('fire', "redis.call('HSET', key, 'last_id', ids[3])", "redis.call('EXISTS', key)"),),
        ('schedules_verbs::test_a_firing_by_hand_is_one_as_any_other',),
    ),
    Mutant(
        'schedule-low-harms', 10, 'a call of the user ends a sweep',
        (client('protocol/calls', 'self.when_low(names)\n            except Exception:',
                'self.when_low(names)\n            except ZeroDivisionError:'),),
        ('schedules_told::test_whoever_sweeps_is_told_of_schedules_with_few_instants',),
    ),
    Mutant(
        'schedule-instants-in-any-order', BEYOND, 'times that are out of order are taken',
        (client('protocol/scheduling', 'if any(one >= other for', 'if any(one > other + 1e15 for'),),
        ('schedules_faults::test_what_cannot_be_meant_is_refused_before_anything_is_written',),
    ),
    Mutant(
        'schedules-of-later-pages', BEYOND, 'a long list of schedules ends early',
        (client('protocol/schedules', "self.over = following == b'0'", 'self.over = True'),),
        ('schedules_told::test_schedules_are_listed_by_a_prefix_each_once',),
    ),
)

SCHEDULES = (*FIRING, *VERBS)
