"""Before an act: what will be done on what, in words and counted, and a form that has it done."""

from typing import Any

from torrelque import TorrelqueValueError
from torrelque.dashboard.access import RefusalError
from torrelque.dashboard.acting import find_act, grant_of, new_number
from torrelque.dashboard.asking import Ask, Kind, way_back
from torrelque.dashboard.fields import read_fields
from torrelque.dashboard.links import spell_pairs
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.visit import Visit


async def read(visit: Visit) -> Answer:
    """Read it.

    :raises RefusalError: the visitor may not do this.
    """
    kind = find_act(visit)
    if kind is None:
        raise TorrelqueValueError('there is no such act')
    if not visit.may(grant_of(visit, kind)):
        raise RefusalError(403, f'{visit.visitor.name} may not {kind.label.lower()} here.')
    queue = visit.queue.name
    question = await kind.ask(kind, visit)
    values: dict[str, Any] = {
        'act': kind.name, 'queue': queue, 'question': question.title, 'notes': question.notes,
        'possible': question.possible, 'outcome': question.outcome, 'tasks': question.examples,
    }  # fmt: skip
    view = {
        'kind': kind, 'form': _form_of(kind, visit, question), 'fields': _fields_of(kind, visit, question),
        'back': way_back(kind, visit),
    }  # fmt: skip
    return Answer(values, view)


def _form_of(kind: Kind, visit: Visit, question: Ask) -> dict[str, str]:
    """What the form says unseen.  The query is one field, so that bytes in it that are no UTF-8 stay what they are."""
    names = {field.name for field in kind.fields}
    pairs = [(name, value) for name, value in visit.query.pairs if name not in names]
    return {'query': spell_pairs(pairs), 'number': new_number(), **question.terms}


def _fields_of(kind: Kind, visit: Visit, question: Ask) -> list[dict[str, str]]:
    """The fields that are seen: as they are at first, or as the query has them, with what is wrong with that."""
    given = {field.name: visit.text(field.name) for field in kind.fields if field.name in visit.query}
    fields = [field for field in kind.fields if question.fields is None or field.name in question.fields]
    _, wrong = read_fields(fields, given)
    return [
        {
            'name': field.name, 'label': field.label, 'hint': field.hint, 'more': field.more,
            'value': given.get(field.name, question.present.get(field.name, '')),
            'wrong': wrong.get(field.name, '').replace('this is', 'This is', 1),
        }
        for field in fields
    ]  # fmt: skip


PAGE = Page('ask', 'Act', read, tab='acts')
