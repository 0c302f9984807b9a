"""Hand-made faults in the layer of flows: what steps wait for, what is handed on, what is told of a flow."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

STEPS = (
    Mutant(
        'flow-row-cut', BEYOND, 'what is put before a row is put before its end',
        (client('flows/steps', '            for node in other._first:\n                for before', (
            '            for node in other.nodes:\n                for before'
        )),),
        ('flows_steps::test_what_is_put_before_a_row_is_put_before_its_beginning',),
    ),
    Mutant(
        'flow-all-must-fail', BEYOND, 'what is for one of several failures waits for all of them',
        (client('flows/steps', 'too.\n            entry.need_one_of(nodes)', 'too.\n            pass'),),
        ('flows_steps::test_one_of_several_failures_is_enough',),
    ),
    Mutant(
        'flow-beside-lost', BEYOND, 'what is to run after a failure, or at the end, is enqueued with no flow',
        (client('flows/graph', 'coming += node.beside', 'pass'),),
        ('flows_steps::test_steps_beside_belong_to_the_flow',),
    ),
    Mutant(
        'flow-end-wins', BEYOND, 'a step that takes a result begins also where there is none',
        (client('flows/graph', "if known is None or known == 'end':", 'if known is None:'),),
        ('flows_steps::test_an_edge_that_ends_gives_way_to_one_that_says_more',),
    ),
    Mutant(
        'flow-mixed-join', BEYOND, 'a step that begins at one of several ends takes the result of another one',
        (client('flows/graph', "certain = any(kind != 'first' for _, _, kind in node.found)", 'certain = False'),),
        ('flows_refused::test_who_begins_at_one_of_several_ends_waits_for_nothing_else',),
    ),
    Mutant(
        'flow-result-true', BEYOND, 'a result that is not there yet is true',
        (client('flows/references', '__bool__ = __len__ = __iter__', '__iter__'),),
        ('flows_steps::test_a_misused_result_says_what_it_is',),
    ),
    Mutant(
        'flow-neighbours-unconverted', BEYOND, 'arguments beside a result are sent as they are',
        (client('tasks/stepping', 'if definition.encode_around is not None:', 'if False:'),),
        ('flows_steps::test_other_arguments_are_converted_and_checked_beside_a_result',),
    ),
)

RUNNING = (
    Mutant(
        'flow-map-holds-nothing', BEYOND, 'what comes behind a map begins before its calls have ended',
        (client('flows/plan', 'if other.mapped is not None:\n                found', (
            'if False:\n                found'
        )),),
        ('flows_steps::test_a_map_holds_back_whatever_comes_behind_it', 'flows_run::test_the_typed_examples_run'),
    ),
    Mutant(
        'flow-map-stops', BEYOND, 'a map fails where one that waits for it was skipped meanwhile',
        (client('flows/own', 'if all(waiting):', 'if True:'),),
        ('flows_ends::test_a_map_goes_on_where_what_comes_behind_it_was_skipped',),
    ),
    Mutant(
        'flow-added-again', BEYOND, 'each attempt adds its tasks anew',
        (client('flows/context', "return f'{self._name}.{free}'", (
            "return f'{self._name}.{self._delivery.attempt}.{free}'"
        )),),
        ('flows_run::test_what_an_attempt_has_added_is_not_added_again',),
    ),
    Mutant(
        'flow-returned-as-added', BEYOND, 'what a function returns is a task that it has added, with other arguments',
        (client('flows/grafting', 'names = self._names(names_given(delivery))', 'names = self._names(())'),),
        ('flows_grafts::test_what_a_function_returns_has_other_names_than_what_it_has_added',),
    ),
    Mutant(
        'flow-started-again', BEYOND, 'a firing that is handed out again starts another flow',
        (client('flows/own', "flow_id = f'{delivery.id}.flow'", "flow_id = f'{delivery.id}.{delivery.since}'"),),
        ('flows_run::test_a_flow_that_was_started_is_not_started_again',),
    ),
    Mutant(
        'flow-inputs-unread', BEYOND, 'functions are called with None in the place of results',
        (client('tasks/definition', 'if takes:', 'if False:'),),
        ('flows_run::test_results_reach_functions_in_loops_threads_and_processes_by_their_types',),
    ),
    Mutant(
        'flow-first-must-be-all', BEYOND, 'the first of several results is not taken while others have failed',
        (client('flows/inputs', 'elif task_id not in first:', 'else:'),),
        ('flows_ends::test_the_first_and_any_failed', 'flows_eager::test_the_first_result_is_taken'),
    ),
    Mutant(
        'flow-stands-silent', BEYOND, 'who waits for the result of a flow that stands still waits for ever',
        (client('flows/handle', 'if state.dead and await self._waits():', 'if False:'),),
        ('flows_eager::test_a_flow_that_stands_still_says_so_at_once_and_goes_on_by_a_redrive',),
    ),
    Mutant(
        'flow-undone-in-order', BEYOND, 'outcomes come in no order, so that a saga undoes what others stand on',
        (client('flows/handle', "nodes = flow.task.get('nodes', ())", "nodes = flow.task.get('none', ())"),),
        ('flows_run::test_outcomes_come_in_the_order_of_the_flow',),
    ),
)
