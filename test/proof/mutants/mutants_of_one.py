"""Hand-made faults in what scripts do for one plain task, before all else."""

from __future__ import annotations

from proof.mutants.mutant import Mutant, script

ONE = (
    Mutant(
        'hole-not-skipped-by-one', 1, 'what is not pending is handed out alone where an old id says so',
        (script('claim', "known and known[1] == PENDING and redis.call('HGET'", "known and redis.call('HGET'"),),
        ('payloads::test_an_id_in_pending_counts_by_its_state',),
    ),
    Mutant(
        'record-of-one-not-written', 6, 'a claim of one that is sent again takes another, whose lease runs for nobody',
        (script('claim', "redis.call('SET', record, text or", 'type(text or'),),
        ('faults::test_dequeue_is_once',),
    ),
    Mutant(
        'record-of-one-as-it-stands', 6, 'a claim of an id that is no JSON as it stands fails when it is sent again',
        (script('claim', "string.find(id, '^%w+$') and ", ''),),
        ('faults::test_a_claim_of_any_id_is_once',),
    ),
    Mutant(
        'broken-key-fails-claim-of-one', 8, 'one id whose key holds something else fails every claim of one task',
        (script('claim', 'local known = id and redis.pcall(', 'local known = id and redis.call('),),
        ('payloads::test_a_damaged_task_is_reported_and_harms_no_other',),
    ),
    Mutant(
        'odd-one-not-put-back', 8, 'one id that cannot be handed out is never told of',
        (script('claim', "redis.call('RPUSH', pending, id)", ''),),
        ('payloads::test_a_damaged_task_is_reported_and_harms_no_other',),
    ),
    Mutant(
        'payload-of-one-left', 2, 'the payload of a task that is released alone stays',
        (script('release', "redis.call('HDEL', tasks, id)", ''),),
        ('verbs::test_life_of_a_task_leaves_no_key',),
    ),
    Mutant(
        'one-released-by-any-token', 3, 'whoever lost a lease releases the task of another by a call of its own',
        (script('release', "(token == '' or attempt .. '-' .. (seen[3] or '') == token) and", ''),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told', 'model'),
    ),
    Mutant(
        'one-of-a-group-as-plain', 3, 'a task of a group keeps its slot where it is released alone',
        (script('release', 'and not seen[4] and', 'and'),),
        ('groups',),
    ),
    Mutant(
        'state-of-one-left', 2, 'the state of a task that is released alone stays',
        (script('release', "redis.call('DEL', key)\n    else\n      redis.call('DEL', key, record)",
                "redis.call('DEL', base)\n    else\n      redis.call('DEL', record)"),),
        ('verbs::test_life_of_a_task_leaves_no_key',),
    ),
    Mutant(
        'record-left-by-a-release-of-one', 2, 'a release of one task leaves the record whose reply has come',
        (script('release', "redis.call('DEL', key, record)", "redis.call('DEL', key)"),),
        ('verbs::test_life_of_a_task_leaves_no_key', 'model'),
    ),
    Mutant(
        'enqueue-of-one-double-as-plain', 5, 'an enqueue of one task that comes after its own repetition counts as new',
        (script('enqueue', "if redis.call('HSET', tasks, id, ARGV[5]) == 1 then",
                "if redis.call('HSET', tasks, id, ARGV[5]) then"),),
        ('faults', 'silence', 'damage', 'model'),
    ),
    Mutant(
        'full-for-several-alone', 8, 'a full queue takes tasks in that come one by one',
        (script('enqueue', "and ARGV[2] == '' and string.byte", 'and string.byte'),),
        ('verbs::test_a_full_queue_refuses',),
    ),
)  # fmt: skip
