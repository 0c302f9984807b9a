"""Hand-made faults in what tells why a task does not run: each reason, their order, counts, those in the way, commands.
"""

from __future__ import annotations

from collections.abc import Sequence

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

PROOF = 'operate_why_proof::test_who_does_what_it_says_has_the_task_handed_out'


def seen(tests: Sequence[str]) -> tuple[str, ...]:
    """Whole names of tests, of ``name`` or ``groups::name``; those of `operate_orphans` begin with ``orphans``."""
    named = [test.rpartition('::') for test in tests]
    files = {'': 'operate_why', 'orphans': 'operate_orphans'}
    return tuple(
        test if test == PROOF else f'{files.get(module, f"operate_why_{module}")}::test_{name}'
        for test, (module, _, name) in zip(tests, named, strict=True)
    )


def why(name: str, breaks: str, module: str, old: str, new: str, *tests: str) -> Mutant:
    """A fault of a module beside `explaining.py`, and the tests that see it."""
    return Mutant(f'why-{name}', BEYOND, breaks, (client(f'operate/{module}', old, new),), seen(tests))


def look(name: str, breaks: str, old: str, new: str, *tests: str) -> Mutant:
    """A fault of the script that looks."""
    return Mutant(f'why-{name}', BEYOND, breaks, (Edit('torrelque/operate/script/look.lua', old, new),), seen(tests))


