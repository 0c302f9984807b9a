"""Hand-made faults in what is told of a missing right, and in what hostile data, releases and commands are held to."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

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
)  # fmt: skip
