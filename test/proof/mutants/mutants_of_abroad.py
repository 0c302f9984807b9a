"""Hand-made faults in flows whose tasks are in several queues."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

CHAIN = 'flows_abroad::test_a_chain_goes_through_both_queues_with_its_results_and_leaves_nothing'
DEATH = 'flows_abroad::test_a_death_over_there_stalls_the_flow_and_a_redrive_there_resumes_it'
CANCELLED = 'flows_abroad::test_a_cancelled_flow_takes_its_tasks_back_from_other_queues_before_it_cleans_up'
OVERTAKEN = 'flows_abroad::test_an_errand_that_was_changed_on_its_way_goes_again'
ACTS = 'flows_abroad::test_a_task_over_there_adds_to_its_flow_and_keeps_values_with_it'
LATE = 'flows_abroad_faults::test_news_that_come_late_change_nothing'
LOST = 'flows_abroad_faults::test_what_is_lost_over_there_is_told_at_home'
BY_THEMSELVES = 'flows_abroad_faults::test_consumers_of_both_queues_that_wait_pass_a_flow_on_by_themselves'
DATA = 'flows_queues::test_data_go_through_functions_of_several_queues_and_apps'
SERVERS = 'flows_queues::test_steps_of_apps_on_two_servers_are_refused_before_anything_is_sent'

CARRIED = (
    Mutant(
        'abroad-runs-again', 14, 'what has ended in another queue runs once more when it is brought late',
        (script('host', "letter[3] == 'ended' then", "letter[3] == 'nothing' then"),),
        ('flows_abroad_faults::test_a_late_repetition_of_what_brought_a_task_does_not_run_it_again',),
    ),
    Mutant(
        'abroad-takes-ids', 14, 'a task of another queue is taken for one that has its id there',
        (script('host', "elseif here and (status", 'elseif (status'),),
        ('flows_abroad_faults::test_an_id_that_another_task_has_over_there_is_a_failure',),
    ),
    Mutant(
        'abroad-old-news', 14, 'news that are older than others undo these',
        (script('arrive', 'number > (tonumber(known[4]) or 0) then', 'number > 0 then'),),
        (LATE,),
    ),
    Mutant(
        'abroad-news-of-another', 14, 'news of a task are taken for such of another one that has its id now',
        (script('arrive', 'known[2] and known[3] == stay and', 'known[2] and'),),
        (LATE,),
    ),
    Mutant(
        'abroad-dead-for-ever', 14, 'a flow counts a task as dead that was redriven elsewhere and has ended',
        (script('arrive', "notes[#notes + 1] = {'revived', id, flow}", ''),),
        ('flows_abroad::test_a_task_that_ends_before_anybody_has_told_of_its_redrive_is_not_dead',),
    ),
    Mutant(
        'abroad-forgets-what-changed', 14, 'an errand that has changed since it was carried counts as carried',
        (script('carried', 'known.err or known[1] ~= number or', 'known.err or'),),
        (OVERTAKEN,),
    ),
    Mutant(
        'abroad-taken-back-by-who-failed', 14, 'what was carried is nowhere when another one says that it could not',
        (script('carried', 'known[2] ~= stay or not known[4] then', 'known[2] ~= stay then'),),
        ('flows_abroad_faults::test_whoever_could_not_carry_it_says_so_after_another_one_has',),
    ),
    Mutant(
        'abroad-tries-without-pause', 14, 'a queue that is full is asked again each second',
        (script('carried', '1000 * 2 ^ math.min(6,', '1000 + 0 * math.min(6,'),),
        ('flows_abroad_faults::test_a_full_queue_is_tried_again_more_and_more_seldom',),
    ),
    Mutant(
        'abroad-letter-forgotten-at-once', 14, 'nothing is known of a task any more when its end has been told',
        (script('carried', "redis.call('PEXPIRE', key, 60000)", "redis.call('DEL', key)"),),
        ('flows_abroad_faults::test_a_late_repetition_of_what_brought_a_task_does_not_run_it_again',),
    ),
    Mutant(
        'abroad-delay-twice', 14, 'a delay is not spent before a task goes to another queue',
        (script('_flow', "send_out(id, 'host', string.format('%.0f', now + (delay or 0)))",
                "send_out(id, 'host', stamp)"),),
        ('flows_abroad::test_a_task_of_another_queue_has_its_options_there_and_spends_its_delay_at_home',),
    ),
    Mutant(
        'abroad-not-cancelled', 14, 'what a cancelled flow has in other queues goes on',
        (script('_revoke', "send_out(id, 'cancel', stamp)", ''),),
        (CANCELLED,),
    ),
    Mutant(
        'abroad-not-redriven', 14, 'a redrive of a flow does not reach other queues',
        (script('redrive', "send_out(id, 'redrive', stamp)", ''),),
        ('flows_abroad::test_a_redrive_of_the_flow_reaches_its_dead_tasks_in_other_queues',),
    ),
    Mutant(
        'abroad-death-is-an-end', 14, 'a death in another queue is told as an end',
        (script('_abroad', 'write_letter(task, guest, what, redis.call(',
                "write_letter(task, guest, 'ended', redis.call("),),
        (DEATH,),
    ),
    Mutant(
        'abroad-loss-untold', 14, 'nobody learns of a task of another queue whose state was lost',
        (script('_mend', "type(stay[2]) == 'string' and stay[2] or flow", 'flow'),),
        (LOST,),
    ),
    Mutant(
        'abroad-end-untold', 14, 'nobody learns of the end of a task of another queue',
        (script('_seldom', 'tell_home({about})', ''),),
        (CHAIN,),
    ),
    Mutant(
        'abroad-death-untold', 14, 'nobody learns that a task of another queue is dead',
        (script('_seldom', "flows.missed(flow, {'died', id})", 'nil'),),
        (DEATH,),
    ),
    Mutant(
        'abroad-redrive-untold', 14, 'a flow counts a task as dead that was redriven in another queue',
        (script('_seldom', "flows.missed(flow, {'revived', id})", ''),),
        (DEATH,),
    ),
    Mutant(
        'abroad-loss-found-by-a-claim-untold', 14, 'a loss that a consumer finds is not told to another queue',
        (script('claim', 'tell_home(noted)', ''),),
        (LOST,),
    ),
    Mutant(
        'abroad-settled-at-home', 3, 'an operator settles at home what is worked on elsewhere',
        (script('_judge', "return status == WORKING and known[2] and 'ok' or 'not_working'",
                "return status == WORKING and 'ok' or 'not_working'"),),
        ('flows_abroad_faults::test_an_operator_does_not_settle_what_is_worked_on_elsewhere',),
    ),
    Mutant(
        'abroad-old-attempts-act', 3, 'an attempt keeps values with its flow after a later one has',
        (script('_acting', 'elseif attempt < (tonumber(known[6]) or 0) then', 'elseif false then'),),
        (ACTS,),
    ),
    Mutant(
        'abroad-counts-as-pending', BEYOND, 'what is worked on in another queue is counted as pending',
        (script('stats', "redis.call('ZCARD', working) + redis.call('ZCARD', away)", "redis.call('ZCARD', working)"),),
        (CHAIN,),
    ),
    Mutant(
        'abroad-not-told-at-once', 14, 'whoever makes a flow leaves it to others to tell other queues',
        (client('protocol/flows', "if plan.goes_out:\n        yield from carry(calls)\n    return TorrelqueTaskId(plan",
                'return TorrelqueTaskId(plan'),),
        (CHAIN,),
    ),
    Mutant(
        'abroad-rings-not', 10, 'nobody wakes when a task has news for another queue',
        (script('release', 'if rings or noted.out then', 'if rings then'),),
        ('flows_abroad_faults::test_whoever_waits_is_rung_for_news_also_where_no_task_is_left',),
    ),
    Mutant(
        'abroad-never-due', 10, 'no consumer knows that there is something to carry',
        (script('_coming', 'letter or math.huge)', 'math.huge)'),),
        (BY_THEMSELVES,),
    ),
    Mutant(
        'abroad-carried-by-nobody', 10, 'whoever sweeps does not carry',
        (client('protocol/calls', 'if out and self.when_out is not None:', 'if False:'),),
        (BY_THEMSELVES,),
    ),
)
AT_WORK = (
    Mutant(
        'abroad-reads-here', BEYOND, 'a function of another queue looks for results where it runs',
        (client('flows/inputs', 'return queue if home is None or home == queue.name else queue.sibling(home)',
                'return queue'),),
        (DATA,),
    ),
    Mutant(
        'abroad-all-at-home', BEYOND, 'functions of other queues run in that of the flow',
        (client('flows/plan', "if node.called.place != home and node.mapped is None:\n        options['queue']",
                "if node.mapped is None:\n        pass\n    elif False:\n        options['queue']"),),
        (DATA,),
    ),
    Mutant(
        'abroad-map-at-home', BEYOND, 'a map calls a function of another queue in that of the flow',
        (client('flows/plan', "{**call['options'], 'queue': node.called.place}", "{**call['options']}"),),
        ('flows_queues::test_a_map_calls_a_function_of_another_queue',),
    ),
    Mutant(
        'abroad-limit-at-home', BEYOND, 'the limit of a map is set where its calls are not',
        (client('flows/own', "delivery.queue.sibling(options['queue']) if 'queue' in options else delivery.queue",
                'delivery.queue'),),
        ('flows_queues::test_a_map_calls_a_function_of_another_queue',),
    ),
    Mutant(
        'abroad-any-server', BEYOND, 'a flow may have steps on two servers',
        (client('flows/graph', 'if not apps[0].shares_server(other):', 'if False:'),),
        (SERVERS,),
    ),
    Mutant(
        'abroad-any-database', BEYOND, 'two databases of a server count as one',
        (client('tasks/address', "return address, int(said.get('db') or 0)", 'return address, 0'),),
        (SERVERS,),
    ),
    Mutant(
        'abroad-any-serialiser', BEYOND, 'a flow may have apps that cannot read what each other writes',
        (client('flows/graph', 'if apps[0].given.serialiser != other.given.serialiser:', 'if False:'),),
        ('flows_queues::test_steps_of_apps_with_two_serialisers_are_refused',),
    ),
    Mutant(
        'abroad-burst-leaves', BEYOND, 'a burst ends while something is carried from one of its queues to another',
        (client('worker/source', "if answer == b'yes':", "if answer == b'yes' and not self.queues[1:]:"),),
        ('flows_queues::test_a_burst_waits_for_what_goes_from_one_of_its_queues_to_another',),
    ),
    Mutant(
        'abroad-unexplained', BEYOND, 'an operator is told that a task stands nowhere which is in another queue',
        (client('operate/reasons', 'if is_elsewhere(seen):', 'if False:'),),
        ('operate_elsewhere::test_a_task_that_is_elsewhere_says_where_and_since_when',),
    ),
    Mutant(
        'abroad-waited-for-elsewhere', BEYOND, 'a task that waits beside a guest takes the end of that from its home',
        (script('depend', "if its and redis.call('HEXISTS', base .. 'guests', other) == 1 then", 'if false then'),),
        ('flows_abroad_faults::test_nothing_waits_over_there_for_a_task_that_counts_at_home',),
    ),
    Mutant(
        'abroad-dead-is-waited-for', BEYOND, 'a result is waited for after the death of its task in another queue',
        (client('tasks/handle', 'is TorrelqueTaskStatus.DEAD or away and state.error is not None',
                'is TorrelqueTaskStatus.DEAD'),),
        ('flows_queues::test_a_death_in_another_queue_is_told_by_the_handle_and_repaired_by_it',),
    ),
    Mutant(
        'abroad-map-goes-along', BEYOND, 'a task that maps goes from the process of a function to another queue',
        (client('flows/grafting', "if payload['task'] != MAP:", 'if True:'),),
        ('flows_queues::test_a_flow_that_a_function_returns_maps_in_the_queue_of_its_steps',),
    ),
    Mutant(
        'abroad-returned-to-the-task', BEYOND, 'steps that a function returns are in its own queue, and not in theirs',
        (client('flows/steps', 'self._single, delivery.queue.name)', 'self._single)'),),
        ('flows_queues::test_a_function_alone_in_another_queue_returns_steps_that_are_where_they_belong',),
    ),
    Mutant(
        'abroad-moves-when-dead', BEYOND, 'a flow is said to go on whose only task is dead in another queue',
        (client('operate/stalls', "item.status in _MOVING and item.left != b'dead']", 'item.status in _MOVING]'),),
        ('operate_elsewhere::test_a_death_elsewhere_is_told_with_what_repairs_it',),
    ),
)
ABROAD = (*CARRIED, *AT_WORK)
