"""Hand-made faults in what goes along with calls, and in what telemetry tells of them."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

CONTEXT = 'tasks_context::'
SPANS = 'telemetry_spans::'
WAYS = 'telemetry_ways::'
PROGRAMS = 'telemetry_programs::'

TELEMETRY = (
    # What goes along.
    Mutant(
        'context-without-bound', BEYOND, 'a context of any size goes along',
        (client('tasks/context', '> MOST:', '> 10**9:'),),
        (CONTEXT + 'test_what_is_too_large_or_no_text_is_left_out_with_a_warning',),
    ),
    Mutant(
        'context-that-stops-a-call', BEYOND, 'a context that fails has the call refused',
        (client('tasks/context', "logger.exception('%r gives no context; the call goes without', one)", 'raise'),),
        (CONTEXT + 'test_a_context_that_fails_stops_neither_call_nor_function',),
    ),
    Mutant(
        'context-over-too-early', BEYOND, 'a coroutine function is run behind its context',
        (client('tasks/incontext', 'delivery.task):\n            return await self._call(delivery)',
                'delivery.task):\n            coroutine = self._call(delivery)\n        return await coroutine'),),
        (CONTEXT + 'test_a_function_is_run_in_the_context_of_whoever_has_enqueued_its_call',),
    ),
    Mutant(
        'context-of-nobody-in-a-map', BEYOND, 'calls of a map go without the context',
        (client('tasks/function', "along = {} if context is None else {'context': context}",
                'along: dict[str, Any] = {}'),),
        (CONTEXT + 'test_many_calls_and_calls_through_middleware_have_the_context',),
    ),
    Mutant(
        'context-lost-by-maps-of-flows', BEYOND, 'calls for the elements of a list go without the context',
        (client('flows/own', "if 'context' in task:", "if 'contexts' in task:"),),
        (CONTEXT + 'test_steps_of_flows_have_the_context_and_so_have_those_that_come_to_it',),
    ),
    Mutant(
        'context-that-stays-shared', BEYOND, 'a shared context cannot be taken back',
        (client('tasks/context', 'if one is not checked]', 'if one]'),),
        (CONTEXT + 'test_a_shared_context_is_that_of_all_apps_until_it_is_taken_back',
         WAYS + 'test_uninstrument_takes_all_of_it_back'),
    ),
    # Spans.
    Mutant(
        'telemetry-child-for-ever', BEYOND, 'each attempt is a child of the producer',
        (client('telemetry/attempt', 'parent and delivery.attempt == 1', 'parent'),),
        (SPANS + 'test_a_parent_is_that_of_the_first_attempt_and_later_ones_are_linked',),
    ),
    Mutant(
        'telemetry-one-trace', BEYOND, 'an attempt with a link is in the trace of the producer all the same',
        (client('telemetry/attempt', 'origin = trace.set_span_in_context(trace.INVALID_SPAN, origin)', 'pass'),),
        (SPANS + 'test_a_call_and_its_attempt_have_a_span_each_and_the_second_is_linked_to_the_first',),
    ),
    Mutant(
        'telemetry-death-untold', BEYOND, 'a death counts as a retry',
        (client('worker/settling', "'dead' if delay is None else 'retried'", "'retried'"),),
        (SPANS + 'test_a_failure_is_recorded_once_and_the_death_is_told',),
    ),
    Mutant(
        'telemetry-loss-untold', BEYOND, 'an attempt whose lease was lost counts as given back',
        (client('worker/settling', "held.end_as('cancelled' if why is Stop.CANCELLED else 'lost')",
                "held.end_as('returned')"),),
        (SPANS + 'test_an_attempt_whose_lease_was_lost_tells_so_and_the_next_is_linked_to_the_same_call',),
    ),
    Mutant(
        'telemetry-release-untold', BEYOND, 'whoever waits for the end of an attempt is not told of a release in bulk',
        (client('worker/releasing', 'if each.tells is not None:', 'if each.error is not None:'),),
        (SPANS + 'test_a_call_and_its_attempt_have_a_span_each_and_the_second_is_linked_to_the_first',
         SPANS + 'test_many_calls_have_one_span_whose_context_all_have'),
    ),
    Mutant(
        'telemetry-twice', BEYOND, 'what is done by hand and by the instrumentor is traced twice',
        (client('telemetry/telemetry', 'if contexts.get_value(PROCESSING) is delivery.id:', 'if False:'),),
        (WAYS + 'test_what_is_done_by_hand_and_by_the_instrumentor_is_traced_once',),
    ),
    Mutant(
        'telemetry-never-awake', BEYOND, 'a provider that was given is not looked at',
        (client('telemetry/asleep', 'not named and tracers is None and meters is None', 'not named'),),
        (SPANS + 'test_two_telemetries_make_one_span_of_each',),
    ),
    Mutant(
        'telemetry-of-no-request', BEYOND, 'a context that is there does not go on where there is no SDK',
        (client('telemetry/telemetry', 'return self._asleep() and not contexts.get_current()',
                'return self._asleep()'),),
        (WAYS + 'test_without_an_sdk_a_context_that_is_there_goes_on_and_no_other_is_made',),
    ),
    Mutant(
        'telemetry-fails-elsewhere', BEYOND, 'hooks and lines of a failure are outside of its span',
        (client('telemetry/telemetry', 'attempt.leave(token if error is None or not told else None)',
                'attempt.leave(token)'),),
        (SPANS + 'test_hooks_and_lines_of_the_log_of_a_failure_are_in_its_span',),
    ),
)
