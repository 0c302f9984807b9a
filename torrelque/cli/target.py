"""Finds what a command line names as ``module:name``, and says what is wrong where it is not what it should be."""

import difflib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torrelque import TorrelqueQueue
from torrelque.tasks import Enqueuer
from torrelque.worker import ThreadWorker, Worker

from .failure import Exit, Failure
from .several import Several, together

EXPECTED = (
    'expected is a Tasks, a list of them, a Worker that was not started, a function without arguments that makes one '
    'of these, or a handler with -q'
)


def import_module(name: str, path: str = '') -> Any:
    """Import a module of the application, from the current directory or from wherever Python looks.

    :param path: what is looked for in the module.
    :raises Failure: there is none, or its code raises.
    """
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as exc:
        missing = exc.name or ''
        if name == missing or name.startswith(missing + '.'):
            raise Failure(f'there is no module {missing!r} here{_near_module(name, missing, path)}') from None
        raise _broken(name, exc) from None
    except BaseException as exc:
        raise _broken(name, exc) from None


def find(target: str) -> Any:
    """What a target names; where it names several with commas between them, a list.

    :raises Failure: there is nothing of this name, or its module cannot be imported.
    """
    if ',' in target:
        return together(map(find, filter(None, target.split(','))))
    name, colon, path = target.partition(':')
    if not colon or not _is_dotted(name) or not _is_dotted(path):
        raise Failure(f'{target!r} is no module:name, such as shop.tasks:app{_near_target(target)}')
    found = module = import_module(name, path)
    for depth, part in enumerate(path.split('.')):
        inside = found
        try:
            found = getattr(found, part)
        except AttributeError:
            where = ':'.join(filter(None, [name, '.'.join(path.split('.')[:depth])]))
            near = [each for each in difflib.get_close_matches(part, dir(inside), 3) if not each.startswith('__')]
            apps = _apps_in(module) if inside is module else []
            raise Failure(f'{where} has no {part!r}{_did_you_mean(name, [*apps, *near])}') from None
    return found


def make(target: str, found: Any) -> Any:
    """What a target makes, where it is a function without arguments: an awaitable where that is a coroutine function.

    :raises Failure: it is of no use, or the function raises.
    """
    if is_served(found):
        return found
    if not is_handler(found):
        raise misfit(target, found)
    if not _takes_nothing(found):
        raise Failure(
            f'{target} is a function that takes arguments; if it is a handler, name its queue: -q NAME'
            f'{_near_in(target)}'
        )
    return call(target, found)


def call(target: str, function: Callable[[], Any]) -> Any:
    """Call a function of the application.

    :raises Failure: it raises.
    """
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise Failure(f'{target} has raised {_name(exc)}', Exit.ILL, exc) from None


def is_served(found: Any) -> bool:
    """Whether it is what a worker can be made of, or is one."""
    return isinstance(found, Worker) or is_app(found) or is_list(found)


def is_app(found: Any) -> bool:
    """Whether it is an app: a `Tasks`, or another `torrelque.worker.App`."""
    if isinstance(found, (type, TorrelqueQueue)):
        return False
    try:
        return all(callable(getattr(found, name, None)) for name in ('find', 'prepare')) and hasattr(found, 'queues')
    except Exception:
        return False


def is_several(found: Any) -> bool:
    """Whether it is several apps that a target has named."""
    return isinstance(found, Several) and is_list(found)


def is_list(found: Any) -> bool:
    """Whether it is a list of apps."""
    return isinstance(found, (list, tuple)) and bool(found) and all(map(is_app, found))


def is_handler(found: Any) -> bool:
    """Whether it may be a handler."""
    return _is_function(found) and not _is_decorated(found) and _web_kind(found) is None


