"""docs/records.md: the schema, from the docstrings and types of the records themselves."""

import re
from inspect import cleandoc

from msgspec import NODEFAULT, Struct, inspect, json

from aggregator.docgen.markdown import code, link, notice, table
from aggregator.records import CHANNEL_OF, DERIVED_OF, RECORD_TYPES, SCHEMA, Health, Instrument, Record, Trade

RULES = """
**Numbers are the exchange's own decimal text.** Prices, sizes, funding rates and volumes are JSON strings that hold the
digits as they were sent, trailing zeros too. Two things only are changed: an exponent is written out (`3.426e-5`
becomes `"0.00003426"`), and a JSON number becomes the same digits in quotes. None passes through a float, since ticks
are as small as 1e-13 and checksums are taken over the text. Whoever computes converts.

**A field that is not there means that the exchange did not say.** Nothing stands in for what was not said: no 0, no
copy of another field, not our clock for theirs. In columns, in Python, and in the meanings below such a field is null.
Only the names of a topic are written even when they are null, as they are on what is about a whole exchange.

**Times are integers: nanoseconds since the Unix epoch, UTC.** When it happened (`ts_event`), when it was published
(`ts_sent`) and when it arrived here (`ts_recv`) are told apart.

**Names.** `exchange` is ccxt's id. `symbol` is the unified name, [explained here](symbols.md); `raw_symbol` is the
exchange's own. A record whose instrument is not known has a null `symbol`, and is not dropped.

**Nothing is lost in silence.** A hole is a `gap`: one record of phase `open` when it is noticed, one of phase `close`
when it is over, which says what could be had after all. Between the two, book records of the topic are
withheld. A subscriber that was too slow is told by a `lag` how many records it lost. A gap of
[the journal](journal.md#what-is-not-there-is-told) is a single `close` with `conn` `journal`. It is about everything,
so it has no `exchange`. Its `offset` counts in the epoch behind the hole, and is left out where that begins there.

**What is told unasked, and when.** Nothing but a `summary` is told by the clock.

- `health` tells a topic's state, and its reason, when they change, and to a new subscriber of the feed as they stand.
  Two changes are told by a `gap` alone: at its `open` the topic is `suspect`, at its `close` it is `live`. Whoever
  applies both in their order knows each topic's state at any time, by connection (`conn`) where several carry it. (A
  gap that another connection makes good for is not told.)
- `subscribing`: asked for; `syncing`: the exchange has agreed; `live`: records come, of a book once it is whole;
  `quiet`: nothing comes, as it may be in a quiet market; `stalled`: nothing comes though it should, and it is asked for
  again; `suspect`: something is missing; `down`: refused, no longer listed, or without a connection or an answer.
- `summary` tells how each connection and each poll has fared, once a minute and when it ends. What it counts is since
  the one before, so that all of them together count everything. A connection that could not be made has one too: its
  topics have not changed, and `bye` says why they stay `down`.
- Where `audit` is set, the result of each comparison is a `health` record too: its state is what it was.

**What was before.** Many exchanges begin with the last trades or candles of before the subscription, each time that it
is made. They have the flag `snapshot`, whether the exchange says so in the message or not, as has what a first poll
finds. Where they are numbered (`sequence`), each is told once, however often its topic is subscribed to. Others may
have been told before, by an earlier connection, and their `id` shows it. None is passed over in silence.

**Books.** A `book_snapshot` replaces what the reader had. A `book_delta` is one message of the exchange and applies as
a whole, and only after a snapshot. Together they give no crossed book without a `gap` of cause `crossed`, unless
the exchange itself tells such books (its notes say so).

**Orders.** Some exchanges tell their book order by order. It is published by level as any other, each level the exact
sum of its orders, with as many decimals as the finest of them has. Asking for `orders` brings the book and, beside it,
the orders: an `orders_snapshot` replaces what the reader had, an `orders_delta` applies as a whole, and only after a
snapshot. A gap of the book is one of its orders, which ends with all of them. A reader that joins the feed in their
midst, and a file that begins there, have changes at once, and all orders with the next `orders_snapshot`: they are told
again (`periodic`) with the first change after five minutes.

**On a chain.** Of an exchange that keeps its book on a chain the same records come, and a few things are particular.

- A trade's `id` is the exchange's own number of the fill. The hash of the transaction is not taken for one: several
  fills of one order share it, and some have none. They are as many trades, of one taker and one time.
- `ts_event` is mostly the time of a block, which all that happened in it shares. Blocks are not counted here: a hole
  in their heights is no `gap`, for most blocks bring nothing of a market.
- Funding is exchanged each hour on many: `interval_s` says so, and a rate is of that time. A rate that is sent in per
  cent, or for eight hours, is made a fraction of the interval that the record names.
- A book may be crossed until the next block where each node has its own: no gap is opened, and nothing is taken out.

**Later versions only add.** A reader ignores types, fields and values that it does not know.
"""

