"""Hand-made faults in the layers, and in what the core has for them."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client, script

NOTES = (
    Mutant(
        'deaths-by-attempts-unnoted', BEYOND, 'nobody is told that the task of a killed consumer is dead',
        (script('_bury', '  if default then\n    --@ Keys untold', '  if false then\n    --@ Keys untold'),),
        ('deaths::test_a_death_by_used_up_attempts_is_told_of_until_somebody_says_that_it_was',),
    ),
    Mutant(
        'deaths-of-lost-states-unnoted', BEYOND, 'nobody is told that a task of which little is left is dead',
        (script('_mend', "    redis.call('ZADD', untold, stamp, id)\n", ''),),
        ('deaths::test_a_task_whose_state_was_lost_is_told_of',),
    ),
    Mutant(
        'deaths-of-unreadable-tasks-unnoted', BEYOND, 'nobody is told that a task cannot be read',
        (client('protocol/calls', "'backslashreplace'), '0')", "'backslashreplace'), '')"),),
        ('deaths::test_a_task_that_could_not_be_read_is_told_of',),
    ),
    Mutant(
        'buried-and-noted', BEYOND, 'whoever buries a task is told what he knows',
        (script('bury', "if ARGV[i + 4] ~= '' then", 'if true then'),
         script('bury', 'now + ARGV[i + 4], id)', 'now + (tonumber(ARGV[i + 4]) or 0), id)')),
        ('deaths::test_who_buries_a_task_knows_of_it',),
    ),
    Mutant(
        'buried-and-told-at-once', BEYOND, 'two tell of a death that one of them saw',
        (script('bury', 'now + ARGV[i + 4], id)', 'stamp, id)'),),
        ('deaths::test_who_buries_a_task_may_have_its_death_told_of_should_he_not_come_to_it',),
    ),
    Mutant(
        'death-outlives-redrive', 2, 'a task that lives is told of as dead, and a key stays for ever',
        (script('redrive', "    redis.call('ZREM', untold, id)\n    redis.call('HSET'", "    redis.call('HSET'"),),
        ('deaths::test_what_is_not_dead_any_more_is_told_of_no_more',),
    ),
    Mutant(
        'death-outlives-a-damaged-task', 2, 'a key stays for ever when what is left of a dead task is cleared away',
        (script('redrive', "    redis.call('ZREM', untold, id)\n    outcome", '    outcome'),),
        ('deaths::test_a_redrive_that_finds_a_damaged_task_leaves_no_note_of_its_death',),
    ),
    Mutant(
        'death-outlives-cancel', 2, 'a key stays for ever of a dead task that was cancelled',
        (script('_revoke', "      redis.call('ZREM', untold, id)\n", ''),),
        ('deaths::test_what_is_not_dead_any_more_is_told_of_no_more',),
    ),
    Mutant(
        'living-told-of', BEYOND, 'a task that a client of another kind brought back is told of as dead',
        (script('tell', "if redis.call('ZSCORE', dead, id) then", 'if true then'),),
        ('deaths::test_a_note_of_a_task_that_is_not_dead_is_dropped',),
    ),
    Mutant(
        'told-of-by-all', BEYOND, 'each who asks is told of a death that another is telling of',
        (script('tell', 'now + ARGV[3]', 'now'),),
        ('deaths::test_a_death_by_used_up_attempts_is_told_of_until_somebody_says_that_it_was',),
    ),
    Mutant(
        'told-of-once', BEYOND, 'a death is forgotten with whoever was to tell of it',
        (script('tell', "  redis.call('ZADD', untold, unpack(given))\n", ''),),
        ('deaths::test_a_death_by_used_up_attempts_is_told_of_until_somebody_says_that_it_was',),
    ),
    Mutant(
        'tell-begins-with-memory', BEYOND, 'nobody is told of deaths while memory is full',
        (script('tell', "  redis.call('ZREM', untold, unpack(due))\n", ''),),
        ('deaths::test_deaths_are_noted_and_told_of_when_memory_is_full',),
    ),
    Mutant(
        'tell-without-a-bound', 10, 'deaths with large tasks are more than one reply should have',
        (script('tell', 'bytes >= max_bytes', 'false'),),
        ('deaths::test_large_tasks_are_told_of_one_by_one',),
    ),
    Mutant(
        'late-word-of-an-older-death', BEYOND, 'whoever told of a death takes the next one of the task away',
        (script('told', "== ARGV[i + 1] then", "~= '' then"),),
        ('deaths::test_a_later_death_of_the_same_task_is_another',),
    ),
    Mutant(
        'deaths-of-foreign-ids-stay', BEYOND, 'the death of a task whose id is no UTF-8 is told of for ever',
        (client('protocol/calls', "task_id.encode('utf-8', 'surrogateescape')", "task_id.encode('utf-8', 'replace')"),),
        ('deaths::test_a_task_that_could_not_be_read_is_told_of',),
    ),
    Mutant(
        'deaths-wait-for-the-real-time', BEYOND, 'a moved clock leaves it as it was when deaths are told of again',
        (Edit('torrelque/testing/script/move.lua', "'rated', 'untold'}", "'rated'}"),),
        ('deaths::test_a_death_by_used_up_attempts_is_told_of_until_somebody_says_that_it_was',),
    ),
)  # fmt: skip

TELLING = (
    Mutant(
        'nobody-looks-for-deaths', BEYOND, 'on_dead is not called for the task of a killed worker',
        (client('worker/worker', '        self._deaths.begin(self._common)\n', ''),),
        ('worker_deaths::test_the_next_worker_tells_of_the_task_of_a_killed_one',),
    ),
    Mutant(
        'deaths-looked-for-once', BEYOND, 'on_dead is not called by a worker that ran before the task died',
        (client('worker/deaths', '        while not over:', '        if not over:'),),
        ('worker_deaths::test_the_next_worker_tells_of_the_task_of_a_killed_one',),
    ),
    Mutant(
        'deaths-told-before-the-hook', BEYOND, 'whoever is killed in the hook has told',
        (client('worker/deaths', 'await self._tell(queue, death)\n',
                'await acknowledge(queue, death.id)\n                await self._tell(queue, death)\n'),),
        ('worker_deaths::test_a_worker_that_is_killed_in_the_hook_has_not_told',),
    ),
    Mutant(
        'deaths-never-told', BEYOND, 'on_dead is called every minute',
        (client('worker/deaths', '                await acknowledge(queue, death.id)\n', ''),),
        ('worker_deaths::test_two_workers_tell_of_each_death_once',),
    ),
    Mutant(
        'own-deaths-unnoted', BEYOND, 'whoever is killed in the hook of a task that failed has told',
        (client('worker/settling', 'self._bounds.death_hold if held.resolved.on_dead else None', 'None'),),
        ('worker_deaths::test_a_worker_that_is_killed_in_the_hook_has_not_told',),
    ),
    Mutant(
        'own-deaths-told-twice', BEYOND, 'a worker tells of what it buried, and another a minute later',
        (client('worker/settling', '            await acknowledge(delivery.queue, delivery.id)\n', ''),),
        ('worker_deaths::test_what_a_worker_buries_itself_is_told_of_once',),
    ),
    Mutant(
        'slow-hooks-tell-all', BEYOND, 'whoever has had no time left tells of what others have told of',
        (client('worker/deaths', 'if loop.time() - since > self._bounds.death_hold / 2:', 'if False:'),),
        ('worker_deaths::test_slow_hooks_leave_deaths_to_those_who_have_time',),
    ),
    Mutant(
        'functions-not-told', BEYOND, 'the on_dead of a function is not called for deaths that nobody saw',
        (client('worker/deaths', 'if self._app is not None and death.unreadable is None:', 'if False:'),),
        ('worker_on_dead::test_hooks_of_worker_and_function_are_called_in_their_order',),
    ),
    Mutant(
        'functions-not-asked', BEYOND, 'nobody looks for deaths where only functions have hooks',
        (client('worker/deaths', "bool(getattr(self._app, 'has_on_dead', True))", 'False'),),
        ('worker_deaths::test_the_next_worker_tells_of_the_task_of_a_killed_one',),
    ),
    Mutant(
        'deaths-looked-for-in-vain', BEYOND, 'an app without hooks asks for deaths, and takes them from those who have',
        (client('tasks/app', 'return any(definition.job.on_dead is not None for', 'return any(True for'),),
        ('worker_on_dead::test_an_app_asks_where_a_function_has_a_hook',),
    ),
    Mutant(
        'burst-ends-with-deaths', BEYOND, 'a burst leaves what its hooks have enqueued',
        (client('worker/worker', 'if await self._deaths.look():', 'if not await self._deaths.look() and False:'),),
        ('worker_on_dead::test_a_burst_tells_of_what_died_before_and_does_what_the_hooks_enqueue',),
    ),
    Mutant(
        'no-last-look-for-deaths', BEYOND, 'a worker that stops does not tell of what died meanwhile',
        (client('worker/worker', '            self._deaths.end(self._tell)\n', '            pass\n'),),
        ('worker_on_dead::test_a_worker_that_stops_tells_of_what_died_meanwhile',),
    ),
    Mutant(
        'hooks-cut-off', BEYOND, 'a worker that stops has no patience with a hook',
        (client('worker/worker', '(self._held or self._deaths.busy)', 'self._held'),),
        ('worker_on_dead::test_a_hook_goes_on_while_a_burst_is_told_to_stop',),
    ),
    Mutant(
        'hooks-for-ever', 12, 'a hook that does not end keeps the worker',
        (client('worker/worker', 'await self._deaths.close(closing)',
                'await asyncio.wait(self._deaths._tasks)'),),
        ('worker_on_dead::test_a_hook_that_does_not_end_is_cancelled_with_the_worker_and_called_by_another',),
    ),
    Mutant(
        'silent-server-keeps-a-worker', 12, 'a worker that stops waits for a server that does not answer',
        (client('worker/deaths', 'await asyncio.wait([call], timeout=bounds.deaths_closing)',
                'await asyncio.wait([call])'),),
        ('worker_on_dead::test_a_server_that_does_not_answer_keeps_no_worker',),
    ),
    Mutant(
        'one-failed-look-is-the-last', BEYOND, 'a worker does not look for deaths any more when that failed once',
        (client('worker/deaths', '            except Exception as exc:\n                logger.warning(\'deaths',
                '            except KeyError as exc:\n                logger.warning(\'deaths'),),
        ('worker_on_dead::test_what_goes_wrong_is_logged_and_tried_again',),
    ),
    Mutant(
        'hook-cancels-the-look', BEYOND, 'a hook that cancels itself is the last that a worker calls for such deaths',
        (client('worker/deaths', 'await call_hooks_apart(resolved.on_dead, delivery, error, start=self._start)',
                'for hook in resolved.on_dead:\n'
                '            if asyncio.iscoroutine(got := hook(delivery, error)):\n'
                '                await got'),),
        ('worker_on_dead::test_a_hook_that_cancels_itself_was_told_and_is_told_of_the_next',),
    ),
    Mutant(
        'dead-and-touched', BEYOND, 'the delivery of a death asks the server for its lease',
        (client('worker/deaths', '        return False\n\n    def', '        return True\n\n    def'),),
        ('worker_on_dead::test_a_hook_is_called_with_a_delivery_that_cannot_be_settled',),
    ),
)  # fmt: skip

DEATHS = (*NOTES, *TELLING)
