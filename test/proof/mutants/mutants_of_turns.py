"""Hand-made faults in the scripts: groups, and who is told of work."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, script

GROUPS = (
    Mutant(
        'slot-kept-by-release', 9, 'a released task keeps its slot',
        (script('release', 'book().free(id, owners[k])', ''),),
        ('groups::test_the_next_comes_up_when_the_head_is_gone',),
    ),
    Mutant(
        'slot-kept-by-bury', 9, 'a buried task keeps its slot',
        (script('bury', 'book().free(id, known[5])', ''),),
        ('groups::test_the_next_comes_up_when_the_head_is_gone',),
    ),
    Mutant(
        'slot-kept-by-requeue', 9, 'a task that is given back keeps a slot besides that of its turn',
        (script('requeue', 'book().free(id, known[8])', ''),),
        ('groups::test_limit_one_is_strict_order',),
    ),
    Mutant(
        'slot-kept-by-lease-end', 9, 'a task whose consumer was lost keeps its slot',
        (script('sweep', 'if known[2] then\n      book().free(id, known[6])\n    else', 'if not known[2] then'),),
        ('limits::test_a_lost_consumers_slot_comes_back_with_its_lease',),
    ),
    Mutant(
        'slot-kept-by-last-lease', 9, 'a task whose last attempt ended with its lease keeps its slot',
        (script('sweep', 'known[8]}\n    end\n    if known[6] then\n      book().free(id, known[6])\n    end',
                'known[8]}\n    end'),),
        ('groups::test_the_next_comes_up_when_the_head_is_gone',),
    ),
    Mutant(
        'slot-kept-by-lost-state', 9, 'a task whose state was evicted keeps its slot',
        (script('sweep', 'if owner then', 'if false then'),),
        ('group_faults::test_what_is_lost_of_a_task_harms_that_task_alone',),
    ),
    Mutant(
        'slot-kept-by-cancel', 9, 'a cancelled task keeps its slot when its holder lets it go',
        (script('_clear', 'book().free(id, group)', ''),),
        ('groups::test_the_next_comes_up_when_the_head_is_gone',),
    ),
    Mutant(
        'slot-kept-by-cancelled-head', 9, 'a cancelled head keeps its slot',
        (script('_groups', 'head[k], slots_change[k], struck[#struck + 1] = false, (slots_change[k] or 0) - 1, id',
                'head[k], struck[#struck + 1] = false, id'),),
        ('model',),
    ),
    Mutant(
        'slot-kept-by-free-id', 9, 'the holder of an id that was cancelled and enqueued anew keeps its slot',
        (script('enqueue', 'book().free(id, known[3])', ''),),
        ('group_faults::test_an_id_that_is_free_again_gives_the_slot_of_its_holder_back',),
    ),
    Mutant(
        'holder-not-forgotten', 9, 'whoever gave a slot back is still named as its holder',
        (script('_groups', "    write('HDEL', holders, freed)\n", ''),),
        ('groups::test_nothing_is_left_of_a_group_without_tasks',),
    ),
    Mutant(
        'group-not-forgotten', 2, 'a group that has nothing left is still listed',
        (script('_groups', "    write('HDEL', groups, gone)\n", ''),
         script('release', "        write('HDEL', groups, gone)\n", '')),
        ('groups::test_nothing_is_left_of_a_group_without_tasks',),
    ),
    Mutant(
        'next-not-advanced', 9, 'the next of a group does not come up when a slot is free',
        (script('_groups', '      advance(k)\n    end\n    if taken_ahead[k] and',
                '    end\n    if taken_ahead[k] and'),),
        ('groups::test_the_next_comes_up_when_the_head_is_gone',),
    ),
    Mutant(
        'limit-not-checked', 9, 'a group has as many at once as it likes',
        (script('_groups', 'if head[k] or limited and slots[k] >= limit_of(k) then', 'if head[k] then'),),
        ('groups::test_a_failing_head_blocks_its_group_alone_until_it_is_dead',),
    ),
    Mutant(
        'limit-not-checked-at-claim', 9, 'a head that came up before the limit was lowered goes on',
        (script('_groups', 'or not is_shut(k) and slots[k] <= limit_of(k) and not is_dry(k) then',
                'or not is_shut(k) and not is_dry(k) then'),),
        ('limits::test_a_lowered_limit_interrupts_nobody',),
    ),
    Mutant(
        'pause-not-checked-at-claim', 9, 'a head that came up before the group was paused goes on',
        (script('_groups', 'or not is_shut(k) and slots[k] <= limit_of(k) and not is_dry(k) then',
                'or slots[k] <= limit_of(k) and not is_dry(k) then'),),
        ('limits::test_a_paused_group_lets_the_others_go_on',),
    ),
    Mutant(
        'bucket-refilled', 9, 'every call finds a full bucket',
        (script('_groups', 'tonumber(left) or starts)', 'starts)'),),
        ('limits::test_a_bucket_is_not_filled_anew_by_emptiness',),
    ),
    Mutant(
        'token-not-taken', 9, 'a hand-out takes no token',
        (script('_groups', 'tokens[k], token_taken[k] = bucket(k) - 1, true',
                'tokens[k], token_taken[k] = bucket(k), true'),),
        ('limits::test_a_bucket_is_not_filled_anew_by_emptiness',),
    ),
    Mutant(
        'thirst-not-noted', 9, 'a group that waits for a token is forgotten',
        (script('_groups', "return redis.call('ZADD', rated, next_token[k], names[k]) == 1", 'return false'),),
        ('limits::test_a_rate_is_kept_in_every_window',),
    ),
    Mutant(
        'probe-before-its-time', BEYOND, 'a pause lets a task through at once',
        (script('_groups', 'not (opens[k] and opens[k] <= now)', 'not opens[k]'),),
        ('probe::test_one_task_is_let_through_when_its_time_has_come_and_no_more',),
    ),
    Mutant(
        'probe-of-a-group-not-the-last', BEYOND, 'when its time has come, a paused group hands all of its tasks out',
        (script('_groups', 'opens[k] = next_probe(names[k])', ''),),
        ('probe::test_one_task_is_let_through_when_its_time_has_come_and_no_more',),
    ),
    Mutant(
        'probe-of-the-queue-not-the-last', BEYOND, 'when its time has come, a paused queue hands all of its tasks out',
        (script('claim', "probe_at, probing, probed = next_probe(''), false, given",
                'probing, probed = false, given'),),
        ('probe::test_one_task_is_let_through_when_its_time_has_come_and_no_more',),
    ),
    Mutant(
        'probe-in-bulk', BEYOND, 'a claim of many is given many probes of the queue',
        (script('claim', 'wanted = probing and math.min(1, wanted) or wanted', ''),),
        ('probe_limits::test_the_probe_of_the_queue_is_what_a_claim_would_take_first',),
    ),
    Mutant(
        'probe-not-on-record', 6, 'a claim whose reply was lost does not know that its task is a probe',
        (script('claim', 'ids = given, probes = probed}', 'ids = given}'),),
        ('probe::test_a_claim_whose_reply_is_lost_is_given_the_same_probe',),
    ),
    Mutant(
        'priority-upside-down', 9, 'the least goes first',
        (script('enqueue', 'number - urgency * 2 ^ 45', 'number + urgency * 2 ^ 45'),),
        ('groups::test_the_best_of_a_group_first_and_equal_ones_in_order',),
    ),
    Mutant(
        'head-not-overtaken', 9, 'a better task that came later waits behind the head',
        (script('_turns', 'if not first or tonumber(score) > order then', 'if true then'),),
        ('groups::test_the_best_of_a_group_first_and_equal_ones_in_order',),
    ),
    Mutant(
        'order-lost-on-return', 9, 'a task that comes back goes behind all others of its group',
        (script('_place', 'book().wait(id, group, number)', 'book().wait(id, group, now)'),),
        ('groups::test_limit_one_is_strict_order',),
    ),
    # What is alone in its group needs no book.
    Mutant(
        'come-alone-though-limited', 9, 'a task comes up at once whatever its group allows',
        (script('enqueue', "if not several and redis.call('EXISTS', unpack(asked)) == 0 then", 'if not several then'),),
        ('groups::test_limit_one_is_strict_order', 'model'),
    ),
    Mutant(
        'come-alone-twice', 9, 'of two tasks of a new group that come at once, the first is lost',
        (script('enqueue', 'several, seen[name] = several or seen[name], true', 'seen[name] = true'),),
        ('groups::test_tasks_of_a_new_group_that_come_in_one_call_are_all_taken_in_order',),
    ),
    Mutant(
        'head-alone-though-others-wait', 9, 'what waits behind a head does not come up',
        (script('claim', "if redis.call('EXISTS', unpack(asked)) > 0 then", 'if false then'),),
        ('groups::test_groups_take_turns_however_much_each_has',),
    ),
    Mutant(
        'slot-back-though-others-wait', 9, 'the next of a group does not come up when its slot is free',
        (script('release', "local lone, gone, counted = redis.call('EXISTS', unpack(asked)) == 0",
                'local lone, gone, counted = true'),),
        ('groups::test_the_next_comes_up_when_the_head_is_gone', 'groups::test_limit_one_is_strict_order'),
    ),
    Mutant(
        'plain-tasks-starve', 9, 'groups go first at every claim',
        (script('claim', 'if bit == 1 then', 'if false then'),),
        ('groups::test_groups_and_plain_tasks_alternate',),
    ),
    Mutant(
        'noisy-group-goes-on', 9, 'the next of a group comes before the heads of the others',
        (script('_groups', "write('LPUSH', turns, joining)", "write('RPUSH', turns, joining)"),),
        ('groups::test_groups_take_turns_however_much_each_has',),
    ),
    Mutant(
        'lost-turns-not-healed', 9, 'groups wait for ever where the list of heads was evicted',
        (script('claim', "redis.call('LPUSH', turns, id)", ''),),
        ('group_faults::test_a_key_that_is_lost_keeps_no_group_waiting',),
    ),
    Mutant(
        'lost-heads-not-healed', 9, 'groups wait for ever where the names of the heads were evicted',
        (script('_turns', 'head[k] = id\n    end\n    return head[k] == id', 'end\n    return head[k] == id'),),
        ('group_faults::test_a_key_that_is_lost_keeps_no_group_waiting',),
    ),
)  # fmt: skip

BELL = (
    Mutant(
        'enqueue-rings-not', 10, 'nobody is told of a new task',
        (script('enqueue', 'if settle() or noted[1] or rung or #ready > 0 or #ranked > 0 then',
                'if settle() or begun or rung or #ranked > 0 then'),
         script('enqueue', "unpack(ids))\n  ring()", 'unpack(ids))'),
         script('enqueue', "if redis.call('EXISTS', bell) == 0 then", 'if false then')),
        ('bell::test_consumers_share_work_that_was_rung_for_once',),
    ),
    Mutant(
        'enqueue-rings-not-for-priority', 10, 'nobody is told of a new task that has a priority',
        (script('enqueue', 'if settle() or noted[1] or rung or #ready > 0 or #ranked > 0 then',
                'if settle() or begun or rung or #ready > 0 then'),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'enqueue-rings-not-for-groups', 10, 'nobody is told of a new task of a group',
        (script('enqueue', 'if settle() or noted[1] or rung or #ready > 0 or #ranked > 0 then',
                'settle()\nif begun or rung or #ready > 0 or #ranked > 0 then'),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'enqueue-rings-not-for-time', 10, 'whoever waits does not learn of a nearer time',
        (script('enqueue', 'rung = rung or delay <= tonumber(ARGV[3])', ''),),
        ('wait::test_a_waiter_of_another_process_learns_of_a_nearer_deadline',),
    ),
    Mutant(
        'requeue-rings-not', 10, 'nobody is told of a task that was given back',
        (script('requeue', 'rung = rung or not known[8]', ''),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'requeue-rings-not-for-time', 10, 'whoever waits does not learn of the time of a retry',
        (script('requeue', 'rung = rung or delay <= tonumber(ARGV[3])', ''),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'touch-rings-not-for-time', 10, 'whoever waits does not learn that a lease ends sooner',
        (script('touch', 'rung = rung or lease <= tonumber(ARGV[3])', ''),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'sweep-rings-not', 10, 'nobody is told of what came back',
        (script('sweep', 'if settle() or rung or begun then', 'if settle() or begun then'),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'redrive-rings-not', 10, 'nobody is told of a dead task that was brought back',
        (script('redrive', 'if settle() or rung or begun or noted.out then', 'if settle() or begun then'),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'resume-ends-any-pause', BEYOND, 'whoever had a probe ends the pause of an operator',
        (script('resume', "if ARGV[3] == '1' and", 'if false and'),),
        ('probe_limits::test_whoever_had_a_probe_ends_no_pause_without_probes',),
    ),
    Mutant(
        'resume-of-probes-by-what-cannot-be-read', BEYOND,
        'whoever had a probe ends a pause of which nobody can tell whether it has probes',
        (script('resume', "~= 1 then", "== 0 then"),),
        ('probe_limits::test_whoever_had_a_probe_ends_no_pause_without_probes',),
    ),
    Mutant(
        'resume-rings-not', 10, 'whoever waits at a paused queue waits on',
        (script('resume', "if settle() or ARGV[2] == '' and", 'if settle() and'),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'limit-rings-not', 10, 'whoever waits does not learn of a limit that was raised',
        (script('limit', 'if settle() then\n  ring()\nend', 'settle()'),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'release-rings-not', 10, 'nobody is told that the next of a group came up',
        (script('release', 'local rings = settle() or begun', 'local rings = settle() and false'),),
        ('bell::test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim',),
    ),
    Mutant(
        'claim-leaves-work-unrung', 10, 'whoever sleeps does not learn that a claim left some',
        (script('_tend', 'local rings = more or until_due and', 'local rings = until_due and'),),
        ('bell::test_consumers_share_work_that_was_rung_for_once',),
    ),
    Mutant(
        'claim-takes-the-bell-for-rung', 10, 'whoever sleeps does not learn that a claim of plain tasks left some',
        (script('claim', 'more, rung = found > 1, found % 2 == 1', 'more, rung = found > 1, true'),),
        ('bell', 'model'),
    ),
    Mutant(
        'claim-of-one-takes-the-bell-for-rung', 10, 'whoever sleeps does not learn that a claim of one task left some',
        (script('claim', 'more, rung = left > 1, left % 2 == 1', 'more, rung = left > 1, true'),),
        ('bell::test_consumers_share_work_that_was_rung_for_once',),
    ),
    Mutant(
        'claim-of-one-takes-the-bell-for-silent', 10, 'the bell counts the claims of one task that leave work',
        (script('claim', 'more, rung = left > 1, left % 2 == 1', 'more, rung = left > 1, false'),),
        ('model',),
    ),
    Mutant(
        'claim-of-one-says-that-it-stays', 10, 'nobody keeps the time when whoever did takes a task and goes',
        (script('claim', 'local staying, rates, written, other = ARGV[5] + 0 > (id and 1 or 0)',
                'local staying, rates, written, other = true'),),
        ('model::test_any_order_of_calls_and_faults_is_as_the_model_has_it',),
    ),
    Mutant(
        'claim-takes-the-bell-for-silent', 10, 'the bell counts the claims that leave work',
        (script('claim', 'more, rung = found > 1, found % 2 == 1', 'more, rung = found > 1, false'),),
        ('model',),
    ),
    Mutant(
        'time-of-delays-not-kept', 10, 'whoever waits does not know when a delayed task is due',
        (script('claim', "next_due = tonumber(redis.call('ZRANGE', delayed, '0', '0', 'WITHSCORES')[2])\n  there",
                'there'),),
        ('wait::test_due_and_expired_tasks_come_by_themselves_to_who_waits',),
    ),
    Mutant(
        'time-of-delays-not-handed-on', 10, 'whoever leaves the bell tells nobody when a delayed task is due',
        (script('leave', "tonumber(redis.call('ZRANGE', delayed, '0', '0', 'WITHSCORES')[2])", 'nil'),),
        ('model',),
    ),
    Mutant(
        'bell-always-deleted', 10, 'a claim takes the ring from whoever sleeps',
        (script('_tend', "redis.call('LPUSH', bell, '1')", ''),),
        ('bell::test_consumers_share_work_that_was_rung_for_once',),
    ),
    Mutant(
        'bell-never-deleted', 10, 'whoever waits is woken again and again for nothing',
        (script('_tend', "redis.call('DEL', bell)", ''),),
        ('model::test_any_order_of_calls_and_faults_is_as_the_model_has_it',),
    ),
    Mutant(
        'time-not-handed-on', 10, 'nobody keeps the time when the one who did takes a task and goes',
        (script('_tend', 'local rings = more or until_due and until_due <= block and not staying',
                'local rings = more'),),
        ('model::test_any_order_of_calls_and_faults_is_as_the_model_has_it',),
    ),
    Mutant(
        'time-of-leases-not-kept', 10, 'whoever waits does not know when a lease ends',
        (script('_tend', 'next_end and next_end + 0 or false', 'false'),),
        ('wait::test_due_and_expired_tasks_come_by_themselves_to_who_waits',),
    ),
    Mutant(
        'time-of-tokens-not-kept', 10, 'whoever waits does not know when a group gets its token',
        (script('_tend', 'nearest or never, next_rated or never, other', 'nearest or never, other'),),
        ('limits::test_a_rate_is_kept_in_every_window',),
    ),
    Mutant(
        'time-of-probes-not-kept', 10, 'whoever waits at a paused queue does not know when it lets a task through',
        (script('_tend', 'next_rated or never, other or never)', 'next_rated or never)'),),
        ('probe::test_many_consumers_are_given_one_probe_in_each_interval',),
    ),
    Mutant(
        'pause-rings-not', 10, 'whoever waits does not learn that a pause lets tasks through from now on',
        (script('pause', "if every and redis.call('EXISTS', tasks) == 1 then", 'if false then'),),
        ('probe::test_who_waits_already_is_told_of_the_time',),
    ),
    Mutant(
        'time-of-probes-not-handed-on', 10, 'whoever leaves the bell tells nobody when the queue lets a task through',
        (script('leave', 'local other, rung = not more and probe', 'local other, rung = false'),),
        ('probe::test_who_leaves_while_it_keeps_the_time_wakes_another',),
    ),
    Mutant(
        'leaving-rings-not', 10, 'whoever leaves the bell tells nobody of what is left',
        (script('leave', '--@ Uses tend (until_due)', "redis.call('DEL', base .. 'bell')"),),
        ('bell::test_a_ring_during_a_claim_is_not_lost',),
    ),
    Mutant(
        'bell-rung-for-each', 10, 'the bell counts, and wakes whoever waits long after all is taken',
        (script('_ring', "if redis.call('EXISTS', bell) == 0 then", 'if true then'),),
        ('model',),
    ),
    Mutant(
        'sweep-says-all-is-done', 10, 'what is due beyond one batch waits',
        (script('sweep', 'unfinished = unfinished or #ids == batch or room == 0', ''),),
        ('verbs::test_sweep_brings_back_what_is_due_in_bounded_steps',),
    ),
    Mutant(
        'sweep-without-bound', 10, 'a million due tasks stop the server for seconds',
        (script('sweep', "working, '-inf', stamp, 'LIMIT', 0, batch)", "working, '-inf', stamp)"),),
        ('model',),
    ),
    Mutant(
        'holes-without-bound', 10, 'a claim reads all holes of a list, however many they are',
        (
            script('claim', 'while #given < goal and bytes < max_bytes and holed < 200 do\n    local count',
                   'while #given < goal and bytes < max_bytes do\n    local count'),
        ),
        ('model',),
    ),
)  # fmt: skip

TURNS = (*GROUPS, *BELL)