TABLES = (
    "Fields stand in this order. *default* is what stands there when nobody said anything else; "
    "where that is *left out* a reader that looks for the field must not count on it."
)
LINE = re.compile(r"(\w+): (\S.*)")
ENVELOPE = ("type", *Record.__struct_fields__)
RARELY_OFFSET = (Instrument, Health)  # what the feed tells of them at the start was not published then
STAMPED = {"symbol": "string or null", "source": "string"}  # always written, for every record is stamped with them
EXAMPLE = Trade(
    exchange="example",
    symbol="BTC/USDT",
    raw_symbol="BTCUSDT",
    ts_event=1_700_000_000_123_000_000,
    ts_sent=1_700_000_000_125_000_000,
    ts_recv=1_700_000_000_141_592_653,
    offset=42,
    conn="example/main.1#1",
    source="ws",
    id="1001",
    price="36500.10000000",
    size="0.00250000",
    side="buy",
    base_size="0.00250000",
)


class Described(Struct):
    """A docstring, read: its first paragraph, the meaning of each field, and the lines that are neither."""

    summary: str
    meanings: dict[str, str]
    others: list[str]


def describe(record: type[Struct]) -> Described:
    """Read a struct's docstring: lines `name: meaning` after the first paragraph; an indented line goes on."""
    summary, _, rest = cleandoc(record.__doc__ or "").partition("\n\n")
    found = Described(" ".join(summary.split()), {}, [])
    name = ""
    for line in filter(str.strip, rest.splitlines()):
        if match := LINE.fullmatch(line):
            name = match[1]
            found.meanings[name] = match[2]
        elif line[0].isspace() and name:
            found.meanings[name] += f" {line.strip()}"
        else:
            found.others.append(line)
    return found


def own_fields(record: type[Record]) -> list[str]:
    """The fields that a type adds to the envelope; those of the envelope for `Record` itself."""
    if record is Record:
        return list(ENVELOPE)
    return [name for name in record.__struct_fields__ if name not in ENVELOPE]


def undescribed(records: tuple[type[Record], ...] = (Record, *RECORD_TYPES)) -> list[str]:
    """Where docstrings and fields differ: a field without a line, a line without a field."""
    return [complaint for record in records for complaint in _differences(record)]


def _differences(record: type[Record]) -> list[str]:
    fields, said = own_fields(record), describe(record)
    place = f"{record.__module__}.{record.__name__}"
    complaints = [f"{place}: the docstring says nothing of {name!r}" for name in fields if name not in said.meanings]
    complaints += [f"{place}: there is no field {name!r}" for name in said.meanings if name not in fields]
    complaints += [f"{place}: not a line `name: meaning`: {line.strip()!r}" for line in said.others]
    return complaints if said.summary else [f"{place}: no docstring", *complaints]


