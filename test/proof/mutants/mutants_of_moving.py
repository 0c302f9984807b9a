"""Hand-made faults where groups and ids come to new shards: what is refused, shut, carried, asked for."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

KEYED, LATE = 'sharded_keyed::', 'sharded_keyed_ids::'
ORDER = (KEYED + 'test_a_group_that_has_moved_goes_on_in_its_order',)
STILL = (LATE + 'test_one_that_stood_still_changes_nothing',)
FLOWS = (LATE + 'test_tasks_of_flows_are_waited_for',)
IDS = (LATE + 'test_an_id_is_taken_once_while_it_moves',)

MOVING = (
    Mutant(
        'moving-not-refused', 9, 'tasks by an old map go where their group was',
        (script('enqueue', 'stale = given.keyed < fence', 'stale = false'),),
        ORDER,
    ),
    Mutant(
        'moving-resent', 1, 'a call that is sent again is refused where its task is',
        (script('enqueue', 'if given.mark or resent then', 'if (given.mark or resent) and not stale then'),),
        (LATE + 'test_a_call_that_is_sent_again_finds_its_task_before_the_fence',),
    ),
    Mutant(
        'moving-fence-lowered', BEYOND, 'one that stood still has a shard take what it refused',
        (script('fence', "(tonumber(redis.call('HGET', growth, 'keyed')) or 0) < tonumber(ARGV[2])", 'true'),),
        STILL,
    ),
    Mutant(
        'moving-not-shut', 9, 'a new shard hands out groups that are worked on elsewhere',
        (script('_groups', ' or still[1] == 1', ''),),
        ORDER,
    ),
    Mutant(
        'moving-shut-again', 10, 'one that stood still shuts a shard that was opened',
        (script('shut', "redis.call('HSETNX', growth, 'shut', '1') == 1",
                "redis.call('HSET', growth, 'shut', '1') >= 0"),),
        STILL,
    ),
    Mutant(
        'moving-not-looked-at', 10, 'groups that wait in a shard that is opened go on to wait',
        (script('open', '  book().meet(page[2][k])\n', ''),),
        ORDER,
    ),
    Mutant(
        'moving-limits-overwritten', 9, 'one that stood still sets old limits',
        (script('inherit', "redis.call('HEXISTS', growth, 'given') == 1", 'false'),),
        STILL,
    ),
    Mutant(
        'moving-limits-early', 9, 'a limit is set before those of the group have come',
        (script('_refuse', 'shut and not given and', 'false and'),),
        (KEYED + 'test_what_sets_a_limit_waits_until_those_of_the_group_have_come',),
    ),
    Mutant(
        'moving-limits-not-refused', 9, 'a limit by an old map is set where the group was',
        (script('limit', "if ARGV[4] == '1' and", 'if false and'),),
        (KEYED + 'test_limits_and_pauses_move_and_are_set_where_the_group_is',),
    ),
    Mutant(
        'moving-put-late', 1, 'one that stood still puts a task in that is done',
        (script('put', 'if not known and (shut or not due) then', 'if not known then'),),
        STILL,
    ),
    Mutant(
        'moving-put-behind', 9, 'a task with a delay comes behind those that were enqueued later',
        (script('put', 'tonumber(words[k + 1]) - 2 ^ 42', 'tonumber(words[k + 1])'),),
        (KEYED + 'test_first_delays_move_at_once_and_go_before_what_came_later',),
    ),
    Mutant(
        'moving-redriven-there', 9, 'a dead task comes back where its group was',
        (script('redrive', 'if leaves and leaves(id, known[4]) then', 'if false then'),),
        (KEYED + 'test_a_dead_task_is_redriven_where_its_group_is',),
    ),
    Mutant(
        'moving-left-on-stage', 5, 'a task whose carrier has died stays on the stage',
        (client('sharded/grow', 'await asyncio.wait_for(self._carry(number), PATIENCE)', 'pass'),),
        (KEYED + 'test_what_is_left_on_a_stage_is_carried_by_whoever_finds_it',),
    ),
    Mutant(
        'moving-id-not-asked-for', BEYOND, 'an id is taken twice while it moves',
        (client('sharded/placing', 'await self._ask_before(task_id)', 'pass'),),
        IDS,
    ),
    Mutant(
        'moving-id-not-fenced', BEYOND, 'an id is taken twice, the second time by an old map',
        (client('sharded/placing', 'if (old, shape.keyed) not in self._fenced:', 'if False:'),),
        (LATE + 'test_an_id_is_taken_once_where_the_map_was_written_and_nothing_else',),
    ),
    Mutant(
        'moving-ids-forgotten', BEYOND, 'an id is not asked for any more that is known where it was',
        (client('sharded/moving', 'for place in (growing.TASKS, growing.KEPT):', 'for place in ():'),),
        IDS,
    ),
    Mutant(
        'moving-opened-early', 9, 'a new shard is opened while the old one has tasks of its groups',
        (client('sharded/moving', '            if not some:\n', '            if True:\n'),),
        ORDER,
    ),
    Mutant(
        'moving-flows-not-waited-for', 9, 'a new shard is opened while tasks are to come where their group was',
        (client('sharded/moving', 'left = yield from _left_of_flows(shape)', 'left: list[str] = []'),),
        FLOWS,
    ),
    Mutant(
        'moving-flows-not-refused', 9, 'tasks of flows by an old map are for the shard where their group was',
        (script('_nodes', 'goes_by_old = goes_by_old or given.keyed < least_keyed', 'goes_by_old = false'),),
        FLOWS,
    ),
    Mutant(
        'moving-guest-taken-in', 9, 'a task of a flow of another queue comes where its group was',
        (script('host', '~= queue and strayed(group)', '~= queue and false'),),
        (LATE + 'test_a_task_of_a_flow_of_another_queue_is_not_taken_in_where_its_group_was',),
    ),
    Mutant(
        'moving-schedule-not-refused', 9, 'a schedule by an old map enqueues where its group was',
        (script('schedule', 'elseif keyed and tonumber(keyed) <', 'elseif keyed and -1 >'),),
        (LATE + 'test_what_cannot_move_is_refused_before_anything_is_written',),
    ),
)  # fmt: skip
