"""docs/status.md: what a daemon says of itself, from the structs that the rooms fill in."""

from collections.abc import Iterator
from typing import get_args

from msgspec import NODEFAULT, Struct, inspect, json

from aggregator.daemon import control
from aggregator.daemon.explain import Explanation
from aggregator.daemon.status import MOST_TOPICS, DaemonStatus
from aggregator.daemon.tap import Tapped
from aggregator.docgen.markdown import code, link, notice, table
from aggregator.docgen.records import NAMES, describe

HEAD = """\
# Status

`aggregator ctl status` shows how a running daemon fares; with patterns of topics it shows those, whatever their state,
else those that are neither live nor quiet, and why. `--json` prints everything as one JSON object, whose members are
below.

```sh
aggregator ctl status                       # each exchange, and the topics that are in trouble
aggregator ctl status 'book:*:BTC/*'        # these topics
aggregator ctl status --json '*:*:*' | jq '.topics[] | select(.state == "absent") | .reason'
```

Gathering takes nothing from the stream: of tens of thousands of topics a few are looked at at a time, so the answer is
of a moment that may last a second. Counts of a connection begin anew with the next one; what all of them have done is
told by `summary` records.

## The control socket

It is a unix socket that its owner alone may connect to (mode 0600). The configuration names it with `control`; without
that it is `control.sock` in systemd's `RUNTIME_DIRECTORY`, else in the `state` directory. A socket that a dead daemon
has left is taken over, if it is the same user's; a live one never is.

A request is one JSON object on one line, and so is its answer. Several requests may follow each other.

```sh
echo '{"op":"rotate"}' | nc -U /run/aggregator/daemon/control.sock
```

"""
BOUNDS = f"""\
A line may have {control.LONGEST_LINE_BYTES} bytes; {control.MOST_CLIENTS} clients are served at once.
One that asks nothing for {control.IDLE_S:g} s, or does not read its answer for {control.SENDING_S:g} s, is hung up on.
An answer tells of at most {MOST_TOPICS} topics.

## Requests
"""
REQUESTS = get_args(control.Request)
REPLIES = (
    control.StatusReply,
    control.StacksReply,
    control.RotateReply,
    control.ExplainReply,
    Explanation,
    Tapped,
    control.TapReply,
    control.ReloadReply,
    control.ChangeReply,
    control.Failure,
)


def status_page() -> str:
    """The whole page."""
    parts = [notice("the docstrings of the structs that are told"), HEAD.rstrip("\n"), BOUNDS]
    parts += [_section(kind) for kind in REQUESTS]
    parts += ["## Answers\n", *(_section(kind) for kind in REPLIES)]
    parts += ["## What stands in a status\n", *(_section(kind) for kind in within(DaemonStatus))]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def undescribed() -> list[str]:
    """Fields of these structs that no docstring describes, and descriptions of fields that there are not."""
    kinds: list[type[Struct]] = [*REQUESTS, *REPLIES, *within(DaemonStatus)]
    return [complaint for kind in kinds for complaint in _differences(kind)]


def _differences(kind: type[Struct]) -> list[str]:
    said, place, fields = describe(kind).meanings, f"{kind.__module__}.{kind.__name__}", kind.__struct_fields__
    complaints = [f"{place}: the docstring says nothing of {name!r}" for name in fields if name not in said]
    return complaints + [f"{place}: there is no field {name!r}" for name in said if name not in fields]


def within(kind: type[Struct]) -> list[type[Struct]]:
    """A struct, and those that stand in it, each once."""
    found: dict[type[Struct], None] = {kind: None}
    waiting = [kind]
    while waiting:
        info = inspect.type_info(waiting.pop(0))
        assert isinstance(info, inspect.StructType)  # noqa: S101 - for the type checker: a Struct is one
        new = [each for field in info.fields for each in _structs(field.type) if each not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def _structs(kind: inspect.Type) -> Iterator[type[Struct]]:
    match kind:
        case inspect.StructType(cls=cls):
            yield cls
        case inspect.UnionType(types=kinds):
            yield from (each for one in kinds for each in _structs(one))
        case inspect.ListType(item_type=item) | inspect.DictType(value_type=item):
            yield from _structs(item)


def _section(kind: type[Struct]) -> str:
    info, said = inspect.type_info(kind), describe(kind)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - for the type checker: a Struct is one
    rows = [(code(f.encode_name), _name(f.type), _default(f), said.meanings.get(f.name, "")) for f in info.fields]
    if info.tag_field is not None:
        rows.insert(0, (code(info.tag_field), "string", "", code(str(info.tag))))
    named = any(default for _, _, default, _ in rows)
    columns = ("field", "JSON type", "default", "meaning")
    if not named or kind not in REQUESTS:  # only a reader who asks may leave something out
        columns, rows = ("field", "JSON type", "meaning"), [(a, b, d) for a, b, _, d in rows]  # type: ignore[assignment, misc]
    return f"### {kind.__name__}\n\n{said.summary}\n\n{table(columns, rows)}"


def _default(field: inspect.Field) -> str:
    if field.required:
        return ""
    return code(json.encode(field.default_factory() if field.default is NODEFAULT else field.default).decode())


OTHERS = {inspect.RawType: "object", inspect.NoneType: "null"}


def _name(kind: inspect.Type) -> str:
    """A field's type in JSON's words, with a link to what stands in it."""
    match kind:
        case inspect.UnionType(types=kinds):
            return " or ".join(dict.fromkeys(_name(one) for one in kinds))
        case inspect.ListType(item_type=item):
            return f"array of {_name(item)}"
        case inspect.DictType(value_type=item):
            return f"object of {_name(item)} by name"
        case inspect.StructType(cls=cls):
            return link(cls.__name__, f"#{cls.__name__.lower()}")
    return OTHERS.get(type(kind)) or NAMES[type(kind)]