def records_page() -> str:
    """The whole page."""
    envelope = describe(Record)
    parts = [
        notice("the docstrings of `aggregator/records.py` and the rules in `aggregator/docgen/records.py`"),
        f"# Records, schema {SCHEMA}\n",
        "One record is one JSON object on one line. Every sink, socket and file carries these, for example:\n",
        f"```json\n{json.encode(EXAMPLE).decode()}\n```\n",
        f"## Rules that hold everywhere\n{RULES}",
        f"## The envelope\n\n{envelope.summary} {TABLES}\n",
        _fields_table(Record),
        "## The types\n",
        _overview(),
        *(_section(record) for record in RECORD_TYPES),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _overview() -> str:
    rows = [(link(code(tag(r)), f"#{tag(r)}"), channel(r), describe(r).summary) for r in RECORD_TYPES]
    return table(("type", "channel", "what it is"), rows)


def _section(record: type[Record]) -> str:
    summary = describe(record).summary
    return f"### `{tag(record)}`\n\nChannel: {channel(record)}. {summary}\n\n{_fields_table(record)}"


def tag(record: type[Record]) -> str:
    """The value of `type` in a record of this type."""
    return str(record.__struct_config__.tag)


def channel(record: type[Record]) -> str:
    """The channel that brings a type, as the page says it."""
    if record in DERIVED_OF:
        return f"{code(DERIVED_OF[record])}, which the feed derives"
    return code(CHANNEL_OF[record]) if record in CHANNEL_OF else "none, it comes unasked"


def _fields_table(record: type[Record]) -> str:
    meanings = describe(record).meanings
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - for the type checker: a Struct is one
    known = {field.name: field for field in info.fields}
    rows = [_row(name, known.get(name), meanings.get(name, "")) for name in own_fields(record)]
    return table(("field", "JSON type", "default", "meaning"), rows)


def _row(name: str, field: inspect.Field | None, meaning: str) -> tuple[str, str, str, str]:
    if field is None:  # the tag is no field of the struct
        return code(name), "string", "", meaning
    values = _values(field.type)
    if not all(code(value) in meaning for value in values):
        meaning += f"; {', '.join(map(code, values[:-1]))} or {code(values[-1])}"
    if name in STAMPED:
        return code(name), STAMPED[name], "", meaning
    kind, default = json_type(field.type), _default(field)
    return code(name), f"{kind} or null" if default == code("null") else kind, default, meaning


def _default(field: inspect.Field) -> str:
    if field.default_factory is not NODEFAULT:
        return code(json.encode(field.default_factory()).decode())
    is_stamped = field.default == 0  # a time or an offset: it is never published like that
    return "" if field.required or is_stamped else "left out"


def json_type(kind: inspect.Type) -> str:
    """A field's type in JSON's words. Raises TypeError for one that no record has had yet."""
    match kind:
        case inspect.UnionType(types=kinds):
            return " or ".join(json_type(one) for one in kinds if not isinstance(one, inspect.NoneType))
        case inspect.ListType(item_type=item):
            return f"array of {_plural(item)}"
        case inspect.VarTupleType(item_type=item):
            return f"array of {_plural(item)}"
        case inspect.TupleType(item_types=items):
            return f"[{', '.join(json_type(item) for item in items)}]"
    name = NAMES.get(type(kind))
    if name is None:
        raise TypeError(f"no word for {kind!r}: add it to NAMES in {__name__}")
    return name


def _plural(kind: inspect.Type) -> str:
    name = json_type(kind)
    return name if name.startswith("[") else f"{name}s"


def _values(kind: inspect.Type) -> list[str]:
    """The texts that a field may hold, where they are numbered."""
    match kind:
        case inspect.LiteralType(values=values):
            return [str(value) for value in values]
        case inspect.UnionType(types=kinds):
            return [value for one in kinds for value in _values(one)]
        case inspect.VarTupleType(item_type=item):
            return _values(item)
    return []


NAMES: dict[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.LiteralType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
}