def misfit(target: str, found: Any, made: bool = False) -> Failure:
    """Why something is no target; or, if it was ``made`` by the target, nothing to serve."""
    what = f'{target} has made' if made else f'{target} is'
    if isinstance(found, TorrelqueQueue):
        kind = f'a queue, {found.name!r}'
        return Failure(f'{what} {kind}; name the handler of its tasks, and -q {found.name}')
    if isinstance(found, ThreadWorker):
        return Failure(f'{what} a ThreadWorker, which is for a thread of an application; make a Worker')
    if _is_decorated(found):
        return Failure(f'{what} a decorated function; name the app that it is of{_near_in(target)}')
    if (web := _web_kind(found)) is not None:
        more = f'which a web server runs; name the Tasks whose functions it enqueues{_near_in(target)}'
        return Failure(f'{what} {web} application ({type(found).__name__}), {more}')
    kind = 'an empty list' if found in ([], ()) else f'{_article(type(found).__name__)}: {_text(found)}'
    if found is None:
        kind = 'None'
    return Failure(f'{what} {kind}; {EXPECTED}{_near_in(target)}')


# Parts


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split('.'))


def _is_function(found: Any) -> bool:
    return callable(found) and not isinstance(found, type)


def _is_decorated(found: Any) -> bool:
    """Whether it is a function that an app has decorated."""
    return isinstance(found, Enqueuer)


def _web_kind(found: Any) -> str | None:
    """Of which kind an application for a web server is, if it is one."""
    try:
        names = ' '.join(inspect.signature(found).parameters)
    except Exception:
        return None
    return {'scope receive send': 'an ASGI', 'environ start_response': 'a WSGI'}.get(names)


def _takes_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:
        pass  # a function of C that does not tell
    return True


def _broken(name: str, error: BaseException) -> Failure:
    if isinstance(error, SystemExit):
        return Failure(f'importing {name} has ended the program: SystemExit: {error}', Exit.ILL, error)
    return Failure(f'{name} could not be imported: {_name(error)}', Exit.ILL, error)


def _name(error: BaseException) -> str:
    return type(error).__name__


def _article(kind: str) -> str:
    return f'{"an" if kind[:1] in "aeiouAEIOU" else "a"} {kind}'


def _text(found: Any) -> str:
    try:
        text = repr(found)
    except Exception:
        return '?'
    return text if len(text) <= 80 else text[:80] + '…'


def _did_you_mean(module: str, names: Iterable[str]) -> str:
    found = [*dict.fromkeys(names)]
    return f'; did you mean {" or ".join(f"{module}:{each}" for each in found[:3])}?' if found else ''


def _apps_in(module: Any) -> list[str]:
    """Names of a module that would be a target."""
    return [name for name, value in vars(module).items() if not name.startswith('_') and is_served(value)]


def _near_in(target: str) -> str:
    """Other targets of the module."""
    name = target.partition(':')[0]
    module = sys.modules.get(name)
    return '' if module is None else _did_you_mean(name, _apps_in(module))


def _near_target(target: str) -> str:
    """What may be meant by a target that is not spelt as one."""
    path, _, name = target.partition(':')
    dotted = path.removesuffix('.py').removeprefix('./').replace('/', '.').replace('\\', '.')
    if not _is_dotted(dotted):
        return ''
    if dotted != path and _is_dotted(name):
        return f'; did you mean {dotted}:{name}?'
    if _is_module(dotted):
        try:
            return _did_you_mean(dotted, _apps_in(import_module(dotted)))
        except Failure:
            return ''
    module, _, name = dotted.rpartition('.')
    return f'; did you mean {module}:{name}?' if _is_module(module) else ''


def _is_module(name: str) -> bool:
    try:
        # Where a module is in a package, this imports the package, whose code may raise anything.
        return bool(name) and importlib.util.find_spec(name) is not None
    except Exception:
        return False


def _near_module(name: str, missing: str, path: str) -> str:
    """Modules that are there, beside the one that is not; and where Python has looked for it."""
    above, _, last = missing.rpartition('.')
    if above:
        places: Sequence[str] | None = [*getattr(sys.modules.get(above), '__path__', ())]
    else:
        places = [os.getcwd()]
    there = [each.name for each in pkgutil.iter_modules(places)]
    near = [f'{above}.{each}'.lstrip('.') for each in difflib.get_close_matches(last, there, 3)]
    if near:
        rest = name[len(missing) :] + (path and f':{path}')
        return f'; did you mean {" or ".join(each + rest for each in near)}?'
    return '' if above else f', in {os.getcwd()} or where Python is installed'
