"""Pages that tell a story: files that are saved, commands that are typed into terminals, and what these print.

The blocks of a page that say so are one story, in their order, in one empty folder.  A comment above a block says what
is done with it:

    <!-- test: file NAME -->                    the block is saved under this name
    <!-- test: more of NAME -->                 it is added to that file, behind two empty lines
    <!-- test: run -->                          the commands of a console block run to their end, without an error
    <!-- test: run where there is NAME -->      the same, left out where that program is missing
    <!-- test: run until it shows this -->      the same, each again and again until it prints what is shown
    <!-- test: terminal N -->                   a console block in a terminal of its own, whose last command goes on

A command begins with ``$``, and what it prints must be the lines behind it, where ``…`` stands for anything.  A line
``^C`` ends what runs in the terminal.  A block of a terminal without a command shows what it prints next.  The id of a
task, 32 hexadecimal digits, stands for the one that was printed in its place.  Ports are others in the test, and the
server is that of the test, by ``REDIS_URL``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, NamedTuple

import torrelque
from support.servers import free_port

HOW = re.compile(r'file \S+|more of \S+|run|run where there is \w+|run until it shows this|terminal \d')
PORTS = ('8000', '5000')
"""The ports of the pages, which programs take where they are told no other."""
LIMIT = 90.0
"""s after which something hangs."""

_STEP = re.compile(rf'^<!-- test: (?P<how>{HOW.pattern}) -->\n+```(?P<language>\w+)\n(?P<code>.*?)^```$', re.M | re.S)
_ID = re.compile(r'\b[0-9a-f]{32}\b')


class Step(NamedTuple):
    """A block of a page, and what is done with it."""

    line: int
    how: str
    code: str


def read_steps(page: Path) -> list[Step]:
    text = page.read_text()
    return [
        Step(text.count('\n', 0, match.start('code')) + 1, match['how'], match['code'])
        for match in _STEP.finditer(text)
    ]


class Terminal:
    """A program that goes on, in a group of processes of its own, and what it has printed so far."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str], output: IO[str]) -> None:
        # Legend.  _output: what it prints, in a file that is appended to, since reader and program share its position.
        # _seen: how much of that was waited for.
        self.command = command
        self._output = output
        self._seen = 0
        self.process = subprocess.Popen(
            ['sh', '-c', f'exec {command}'],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip

    @property
    def printed(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def wait_for(self, expected: re.Pattern[str]) -> re.Match[str]:
        """Wait until it has printed this, behind what was waited for before."""
        deadline = time.monotonic() + LIMIT
        while not (match := expected.match(self.printed, self._seen)):
            # What it printed before it ended, it printed before this was asked.
            ended = self.process.poll() is not None
            if ended and (match := expected.match(self.printed, self._seen)):
                break
            assert not ended and time.monotonic() < deadline, f'{self.command}: {expected.pattern}\n{self.printed}'
            time.sleep(0.02)
        self._seen = match.end()
        return match

    def interrupt(self) -> None:
        """As Ctrl-C does: all programs of the terminal hear it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(LIMIT)
        assert status in (0, 130, -signal.SIGINT), f'{self.command} ends with {status}\n{self.printed}'

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Story:
    """A page, and the folder in which it happens."""

    def __init__(self, page: Path, url: str, folder: Path) -> None:
        self.page = page
        self.folder = folder / 'story'
        self.folder.mkdir()
        self._logs = folder / 'logs'
        self._logs.mkdir()
        self._ports = {port: str(free_port()) for port in PORTS}
        self._ids: dict[str, str] = {}
        self._terminals: dict[str, Terminal] = {}
        self._closing = ExitStack()
        self._environment = self._make_environment(url, folder / 'bin')

    def _make_environment(self, url: str, programs: Path) -> dict[str, str]:
        """What a shell has in which the package is installed."""
        programs.mkdir()
        command = programs / 'torrelque'
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m torrelque "$@"\n')
        command.chmod(0o755)
        package = str(Path(torrelque.__file__).parent.parent)
        if 'site-packages' not in package:
            # mypy looks for packages where they are installed, and takes a working tree for code that is to be checked.
            text = f'[mypy]\nmypy_path = {package}\n[mypy-torrelque.*]\nignore_errors = True\n'
            (self.folder / 'mypy.ini').write_text(text)
        rest = {name: value for name, value in os.environ.items() if name not in ('TORRELQUE_URL', 'PYTEST_ADDOPTS')}
        return {
            **rest,
            'PATH': os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ.get('PATH', '')]),
            'PYTHONPATH': package,
            'PYTHONDONTWRITEBYTECODE': '1',
            'PYTHONUNBUFFERED': '1',
            'NO_COLOR': '1',
            'COLUMNS': '120',
            'REDIS_URL': url,
            **({} if is_installed() else {'PYTEST_PLUGINS': 'torrelque.testing.entry'}),
            'UVICORN_PORT': self._ports['8000'],
            'FLASK_RUN_PORT': self._ports['5000'],
        }

    def tell(self) -> None:
        """Do all that the page says."""
        try:
            for step in read_steps(self.page):
                self._do(step)
            for terminal in reversed(self._terminals.values()):
                terminal.interrupt()
        finally:
            for terminal in self._terminals.values():
                terminal.kill()
            self._closing.close()

    def _do(self, step: Step) -> None:
        kind, *words = step.how.split()
        where = f'{self.page.name}:{step.line}'
        if kind == 'file':
            path = self.folder / words[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.code)
        elif kind == 'more':
            with (self.folder / words[1]).open('a') as file:
                file.write(f'\n\n{step.code}')
        elif kind == 'terminal':
            self._use_terminal(words[0], step.code)
        elif words[:3] != ['where', 'there', 'is'] or shutil.which(words[3], path=self._environment['PATH']):
            for command, shown in commands_of(step.code):
                self._run(command, shown, where, again=bool(words) and words[0] == 'until')

    def _use_terminal(self, name: str, code: str) -> None:
        if not code.startswith(('$ ', '^C\n')):
            self._wait_for(self._terminals[name], code)
        for command, shown in commands_of(code):
            if before := self._terminals.pop(name, None):
                before.interrupt()
            if command == '^C':
                continue
            output = self._closing.enter_context((self._logs / f'{time.monotonic_ns()}.txt').open('a+'))
            terminal = Terminal(self._translated(command), self.folder, self._environment, output)
            self._terminals[name] = terminal
            if shown:
                self._wait_for(terminal, shown)

    def _wait_for(self, terminal: Terminal, shown: str) -> None:
        self._note_ids(shown, terminal.wait_for(re.compile('(?s:.*?)' + self._pattern(shown))))

    def _run(self, command: str, shown: str, where: str, *, again: bool) -> None:
        expected = re.compile(self._pattern(shown))
        deadline = time.monotonic() + LIMIT
        while True:
            done = subprocess.run(
                ['sh', '-c', self._translated(command)],
                cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=2 * LIMIT,
            )  # fmt: skip
            match = expected.fullmatch(done.stdout.rstrip('\n') + '\n' if done.stdout else '')
            if match and done.returncode == 0:
                self._note_ids(shown, match)
                return
            said = f'{where}: $ {command}\n{done.stdout}{done.stderr}{self._said_elsewhere()}'
            assert again and time.monotonic() < deadline, said
            time.sleep(0.2)

    def _said_elsewhere(self) -> str:
        return ''.join(f'--- {each.command}\n{each.printed}' for each in self._terminals.values())

    def _translated(self, text: str) -> str:
        """What a page writes, with the ports and ids of this run."""
        for port, own in self._ports.items():
            text = re.sub(rf'\b{port}\b', own, text)
        return _ID.sub(lambda match: self._ids.get(match[0], match[0]), text)

    def _pattern(self, shown: str) -> str:
        """What fits a text that a page shows; each id that is new has a group."""
        made = ''
        for part in re.split(r'(…\n|…|\b[0-9a-f]{32}\b)', self._translated(shown)):
            if _ID.fullmatch(part) and part not in self._ids.values():
                made += '([0-9a-f]{32})'
            else:
                made += {'…\n': r'(?s:.*)', '…': '.*'}.get(part, re.escape(part))
        return made

    def _note_ids(self, shown: str, match: re.Match[str]) -> None:
        new = [found for found in _ID.findall(shown) if found not in self._ids]
        self._ids.update(zip(new, match.groups(), strict=True))


def is_installed() -> bool:
    """Whether the package is one that pip knows, so that others find what it offers to them."""
    return any(entry.name == 'torrelque' for entry in entry_points(group='pytest11'))


def commands_of(code: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    command, shown = '', ''
    for line in code.splitlines(keepends=True):
        begins = line.startswith('$ ') or line == '^C\n'
        if command.endswith('\\\n') and not begins:
            command += line
        elif begins:
            if command:
                yield command.removeprefix('$ ').strip(), shown
            command, shown = line, ''
        else:
            shown += line
    if command:
        yield command.removeprefix('$ ').strip(), shown
