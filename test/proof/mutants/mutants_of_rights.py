"""Hand-made faults in what is told of a missing right, and in what hostile data, releases and commands are held to."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client, script

NUMBER = 'damage::test_a_number_in_a_state_that_is_none_harms_no_other_task'
CIRCLE = 'flows_damage::test_what_leads_round_in_a_circle_is_gone_round_once'
STATUS = 'damage::test_a_status_that_nobody_can_mean_holds_up_no_other_and_is_told'

RIGHTS = (
    Mutant(
        'right-within-a-script-unknown', BEYOND, 'a right that a script lacks is an error like any other',
        (client('protocol/refusals', "return 'NOPERM' if _DENIED.search(message) else", 'return'),),
        ('rights::test_what_lacks_a_right_is_told_with_the_queue_and_the_place',),
    ),
    Mutant(
        'right-without-a-place', BEYOND, 'what a missing right is about is not told',
        (client('aio/link', 'told = with_place(message, request.transition, request.args)', 'told = message'),),
        ('rights::test_what_lacks_a_right_is_told_with_the_queue_and_the_place',),
    ),
    Mutant(
        'right-without-a-place-in-threads', BEYOND, 'what a missing right is about is not told to synchronous code',
        (client('sync/link', 'with_place(message, transition, args)', 'message'),),
        ('rights::test_what_lacks_a_right_is_told_with_the_queue_and_the_place',),
    ),
    Mutant(
        'bell-that-is-forbidden', BEYOND, 'a consumer that may not block at the bell asks again and again',
        (client('aio/shelf', 'if isinstance(error, ServerPermissionError):', 'if False:'),),
        ('rights::test_who_may_not_wait_is_told_and_does_not_ask_again_and_again',),
    ),
    Mutant(
        'bell-that-is-forbidden-to-threads', BEYOND, 'a thread that may not block at the bell asks again and again',
        (client('sync/fetcher', 'elif isinstance(exc, ServerPermissionError):', 'elif False:'),),
        ('rights::test_who_may_not_wait_is_told_and_does_not_ask_again_and_again',),
    ),
    Mutant(
        'shards-not-added-up', BEYOND, 'why nothing moves is told of one shard, as if it were all',
        (client('operate/spread', 'if count is not None and all(map(explaining.is_of_none, reasons)):', 'if False:'),),
        ('sharded_operate::test_what_shards_have_where_nothing_is_pending_is_added_up',),
    ),
    Mutant(
        'limit-of-a-star', BEYOND, 'what files call the default of all groups is a group to the command',
        (client('cli/switching', 'if found.group == DEFAULT:', 'if False:'),),
        ('cli_acting_queues::test_the_default_of_all_groups_is_not_set_by_who_forgets_the_group',),
    ),
    Mutant(
        'flow-key-right-as-damage', 8, 'a key that a user may not touch is taken for damage of the flow',
        (script('_seldom', '"user executing the script can\'t"', '"never"'),
         script('_seldom', "'ACL failure'", "'never'")),
        ('rights::test_a_right_that_is_missing_is_no_damage_of_a_flow',),
    ),
    Mutant(
        'look-without-a-right-as-damage', 8, 'what a user may not look at counts as damaged, or as not there',
        (Edit('torrelque/operate/script/_begin.lua', "if why and (string.find(why, 'NOPERM')", 'if false and (why'),),
        ('rights::test_who_looks_without_a_right_is_told_it_and_no_damage',),
    ),
    Mutant(
        'lease-of-no-number', 8, 'a claim fails at a lease that is no number, and has taken tasks out of their places',
        (script('_hand', 'if not (held_for >= 0 and held_for <= 1e13) then', 'if false then'),),
        (NUMBER,),
    ),
    Mutant(
        'lease-of-no-number-renewed', 8, 'a task whose lease is no number leaves its place when it is renewed',
        (script('touch', 'if not (lease >= 0 and lease <= 1e13) then', 'if false then'),),
        (NUMBER,),
    ),
    Mutant(
        'order-of-no-number', 8, 'a sweep fails at an order that is no number, and has taken tasks out of their places',
        (script('_place', 'if number ~= number then', 'if false then'),),
        (NUMBER,),
    ),
    Mutant(
        'order-of-a-head-of-no-number', 8, 'a claim fails at the head of a paused group whose order is no number',
        (script('claim', 'order = order == order and order or 0', 'order = order'),),
        ('damage::test_a_head_without_an_order_goes_back_into_its_group',),
    ),
    Mutant(
        'group-that-is-rubbish', 8, 'a group whose key holds something else fails claims, and loses tasks of others',
        (script('_groups', "elseif string.find(err, '^WRONGTYPE') then", 'elseif false then'),),
        ('damage::test_a_group_whose_key_holds_something_else_harms_no_other',),
    ),
    Mutant(
        'limit-of-a-half', 8, 'a claim fails at a limit of a half, and has taken tasks out of their places',
        (script('_decode', 'math.max(1, math.floor(value.concurrency))', 'value.concurrency'),),
        ('damage::test_a_limit_that_is_no_whole_number_is_the_next_lower_one',),
    ),
    Mutant(
        'heirs-in-a-circle', 8, 'two tasks that somebody has made heirs of each other keep the server busy for ever',
        (script('_grow', "string.sub(done, 1, #id + 2) == '>' .. id .. '.' do", 'string.byte(done) == 62 do'),),
        (CIRCLE,),
    ),
    Mutant(
        'flow-of-itself', 8, 'a flow that somebody has made a task of itself keeps the server busy for ever',
        (script('depend', 'while above and not met[above] do', 'while above do'),),
        (CIRCLE,),
    ),
    Mutant(
        'attempts-of-no-number', 8, 'attempts at the most that are no number fail whatever brings the task back',
        (script('_bury', '(tonumber(max_attempts) or math.huge)', 'tonumber(max_attempts)'),),
        (NUMBER,),
    ),
    Mutant(
        'home-that-is-rubbish', 8, 'what somebody has written for the home of a task fails whoever settles it',
        (script('_abroad', "(type(guest[k]) == 'string' or type(guest[k]) == 'number')", 'true'),),
        ('damage::test_what_nobody_can_tell_of_the_home_of_a_task_harms_no_other',),
    ),
    Mutant(
        'home-of-a-lost-one-that-is-rubbish', 8, 'and whoever mends one whose state was lost',
        (script('_mend', "fine and type(stay) == 'table' and", 'guest and'),),
        ('damage::test_what_nobody_can_tell_of_the_home_of_a_task_harms_no_other',),
    ),
    Mutant(
        'status-of-a-head-that-is-rubbish', 9, 'a group stands still behind a task whose status says nothing',
        (script('claim', 'of its group.\n        damaged(id, known)\n        opened.strike(id, opened.names[group])',
                'of its group.'),),
        (STATUS,),
    ),
    Mutant(
        'status-that-is-rubbish-is-nothing', 8, 'a task whose status says nothing is in no place, and nobody is told',
        (script('claim', "not known[1] or known[1] == PENDING or not string.find(known[1], '^[0-7]$')",
                'not known[1] or known[1] == PENDING'),),
        (STATUS,),
    ),
)  # fmt: skip
