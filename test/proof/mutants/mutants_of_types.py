"""Hand-made faults in what carries arguments and results over JSON, and in what the worker makes for functions."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

CARRYING = (
    Mutant(
        'types-loss-unseen', BEYOND, 'a value that does not arrive as it was is sent',
        (client('tasks/by_msgspec', 'if not same(arrived, value):', 'if False:'),),
        ('types::test_what_would_not_arrive_is_refused_at_the_call',),
    ),
    Mutant(
        'types-model-loss-unseen', BEYOND, 'a model that does not arrive as it was is sent',
        (client('tasks/by_pydantic', 'if not same(arrived, value):', 'if False:'),),
        ('types_pydantic::test_what_would_not_arrive_is_refused_at_the_call',),
    ),
    Mutant(
        'types-unset-fields-set', BEYOND, 'a patch of one field sets all others to None',
        (client('tasks/by_pydantic', 'WAYS = ((True, True), WHOLE, ', 'WAYS = (WHOLE, '),),
        ('types_pydantic::test_fields_that_were_not_set_are_not_set_when_a_model_has_arrived',),
    ),
    Mutant(
        'types-aliases-of-one-way', BEYOND, 'a model whose alias is for writing only is refused',
        (client('tasks/by_pydantic', 'by_alias=True, by_name=True', 'by_alias=True'),),
        ('types_pydantic::test_what_is_carried_is_json_and_arrives_as_it_was',),
    ),
    Mutant(
        'types-no-number-in-json', BEYOND, 'JSON has floats that no parser but that of Python reads',
        (client('tasks/by_msgspec', 'if self._has_floats and has_unnumbers(built):', 'if False:'),),
        ('types::test_what_is_carried_is_json_and_arrives_as_it_was', 'types_property'),
    ),
    Mutant(
        'types-no-number-by-place', BEYOND, 'a float that is no number is sent as a number, when others were before',
        (client('tasks/converting', 'if all(is_float(values[place]) for place in places):', 'if True:'),),
        ('types::test_kinds_of_arguments_are_remembered_for_no_others',),
    ),
    Mutant(
        'types-bool-refused', BEYOND, 'a bool within a list of ints is refused',
        (client('tasks/mending', 'return int(value) if isinstance(kind, (inspect.IntType, inspect.FloatType)) else '
                'value', 'return value'),),
        ('types::test_what_is_carried_is_json_and_arrives_as_it_was',),
    ),
    Mutant(
        'types-kinds-of-others', BEYOND, 'kinds of arguments that must be converted are taken as they are',
        (client('tasks/converting', 'if unchanged and all(it is None or type(value) in it.into for value, it in '
                'pairs):', 'if True:'),),
        ('types::test_kinds_of_arguments_are_remembered_for_no_others',),
    ),
    Mutant(
        'types-kinds-without-names', BEYOND, 'a keyword argument is sent as it is, because another one was',
        (client('tasks/converting', 'return (*map(type, args), *kwargs, *map(type, kwargs.values()))',
                'return (*map(type, args), *map(type, kwargs.values()))'),),
        ('types::test_kinds_are_remembered_with_the_names_of_arguments',),
    ),
    Mutant(
        'types-kinds-without-end', BEYOND, 'what is remembered of kinds of arguments grows without end',
        (client('tasks/converting', 'if len(self.sent) + len(self._floats) >= KNOWN:\n            return', 'pass'),),
        ('types::test_kinds_of_arguments_are_remembered_for_no_others',),
    ),
    Mutant(
        'types-no-number-in-one-go', BEYOND, 'a float beside a list is sent as a number that is none',
        (client('tasks/converting', 'return not self.once and not self.measured and', 'return not self.once and'),),
        ('types::test_arguments_that_are_converted_in_one_go_are_what_they_are_one_by_one',),
    ),
    Mutant(
        'types-int-for-a-float', BEYOND, 'a float that was written without a point arrives as an int',
        (client('tasks/adapters', 'frozenset((float,))),', 'frozenset((float, int))),'),),
        ('types::test_what_arrives_is_of_the_annotated_class',),
    ),
    Mutant(
        'types-classes-let-pass', BEYOND, 'a function that no JSON can carry the arguments of is decorated',
        (client('tasks/by_msgspec', 'if not isinstance(cls, type) or not _is_made_of_json(cls):', 'if False:'),),
        ('types::test_what_no_json_carries_is_refused_by_the_decorator',),
    ),
    Mutant(
        'types-refused-unasked', BEYOND, 'an app is no longer imported, because msgspec happens to be installed',
        (client('tasks/types', "if self._choice != 'auto' or required and not may_be_json(annotation):", 'if True:'),),
        ('types_unasked::test_what_plain_json_may_carry_needs_no_library_to_do_so',),
    ),
    Mutant(
        'types-let-pass-unasked', BEYOND, 'a function that must be given a socket is decorated',
        (client('tasks/types', 'required and not may_be_json(annotation):', 'False:'),),
        ('types_unasked::test_what_must_be_given_and_nothing_carries_is_refused_unasked',),
    ),
    Mutant(
        'types-keys-let-pass', BEYOND, 'a dict whose keys do not come back is carried',
        (client('tasks/by_msgspec', 'if not isinstance(key, KEYS) and not texts:', 'if False:'),),
        ('types::test_what_no_json_carries_is_refused_by_the_decorator',),
    ),
    Mutant(
        'types-models-let-pass', BEYOND, 'a model that has a socket is carried',
        (client('tasks/by_pydantic', "if kind in ('callable', 'is-instance', 'is-subclass'):", 'if False:'),),
        ('types_pydantic::test_what_no_json_carries_is_refused_by_the_decorator',),
    ),
    Mutant(
        'types-tried-again', BEYOND, 'arguments that do not fit are tried again and again',
        (client('tasks/converting', 'raise Reject(str(exc)) from exc', 'raise'),),
        ('types_run::test_what_does_not_fit_in_the_worker_is_dead_at_once',),
    ),
    Mutant(
        'types-result-unconverted', BEYOND, 'a result is kept as it is',
        (client('tasks/definition', 'encode=self.callee.encode_result', 'encode=None'),),
        ('types_run::test_a_result_is_json_and_is_itself_for_hooks_and_handles',),
    ),
    Mutant(
        'types-handle-of-an-id', BEYOND, 'the handle of an id gives plain JSON, though its function is known',
        (client('tasks/function', ', queue=self._queue, decode=self._decode)', ', queue=self._queue)'),),
        ('types_run::test_a_result_is_json_and_is_itself_for_hooks_and_handles',),
    ),
    Mutant(
        'types-spent-for-the-group', BEYOND, 'whoever chooses the group finds an iterator at its end',
        (client('tasks/function', "payload['expires'] = options.expires_now()\n            if self._definition.spends:",
                "payload['expires'] = options.expires_now()\n            if False:"),),
        ('types_run::test_those_who_choose_by_the_arguments_get_them_as_the_function_does',),
    ),
    Mutant(
        'types-plain-for-the-group', BEYOND, 'whoever chooses the group of calls in bulk gets plain JSON',
        (client('tasks/definition', 'args, kwargs = self.callee.converter.decode(args, kwargs)', 'pass'),),
        ('types_run::test_those_who_choose_by_the_arguments_get_them_as_the_function_does',),
    ),
    Mutant(
        'types-of-any-serialiser', BEYOND, 'values that pickle carries are refused',
        (client('tasks/types', "types == 'auto' and not _writes_json(serialiser)", 'False'),),
        ('types_run::test_a_serialiser_that_is_not_json_is_left_alone',),
    ),
    Mutant(
        'types-later-names-forgotten', BEYOND, 'a function that names a later class takes anything',
        (client('tasks/converting', 'if self.missing:\n            self.complete()\n        if not kwargs',
                'if not kwargs'),),
        ('types_run::test_a_class_that_refers_to_a_later_one_is_found_at_the_first_use',),
    ),
    Mutant(
        'types-later-names-untold', BEYOND, 'a worker begins, and has what it cannot read be dead',
        (client('tasks/app', 'definition.callee.complete()', 'pass'),),
        ('types_run::test_a_name_that_is_defined_later_is_found_and_one_that_never_is_told',),
    ),
)

MAKING = (
    Mutant(
        'thread-commits-what-was-given-up', BEYOND, 'a thread whose task is over commits, as the next attempt does',
        (client('tasks/injecting', "if getattr(delivery, 'over', False):", 'if False:'),),
        ('depends_failures::test_a_thread_whose_attempt_was_given_up_commits_nothing',),
    ),
    Mutant(
        'method-made-twice', BEYOND, 'what depends on the same method gets two values in a task',
        (client('tasks/depends', 'return self.make if isinstance(self.make, Hashable) else id(self.make)',
                'return id(self.make)'),),
        ('depends_failures::test_what_is_made_by_a_method_is_made_once_and_found_in_a_union',),
    ),
    Mutant(
        'needs-of-a-task-made-twice', BEYOND, 'two that depend on one thing get two',
        (client('tasks/injecting', 'if need.use_cache and need.key in made:\n            values[name] = '
                'made[need.key]\n            continue\n        inner = _make_all(', 'inner = _make_all('),),
        ('depends::test_a_value_is_shared_within_a_task_unless_that_is_unwanted',),
    ),
    Mutant(
        'needs-clean-up-unfailed', BEYOND, 'a commit that fails is a success',
        (client('tasks/injecting', 'assert late is not None\n        return late',
                "assert late is not None\n        raise SystemExit"),),
        ('depends_failures::test_an_error_of_clean_up_fails_an_attempt_that_had_succeeded',),
    ),
    Mutant(
        'needs-clean-up-goes-before', BEYOND, 'an error of clean-up takes the place of that of the function',
        (client('tasks/injecting', 'exc_info=late)\n    return failed', 'exc_info=late)\n        return late\n    '
                'return failed'),),
        ('depends_failures::test_an_error_of_clean_up_is_logged_beside_that_of_the_function',),
    ),
    Mutant(
        'needs-rest-without', BEYOND, 'what was made is cleaned up before a coroutine that uses it has run',
        (client('tasks/injecting', 'return _rest(result, stack.pop_all(), delivery) if inspect.isawaitable(result) '
                'else result', 'return result'),),
        ('depends_failures::test_the_rest_of_a_plain_wrapper_keeps_what_was_made',),
    ),
    Mutant(
        'needs-made-for-nothing', BEYOND, 'sessions are opened for arguments that do not fit',
        (client('tasks/running', 'check(args, kwargs)\n        return', 'return'),),
        ('depends_failures::test_nothing_is_made_for_arguments_that_do_not_fit',),
    ),
    Mutant(
        'needs-asynchronous-for-plain', BEYOND, 'a plain function gets a coroutine for its session',
        (client('tasks/depends', 'if way in (Way.AWAIT, Way.ENTER_ASYNC) and not self._asynchronous:', 'if False:'),),
        ('depends::test_a_plain_function_is_refused_what_is_asynchronous',),
    ),
    Mutant(
        'needs-itself', BEYOND, 'what depends on itself is looked into for ever',
        (client('tasks/depends', 'if any(make is one for one in above):', 'if False:'),),
        ('depends::test_what_cannot_be_meant_is_refused',),
    ),
    Mutant(
        'needs-given-by-a-call', BEYOND, 'what the worker makes is taken for an argument of any name',
        (client('tasks/callee', "raise TorrelqueTypeError(f'{self.name}: {min(made)!r} is made by the worker, and is "
                "not given by a call')", 'pass'),),
        ('depends::test_what_the_worker_makes_is_not_given_by_a_call',),
    ),
    Mutant(
        'needs-missing-in-a-call-as-usual', BEYOND, 'a function that is called as usual works with nothing',
        (client('tasks/function', 'if self._definition.callee.makes:', 'if False:'),),
        ('depends::test_what_is_called_as_usual_is_given_what_it_needs',),
    ),
)
