"""Hand-made faults in metrics and scaling: counters that sink, series that clash, sums that are wrong, what is read for
whom."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

METRICS = 'metrics::'
COUNTERS = 'metrics_counters::'
MOUNTED = 'metrics_mounted::'
SCALE = 'operate_scale::'
USEFUL = 'torrelque/operate/script/useful.lua'

MEASURED = (
    Mutant(
        'metrics-counter-sinks', BEYOND, 'a failure is counted before it is known to be the last one',
        (client('worker/settling', '        delivery = held.delivery\n        if self._gates',
                '        delivery = held.delivery\n        self._count(held, FAILED)\n        if self._gates'),
         client('worker/settling', 'self._count(held, FAILED if ours else LOST)', 'ours or self._count(held, LOST)')),
        ('worker_counts::test_a_failure_and_the_death_by_it_are_counted_at_once',),
    ),
    Mutant(
        'metrics-attempt-twice', BEYOND, 'an attempt that ends in death counts as retried as well',
        (client('monitor/series', 'max(0, totals.failed - totals.dead), totals.dead', 'totals.failed, totals.dead'),),
        (COUNTERS + 'test_each_attempt_of_a_worker_is_in_one_outcome',),
    ),
    Mutant(
        'metrics-buckets-alone', BEYOND, 'buckets of a histogram do not have those before in them',
        (client('monitor/series', '*itertools.accumulate(counts), total', '*counts, total'),),
        (METRICS + 'test_both_texts_tell_what_the_queue_has',),
    ),
    Mutant(
        'metrics-series-twice', BEYOND, 'two functions whose names are one label are two series',
        (client('monitor/labels', 'if known is not None:', 'if known is not None and name == OTHER:'),
         client('monitor/labels', '            found[name] = one if name == one.name else',
                '            found[name + str(len(found)) * (known is not None)] = one if name == one.name else')),
        (METRICS + 'test_hostile_names_are_legal_in_both_texts',),
    ),
    Mutant(
        'metrics-functions-without-end', BEYOND, 'as many functions have series as there are',
        (client('monitor/labels', 'MOST = 200', 'MOST = 2000'),),
        (METRICS + 'test_functions_beyond_two_hundred_are_one',),
    ),
    Mutant(
        'metrics-one-takes-all-down', BEYOND, 'a queue that cannot be read leaves the others untold',
        (client('monitor/reading', '            self._tell(queue.name, exc)\n', '            raise\n'),),
        (METRICS + 'test_a_queue_that_cannot_be_read_is_down_and_the_others_are_told',),
    ),
    Mutant(
        'metrics-zero-for-unknown', BEYOND, 'what a broken key hides is told as 0',
        (client('monitor/series', 'return _ABOUT.get(name, name) in one.exact', 'return bool(name)'),),
        (METRICS + 'test_what_is_not_known_is_left_out',),
    ),
    Mutant(
        'metrics-read-for-each', BEYOND, 'each scrape reads anew',
        (client('monitor/reading', 'FRESH = 1.0', 'FRESH = 0.0'),),
        (METRICS + 'test_a_scrape_is_few_calls_and_scrapes_of_a_second_are_one',),
    ),
    Mutant(
        'metrics-first-leaves', BEYOND, 'whoever is cancelled takes the answer from others',
        (client('monitor/reading', 'return await asyncio.shield(reading)', 'return await reading'),),
        (METRICS + 'test_whoever_leaves_does_not_keep_others_from_the_answer',),
    ),
    Mutant(
        'metrics-numbers-of-before', BEYOND, 'a series has the numbers that it had at first',
        (client('monitor/exposing', 'if lines.values != values:', 'if not lines:'),),
        (COUNTERS + 'test_counters_are_told_as_they_are_now',),
    ),
    Mutant(
        'metrics-thread-of-the-parent', BEYOND, 'the child of a fork waits for the thread of its parent',
        (client('monitor/collecting', 'if self._pid != os.getpid():', 'if self._pid != os.getpid() < 0:'),),
        (MOUNTED + 'test_a_synchronous_program_and_its_fork_have_a_collector_without_starlette',),
    ),
    Mutant(
        'scale-by-length', BEYOND, 'all that waits in groups counts, whatever their limits',
        (Edit(USEFUL, 'max(0, min(length, most - used))', 'max(0, length)'),),
        (SCALE + 'test_of_groups_no_more_is_useful_than_may_run',),
    ),
    Mutant(
        'scale-head-uncounted', BEYOND, 'the head of a group, which has a slot already, counts as none',
        (Edit(USEFUL, 'local number = head + max', 'local number = max'),),
        (SCALE + 'test_of_groups_no_more_is_useful_than_may_run',),
    ),
    Mutant(
        'scale-without-one', BEYOND, 'a queue that cannot be read counts as empty',
        (client('operate/scaling', '    if overview.error is not None:', '    if overview.error == 0:'),
         client('operate/scaling', '[await read_useful(part) for queue in queues for part',
                '[await read_useful(part) for queue in queues[:1] for part')),
        (SCALE + 'test_several_queues_are_one_and_a_queue_that_fails_is_no_zero',),
    ),
)  # fmt: skip
