"""`torrelque run --reload`: a file that is saved, a file that is broken, and what becomes of tasks in hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.commanding import APP, STOP, Folder
from torrelque import Torrelque
from torrelque.cli import reload
from torrelque.cli.reload import Watcher

pytestmark = pytest.mark.one_server


async def send(queue: Torrelque, *words: str) -> None:
    for word in words:
        await queue.enqueue({'task': 'shop.send', 'args': [word]}, max_attempts=1)


async def test_a_saved_file_starts_it_again_and_the_attempt_does_not_count(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'mail')
    with folder.command('run', 'shop:app', '--reload') as command:
        command.wait_for('begun mail')
        folder.write('shop.py', APP.replace("'begun'", "'begun', 'anew'"))
        # The task has one attempt, and comes again all the same.
        command.wait_for('begun anew mail')
        assert 'shop.py has changed; starting again' in command.told
        folder.let_go()
        command.wait_for('done mail')
        command.send(STOP)
        text = command.end()
    assert text.count('torrelque ') == 1 + text.count('; torrelque ')
    assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.long
async def test_a_broken_file_is_shown_once_and_tried_again_at_the_next_change(
    queue: Torrelque, folder: Folder
) -> None:
    folder.write('shop.py', 'raise ValueError("broken")\n')
    with folder.command('run', 'shop:app', '--reload', '--processes', '2') as command:
        command.wait_for('it is started again when a file changes')
        folder.write('shop.py', 'def f(:\n')
        command.wait_for('SyntaxError')
        command.wait_for('it is started again when a file changes', 2)
        folder.write('shop.py', APP)
        await send(queue, 'mail')
        command.wait_for('done mail')
        command.send(STOP)
        text = command.end()
    assert text.count('ValueError: broken') == 1 and text.count('could not be imported: SyntaxError') == 1


@pytest.mark.long
async def test_modules_elsewhere_are_watched_too(
    queue: Torrelque, folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    other = elsewhere / 'other.py'
    other.write_text('word = 1\n')
    folder.environment['PYTHONPATH'] += f':{elsewhere}'
    # Their names are more than what an asyncio stream takes for a line by itself.
    many = [f'm{n}_{"x" * 200}' for n in range(400)]
    for name in many:
        (elsewhere / f'{name}.py').touch()
    imports = '\n    '.join(f'import {name}' for name in ('other', *many))
    folder.write('shop.py', APP + f'\n    {imports}\n    print("other", other.word, flush=True)\n')
    with folder.command('run', 'shop:app', '--reload', '--processes', '2') as command:
        command.wait_for('worker .* starts', 2)
        other.write_text('word = 22\n')
        command.wait_for('other 22')
        command.send(STOP)
        command.end()


@pytest.mark.long
async def test_it_ends_while_it_waits_for_a_change(folder: Folder) -> None:
    folder.write('shop.py', 'raise ValueError("broken")\n')
    with folder.command('run', 'shop:app', '--reload') as command:
        command.wait_for('it is started again when a file changes')
        command.send(STOP)
        command.end()


async def test_a_watcher_sees_files_come_change_and_go_but_not_those_of_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, 'LOOK', 0.01)
    for name in ('.git', '__pycache__', 'node_modules', 'env', 'pack/age'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'a.py').touch()
    (tmp_path / 'env' / 'pyvenv.cfg').touch()
    watcher = Watcher(str(tmp_path))
    for name in ('.git', '__pycache__', 'node_modules', 'env'):
        (tmp_path / name / 'a.py').write_text('changed')
    (tmp_path / 'notes.txt').touch()
    for change in (
        lambda: (tmp_path / 'b.py').touch(),
        lambda: (tmp_path / 'b.py').write_text('changed'),
        lambda: (tmp_path / 'b.py').unlink(),
    ):
        change()
        assert await asyncio.wait_for(watcher.wait(), 60) == 'b.py'
    (tmp_path / 'pack' / 'age' / 'a.py').write_text('changed')
    assert await asyncio.wait_for(watcher.wait(), 60) == 'pack/age/a.py'
