"""Hand-made faults in flows: how an end is told, how flows are made, changed and given up."""

from __future__ import annotations

from proof.mutants.mutant import Mutant, client, script

STORM = 'flows_storm::test_flows_hold_in_a_storm'
AGAIN = 'flows_faults::test_each_call_of_a_flow_that_is_sent_again_is_carried_out_once'
LARGE = 'flows_growing::test_a_large_flow_is_made_in_several_calls_and_begins_with_the_last'
FULL = 'flows_faults::test_a_full_server_refuses_a_flow_whole_and_lets_what_ends_pass'
CANCELLED = 'flows::test_a_cancelled_flow_takes_back_all_but_what_cleans_up'
EDGES = 'flows::test_an_edge_takes_the_ends_of_its_kind'
DAMAGE = 'flows_damage::test_a_flow_whose_keys_were_damaged_is_cancelled_and_harms_no_other'
DEATHS = 'flows::test_a_death_holds_a_flow_back_or_is_gone_over_or_ends_it'

TWO = 'flows_of_few::test_flows_of_two_tasks_end_as_the_table_says'
THREE = 'flows_of_few::test_flows_of_three_tasks_end_as_the_table_says'

ENDS = (
    Mutant(
        'flow-end-counts-twice', 14, 'an end counts each time it is noted',
        (script('_flow', "if redis.call('HDEL', base .. 'needs:' .. flow, id) == 0 then",
                "if redis.call('HDEL', base .. 'needs:' .. flow, id) == 2 then"),),
        (STORM,),
    ),
    Mutant(
        'flow-list-of-work-twice', 14, 'ends that were told are told again by the same call',
        (script('_flow', 'ends, new_ones = {}, {}\n    return', 'new_ones = {}\n    return'),),
        (STORM,),
    ),
    Mutant(
        'flow-dead-as-a-number', 14, 'a dead task, or one that has begun, begins again when another end is told',
        (script('_flow', "if not left or left == '0' or left == 'dead' then\n      return\n    end\n    if fits",
                'if not left then\n      return\n    end\n    if fits'),),
        (STORM,),
    ),
    Mutant(
        'flow-death-told-again', 14, 'what waits for any end is told of a death, and of the end after a redrive',
        (script('_seldom', "redis.call('HDEL', base .. 'edges:' .. flow, id)\n      end\n      ends",
                'end\n      ends'),),
        ('flows::test_what_waits_for_a_death_is_not_told_again_when_the_task_comes_back', STORM),
    ),
    Mutant(
        'flow-membership-before-status', 14, 'a source that was cancelled comes back behind the gate',
        (script('_seldom', "if left and left ~= '0' and left ~= 'dead' and\n            (string.byte(left) == 97 or",
                'if (left and string.byte(left) == 97 or'),
         script('_flow', "return flows.failed(id, flow, 'its state was lost')", 'return')),
        (STORM,),
    ),
    Mutant(
        'flow-one-end-behind-the-gate', 14, 'a task that has had the one end it waits for waits for all that is added',
        (script('_grow', "(node.any and count > 0 and 'a' or '')", "(node.any and not begins and 'a' or '')"),),
        ('flows_storm::test_what_has_had_the_one_end_it_waits_for_begins_whatever_is_added_meanwhile',),
    ),
    Mutant(
        'flow-spread-stays', 14, 'what was to be done of flows stays behind the last task',
        (script('_forget', "redis.call('DEL', seq, bell, spread)", "redis.call('DEL', seq, bell)"),),
        (STORM,),
    ),
    Mutant(
        'flow-gate-stays', 14, 'what stood behind the gate stays behind the flow',
        (script('_seldom', "base .. 'edges:' .. flow, base .. 'gate:' .. flow)\n    if has",
                "base .. 'edges:' .. flow)\n    if has"),),
        ('flows_growing::test_a_draft_that_nobody_goes_on_with_is_given_up',),
    ),
    Mutant(
        'flow-without-a-budget', 14, 'one call tells ten thousand successors',
        (script('_flow', 'elseif count > cursor then\n          budget = budget - 1', 'elseif count > cursor then'),),
        ('flows_growing::test_one_call_tells_two_hundred_successors',),
    ),
    Mutant(
        'flow-failure-forgotten', 14, 'a flow of which a task has failed is completed',
        (script('_flow', "(how == 'f' or how == 'x') and 1 or 0)", '0)'),),
        (EDGES,),
    ),
    Mutant(
        'flow-death-ends', 14, 'a dead task is gone over where the flow is to wait',
        (script('_seldom', "if has[1] == 'skip' or has[1] == 'cancel' then", 'if has[1] then'),),
        (DEATHS,),
    ),
    Mutant(
        'flow-not-cancelled-by-a-death', 14, "with 'cancel' a flow goes on after a death",
        (script('_seldom', "if has[1] == 'cancel' and has[2] == WAITING then", 'if false then'),),
        (DEATHS,),
    ),
    Mutant(
        'flow-any-is-all', 14, 'a task that waits for one of two waits for both',
        (script('_flow', 'if any and fits then', 'if false then'),
         script('_flow', "redis.call('HINCRBY', needs, id, -1)",
                "redis.call('HSET', needs, id, string.gsub(left, 'a', '') - 1)")),
        ('flows::test_a_join_is_of_all_or_of_any',),
    ),
    Mutant(
        'flow-any-skipped-at-once', 14, 'a task that waits for one of two is skipped when one of them cannot come',
        (script('_flow', 'elseif any and tonumber(any) > 1 then', 'elseif false then'),),
        (THREE,),
    ),
    Mutant(
        'flow-skip-blames-nobody', 14, 'what is skipped because of a failure is not needed',
        (script('_seldom', "how = (how == 'f' or how == 'x') and how or 'n'", "how = 'n'"),),
        (TWO,),
    ),
    Mutant(
        'flow-end-of-a-skip', 14, 'what waits for any end of a task is skipped with it',
        (script('_flow', "return kind == 'end' or", "return kind == 'end' and how ~= 'n' or"),),
        (THREE,),
    ),
    Mutant(
        'flow-redrive-uncounted', 14, 'a task that was dead and came back counts as dead',
        (script('_seldom', "if redis.call('HINCRBY', state .. flow, 'dead', -1) <= 0 then", 'if true then'),),
        (TWO,),
    ),
    Mutant(
        'flow-holder-of-a-cancelled-flow', 14, 'a working task of a cancelled flow ends as if it had failed alone',
        (script('_seldom', "== CANCELLED and 'x' or 'f'", "== CANCELLED and 'f' or 'f'"),),
        ('flows_of_few::test_flows_of_two_tasks_end_as_the_table_says_whatever_happens',),
    ),
    Mutant(
        'flow-cancel-beside-begin', 14, 'one call takes tasks back and has others begin',
        (script('spread', 'if cancels and count > 0 then', 'if false then'),
         script('spread', 'until not item or cancels', 'until not item'),
         # The book of groups would stand it, too.
         script('_groups', 'if members[j] == id then', 'if false then')),
        ('flows_faults::test_what_a_death_has_begin_and_the_flow_takes_back_leaves_its_group_free',),
    ),
    Mutant(
        'flow-gate-at-once', 14, 'one call has all tasks of a large flow begin',
        (script('_seldom', "item[2], id)\n        budget = budget - 1", 'item[2], id)'),),
        ('flows_growing::test_one_call_has_two_hundred_tasks_of_a_large_flow_begin',),
    ),
    Mutant(
        'flow-cleanup-cancelled', 14, 'what is to clean up is taken back with its flow',
        (script('spread', 'and (all or lost or not known[8]) and', 'and'),),
        (CANCELLED,),
    ),
    Mutant(
        'flow-holder-not-told-of', 14, 'a working task of a cancelled flow is no end when its holder lets it go',
        (script('_clear', 'if flow then', 'if false then'),),
        (CANCELLED,),
    ),
    Mutant(
        'flow-death-of-requeue', 14, 'a flow does not learn that attempts are used up',
        (script('requeue', "noted[#noted + 1] = {'died', id, known[10]}", ''),),
        ('flows::test_attempts_that_are_used_up_by_a_requeue_are_a_death',),
    ),
    Mutant(
        'flow-death-of-lease', 14, 'a flow does not learn that a task has died with its lease',
        (script('sweep', "noted[#noted + 1] = {'died', id, known[8]}", ''),),
        ('flows::test_attempts_and_leases_of_a_task_are_its_own',),
    ),
    Mutant(
        'flow-lost-state-waits', 14, 'a flow waits for ever for a task whose state was lost',
        (script('_flow', 'return flows.lost(id, flow)\n    elseif has[1] ~=', 'return\n    elseif has[1] ~='),),
        ('flows_faults::test_a_task_whose_state_was_lost_ends_as_failed_when_it_is_told',),
    ),
    Mutant(
        'flow-damage-ends-the-script', 8, 'what is rubbish in a key of a flow ends the call for all others, too',
        (script('_flow', 'local fine, why = pcall(step, ...)', 'local fine, why = true, step(...)'),),
        (DAMAGE,),
    ),
    Mutant(
        'flow-lost-needs-waits', 8, 'a flow of which nobody knows any more who is in it goes on for ever',
        (script('_seldom', "      flows.spoilt(flow, 'needs:' .. flow .. ' was lost')", ''),),
        (DAMAGE,),
    ),
    Mutant(
        'flow-lost-needs-stay', 8, 'what waits in a flow of which nobody knows that stays when it is cancelled',
        (script('spread', "lost = lost or cursor == '0' and", 'lost = false and'),),
        (DAMAGE, 'flows_damage::test_a_flow_that_has_lost_a_key_is_taken_back_whole_when_it_is_cancelled'),
    ),
    Mutant(
        'flow-graft-ends-by-damage', 8, 'what is rubbish where a task gives its place ends the call for all',
        (script('graft', 'flows.guard(flow, hand_over)', 'hand_over()'),),
        ('flows_damage::test_a_place_that_is_given_in_a_damaged_flow_harms_no_other',),
    ),
    Mutant(
        'flow-right-as-damage', 8, 'a right that a user lacks is taken for damage of the flow',
        (script('_seldom', "string.find(why, 'ACL failure')", 'false'), script('_seldom', "'NOPERM'", "'never'")),
        ('flows_damage::test_a_right_that_is_missing_is_no_damage',),
    ),
    Mutant(
        'flow-rubbish-in-spread', 8, 'what is rubbish among the work of flows ends the call that comes to it',
        (script('spread', 'local fine, item = pcall(cjson.decode, text)',
                'local fine, item = true, cjson.decode(text)'),),
        ('flows_damage::test_whatever_tells_a_damaged_flow_of_an_end_goes_on',),
    ),
    Mutant(
        'flow-damage-untold', 14, 'a flow does not learn of what a consumer found damaged',
        (script('claim', "redis.call('RPUSH', spread, cjson.encode({'', note[3], 'note', note}))", ''),),
        ('flows_faults::test_a_damaged_task_that_is_found_by_a_consumer_is_dead_in_its_flow_too',),
    ),
    Mutant(
        'flow-result-in-state', 14, 'a result of a task is kept twice',
        (script('release', "and not part(", "and part("),),
        ('flows_growing::test_results_are_kept_once_and_passed_on_whatever_their_time_to_live',),
    ),
    Mutant(
        'flow-rejection-without-life-completes', 14, 'a rejected task of which nothing is kept has completed',
        (client('protocol/options', 'or final != TorrelqueTaskStatus.COMPLETED):', '):'),),
        (EDGES,),
    ),
)

