"""Hand-made faults in what reads what others have written, as fuzzing has found them."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

FUZZING = (
    Mutant(
        'fuzz-limits-of-nothing', BEYOND, 'limits in a hash that are no numbers are taken for some',
        (client('protocol/limits', 'if not (_is_measure(concurrency) and', 'if not (True or'),),
        ('fuzz_found::test_limits_that_are_no_numbers_are_told',),
    ),
    Mutant(
        'fuzz-number-of-a-reply', BEYOND, 'a reply to stats that is none ends in any error of Python',
        (client('protocol/words', '    except UNREADABLE as exc:\n        raise unreadable(what',
                '    except ZeroDivisionError as exc:\n        raise unreadable(what'),),
        ('fuzz_found::test_a_number_of_a_reply_that_is_none_is_told_by_its_reader',),
    ),
    Mutant(
        'fuzz-too-deep', BEYOND, 'what is nested too deeply in a reply ends in an error of Python',
        (client('protocol/words', 'AttributeError, ArithmeticError, RecursionError)',
            'AttributeError, ArithmeticError)'),),
        ('fuzz_found::test_a_value_of_a_flow_that_is_nested_too_deeply_is_told',),
    ),
    Mutant(
        'fuzz-value-of-a-flow', BEYOND, 'a value of a flow that cannot be read is no error of ours',
        (client('protocol/flows', "return load_with(calls.serialiser, data, f'value {key!r}', f'flow {flow_id!r}')",
                'return calls.serialiser.loads(data)'),),
        ('fuzz_found::test_a_value_of_a_flow_that_is_nested_too_deeply_is_told',),
    ),
    Mutant(
        'fuzz-rate-of-nothing', BEYOND, 'a rate may be in no time, by which scripts divide',
        (client('protocol/check', '    if not period:', '    if period is None:'),),
        ('fuzz_found::test_a_rate_in_hardly_any_time_is_refused',),
    ),
    Mutant(
        'fuzz-context', BEYOND, 'a context that cannot be read fails the attempt',
        (client('telemetry/telemetry', '        except Exception:\n            logger.exception(',
                '        except ZeroDivisionError:\n            logger.exception('),),
        ('fuzz_found::test_a_context_that_is_no_text_is_left_out',),
    ),
    Mutant(
        'fuzz-digits', BEYOND, 'a number of thousands of digits in a file ends in an error of Python',
        (client('config/finding', 'except ValueError as exc:', 'except ZeroDivisionError as exc:'),),
        ('fuzz_found::test_a_number_of_thousands_of_digits_is_told',),
    ),
    Mutant(
        'fuzz-longest-time', BEYOND, 'a file may have a time that no queue takes',
        (client('config/amounts', 'not 0 <= given <= MOST:', 'not 0 <= given <= MAX_COUNT:'),),
        ('fuzz_found::test_a_time_that_no_queue_takes_is_no_time_of_a_file',),
    ),
    Mutant(
        'fuzz-time-rounded', BEYOND, 'a time is written with six digits, or with an exponent',
        (client('config/amounts', "return f'{_plain(length)}s'", "return f'{length:g}s'"),),
        ('fuzz_found::test_a_time_is_written_so_that_it_is_read_as_the_same',),
    ),
    Mutant(
        'fuzz-division', BEYOND, 'a map of shards may say that groups were divided among none',
        (client('sharded/shards', 'for name in (MOVING, FRESH, CLOSING) if name',
            'for name in (FRESH, CLOSING) if name'),),
        ('fuzz_found::test_a_map_that_says_nothing_of_a_division_is_refused',),
    ),
    Mutant(
        'fuzz-division-of-more', BEYOND, 'a map of shards may say that groups were divided among more than there are',
        (client('sharded/shards', 'max(shape.keyed, shape.more.get(MOVING, 1))', 'shape.keyed'),),
        ('fuzz_found::test_a_map_that_says_nothing_of_a_division_is_refused',),
    ),
    Mutant(
        'fuzz-end-of-the-calendar', BEYOND, 'a calendar ends in an error of Python',
        (client('cron/calendar', 'except OverflowError:', 'except ZeroDivisionError:'),),
        ('fuzz_found::test_a_calendar_ends_with_the_year_9999',),
    ),
    Mutant(
        'fuzz-local-end', BEYOND, 'a selection by an instant at the end of the calendar cannot be written',
        (client('operate/selection', 'except OverflowError:\n        return instant',
            'except ZeroDivisionError:\n        return instant'),),
        ('fuzz_found::test_instants_at_the_ends_of_the_calendar_are_written',),
    ),
    Mutant(
        'fuzz-taken-nonsense', BEYOND, 'a task that does not say what results it takes is tried again and again',
        (client('flows/inputs',
            '        raise Reject(exc.args[0]) from exc\n    except (KeyError, TypeError, ValueError, IndexError)',
                '        raise Reject(exc.args[0]) from exc\n    except (ZeroDivisionError,)'),),
        ('fuzz_found::test_a_task_that_does_not_say_what_it_takes_is_rejected',),
    ),
)  # fmt: skip
