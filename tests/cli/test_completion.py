"""Completion, in the shells themselves: what becomes of a line when Tab is pressed."""

import fcntl
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from aggregator.catalog.registry import connector_ids
from aggregator.cli import COMMANDS, COMPLETES, group
from aggregator.cli.completing import SHELLS

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
WIDE = struct.pack("HHHH", 50, 300, 0, 0)  # lines and columns of the terminal: nothing is broken or scrolled
INTERACTIVE = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
PREPARED = {
    "bash": "bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; eval \"$(aggregator completion bash)\"",
    "zsh": 'autoload -Uz compinit; compinit -u -D; bindkey -e; unsetopt beep; eval "$(aggregator completion zsh)"',
}
# The functions by themselves, with what a shell gives them, for each line of the input.
ASKED = {
    "bash": """eval "$(aggregator completion bash)"; compopt() { :; }
while read -r COMP_LINE; do
    COMP_POINT=${#COMP_LINE}; _aggregator_completion aggregator; (IFS='|'; echo "${COMPREPLY[*]}")
done""",
    "zsh": """compdef() { :; }; compadd() { found+=(${(P)@[-1]}); }; eval "$(aggregator completion zsh)"
while read -r line; do
    found=(); words=(${(z)line}); CURRENT=$#words; _aggregator_completion; print -r -- ${(j:|:)found}
done""",
    "fish": """aggregator completion fish | source
while read line
    set found (complete -C $line | string split -f 1 \\t); echo (string join -- '|' $found)
end""",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One in which `aggregator` is this one."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "aggregator"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from aggregator.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    home = str(tmp_path_factory.mktemp("home"))
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": home,
        "TERM": "dumb",
    }


def needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


CASES = {
    "explai": ["explain"],
    "tail --reconn": ["--reconnect"],
    "tail --policy confl": ["conflate"],
    "ctl unsubs": ["unsubscribe"],
    "symbols bitsta": ["bitstamp"],
    "normalize --exchange bitsta": ["bitstamp"],
    "sandbox --simulate okx,coinbaseex": ["okx,coinbaseexchange"],
    "tail liquid": ["liquidations:"],
    "tail trades:okx:BTC/USDT liquid": ["liquidations:"],
    "explain trades:kra": ["trades:kraken:", "trades:krakenfutures:"],
    "tail trades:kraken:": ["trades:kraken:*"],
    "book bitsta": ["bitstamp:"],
    "symbols nosuch": [],
}


@pytest.mark.parametrize("shell", ASKED)
def test_a_shell_is_told_what_fits(shell: str, environment: dict[str, str]) -> None:
    needs(shell)
    lines = "".join(f"aggregator {line}\n" for line in CASES)
    quiet = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["-N"]}[shell]
    command = [shell, *quiet, "-c", ASKED[shell]]
    run = subprocess.run(command, input=lines, env=environment, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    told = dict(
        zip(CASES, ([word for word in line.split("|") if word] for line in run.stdout.splitlines()), strict=True)
    )
    if shell == "bash":  # which takes words apart at colons, and expands stars
        inserted = {"explain trades:kra": ["kraken:", "krakenfutures:"], "tail trades:kraken:": ["\\*"]}
        assert told == CASES | inserted
    else:
        assert told == CASES


@pytest.mark.parametrize("quote", ["", "'"], ids=["bare", "quoted"])
@pytest.mark.parametrize("shell", INTERACTIVE)
def test_tab_completes_the_line(shell: str, quote: str, environment: dict[str, str]) -> None:
    """A shell in a terminal: after Tab, and the end of the word, the line's words are printed."""
    needs(shell)
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(shell, INTERACTIVE[shell], environment)  # noqa: S606 - the shell itself is wanted

    def read_until(sign: str) -> str:
        said = ""
        while sign not in said:
            said += os.read(terminal, 65536).decode()
        return said

    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, WIDE)
        os.write(terminal, f"{PREPARED[shell]}; PS1='<RE''ADY>'\n".encode())
        read_until("<READY>")
        os.write(terminal, f"aggregator tail {quote}trades:bitsta\t".encode())
        read_until("bitstamp:")
        os.write(terminal, f"BTC/EUR{quote}\x01words() {{ printf '<%s>' \"$@\"; }}; words \n".encode())
        assert "<aggregator><tail><trades:bitstamp:BTC/EUR>" in read_until("<trades:bitstamp:BTC/EUR>")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


# --- what is told, whatever the shell


def told(words: list[str], typed: str) -> list[str]:
    return [item.value for item in SHELLS["fish"](group, {}, "aggregator", COMPLETES).get_completions(words, typed)]


def test_all_commands_are_told_without_importing_them(environment: dict[str, str]) -> None:
    assert told([], "") == list(COMMANDS)
    code = (
        "import sys; from aggregator.cli import COMPLETES, group; from aggregator.cli.completing import SHELLS\n"
        "SHELLS['fish'](group, {}, 'aggregator', COMPLETES).get_completions([], '')\n"
        "print([name for name in sys.modules if name.startswith('aggregator.cli.')])"
    )
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['aggregator.cli.completing']"


def test_help_is_not_printed_into_the_line() -> None:
    result = CliRunner().invoke(
        group,
        [],
        env={COMPLETES: "fish_complete", "COMP_WORDS": "aggregator help ", "COMP_CWORD": ""},
        prog_name="aggregator",
    )
    assert "Usage" not in result.output


def test_every_exchange_is_told_and_every_topic_that_may_be_written() -> None:
    assert told(["symbols"], "") == connector_ids()
    assert told(["tail"], "trades:") == [*(f"trades:{id}:" for id in connector_ids()), "trades:*:"]
    assert {"trades:", "book:", "consolidated:", "*:"} <= set(told(["tail"], ""))
    assert told(["tail"], "trades:kraken:BTC") == []


def test_every_parameter_that_wants_an_exchange_or_a_topic_is_completed() -> None:
    def named(command: click.Command) -> list[str]:
        within = command.commands.values() if isinstance(command, click.Group) else []
        own = [
            f"{command.name} {parameter.human_readable_name}"
            for parameter in command.params
            if parameter.name in {"exchange", "exchanges", "topic", "topics", "id", "simulate", "books"}
            and parameter._custom_shell_complete is None
        ]
        return [*own, *(name for each in within for name in named(each))]

    context = click.Context(group)
    assert [name for command in COMMANDS for name in named(group.get_command(context, command) or group)] == []