MAKING_FLOWS = (
    Mutant(
        'flow-made-twice', 14, 'a flow whose reply was lost is refused',
        (script('flow', 'if marked(known[2], mark) then', 'if false then'),),
        (AGAIN,),
    ),
    Mutant(
        'flow-half-made', 14, 'a flow is written though the id of one of its tasks is known',
        (script('flow', 'if denied then\n  return {denied}\nend', ''),
         script('_nodes', "return nil, {'duplicate', id}", 'there[id] = false')),
        ('flows::test_nothing_is_written_where_the_id_of_a_task_is_known',),
    ),
    Mutant(
        'flow-draft-begins', 14, 'tasks of a flow begin before all of it is there',
        (script('flow', 'if not meta.draft and meta.total then', 'if meta.total then'),),
        ('flows_growing::test_a_draft_that_nobody_goes_on_with_is_given_up',),
    ),
    Mutant(
        'flow-draft-cleans-up', 14, 'what is to run at the end of a flow runs though the flow was never there whole',
        (script('_seldom', "'0', all or draft}", "'0', all or false}"),),
        ('flows_growing::test_a_draft_that_nobody_goes_on_with_is_given_up',),
    ),
    Mutant(
        'flow-draft-forgets-an-end', 14, 'what is cancelled before those are there that wait for it is no end for them',
        (script('_flow', 'return flows.tell_later(id, flow, how, count, edges)', 'break'),),
        ('flows_growing::test_a_task_that_is_cancelled_before_those_are_there_that_wait_for_it_is_an_end_for_them',),
    ),
    Mutant(
        'flow-draft-leaves-who-joined', 14, 'who waits for a task of a draft that is given up waits for ever',
        (script('_seldom', "local draft = redis.call('HDEL', state .. flow, 'draft') == 1", (
            "local draft = redis.call('HEXISTS', state .. flow, 'draft') == 1"
        )),),
        ('flows_growing::test_a_draft_that_nobody_goes_on_with_is_given_up',),
    ),
    Mutant(
        'flow-draft-leaves-the-gate', 14, 'who waits for a task of a draft that was cancelled early waits for ever',
        (script('_seldom', 'if draft then', 'if false then'),),
        ('flows_growing::test_a_draft_that_nobody_goes_on_with_is_given_up',),
    ),
    Mutant(
        'flow-draft-for-ever', 14, 'what a producer has begun and never ended stays',
        (script('flow', "and now + 60000 or expires or '+inf', F)", "and '+inf' or expires or '+inf', F)"),),
        ('flows_growing::test_a_draft_that_nobody_goes_on_with_is_given_up',),
    ),
    Mutant(
        'flow-without-timeout', 14, 'a flow whose time is over goes on',
        (script('sweep', "noted[#noted + 1] = {'cancel', id}", ''),),
        ('flows::test_a_flow_is_given_up_when_its_time_is_over',),
    ),
    Mutant(
        'flow-spread-by-nobody', 14, 'who waits for tasks does not do what is left of flows',
        (client('aio/sweeping', 'if take_swept(self._calls, reply):\n', 'if False:\n'),),
        ('flows_growing::test_a_fan_out_is_told_of_by_whoever_waits_for_tasks',),
    ),
    Mutant(
        'flow-added-twice', 14, 'a second attempt adds its tasks again',
        (script('_grow', 'if not there[id] then', 'if true then'),),
        ('flows_growing::test_a_task_that_works_adds_others_before_and_behind',),
    ),
    Mutant(
        'flow-added-by-a-stranger', 14, 'who has lost its lease adds tasks',
        (script('add', "if outcome ~= 'ok' then\n  return", "if outcome == 'broken' then\n  return"),),
        (STORM,),
    ),
    Mutant(
        'flow-circle-by-before', 14, 'tasks that wait are made to wait for each other',
        (script('_grow', 'elseif holds and waits[id] then', 'elseif false then'),),
        ('flows_growing::test_nothing_is_added_that_cannot_be',),
    ),
    Mutant(
        'flow-joined-by-itself', 14, 'a task waits for the flow that it joins',
        (script('depend', 'if above == other then', 'if false then'),),
        ('flows_growing::test_tasks_of_different_flows_are_not_waited_for_together',),
    ),
    Mutant(
        'flow-left-behind-its-gate', 14, 'a large flow begins when somebody waits for tasks, and not before',
        (client('protocol/flows', 'if len(flow.parts) > 1 or first > calls', 'if first > calls'),),
        ('flows_growing::test_a_large_flow_begins_though_nobody_waits_for_tasks',),
    ),
    Mutant(
        'flow-works-for-others', 14, 'whoever makes a flow does all that others have put off',
        (client('protocol/flows', '1 + first // calls.bounds.grouped_tasks', 'None'),),
        ('flows_growing::test_a_large_flow_begins_though_nobody_waits_for_tasks',),
    ),
    Mutant(
        'flow-in-a-transaction-refused', 14, 'what was refused in a transaction passes for a task that is not held',
        (client('protocol/replies', 'outcome[0] in REFUSALS', 'outcome[0] in ()'),),
        ('pipeline::test_what_is_refused_of_flows_is_told_as_by_the_calls_themselves',),
    ),
    Mutant(
        'flow-in-a-transaction-cut', 14, 'of a large flow the first call is made part of a transaction',
        (client('protocol/flows', 'if len(flow.parts) > 1:', 'if len(flow.parts) > 99:'),),
        ('pipeline::test_a_flow_that_is_no_single_call_is_no_part_of_a_transaction',),
    ),
    Mutant(
        'flow-value-of-a-stranger', 14, 'who has lost its lease keeps a value',
        (script('give', "if outcome ~= 'ok' then\n  return", "if outcome == 'broken' then\n  return"),),
        ('flows_growing::test_named_values_are_of_the_flow',),
    ),
)
FLOWS = (*ENDS, *MAKING_FLOWS)
