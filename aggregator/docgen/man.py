"""Pages of the manual: each command from its parser, aggregator.toml(5) from the page about it."""

import re
from collections.abc import Iterator, Mapping
from copy import copy

import click

from aggregator import __version__
from aggregator.docgen.configuration import configuration_page

PROGRAM = "aggregator"
CODES = (
    ("0", "It is done, or was stopped."),
    ("1", "Something failed."),
    ("2", "The command line is wrong."),
    ("78", "The configuration is wrong: every mistake is named."),
)
INLINE = re.compile(
    r"``? ?(?P<code>.+?) ?``?(?!`)|\*\*(?P<bold>.+?)\*\*|!?\[(?P<text>(?:[^]`]|`[^`]*`)+)\]\((?P<to>[^)]*)\)"
)


def manual_pages(group: click.Group, said: Mapping[str, str]) -> dict[str, str]:
    """Every page's text by file name, as man reads it; of each command it is said in a line what it is for."""
    root = group.make_context(PROGRAM, [], resilient_parsing=True)
    commands = {name: command for name in said if (command := group.get_command(root, name)) is not None}
    pages = {f"{PROGRAM}.1": _program(group, root, said)}
    for name, command in commands.items():
        pages[f"{PROGRAM}-{name}.1"] = _command(command, name, said[name], root)
    pages[f"{PROGRAM}.toml.5"] = _configuration(configuration_page(), list(commands))
    return pages


def _head(title: str, section: int, name: str, short: str) -> Iterator[str]:
    yield f'.TH "{title.upper()}" {section} "" "{PROGRAM} {__version__}"'
    yield from (".nh", ".ad l", ".SH NAME", f"{_plain(name)} \\- {_plain(short.rstrip('.'))}")


def _program(group: click.Group, root: click.Context, said: Mapping[str, str]) -> str:
    lines = [*_head(PROGRAM, 1, PROGRAM, "public market data of every crypto exchange as one stream")]
    lines += [*_synopsis(group, root), *_described(group.help or ""), *_options(group, root), ".SH COMMANDS"]
    for name, short in said.items():
        lines += [".TP", f"\\fB{PROGRAM}\\-{name}\\fR(1)", _plain(short)]
    lines.append(".SH EXIT STATUS")
    for code, meaning in CODES:
        lines += [".TP", f"\\fB{code}\\fR", _plain(meaning)]
    return _page([*lines, *_see_also([f"{PROGRAM}.toml(5)"])])


def _command(command: click.Command, name: str, short: str, root: click.Context) -> str:
    command = _without_help(command)
    context = click.Context(command, info_name=name, parent=root)
    lines = [*_head(f"{PROGRAM}-{name}", 1, f"{PROGRAM}-{name}", short)]
    lines += [*_synopsis(command, context), *_described(command.help or ""), *_options(command, context)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for part, each in command.commands.items():
            silent = _without_help(each)
            within = click.Context(silent, info_name=part, parent=context)
            lines += [".SS " + _usage(silent, within), *_paragraphs(each.help or "")]
            lines += _listed(silent, within)
    return _page([*lines, *_see_also([f"{PROGRAM}(1)", f"{PROGRAM}.toml(5)"])])


def _without_help(command: click.Command) -> click.Command:
    silent = copy(command)
    silent.add_help_option = False
    return silent


def _usage(command: click.Command, context: click.Context) -> str:
    pieces = " ".join(map(_plain, command.collect_usage_pieces(context)))
    return f"\\fB{_plain(context.command_path)}\\fR {pieces}".rstrip()


def _synopsis(command: click.Command, context: click.Context) -> list[str]:
    return [".SH SYNOPSIS", _usage(command, context)]


def _described(text: str) -> Iterator[str]:
    yield ".SH DESCRIPTION"
    yield from _paragraphs(text)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield _inline(" ".join(paragraph.split()))


def _options(command: click.Command, context: click.Context) -> list[str]:
    lines = _listed(command, context)
    return [".SH OPTIONS", *lines] if lines else []


def _listed(command: click.Command, context: click.Context) -> list[str]:
    lines = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and (record[1] or isinstance(parameter, click.Option)):
            lines += [".TP", f"\\fB{_plain(record[0])}\\fR", _inline(" ".join(record[1].split())) or "\\&"]
    return lines


def _see_also(names: list[str]) -> list[str]:
    return [".SH SEE ALSO", ", ".join(f"\\fB{_plain(name[:-3])}\\fR{name[-3:]}" for name in names)]


def _configuration(page: str, names: list[str]) -> str:
    """The page in Markdown as one of the manual."""
    lines = [*_head(f"{PROGRAM}.toml", 5, f"{PROGRAM}.toml", "what the daemon gathers, and where it takes it")]
    lines += [".SH DESCRIPTION", *_of_markdown(page)]
    return _page(
        [*lines, *_see_also([f"{PROGRAM}(1)", *(f"{PROGRAM}-{n}(1)" for n in names if n in {"check", "init", "run"})])]
    )


def _of_markdown(page: str) -> Iterator[str]:
    """The Markdown that our pages are written in: headings, paragraphs, lists, tables, blocks of code."""
    page = re.sub(r"<!--.*?-->\n?", "", page, flags=re.DOTALL)
    parts = re.split(r"^```\w*\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    for number, part in enumerate(parts):
        if number % 2:
            yield from (".PP", ".RS 4", ".nf", *map(_plain, part.rstrip("\n").split("\n")), ".fi", ".RE")
            continue
        for block in re.split(r"\n\s*\n|\n(?=#)|(?<=\|)\n(?!\|)|\n(?=[-*] )", part.strip("\n")):
            yield from _block(block.strip("\n"))


def _block(block: str) -> Iterator[str]:
    if heading := re.match(r"(#+) +(.*)", block):
        depth = len(heading[1])
        if depth > 1:  # the first is the page's name
            yield f".SH {_inline(heading[2]).upper()}" if depth == 2 else f".SS {_inline(heading[2])}"
        yield from _block(block[heading.end() :].strip("\n")) if block[heading.end() :].strip() else ()
    elif block.startswith("|"):
        for row in block.split("\n")[2:]:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]
            yield from (
                ".TP",
                _inline(cells[0]) or "\\&",
                _inline(". ".join(c.rstrip(".") for c in cells[1:] if c)) or "\\&",
            )
    elif re.match(r"[-*] ", block):
        yield from (".IP \\(bu 2", _inline(" ".join(block[2:].split())))
    elif block:
        yield from (".PP", _inline(" ".join(block.split())))


def _inline(text: str) -> str:
    """A paragraph: names of code and what is marked are bold, a link is its text."""
    done, at = "", 0
    for match in INLINE.finditer(text):
        done += _plain(text[at : match.start()], is_start=not at)
        at = match.end()
        if match["text"] is not None:
            done += _inline(match["text"])
        else:
            done += f"\\fB{_plain(match['code'] or match['bold'].replace('`', ''))}\\fR"
    return done + _plain(text[at:], is_start=not at)


def _plain(text: str, *, is_start: bool = True) -> str:
    """Text in which man sees no sign of its own."""
    text = text.replace("&lt;", "<").replace("\\|", "|").replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text) if is_start else text


def _page(lines: list[str]) -> str:
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    text = re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", text, flags=re.MULTILINE)  # a heading begins a paragraph anyway
    return "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in text)
