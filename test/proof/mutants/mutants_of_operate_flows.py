"""Hand-made faults in what tells of flows: their place, their tasks, why they stand still, and how they are drawn."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client


def told(name: str, breaks: str, module: str, old: str, new: str, test: str) -> Mutant:
    """A fault of a module, and the test of flows in `operate_flows` or `cli_flows` that sees it."""
    path = f'operate/{module}' if '/' not in module else module
    file = 'cli_flows' if module.startswith('cli/') else 'operate_flows'
    return Mutant(f'flow-{name}', BEYOND, breaks, (client(path, old, new),), (f'{file}::test_{test}',))


TOLD = (
    told(
        'pending', 'what waits for others counts as pending', 'overview',
        ' - self.dead - self.waiting)', ' - self.dead)',
        'what_waits_is_a_place_that_is_counted_paged_and_selected',
    ),
    Mutant(
        'flow-place', BEYOND, 'a cancelled flow is in no place, so a second cancel takes no cleanup back',
        (Edit('torrelque/operate/script/page.lua', "status == '6' and total", "status == '6' and false"),),
        ('operate_flows::test_a_cancelled_flow_tells_what_is_left_of_it',),
    ),
    told(
        'final', 'a second cancel of a flow is taken for one of what is final', 'verbs',
        "task.status in FINAL and task.place != 'waiting' else", 'task.status in FINAL else',
        'a_cancelled_flow_tells_what_is_left_of_it',
    ),
    told(
        'redriven', 'a flow is not redriven by its id', 'verbs',
        'task.status == TorrelqueTaskStatus.WAITING and task.total is not None', 'False',
        'a_dead_task_far_before_it_is_in_the_way',
    ),
    told(
        'far', 'a dead task is in the way of those only that wait for it themselves', 'stalls',
        '        ahead = [*others]', '        ahead = []',
        'a_dead_task_far_before_it_is_in_the_way',
    ),
    told(
        'end', 'what needs the end of a task that is stuck is told to go on', 'stalls',
        'for other, _ in edges.get(one, ())} - met', "for other, kind in edges.get(one, ()) if kind == 'then'} - met",
        'what_needs_the_end_of_a_task_that_is_stuck_is_stuck_as_well',
    ),
    told(
        'any', 'where one of several is enough, a dead one is in the way', 'stalls',
        'open_to_it = task_id in one_is_enough and', 'open_to_it = task_id in () and',
        'what_needs_the_end_of_a_task_that_is_stuck_is_stuck_as_well',
    ),
    told(
        'spread', 'what was put off and is left is told by nobody', 'stalls',
        "    if await queue.command('LINDEX', key, 0) != first:", '    if first:',
        'what_is_left_to_others_is_told_of',
    ),
    Mutant(
        'flow-errands', BEYOND, 'news for another queue that nobody carries are told by nobody',
        (client('operate/stalls', "ERRANDS = ('away', 'outbox')", "ERRANDS = ('away',)"),),
        ('operate_errands::test_news_for_another_queue_that_nobody_carries_are_told_in_the_queue_that_has_them',),
    ),
    told(
        'draft', 'a flow that is being made is told to go on', 'stalls',
        "if part.flow['draft'] is not None and seen.status", "if part.flow['draft'] == b'' and seen.status",
        'a_flow_that_is_made_in_several_calls_says_so',
    ),
    told(
        'late', 'a flow whose time is over is told to go on', 'stalls',
        'if gives_up is not None and gives_up <= part.now:', 'if gives_up is None and part.now < 0:',
        'a_flow_whose_time_is_over_says_so',
    ),
    told(
        'pages', 'tasks that have ended are in no page', 'flows',
        "('done' if key == 'needs' else '', b'0')", "('', b'0')",
        'a_flow_of_many_tasks_is_seen_in_pages',
    ),
    told(
        'twice', 'what waits for several tasks is drawn below each of them', 'cli/flowtree',
        'elif step.name in self._drawn:', 'elif step.name in self._counted:',
        'a_task_of_several_parents_is_drawn_once_and_referred_to_after_that',
    ),
    told(
        'many', 'of many tasks those are drawn that come first, and not those that matter', 'cli/flowtree',
        'key=lambda step: order.index(self._tasks[step.name].word))', 'key=lambda step: 0)',
        'the_calls_of_a_map_are_below_it_and_of_many_those_that_matter',
    ),
    told(
        'asked', 'a flow is cancelled without a question', 'cli/mass',
        'if found.yes or count <= 1:', 'if found.yes or count:',
        'acts_on_a_flow_are_asked_for_and_on_record',
    ),
    told(
        'standing-large', 'a large flow that goes on is told to stand still', 'standing',
        'begun = any(', 'begun = not any(',
        'a_flow_in_which_nothing_can_begin_is_told_and_may_be_cancelled',
    ),
    Mutant(
        'flow-standing', BEYOND, 'a flow whose only task that has begun is lost passes for one that goes on',
        (Edit('torrelque/operate/script/stalled.lua', "and redis.call('EXISTS', state .. tasks[2][k]) == 1", ''),),
        ('operate_flows::test_a_flow_in_which_nothing_can_begin_is_told_and_may_be_cancelled',),
    ),
    Mutant(
        'flow-shown-ended', BEYOND, 'nothing is shown of a task that has ended within its flow',
        (client('operate/pages', 'found.append(replace(view, **end))', 'del end'),),
        ('cli_flows::test_a_task_that_has_ended_is_shown_as_its_flow_tells_of_it',),
    ),
)
