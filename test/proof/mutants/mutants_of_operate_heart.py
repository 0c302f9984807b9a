"""Hand-made faults in what workers count, in their beats, and in what operators are told of them."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

BEAT = 'torrelque/worker/script/beat.lua'

COUNTS = (
    Mutant(
        'run-counted-twice', BEYOND, 'a dead attempt has run twice as long',
        (client('worker/held', 'return ran', 'self.ended = (ran or 0) + self.delivery.since\n        return ran'),),
        ('worker_counts::test_all_that_becomes_of_tasks_is_counted_by_function',),
    ),
    Mutant(
        'packet-forgotten', BEYOND, 'counts whose beat failed are gone',
        (client('worker/counts', 'if self._packet is not None and not self._packet.is_empty:', 'if False:'),),
        ('worker_counts::test_what_was_sent_stays_until_it_is_acknowledged_and_is_sent_as_it_was',),
    ),
    Mutant(
        'packet-grows', BEYOND, 'counts of a beat that was carried out are added again under another number',
        (client('worker/heart', 'packet = self.tally.pack()',
                'packet = self.tally.pack()._replace(number=self.tally._number + 1)'),),
        ('worker_beats::test_counts_whose_beat_or_reply_is_lost_are_there_once',
         'worker_beats::test_the_last_counts_go_with_the_goodbye'),
    ),
    Mutant(
        'names-without-end', BEYOND, 'a worker counts as many functions as there are names',
        (client('worker/counts', 'if len(self._known) >= self._most:', 'if False:'),),
        ('worker_counts::test_functions_beyond_the_bound_are_counted_together',),
    ),
    Mutant(
        'beat-of-all-functions', BEYOND, 'a beat has all functions',
        (client('worker/counts', 'None if whole else self._bounds.beat_functions', 'None'),),
        ('worker_counts::test_a_beat_tells_of_some_functions_and_the_next_one_of_the_others',),
    ),
    Mutant(
        'runs-kept', BEYOND, 'run times are kept one by one while the server is away',
        (client('worker/counts', 'if len(self._ends) > self._bounds.untold_runs:', 'if False:'),),
        ('worker_counts::test_run_times_that_no_beat_takes_are_made_counts_of',),
    ),
    Mutant(
        'bucket-too-high', BEYOND, 'a run that took as long as a bound is in the next bucket',
        (client('worker/counts', 'bisect.bisect_right(', 'bisect.bisect_left('),),
        ('worker_counts::test_each_run_is_in_the_bucket_whose_bound_it_does_not_exceed',),
    ),
    Mutant(
        'counts-of-the-first-queue', BEYOND, 'a worker counts all that it does for one of its queues',
        (client('worker/settling', 'self.tallies[held[0].delivery.queue].released(held, outcomes)',
                'next(iter(self.tallies.values())).released(held, outcomes)'),),
        ('worker_counts::test_each_queue_of_a_worker_has_its_own_counts',),
    ),
    Mutant(
        'waits-without-end', BEYOND, 'the wait of each task is asked for',
        (client('worker/heart', 'if now < self._next or', 'if'),),
        ('worker_counts::test_at_most_so_many_waits_are_asked_for',),
    ),
    Mutant(
        'wait-since-the-first-time', BEYOND, 'a retry has waited since it was enqueued',
        (client('worker/heart', 'ready = max(float(one)', 'ready = min(float(one)'),),
        ('worker_counts::test_how_long_a_task_had_been_ready_is_asked_for_as_it_is_taken',),
    ),
    Mutant(
        'last-counts-lost', BEYOND, 'what was counted since the last beat is lost at the end',
        (client('worker/heart', 'if not (rest := self.tally.pack(whole=True)).is_empty:',
                'if False and (rest := packets[0]):'),
         client('worker/heart', 'packets = [self.tally.pack(whole=True)]', "packets = [Packet(10**9, (), '', '')]")),
        ('worker_beats::test_the_last_counts_go_with_the_goodbye',),
    ),
)  # fmt: skip

BEATS = (
    Mutant(
        'beat-counts-again', BEYOND, 'a beat whose reply was lost counts twice',
        (Edit(BEAT, "local word = number == last and 'again' or 'ok'", "local word = 'ok'"),),
        ('worker_beats::test_a_beat_counts_once_however_often_it_comes',),
    ),
    Mutant(
        'late-beat-counts', BEYOND, 'a beat that comes behind its successor counts twice',
        (Edit(BEAT, 'if number < last then', 'if false then'),),
        ('worker_beats::test_a_beat_counts_once_however_often_it_comes',),
    ),
    Mutant(
        'new-worker-is-the-old', BEYOND, 'a worker of the same name as one before counts nothing',
        (Edit(BEAT, 'return before == start and tonumber(last) or nil', 'return tonumber(last)'),),
        ('worker_beats::test_a_beat_counts_once_however_often_it_comes',),
    ),
    Mutant(
        'goodbye-of-another', BEYOND, 'a worker that goes takes the heart of the next one of its name away',
        (Edit(BEAT, '  past = not own and last_in(known[3])\n', ''),),
        ('worker_beats::test_a_worker_that_goes_takes_nothing_from_the_next_one_of_its_name',),
    ),
    Mutant(
        'goodbye-forgets-its-number', BEYOND, 'a goodbye whose reply was lost counts twice',
        (Edit(BEAT, "redis.call('HSET', heart, 'number', label)\n", ''),),
        ('worker_beats::test_a_goodbye_counts_once_and_a_beat_behind_it_raises_nobody',),
    ),
    Mutant(
        'beat-half-written', BEYOND, 'a server without memory takes a part of a beat',
        (Edit(BEAT, "redis.call('ZADD', names, string.format('%.0f', now), name)\n",
              "redis.call('ZREM', names, name)\nredis.call('ZADD', names, string.format('%.0f', now), name)\n"),),
        ('worker_beats::test_a_server_without_memory_refuses_a_beat_as_a_whole_and_hears_goodbyes',),
    ),
    Mutant(
        'goodbye-needs-memory', BEYOND, 'a server without memory hears no goodbye, and the last counts are lost',
        (Edit(BEAT, "  redis.call('ZREM', names, name)\n  redis.call('DEL', heart)\n",
              "  redis.call('SET', heart, '')\n  redis.call('ZREM', names, name)\n  redis.call('DEL', heart)\n"),),
        ('worker_beats::test_a_server_without_memory_refuses_a_beat_as_a_whole_and_hears_goodbyes',),
    ),
    Mutant(
        'old-heart-breaks-beats', BEYOND, 'a heart of an older version has no worker of its name beat',
        (Edit(BEAT, "if broken then\n  redis.call('DEL', heart)\nelseif", 'if'),),
        ('worker_written::test_the_heart_of_an_older_version_breaks_no_beat',),
    ),
    Mutant(
        'hundred-beats-a-second', BEYOND, 'many workers beat as often as a few',
        (Edit(BEAT, 'math.max(heartbeat, workers * 1000 / RATE)', 'heartbeat'),),
        ('worker_beats::test_many_workers_beat_less_often',),
    ),
    Mutant(
        'beats-together', BEYOND, 'workers that were started together beat together',
        (client('worker/heart', 'random.uniform(1 - spread, 1 + spread)', '1'),),
        ('worker_beats::test_beats_of_many_workers_come_drawn_apart',),
    ),
    Mutant(
        'records-without-end', BEYOND, 'a record has as many names as there are',
        (Edit(BEAT, 'if size >= MOST then', 'if false then'),),
        ('worker_written::test_a_record_has_two_hundred_names_at_the_most',),
    ),
    Mutant(
        'others-overwritten', BEYOND, 'of two functions beyond the bound one is counted',
        (Edit(BEAT, 'local list = lists[field] or numbers', 'local list = numbers'),),
        ('worker_written::test_a_record_has_two_hundred_names_at_the_most',),
    ),
    Mutant(
        'rubbish-stays', BEYOND, 'a field that was written by hand breaks each beat',
        (Edit(BEAT, 'local well, list = pcall(cjson.decode, text)', 'local well, list = true, cjson.decode(text)'),),
        ('worker_written::test_rubbish_in_a_field_is_begun_anew',),
    ),
    Mutant(
        'records-stay', BEYOND, 'records of minutes are kept for ever',
        (Edit(BEAT, "HSET', record, unpack(words)) == #words / 2 then", "HSET', record, unpack(words)) == -1 then"),),
        ('worker_written::test_a_beat_that_samples_nothing_leaves_no_record_for_ever',),
    ),
    Mutant(
        'sampled-each-time', BEYOND, 'each beat counts the whole queue',
        (Edit(BEAT, "if not is_first then", 'if false then'),),
        ('worker_written::test_the_first_beat_of_a_quarter_of_a_minute_samples_the_sizes',),
    ),
    Mutant(
        'hour-has-the-last-sample', BEYOND, 'an hour forgets how much there was',
        (Edit(BEAT, 'highest[k] = math.max(highest[k], sizes[k])', 'highest[k] = sizes[k]'),),
        ('worker_written::test_the_first_beat_of_a_quarter_of_a_minute_samples_the_sizes',),
    ),
    Mutant(
        'heart-of-any-size', BEYOND, 'a heart is as large as its worker has tasks',
        (client('worker/heart', 'if used + size > room:', 'if False:'),),
        ('worker_written::test_a_heart_is_of_bounded_size',),
    ),
    Mutant(
        'idle-is-silent', BEYOND, 'a worker that has nothing to do is stuck',
        (client('worker/worker', 'self._source.patience = self._bounds.claim_patience',
                'self._source.patience = 1e6'),),
        ('operate_crew::test_a_worker_that_has_nothing_to_do_is_known_to_claim',),
    ),
    Mutant(
        'rate-is-stuck', BEYOND, 'a worker that waits for its own rate is stuck',
        (client('worker/worker', 'answered is None or self._slow else', 'answered is None else'),),
        ('operate_crew::test_a_worker_that_waits_for_its_own_rate_is_not_stuck',),
    ),
    Mutant(
        'hearts-moved', BEYOND, 'a moved clock hides workers that live',
        (Edit('torrelque/testing/script/move.lua', 'left >= 0 and not of_heart and left', 'left >= 0 and left'),),
        ('operate_records::test_a_moved_clock_leaves_hearts_alone_and_has_records_expire_in_their_time',),
    ),
    Mutant(
        'registry-of-the-pool', BEYOND, 'in a Cluster no queue is noted',
        (client('worker/registry', 'if isinstance(client, redis.asyncio.RedisCluster):', 'if False:'),),
        ('worker_written::test_a_heart_in_a_cluster_notes_its_queue',),
    ),
)  # fmt: skip

CREW = (
    Mutant(
        'rubbish-hides-a-worker', BEYOND, 'a worker whose health is rubbish is not told of',
        (client('operate/crew', 'return {}, True', 'raise'),),
        ('operate_crew::test_rubbish_in_a_heart_hides_no_worker',),
    ),
    Mutant(
        'never-stuck', BEYOND, 'a worker that claims nothing is told as well',
        (client('operate/crew', 'if claimed is not None and claimed >= UNCLAIMED and ready and busy < slots:',
                'if False:'),),
        ('operate_crew::test_a_worker_that_lives_and_takes_nothing_that_is_ready_is_stuck',),
    ),
    Mutant(
        'stuck-in-a-pause', BEYOND, 'the workers of a paused queue are stuck',
        (client('operate/crew', '0 if paused else ready', 'ready'),),
        ('operate_crew::test_only_what_could_be_handed_out_makes_a_worker_stuck',),
    ),
    Mutant(
        'stuck-in-one-shard', BEYOND, 'a worker that leaves what is ready in another shard than the first is well',
        (client('operate/crew', 'ready = await _ready_elsewhere(queue)', 'ready = 0'),),
        ('sharded_operate::test_a_worker_is_stuck_that_leaves_what_is_ready_in_any_shard',),
    ),
    Mutant(
        'clock-of-the-worker', BEYOND, 'tasks in hand are as old as the clock of their worker is wrong',
        (client('operate/crew', 'since=0.0 if since is None else since - ahead,', 'since=since or 0.0,'),),
        ('worker_beats::test_the_clock_of_a_worker_does_not_matter_to_what_is_kept',),
    ),
    Mutant(
        'names-of-the-lost-for-ever', BEYOND, 'a name of which nothing is left is told of for ever',
        (client('operate/crew', "if kind == b'none' and now - seen_at >= KEPT:", 'if False:'),),
        ('operate_crew::test_a_worker_is_lost_for_an_hour',),
    ),
    Mutant(
        'first-page-of-workers', BEYOND, 'of many workers the first ones are told',
        (client('operate/crew', '        if count < page:', '        if count:'),),
        ('operate_crew::test_many_workers_are_read_page_by_page',),
    ),
    Mutant(
        'first-page-of-records', BEYOND, 'of eight hours the first one is told',
        (client('operate/records', 'if start + PAGE >= end:', 'if True:'),),
        ('operate_records::test_minutes_are_told_up_to_eight_hours_and_hours_beyond',),
    ),
    Mutant(
        'percentile-of-the-next-bucket', BEYOND, 'a percentile lies in another bucket than its run',
        (client('operate/records', 'before + count >= wanted', 'before >= wanted'),),
        ('operate_records::test_a_percentile_lies_in_the_bucket_that_its_run_is_in',),
    ),
    Mutant(
        'forget-leaves-hours', BEYOND, 'records of hours stay when a queue is forgotten',
        (client('operate/registry', "now // 3600 - back}' for back in range(-1, 14 * 24 + 2)",
                "now // 3600 - back}' for back in range(-1, 24)"),),
        ('operate_records::test_what_was_written_of_a_queue_is_forgotten_and_its_tasks_stay',),
    ),
)  # fmt: skip

OPERATE_HEART = (*COUNTS, *BEATS, *CREW)
