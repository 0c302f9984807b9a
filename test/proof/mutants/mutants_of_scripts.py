"""Hand-made faults in the scripts: who holds a task, where it is, what is sent twice, and damage."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client, script

FENCE = (
    Mutant(
        'fence-gone', 3, 'whoever ever held a task may settle it',
        (script('_judge', "elseif not known[2] or known[2] .. '-' .. (known[3] or '') ~= token then",
                'elseif not known[2] then'),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told',),
    ),
    Mutant(
        'fence-by-attempt-alone', 3, 'an id that is used anew counts from 1 again: its old holder may settle it',
        (script('_judge', "elseif not known[2] or known[2] .. '-' .. (known[3] or '') ~= token then",
                "elseif not known[2] or known[2] ~= string.match(token, '^%d+') then"),),
        ('verbs::test_an_id_used_anew_is_fenced_from_its_old_holder',),
    ),
    Mutant(
        'fence-by-time-alone', 3, 'two hand-outs within a millisecond have one token',
        (script('_judge', "elseif not known[2] or known[2] .. '-' .. (known[3] or '') ~= token then",
                "elseif not known[2] or known[3] ~= string.match(token, '-(.*)$') then"),),
        ('model',),
    ),
    Mutant(
        'token-to-the-millisecond', 3, 'an id that is used anew within a millisecond is not fenced from its old holder',
        (script('claim', "local claimed = stamp .. '.' .. micros", 'local claimed = stamp'),),
        ('verbs', 'cancel', 'payloads'),
    ),
    Mutant(
        'operator-settles-anything', 3, 'a plain id settles a task that nobody was given',
        (script('_judge', "return status == WORKING and known[2] and 'ok' or 'not_working'", "return 'ok'"),),
        ('verbs::test_an_operator_settles_by_the_plain_id_what_is_working',),
    ),
    Mutant(
        'cancelled-holder-not-told', 3, 'the holder of a cancelled task renews and settles it as if nothing was',
        (script('_judge', "return 'cancelled'", "return 'ok'"),),
        ('cancel::test_the_holder_of_a_cancelled_task_is_told',),
    ),
    Mutant(
        'attempt-not-counted', 3, 'all hand-outs of a task are its first, and those of a millisecond the same',
        (script('_hand', '(known[3] and tonumber(known[3]) or 0) + 1', '1'),),
        ('verbs::test_life_of_a_task_leaves_no_key',),
    ),
    Mutant(
        'release-unknown-is-done', 3, 'whoever releases what is gone is told that it was done, resent or not',
        (script('release', 'elseif resent and (not released[id] or', 'elseif (not released[id] or'),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told',),
    ),
    Mutant(
        'clients-time', 4, 'deadlines are set and judged by the clock of whoever calls',
        (
            script('_time', 'now = stamp + 0',
                   "now = tonumber(string.match(ARGV[1], '@(%d+)$')) or 0"),
            script('_prelude', "local resent = ARGV[1] == '1'", "local resent = string.sub(ARGV[1], 1, 1) == '1'"),
            client('protocol/transition', "packed: bytes = _pack(('1' if resent else '', *args))",
                   "packed: bytes = _pack((('1' if resent else '') + f'@{__import__(\"time\").time_ns() // 10**6}',"
                   ' *args))'),
        ),
        ('damage::test_a_clock_that_is_wrong_moves_no_deadline',),
    ),
    Mutant(
        'lease-ends-early', 4, 'a sweep takes tasks from whoever works on them',
        (script('sweep', "redis.call('ZRANGEBYSCORE', working, '-inf', stamp,",
                "redis.call('ZRANGEBYSCORE', working, '-inf', '+inf',"),),
        ('verbs::test_sweep_brings_back_what_is_due_in_bounded_steps',),
    ),
    Mutant(
        'record-gives-what-was-swept', 4, 'a claim sent twice gives what another was given since',
        (script('claim', 'and known[3] == last.time and payload then', 'and payload then'),),
        ('model',),
    ),
    Mutant(
        'touch-by-old-deadline', 4, 'a lease is renewed to a time that is over',
        (script('touch', "redis.call('ZADD', working, now + lease, id)",
                "redis.call('ZADD', working, now, id)"),),
        ('verbs::test_touch_moves_the_deadline_and_tells_progress',),
    ),
)  # fmt: skip

PLACES = (
    Mutant(
        'hole-filled-twice', 1, 'an id enqueued anew over its hole is twice in pending',
        (script('_append', "if #fresh > 0 and redis.call('EXISTS', holes) == 1 then", 'if false then'),),
        ('cancel::test_an_id_enqueued_anew_over_its_hole_is_in_one_place',),
    ),
    Mutant(
        'hole-not-noted', 1, 'a cancelled id in a long list counts again when it is enqueued elsewhere',
        (script('_revoke', "redis.call('SADD', holes, id)", ''),),
        ('cancel::test_an_id_enqueued_anew_over_its_hole_is_in_one_place',),
    ),
    Mutant(
        'hole-not-known', 1, 'a claim hands a task out of turn over a hole of its id',
        (script('claim', "local hole = known and patchy and redis.call('SREM', holes, id) == 1",
                'local hole = false'),),
        ('model',),
    ),
    Mutant(
        'hole-not-skipped', 1, 'what is not pending is handed out where an old id says so',
        (script('claim', "if known[1] ~= PENDING then\n    return 'hole'", "if false then\n    return 'hole'"),),
        ('payloads::test_an_id_in_pending_counts_by_its_state',),
    ),
    Mutant(
        'cancelled-stays-delayed', 1, 'a cancelled id keeps its place among the delayed',
        (script('_revoke', "redis.call('ZREM', delayed, id)", ''),),
        ('cancel::test_a_cancelled_task_is_not_handed_out',),
    ),
    Mutant(
        'late-first-sending', 1, 'an enqueue that comes after its own repetition puts a working task to pending',
        (script('enqueue', 'if not (some_there and not given.mark and lives(ARGV[i])) then', 'if true then'),),
        ('faults::test_a_call_that_arrives_after_its_own_repetition_changes_nothing',),
    ),
    Mutant(
        'dead-is-pending-too', 1, 'a task whose attempts are used up is put back as well',
        (script('requeue', "noted[#noted + 1] = {'died', id, known[10]}\n    end\n    return 'dead'",
                "noted[#noted + 1] = {'died', id, known[10]}\n    end"),),
        ('verbs::test_attempts_used_up_are_dead',),
    ),
    Mutant(
        'payload-left', 2, 'the payload of a released task stays',
        (script('release', "== n then\n  redis.call('HDEL', tasks, unpack(ids))", '== n then'),),
        ('bulk', 'model'),
    ),
    Mutant(
        'payload-left-with-result', 2, 'the payload of a task that was released with a result stays',
        (script('release', "unpack(ids))\n  redis.call('HDEL', tasks, unpack(ids))\nend", 'unpack(ids))\nend'),),
        ('verbs', 'cancel', 'payloads'),
    ),
    Mutant(
        'release-of-groups-as-plain', 12, 'the slot of a released task of a group is never free again',
        (script('release', 'if stale or known[4] then', 'if stale then'),),
        ('groups',),
    ),
    Mutant(
        'enqueue-of-doubles-as-plain', 5, 'an enqueue that comes after its own repetition counts as new',
        (script('enqueue', "if not owned and ids[1] and redis.call('HSET', tasks, unpack(payloads)) == #ids then",
                "if not owned and ids[1] and redis.call('HSET', tasks, unpack(payloads)) then"),),
        ('faults', 'silence', 'damage', 'bulk', 'model'),
    ),
    Mutant(
        'payload-gone-early', 2, 'the payload is deleted with the hand-out',
        (script('_hand', 'local nth', "redis.call('HDEL', tasks, id)\nlocal nth"),),
        ('verbs::test_life_of_a_task_leaves_no_key',),
    ),
    Mutant(
        'payload-of-cancelled-left', 2, 'the payload of a cancelled task stays when its holder lets it go',
        (script('_clear', "redis.call('HDEL', tasks, id)", ''),),
        ('cancel::test_the_holder_of_a_cancelled_task_is_told',),
    ),
    Mutant(
        'state-left', 2, 'the state of a released task stays',
        (script('release', "if m > 0 then\n    redis.call('DEL', unpack(states))", 'if m > 0 then'),),
        ('bulk', 'model'),
    ),
    Mutant(
        'final-state-for-ever', 2, 'a kept result has no end',
        (script('_keep', "redis.call('PEXPIRE', key, ttl)", ''),),
        ('verbs::test_a_kept_result_is_found_by_anybody',),
    ),
    Mutant(
        'cancelled-state-for-ever', 2, 'the state of a cancelled task has no end',
        (script('_revoke', "redis.call('PEXPIRE', state .. id, 60000)", ''),),
        ('cancel::test_a_cancelled_task_is_not_handed_out',),
    ),
    Mutant(
        'cleared-state-for-ever', 2, 'the state of a cancelled task that was worked on has no end',
        (script('_clear', "redis.call('PEXPIRE', state .. id, 60000)", ''),),
        ('cancel::test_the_holder_of_a_cancelled_task_is_told',),
    ),
    Mutant(
        'state-without-payload-for-ever', 2, 'the state of a task whose payload was lost has no end',
        (script('_mend', "redis.call('PEXPIRE', state .. id, 3600000)", ''),),
        ('payloads::test_the_state_of_a_task_whose_payload_was_lost_ends',),
    ),
    Mutant(
        'live-state-ends', 2, 'the state of a task that waits is forgotten after an hour',
        (script('enqueue', "  local key = state .. id\n  if redis.call('HSET', key, unpack(words, 1, n)) < n / 2 then",
                "  local key = state .. id\n  if redis.call('HSET', key, unpack(words, 1, n)) * "
                "redis.call('PEXPIRE', key, 3600000) < n / 2 then"),),
        ('cancel::test_a_cancelled_task_is_not_handed_out',),
    ),
    Mutant(
        'queue-not-forgotten', 2, 'the doorbell and the counter of an empty queue stay',
        (script('_forget', "if redis.call('EXISTS', tasks) == 0 then", 'if false then'),),
        ('groups::test_nothing_is_left_of_a_group_without_tasks',),
    ),
    Mutant(
        'ring-of-an-empty-queue-stays', 2, 'the doorbell stays where nothing else is left',
        (script('_forget', "if redis.call('EXISTS', pending, turns, seq, bell, spread) > 0 then",
                "if redis.call('EXISTS', pending, turns, seq, spread) > 0 then"),),
        ('model',),
    ),
    Mutant(
        'record-stays', 2, 'the record of a claim whose reply has come stays where a call of plain tasks names it',
        (script('release', 'states[m] = record', 'states[m] = base'),),
        ('model',),
    ),
    Mutant(
        'holes-not-forgotten', 2, 'a list of nothing but holes stays',
        (script('_forget', "redis.call('UNLINK', pending, turns, holes)", ''),),
        ('cancel::test_the_last_cancel_of_a_long_queue_leaves_no_list',),
    ),
    Mutant(
        'rest-of-a-claim-lost', 5, 'what a claim took and had no room for is in no place',
        (script('claim', "redis.call('RPUSH', pending, unpack(rest))", ''),),
        ('bulk::test_large_payloads_are_sent_and_taken_in_small_calls',),
    ),
    Mutant(
        'rest-of-heads-lost', 5, 'the heads that a claim had no room for are in no list',
        (script('_turns', "redis.call('RPUSH', turns, unpack(rest))\n    turns_over = false", ''),),
        ('groups::test_heads_that_a_claim_has_no_room_for_keep_their_turn',),
    ),
    Mutant(
        'rest-of-lone-heads-lost', 5, 'heads with nothing behind them that a claim had no room for are in no list',
        (script('claim', "redis.call('RPUSH', turns, unpack(rest))", ''),),
        ('groups::test_heads_that_a_claim_has_no_room_for_keep_their_turn',),
    ),
    Mutant(
        'rest-of-ranked-lost', 5, 'one with a priority that a claim had no room for is in no place',
        (script('claim', "redis.call('ZADD', priority, items[k + 1], id)", ''),),
        ('groups::test_what_has_a_priority_and_finds_no_room_keeps_its_turn',),
    ),
    Mutant(
        'task-without-state-lost', 5, 'a task whose state was evicted is dropped with its payload',
        (script('_mend', "if redis.call('HEXISTS', tasks, id) == 1 then",
                "redis.call('HDEL', tasks, id)\n  if false then"),),
        ('payloads::test_a_damaged_task_is_reported_and_harms_no_other',),
    ),
    Mutant(
        'push-before-remove-requeue', 5, 'a server without free memory refuses that a task is given back',
        (script('requeue', "  redis.call('ZREM', working, id)\n  redis.call('HSET', state .. id, 'mark',",
                "  redis.call('HSET', state .. id, 'mark', known[4] or '')\n  redis.call('ZREM', working, id)\n"
                "  redis.call('HSET', state .. id, 'mark',"),),
        ('damage::test_full_memory_refuses_tasks_and_lets_leases_go_on',),
    ),
    Mutant(
        'push-before-remove-touch', 5, 'a server without free memory refuses that a lease is renewed',
        (script('touch', "redis.call('ZREM', working, id)", ''),),
        ('damage::test_full_memory_refuses_tasks_and_lets_leases_go_on',),
    ),
    Mutant(
        'push-before-remove-sweep', 5, 'a server without free memory refuses that a task comes back',
        (script('sweep', "redis.call('ZREM', from, id)", "redis.call('HSET', state .. id, 'status', PENDING)\n"
                "      redis.call('ZREM', from, id)"),),
        ('damage::test_full_memory_refuses_tasks_and_lets_leases_go_on',),
    ),
)  # fmt: skip

TWICE = (
    Mutant(
        'enqueue-resent-is-duplicate', 6, 'an enqueue whose reply was lost says that its task is a duplicate',
        (script('enqueue', 'or not mark and resent then', 'then'),),
        ('faults::test_enqueue_is_once',),
    ),
    Mutant(
        'enqueue-mark-not-kept', 6, 'an own id whose reply was lost is a duplicate of itself',
        (script('enqueue', "words[n + 1], words[n + 2], n = 'mark', given.mark, n + 2", ''),),
        ('faults::test_enqueue_is_once',),
    ),
    Mutant(
        'release-resent-is-unknown', 6, 'a release whose reply was lost says that the task was not held',
        (script('release', 'elseif resent and (not released[id] or', 'elseif false and (not released[id] or'),),
        ('faults::test_settling_is_once',),
    ),
    Mutant(
        'release-cancelled-resent', 6, 'a release as cancelled whose reply was lost says that it was not done',
        (script('release', "string.sub(keep, 1, 1) == CANCELLED and not redis", "false and not redis"),),
        ('faults::test_a_release_as_cancelled_is_once',),
    ),
    Mutant(
        'requeue-resent-by-token', 6, 'a requeue whose reply was lost is judged by the lease that it has ended',
        (script('requeue', 'if not known.err and marked(known[4], ARGV[i + 2]) then', 'if false then'),),
        ('faults::test_settling_is_once',),
    ),
    Mutant(
        'bury-resent-by-token', 6, 'a bury whose reply was lost is judged by the lease that it has ended',
        (script('bury', 'if not known.err and marked(known[4], mark) then', 'if false then'),),
        ('faults::test_settling_is_once',),
    ),
    Mutant(
        'dead-without-state-for-ever', 8, 'a dead task whose state was lost can be neither brought back nor cancelled',
        (script('redrive', "if (known.err or not known[1]) and redis.call('ZREM', dead, id) == 1 then",
                'if false then'),),
        ('payloads::test_a_dead_task_that_is_damaged_is_brought_back_or_reported',),
    ),
    Mutant(
        'redrive-resent-is-not-dead', 6, 'a redrive whose reply was lost counts nothing',
        (script('redrive', '(resent or known[1] == DEAD) and marked(known[3], mark)', 'false'),),
        ('faults::test_the_rest_is_once',),
    ),
    Mutant(
        'cancel-resent-is-final', 6, 'a cancel whose reply was lost says that it came too late',
        (script('cancel', "outcome = marked(known[2], mark) and 'ok' or 'final'", "outcome = 'final'"),),
        ('faults::test_settling_is_once',),
    ),
    Mutant(
        'marks-of-others-dropped', 6, 'only the last call that changed a task is known again',
        (script('_marks', "return string.sub(mark .. ' ' .. marks, 1, 63)", 'return mark'),),
        ('faults::test_requeue_whose_reply_is_lost_is_done_even_if_somebody_took_the_task_since',),
    ),
    Mutant(
        'always-resent', 6, 'every call is taken for a repetition',
        (script('_prelude', "local resent = ARGV[1] == '1'", 'local resent = true'),),
        ('verbs::test_who_lost_the_lease_changes_nothing_and_is_told',),
    ),
    Mutant(
        'claim-record-not-written', 6, 'a claim whose reply was lost takes others, and its tasks wait for their lease',
        (script('claim',
                "redis.call('SET', record, cjson.encode({time = claimed, ids = given, probes = probed}), 'PX', 60000)",
                ''),),
        ('faults', 'bulk', 'model'),
    ),
    Mutant(
        'record-deleted-early', 6, 'the record of a claim is gone before its reply has come',
        (script('claim', "'PX', '60000')", "'PX', '1')"),),
        ('faults::test_dequeue_is_once',),
    ),
    Mutant(
        'claim-record-when-resent-alone', 6, 'a claim that comes after its own repetition takes tasks that nobody gets',
        (script('claim', "last = redis.call('GET', record)", "last = resent and redis.call('GET', record)"),),
        ('faults::test_a_call_that_arrives_after_its_own_repetition_changes_nothing',),
    ),
)  # fmt: skip

HARM = (
    Mutant(
        'broken-key-fails-enqueue', 8, 'one id whose key holds something else fails the call of all',
        (script('enqueue', "local known = redis.pcall(", 'local known = redis.call('),),
        ('payloads::test_a_key_of_another_type_hits_its_own_call_only',),
    ),
    Mutant(
        'broken-key-fails-claim', 8, 'one id whose key holds something else fails every claim',
        (script('claim', "local key = state .. id\n      local known = bytes < max_bytes and redis.pcall(",
                'local key = state .. id\n      local known = bytes < max_bytes and redis.call('),),
        ('payloads::test_a_damaged_task_is_reported_and_harms_no_other', 'damage', 'model'),
    ),
    Mutant(
        'broken-key-fails-sweep', 8, 'one id whose key holds something else keeps all that is due from coming',
        (script('sweep', "local known = redis.pcall('HMGET',", "local known = redis.call('HMGET',"),),
        ('damage::test_a_broken_key_among_what_is_due_stops_no_sweep',),
    ),
    Mutant(
        'broken-key-fails-settling', 8, 'one id whose key holds something else fails the release of all',
        (script('release', "seen = redis.pcall(", "seen = redis.call("),
         script('release', "seen or redis.pcall(", "seen or redis.call("),
         script('release', "known = redis.pcall('HMGET', key, 'status', 'dequeue_count', 'last_dequeue_time', 'tied', ",
                "known = redis.call('HMGET', key, 'status', 'dequeue_count', 'last_dequeue_time', 'tied', ")),
        ('damage::test_a_broken_key_fails_no_other_settle_call',),
    ),
    Mutant(
        'broken-key-fails-states', 8, 'one id whose key holds something else ends the watches of all',
        (script('state', "local known = redis.pcall('HMGET',", "local known = redis.call('HMGET',"),),
        ('watch_gaps::test_what_cannot_be_read_is_told',),
    ),
    Mutant(
        'damage-not-reported', 8, 'a task of which a part was lost vanishes without a word',
        (script('claim', 'troubles[#troubles + 1], troubles[#troubles + 2] = id, mend(id, known)', 'mend(id, known)'),),
        ('payloads::test_a_damaged_task_is_reported_and_harms_no_other',),
    ),
    Mutant(
        'dead-ones-fill-the-queue', BEYOND, 'dead tasks are counted against max_tasks',
        (script('enqueue', "redis.call('HLEN', tasks) - redis.call('ZCARD', dead)", "redis.call('HLEN', tasks)"),),
        ('verbs::test_a_full_queue_refuses',),
    ),
    Mutant(
        'one-attempt-more', BEYOND, 'a task is dead one attempt too late',
        (script('_bury', '>= (tonumber(max_attempts)', '> (tonumber(max_attempts)'),),
        ('verbs::test_attempts_used_up_are_dead',),
    ),
    Mutant(
        'forgiven-not-subtracted', BEYOND, 'attempts that were forgiven count all the same',
        (script('_bury', '(tonumber(count) or 0) - (tonumber(forgiven) or 0)', '(tonumber(count) or 0)'),),
        ('verbs::test_a_forgiven_attempt_does_not_count',),
    ),
    Mutant(
        'forgiven-not-added', 7, 'a task given back uncounted is counted',
        (script('requeue', '(forgive and 1 or 0)', '0'),),
        ('verbs::test_a_forgiven_attempt_does_not_count',),
    ),
    Mutant(
        'given-back-to-the-end', 7, 'a task that was taken for nobody loses its turn',
        (script('_append', "redis.call(at_head and 'RPUSH' or 'LPUSH',", "redis.call('LPUSH',"),),
        ('verbs::test_requeue_goes_to_the_end_and_forgiven_to_the_head',),
    ),
)  # fmt: skip

SCRIPTS = (*FENCE, *PLACES, *TWICE, *HARM)