EXPLAINING = (
    # The reasons, but for those of flows
    why(
        'unknown', 'a task that nobody knows has no reason',
        'reasons', "    return [Reason('unknown', text)]", '    return []',
        'task_that_nobody_knows',
    ),
    why(
        'broken', 'a lost payload is no reason',
        'reasons', "    if not seen.raw['stored']:", "    if not seen.raw['now']:",
        'task_of_which_something_is_lost',
    ),
    why(
        'finished', 'a task that is kept has no reason',
        'reasons', 'else [_finished(seen, status)]', 'else []',
        'task_that_is_finished_and_kept', PROOF,
    ),
    why(
        'working', 'whatever is worked on is told to be nobody\'s',
        'reasons', "code, command = 'working', None", "code, command = 'orphaned', None",
        'task_that_a_worker_works_on',
    ),
    why(
        'orphaned', 'a worker that is silent is told to be well, because its leases are renewed',
        'reasons', "worker is not None and worker.state == 'lost'", "worker is not None and worker.state == ''",
        'orphans::worker_that_is_silent_while_leases_are_renewed_is_told_so',
    ),
    why(
        'orphaned-held-up', 'a group is to have a higher limit though nobody works on what holds it up',
        'obstacles', '    if not orphans:\n', '    if orphans or not orphans:\n',
        'orphans::group_that_tasks_of_nobody_hold_up_goes_on_by_the_command',
    ),
    why(
        'orphaned-of-others', 'the name of a group is taken for a pattern, and tasks of others are taken away',
        'obstacles', 'group=escape_name(group.name)', 'group=group.name',
        'orphans::group_whose_name_is_a_pattern_has_its_own_tasks_brought_back',
    ),
    why(
        'dead', 'nothing says how a dead task comes back',
        'reasons', "command = remedies.command(seen.queue, 'redrive', seen.id)",
        "command = remedies.command(seen.queue, 'doctor')",
        'task_that_is_dead', PROOF,
    ),
    why(
        'cancelled', 'a cancelled task that is held still is told to be finished',
        'reasons', '[_cancelled(seen, crew, lease_end)] if', '[_finished(seen, status)] if',
        'task_that_was_cancelled_and_is_held_still',
    ),
    why(
        'delayed', 'a first delay is told to be a retry',
        'reasons', '    if not seen.attempts:', '    if seen.attempts:',
        'task_that_was_enqueued_for_later', 'task_that_waits_for_a_retry',
    ),
    why(
        'retry', 'nothing says when a retry is due',
        'reasons', "Reason('retry', text, since=since, until=due,", "Reason('retry', text, since=since,",
        'task_that_waits_for_a_retry',
    ),
    why(
        'overdue', 'a task that is due and was not swept is told to wait for its time',
        'reasons', '    if due <= seen.now:', '    if due <= 0:',
        'task_that_is_due_and_that_nobody_has_swept', PROOF,
    ),
    why(
        'overdue-lease', 'a task whose lease has ended is told to be worked on',
        'reasons', "        return _overdue(seen, f'it was worked on",
        "        seen or _overdue(seen, f'it was worked on",
        'task_whose_lease_has_ended',
    ),
    why(
        'overdue-holder', 'nobody is told that a holder waits for a sweep',
        'obstacles', '        if ended:', '        if not holders:',
        'groups::holder_whose_lease_has_ended_waits_for_a_sweep',
    ),
    why(
        'overdue-token', 'a token that nobody has swept is no reason',
        'obstacles', '    if group.head is None and not full and not group.dry and not group.shut:',
        '    if group.head is None and full and not group.dry:',
        'groups::token_that_has_come_and_that_nobody_has_swept', PROOF,
    ),
    why(
        'queue-paused', 'a pause of the queue is no reason',
        'obstacles', '    if stopped and not (first', '    if not stopped and not (first',
        'groups::queue_that_is_paused', PROOF,
    ),
    why(
        'queue-probe', 'a task that a pause lets through now is told to be paused',
        'obstacles', 'not (first and probe is not None', 'not (not first and probe is not None',
        'groups::pause_with_probes_tells_when_the_next_comes', PROOF,
    ),
    why(
        'group-paused', 'a pause of the group is no reason',
        'obstacles', 'group.halted and (group.shut', 'not group.halted and (group.shut',
        'groups::group_that_is_paused', PROOF,
    ),
    why(
        'at-limit', 'a group whose slots are in use may go on',
        'obstacles', 'else group.slots >= group.limit\n', 'else group.slots > group.limit\n',
        'groups::group_at_its_limit_names_those_that_are_in_the_way', PROOF,
    ),
    why(
        'at-limit-lowered', 'a head is not held back by a limit that was lowered',
        'obstacles', 'full = group.slots > group.limit if own_turn', 'full = False if own_turn',
        PROOF,
    ),
    why(
        'at-limit-command', 'the command leaves the limit as it is',
        'obstacles', 'group.slots if own_turn else group.slots + 1', 'group.slots',
        'groups::group_at_its_limit_names_those_that_are_in_the_way', PROOF,
    ),
    why(
        'no-token', 'a rate that is used up is no reason',
        'obstacles', '    if group.dry and group.rate is not None:', '    if not group.dry and group.rate is not None:',
        'groups::group_that_has_used_up_its_rate', PROOF,
    ),
    why(
        'behind', 'tasks that go first are no reason',
        'obstacles', '    if not ahead.most or (', '    if ahead.most or (',
        'others::tasks_before_it_in_a_plain_list_are_counted', PROOF,
    ),
    why(
        'no-worker', 'it is no reason that nobody is there',
        'hands', '        return [_nobody(seen, crew)]', '        return []',
        'others::nobody_is_there',
    ),
    why(
        'no-worker-stopping', 'workers that stop are told to serve',
        'hands', "if worker.state != 'stopping']", "if worker.state != '']",
        'others::nobody_is_there',
    ),
    why(
        'not-known', 'it is no reason that nobody knows the function',
        'hands', 'function is None or await _is', 'function is None or not await _is',
        'others::function_that_no_worker_knows', 'others::worker_with_a_free_place_is_no_reason',
    ),
    why(
        'not-known-many', 'a worker that tells a hundred names is told to know no other',
        'hands', ' or len(worker.functions) >= KNOWN', '',
        'others::function_that_no_worker_knows',
    ),
    why(
        'all-busy', 'places of threads that hang are told to be free',
        'hands', 'return worker.busy + worker.hanging', 'return worker.busy',
        'others::all_workers_are_busy',
    ),
    why(
        'stuck', 'a worker that is stuck is told to be ready',
        'hands', "stuck = [worker for worker in serving if worker.state == 'stuck']", 'stuck: list[WorkerView] = []',
        'others::workers_that_live_and_take_nothing',
    ),
    # Their order
    why(
        'order', 'a pause is decisive before what nobody has swept',
        'explaining', 'key=lambda reason: CODES.index(reason.code))', 'key=lambda reason: 0)',
        PROOF,
    ),
    # How many go first
    why(
        'holes', 'holes of cancelled tasks go first',
        'ahead', "least = most = at - seen.count('holes_before')", 'least = most = at',
        'others::holes_of_cancelled_tasks_do_not_count',
    ),
    why(
        'turns-of-plain', 'heads are not counted before a plain task',
        'ahead', 'self.heads(least + 1 - bit, most + 1 - bit)', 'self.heads(0, 0)',
        'others::heads_of_other_groups_and_plain_tasks_take_turns', PROOF,
    ),
    why(
        'turns-of-heads', 'plain tasks are not counted before a head',
        'ahead', '            self.urgent + low + min(self.plain, low + bit),', '            self.urgent + low,',
        'others::heads_of_other_groups_and_plain_tasks_take_turns',
    ),
    why(
        'urgent', 'tasks with a priority are not counted before a plain one',
        'ahead', 'least + low + self.urgent, most + high + self.urgent', 'least + low, most + high',
        PROOF,
    ),
    why(
        'far', 'a place that was not met counts as the end of what was looked at',
        'ahead', 'most = length - LEFT if length > RIGHT else length', 'most = least',
        'others::place_far_from_both_ends_is_not_looked_for',
    ),
    look(
        'better', 'a task of a higher priority that came behind the head counts as behind it',
        'it.head ~= id and order_of(it.head) < order and 1 or 0', 'it.head ~= id and 1 or 0',
        'others::tasks_of_one_group_are_counted', PROOF,
    ),
    look(
        'heads-that-stay', 'heads of groups that may not go on count',
        'return not it.shut and not it.dry and it.slots <= it.limit', 'return it.slots <= it.limit',
        'others::groups_that_cannot_go_do_not_count', PROOF,
    ),
    look(
        'lost-turns', 'a head is told to have no turn where the next claim finds all turns again',
        "tell('lost', lost_turns)", "tell('lost', false)",
        'turns_that_were_lost_are_found_again_by_the_claim',
    ),
    look(
        'own-limit', 'the default counts for a group that has a limit of its own',
        'it.limit = limit or default_limit', 'it.limit = default_limit',
        'groups::group_at_its_limit_names_those_that_are_in_the_way', PROOF,
    ),
    # Who is in the way
    why(
        'holders-of-others', 'holders of other groups are in the way',
        'holding', 'if owner == name]', 'if owner]',
        'groups::holders_are_searched_for_among_all_and_twenty_are_named',
    ),
    why(
        'holders-by-hearts', 'hearts are not asked who is in the way',
        'holding', 'for _, task in crew.running() if task.group == group.name', 'for _, task in ()',
        'groups::holder_that_a_search_does_not_find_is_told_by_hearts',
    ),
    why(
        'pause-of-others', 'whoever paused once is told to have made each pause since',
        'obstacles', 'alike = apart and every and math.isclose(1000 * apart, every, rel_tol=1e-5, abs_tol=1)',
        'alike = True',
        'groups::pause_of_code_is_not_that_of_whoever_has_paused_before',
    ),
    why(
        'pause-of-longer-names', 'a record of a group counts for one whose name it begins with',
        'obstacles', "r'(?:, probe ([0-9.e+-]{1,30})s)?', re.S)", "r'(?:, probe ([0-9]+)s)?.*', re.S)",
        'groups::record_of_a_group_is_not_that_of_one_whose_name_is_longer',
    ),
    look(
        'few-groups', 'a queue is told to be broken because its first groups have nothing that is pending',
        "until cursor == '0' or #some == 25 or looked_at >= 1000", "until looked_at >= 0",
        'others::only_group_that_has_pending_tasks_is_found_among_many',
    ),
    # Commands
    why(
        'quoting', 'a name is run by the shell',
        'remedies', 'shlex.join(words)', "' '.join(words)",
        'commands_are_safe_whatever_is_in_a_name',
    ),
    why(
        'dash', 'an id that begins with a dash is taken for an option',
        'remedies', "        words += ['--', operand]", '        words.append(operand)',
        'commands_are_safe_whatever_is_in_a_name', PROOF,
    ),
    why(
        'dash-of-a-group', 'a group that begins with a dash is taken for an option',
        'remedies', "[f'--group={group}'] if group.startswith('-') else ['--group', group]", "['--group', group]",
        'commands_are_safe_whatever_is_in_a_name', PROOF,
    ),
)  # fmt: skip
