"""Hand-made faults in grafts: tasks that take the place of another one."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

TOLD = 'grafts::test_whatever_waits_for_a_task_is_told_of_the_end_of_its_heir'
BEFORE = 'grafts::test_a_heir_that_has_ended_before_is_told_of_at_once'
TAKEN = 'grafts::test_tasks_take_the_place_of_one_and_give_its_result'
HEIRS = 'grafts::test_heirs_have_heirs_and_whoever_comes_later_waits_for_the_last'
LOST = 'grafts::test_the_place_of_a_task_is_taken_once_though_replies_are_lost'
CANCELLED = 'grafts::test_a_task_that_was_cancelled_gives_its_place_to_nobody'
ALONE = 'grafts::test_a_task_that_was_enqueued_alone_becomes_a_flow'
FOLLOWED = 'grafts::test_a_wait_and_a_watch_go_on_with_the_heir'
LARGE = 'grafts::test_a_large_graft_is_added_in_several_calls_of_which_the_last_counts'

GRAFTS = (
    Mutant(
        'graft-hands-nothing-over', 14, 'what waits for a task waits in vain for one that has taken its place',
        (script('graft', "redis.call('HSET', edges, heir, cjson.encode(its))", 'local _ = its'),),
        (TOLD,),
    ),
    Mutant(
        'graft-tells-of-the-task', 14, 'what waits for a task is told that it has completed when others take its place',
        (script('graft', 'local how, text = stand({heir}, flow)[heir], redis', "local how, text = 'c', redis"),),
        (TOLD,),
    ),
    Mutant(
        'graft-forgets-a-death', 14, 'what waits for any end is not told of an heir that is dead already',
        (script('graft', "if how == 'd' then", 'if false then'),),
        (BEFORE,),
    ),
    Mutant(
        'graft-waits-for-what-has-ended', 14, 'what waits for a task waits for an heir that has ended already',
        (script('graft', "elseif how ~= 'w' and how ~= 'd' then", 'elseif false then'),),
        (BEFORE,),
    ),
    Mutant(
        'graft-is-taken-for-the-end', 14, 'what is added behind a task does not wait for its heirs',
        (script('_grow', "while done and string.sub(done, 1, #id + 2) == '>' .. id .. '.' do",
                'while false do'),),
        (HEIRS,),
    ),
    Mutant(
        'graft-of-a-stranger', 14, 'who has lost its lease gives the place of a task away',
        (script('graft', "elseif outcome ~= 'ok' then", "elseif outcome == 'broken' then"),),
        ('grafts::test_who_does_not_hold_a_task_any_more_changes_nothing',),
    ),
    Mutant(
        'graft-is-not-known-again', 14, 'a graft whose reply was lost is refused when it is sent again',
        (script('graft', "(known[8] == ARGV[4] or is_grafted())", 'false'),),
        (LOST,),
    ),
    Mutant(
        'graft-in-a-cancelled-flow', 14, 'tasks come to a flow that was cancelled',
        (script('graft', "elseif outcome == 'ok' and flow and goes_on ~= WAITING then", 'elseif false then'),),
        (CANCELLED,),
    ),
    Mutant(
        'graft-leaves-a-cancelled-task', 14, 'a task that was cancelled stays when its function returns a flow',
        (script('graft', "if outcome == 'cancelled' then\n  clear(", "if outcome == 'cancelled' then\n  type("),),
        (CANCELLED,),
    ),
    Mutant(
        'graft-ends-twice', 14, 'a task that its flow goes on without, and that was redriven, ends once more',
        (script('graft', "if redis.call('HDEL', base .. 'needs:' .. flow, T) == 1 then",
                "if redis.call('HDEL', base .. 'needs:' .. flow, T) then"),),
        ('grafts::test_a_task_that_its_flow_goes_on_without_ends_once',),
    ),
    Mutant(
        'graft-keeps-its-slot', 2, 'a task of a group that has become a flow keeps its slot',
        (script('graft', 'book().free(T, group)', 'local _ = group'),),
        (ALONE,),
    ),
    Mutant(
        'graft-counts-go-down', 14, 'whoever watches a task takes the flow that it becomes for writes that were lost',
        (script('graft', "redis.call('HDEL', key, 'group',", "redis.call('HDEL', key, 'dequeue_count', 'group',"),),
        ('grafts::test_a_wait_goes_on_with_a_task_that_becomes_a_flow', ALONE),
    ),
    Mutant(
        'graft-with-its-last-call-only', 14, 'of a large graft some tasks are missing',
        (client('protocol/flows', '    for part in first:\n', '    for part in first[1:]:\n'),),
        (LARGE,),
    ),
    Mutant(
        'graft-result-of-nobody', BEYOND, 'a task whose place was taken has no result',
        (client('protocol/flowing', "if type(value) is not bytes or value[:1] != b'>':", 'if True:'),),
        (TAKEN,),
    ),
    Mutant(
        'graft-is-not-followed', BEYOND, 'a watch ends with a task whose place was taken',
        (client('aio/watch', 'if heir is None or self._over:', 'if True:'),),
        (FOLLOWED,),
    ),
    Mutant(
        'graft-without-a-bound', BEYOND, 'functions return steps of functions that return steps, without end',
        (client('flows/grafting', "name.count('.') >= DEEPEST", "name.count('.') >= 1000"),),
        ('flows_grafts::test_grafts_have_a_bound',),
    ),
    Mutant(
        'graft-as-a-result', BEYOND, 'a step that a function returns is taken for its result',
        (client('worker/settling', 'elif isinstance(result, Instead):', 'elif False:'),),
        ('flows_grafts::test_a_step_takes_the_place_of_a_task_and_gives_its_result',),
    ),
)
