"""Completion of words as click does it, with ids of exchanges, topics, and the colons in them."""

import os
import re
from collections.abc import Iterable
from typing import Any, ClassVar

from click import Context, Parameter
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

PROGRAM = "aggregator"
MORE = (":", ",")  # a word that ends so is not whole: no space comes after it

BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    compopt +o nospace
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            *) COMPREPLY+=("$value"); case $value in *[:,]) compopt -o nospace ;; esac ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CWORD="$COMP_WORDBREAKS" %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

ZSH = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local -a answer values shown unfinished
    local type value said
    answer=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) %(complete_var)s=zsh_complete ${words[1]})}")
    for type value said in $answer; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files ;;
            *) case $value in
                *[:,]) unfinished+=("$value") ;;
                *) values+=("$value"); [[ $said = _ ]] && shown+=("$value") || shown+=("$value  -- $said") ;;
            esac ;;
        esac
    done
    (( $#unfinished )) && compadd -U -S '' -a unfinished
    (( $#values )) && compadd -U -V unsorted -l -d shown -a values
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

FISH = """\
function %(complete_func)s
    set -lx %(complete_var)s fish_complete
    for answer in (COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) %(prog_name)s)
        set -l parts (string split -m 1 , -- $answer)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case '*'
                echo $parts[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


@add_completion_class
class Bash(BashComplete):
    """Bash, which takes a word apart at colons: it gives the line, and gets what comes behind the last colon."""

    source_template: ClassVar[str] = BASH

    def source(self) -> str:
        """The script, without asking which bash is there: where it is read may not be where it was made."""
        return ShellComplete.source(self)

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words, and the one that is being typed."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        typed = "" if not words or re.search(r"(?<!\\)\s$", line) else words.pop()
        quoted = re.search(r"""(?:^|\s)["']\S*$""", line) is not None
        breaks = "" if quoted else os.environ["COMP_CWORD"]
        self.quoted = quoted
        self.before = max((typed.rfind(sign) + 1 for sign in ":=" if sign in breaks), default=0)
        return words, typed

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """The words that fit; in an open quote also those that come next, as bash closes it behind a single one."""
        found = super().get_completions(args, incomplete)
        if self.quoted and len(found) == 1 and found[0].value.endswith(MORE):
            found += super().get_completions(args, found[0].value)
        return found

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """An answer as the script reads it; what the shell would expand is not left to it."""
        value = str(item.value)[self.before :] if item.type == "plain" else str(item.value)
        return f"{item.type},{value if self.quoted else value.replace('*', chr(92) + '*')}"


@add_completion_class
class Zsh(ZshComplete):
    """Zsh, whose answers hold colons of topics as they are."""

    source_template: ClassVar[str] = ZSH

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Three lines for each answer: its type, its value, and what it is, or `_`."""
        return f"{item.type}\n{item.value}\n{' '.join((item.help or '_').split())}"


@add_completion_class
class Fish(FishComplete):
    """Fish, whose answers hold commas of lists as they are."""

    source_template: ClassVar[str] = FISH


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def _fitting(words: Iterable[str], typed: str) -> list[str]:
    return [word for word in words if word.startswith(typed)]


def exchanges(_context: Context, _parameter: Parameter, typed: str) -> list[str]:
    """The ids of exchanges that have a connector."""
    from aggregator.catalog.registry import connector_ids, installed_ids

    return _fitting(sorted({*connector_ids(), *installed_ids()}), typed)


def simulated(_context: Context, _parameter: Parameter, typed: str) -> list[str]:
    """Ids of exchanges that the sandbox plays, with commas between them."""
    from aggregator.catalog.registry import simulated_ids

    before, comma, last = typed.rpartition(",")
    named = before.split(",")
    return [f"{before}{comma}{id}" for id in _fitting(simulated_ids(), last) if id not in named]


def channels(_context: Context, _parameter: Parameter, typed: str) -> list[str]:
    """The channels that an exchange may have."""
    from aggregator.records import CHANNELS

    return _fitting(CHANNELS, typed)


def topics(context: Context, parameter: Parameter, typed: str) -> list[str]:
    """Topics, part by part: channel, exchange, and `*` for its symbols, which only the exchange knows."""
    from aggregator.records import CHANNELS, DERIVED_OF

    channel, *rest = typed.split(":", 2)
    if not rest:
        return [f"{name}:" for name in _fitting((*CHANNELS, *DERIVED_OF.values(), "*"), channel)]
    return [f"{channel}:{market}" for market in markets(context, parameter, ":".join(rest))]


def markets(context: Context, parameter: Parameter, typed: str) -> list[str]:
    """An exchange and `*` for its symbols."""
    exchange, colon, symbol = typed.partition(":")
    if not colon:
        return [f"{id}:" for id in [*exchanges(context, parameter, exchange), *_fitting("*", exchange)]]
    return [f"{exchange}:*"] if not symbol else []
