"""What shells complete: the scripts have what the parser has, and shells take them."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from torrelque.cli import main
from torrelque.cli.parser import make_parser
from torrelque.cli.viewing import SHELLS

BASH = shutil.which('bash')


@pytest.fixture(autouse=True)
def _acts_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests may say that only reading is allowed."""
    monkeypatch.delenv('TORRELQUE_READ_ONLY', raising=False)


def printed(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(['completion', shell]) == 0
    return capsys.readouterr().out


def parsers() -> dict[str, argparse.ArgumentParser]:
    [commands] = [one for one in make_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(commands.choices)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    return {option for action in actions for option in action.option_strings}


def test_bash_knows_the_commands_and_options_of_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    script = printed('bash', capsys)
    lists = dict(re.findall(r'(?m)^_shtab_torrelque_(\w+?)=\((.*)\)$', script))
    assert {*lists['subparsers'].split()} == {*parsers()}
    for name, parser in parsers().items():
        assert {*lists[f'{name}_option_strings'].split()} == options_of(parser)


@pytest.mark.parametrize('shell', ['zsh', 'fish'])
def test_other_shells_know_them_too(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(shell, capsys)
    for name, parser in parsers().items():
        # What zsh knows of a command stands together, and fish has a line for each option.
        if shell == 'zsh':
            [section] = re.findall(rf'(?ms)^_shtab_torrelque_{name}_options=\(\n(.*?)^\)', script)
            known = {*re.findall(r'--[\w-]+', section)}
        else:
            found = re.findall(rf"(?m)^complete -c torrelque -n '_shtab_torrelque_using {name}'.*? -l (\S+)", script)
            known = {f'--{option}' for option in found}
        assert known >= {option for option in options_of(parser) if option[:2] == '--'}, name


@pytest.mark.parametrize('shell', SHELLS)
def test_a_script_is_one_that_its_shell_takes(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f'{shell} is not installed')
    file = tmp_path / 'script'
    file.write_text(printed(shell, capsys))
    done = subprocess.run([program, '-n', file], capture_output=True, text=True, env={'HOME': str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, '')


def test_a_line_is_shown_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    script = printed('zsh', capsys)
    assert "redrive:'bring dead tasks back'" in script and 'attempts begin anew' not in script


COMPLETE = """
source {script}
# As bash does at the tab key: the words so far, and which of them is completed.
complete_words() {{
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}; COMPREPLY=()
    "$function" "$1" "${{@: -1}}" "${{@: -2:1}}"
    echo "${{COMPREPLY[*]}}"
}}
function=$(complete -p torrelque | sed 's/.*-F \\([^ ]*\\).*/\\1/')
{calls}
"""


@pytest.mark.skipif(BASH is None, reason='bash is not installed')
def test_bash_completes_commands_options_and_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / 'script'
    script.write_text(printed('bash', capsys))
    asked = {
        'torrelque pa': {'pause'},
        'torrelque re': {'redrive', 'requeue', 'resume'},
        'torrelque completion ': {*SHELLS},
        'torrelque completion z': {'zsh'},
        'torrelque redrive --dr': {'--dry-run'},
        'torrelque run a:b --log ': {'text', 'json'},
        'torrelque cancel --status d': {'delayed', 'dead'},
        'torrelque cancel --yes --status orph': {'orphaned'},
        'torrelque limit acme --conc': {'--concurrency'},
        'torrelque tasks de': {'delayed', 'dead'},
        'torrelque nothing --conc': set(),
    }
    calls = [
        'complete_words ' + ' '.join(f"'{word}'" for word in line.split(' ')) for line in asked
    ]
    code = COMPLETE.format(script=script, calls='\n'.join(calls))
    done = subprocess.run([str(BASH), '--norc', '-c', code], capture_output=True, text=True, check=True)
    assert done.stderr == ''
    answers = [{*line.split()} for line in done.stdout.splitlines()]
    assert dict(zip(asked, answers, strict=True)) == asked


def test_a_shell_that_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['completion', 'tcsh'])
    assert ended.value.code == 2 and "'tcsh'" in capsys.readouterr().err


def test_without_its_package_completion_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, 'shtab', None)
    assert main(['completion', 'bash']) == 2
    assert capsys.readouterr().err == (
        "torrelque: completion needs shtab, of the extra 'cli': pip install 'torrelque[cli]'\n"
    )
