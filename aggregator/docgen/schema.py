"""docs/schema.json and docs/asyncapi.json: the records and the feed's protocol for machines, from their types.

A struct of `feed/protocol.py` is taken for a message by its tag, so that one that is added there is here, too. The
protocol is looked up, not imported: this room needs to know nothing else of the feed.
"""

from collections.abc import Iterable
from importlib import import_module
from inspect import cleandoc
from typing import Any

from msgspec import NODEFAULT, UNSET, Struct, json, structs

from aggregator import __version__
from aggregator.docgen import COMMAND
from aggregator.docgen.records import RARELY_OFFSET, STAMPED, describe, tag
from aggregator.records import DECIMALS, RECORD_TYPES, SCHEMA, TIMES, Record

protocol = import_module("aggregator.feed.protocol")

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
ROWS = {"bids": -2, "asks": -2}  # lists of rows whose last two are a price and a size
PATTERN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$"

Node = dict[str, Any]

SCALARS: dict[str, Node] = {
    "Decimal": {
        "description": "A number as the exchange's own decimal text. No exponent; the zeros at its end are meant.",
        "type": "string",
        "pattern": PATTERN,
    },
    "DecimalAsNumber": {
        "description": 'In the place of `Decimal` for who subscribes with `"numbers":"float"`.',
        "type": ["number", "string"],
    },
    "Time": {"description": "Nanoseconds since the Unix epoch, UTC.", "type": "integer"},
    "TimeAsText": {
        "description": 'In the place of `Time` for who subscribes with `"time":"iso"`; with `us` and `ms` it is an '
        "integer of those.",
        "type": "string",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$",
    },
}
ABOUT = (
    "Every record, and every message of the feed's protocol; docs/records.md and docs/feed.md say what they mean. "
    "`FromFeed` is a line that the feed says, `FromClient` one that it is told (or patterns, separated by blanks), "
    "`Row` a record as an array. Later versions only add: a reader ignores types, fields and values that it does not "
    "know. Where only some `fields` were asked for, the others are not there though they are required here."
)


def messages(field: str) -> list[type[Struct]]:
    """The messages of the protocol that are told apart by this field: `op` for those of clients, `type` for others."""
    found = [each for each in vars(protocol).values() if isinstance(each, type) and issubclass(each, Struct)]
    own = [each for each in found if each.__module__ == protocol.__name__]
    return [each for each in own if each.__struct_config__.tag_field == field]


def definitions() -> Node:
    """Every type by its name, those that others are made of among them."""
    requests, replies = messages("op"), messages("type")
    _, found = json.schema_components([*RECORD_TYPES, *requests, *replies], ref_template="#/$defs/{name}")
    kinds: list[type[Struct]] = [*RECORD_TYPES, *requests, *replies]
    for node in found.values():
        if "description" in node:
            node["description"] = cleandoc(node["description"])  # Python 3.13 does it by itself
    for kind in kinds:
        _describe(found[kind.__name__], kind)
    for record in RECORD_TYPES:
        _as_written(found[record.__name__], record)
    rows = {f"{record.__name__}Row": _row(found[record.__name__], record) for record in RECORD_TYPES}
    unions = {
        "Record": _any("A record.", RECORD_TYPES),
        "Row": {"description": "A record as an array.", "anyOf": [_ref(name) for name in rows]},
        "FromFeed": _any("A line that the feed says.", [*replies, *RECORD_TYPES]),
        "FromClient": _any("A line that a client says, where it is no patterns.", requests),
    }
    return {**unions, **found, **rows, **SCALARS}


def schema_page() -> str:
    """The JSON Schema of everything."""
    return _page(
        {
            "$schema": DIALECT,
            "$comment": f"Made by `{COMMAND}` from aggregator/records.py and aggregator/feed/protocol.py.",
            "title": f"Records and messages, schema {SCHEMA}",
            "description": ABOUT,
            "anyOf": [_ref("FromFeed"), _ref("FromClient"), _ref("Row")],
            "$defs": definitions(),
        }
    )


def _page(whole: Node) -> str:
    return json.format(json.encode(whole), indent=2).decode() + "\n"


def _ref(name: str) -> Node:
    return {"$ref": f"#/$defs/{name}"}


def _any(description: str, kinds: Iterable[type[Struct]]) -> Node:
    return {"description": description, "anyOf": [_ref(kind.__name__) for kind in kinds]}


def _describe(schema: Node, kind: type[Struct]) -> None:
    """Give each field the words of the docstring, and the whole its first paragraph."""
    meanings = dict(describe(kind).meanings)
    if issubclass(kind, Record):
        meanings = describe(Record).meanings | meanings
    schema.pop("title", None)
    schema.pop("description", None)
    if summary := describe(kind).summary:
        schema["description"] = summary
    for name, field in schema["properties"].items():
        if name in meanings:
            field["description"] = meanings[name]


def _as_written(schema: Node, record: type[Record]) -> None:
    """Say how a record is on the wire: numbers are text, null is left out, and what is always there is required."""
    fields = {field.name: field for field in structs.fields(record)}
    required = ["type"]
    always = {*STAMPED, "ts_recv"} if record in RARELY_OFFSET else {*STAMPED, "ts_recv", "offset"}
    for name, said in schema["properties"].items():
        if name == "type":
            continue
        field = fields[name]
        said.pop("default", None)
        if field.default is None or field.default is UNSET:
            _without_null(said)
        if name in DECIMALS:
            _put(said, {"type": "string"}, _ref("Decimal"))
        elif name in TIMES or name.startswith("ts_"):
            _put(said, {"type": "integer"}, _ref("Time"))
        elif name in ROWS:
            places = said["items"]["prefixItems"]
            places[ROWS[name] :] = [_ref("Decimal"), _ref("Decimal")]
        if field.default is NODEFAULT or name in always:
            required.append(name)
    schema["required"] = required


def _without_null(said: Node) -> None:
    kinds = [each for each in said.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) == 1:
        del said["anyOf"]
        said.update(kinds[0])
    elif kinds:
        said["anyOf"] = kinds


def _put(said: Node, old: Node, new: Node) -> None:
    """Put one schema in the place of another, where a field is that or may be."""
    if "anyOf" in said:
        said["anyOf"] = [new if each == old else each for each in said["anyOf"]]
    elif said.items() >= old.items():
        for key in old:
            del said[key]
        said.update(new)


def _row(schema: Node, record: type[Record]) -> Node:
    """A record as an array: its fields in their order, null where an object would leave one out."""
    places: list[Node] = []
    for name in ("type", *record.__struct_fields__):
        at = f"#/$defs/{record.__name__}/properties/{name}"
        is_always = name in schema["required"]
        places.append({"$ref": at} if is_always else {"anyOf": [{"$ref": at}, {"type": "null"}]})
    return {
        "description": f"`{tag(record)}` as an array, where every field is asked for.",
        "type": "array",
        "prefixItems": places,
        "minItems": len(places),
        "maxItems": len(places),
    }


# --- AsyncAPI

SERVERS = {
    "websocket": ("127.0.0.1:8791", "ws", "A message holds whole lines, often several."),
    "tcp": (
        "127.0.0.1:8790",
        "tcp",
        "Lines, by TLS where there is a certificate. A channel's address is not said.",
    ),
    "unix": ("/run/aggregator/feed.sock", "unix", "Lines. A channel's address is not said."),
    "events": ("127.0.0.1:8791", "http", "Server-sent events: what is asked for stands in the address."),
}
CHANNELS = {
    "feed": ("/feed", ("websocket", "tcp", "unix"), "The conversation, one and the same over each of these."),
    "events": ("/events", ("events",), "What the feed says, each line an event; the parameters are as of `subscribe`."),
}


def asyncapi_page() -> str:
    """The feed as AsyncAPI 3 describes it; the payloads are those of schema.json."""
    requests, replies = messages("op"), messages("type")
    said = [*(each.__name__ for each in (*replies, *RECORD_TYPES)), *(f"{r.__name__}Row" for r in RECORD_TYPES)]
    heard = {tag_of(each): each.__name__ for each in requests}
    kinds: list[type[Struct]] = [*requests, *replies, *RECORD_TYPES]
    about = {each.__name__: describe(each).summary for each in kinds}
    every = {"feed": [*heard.values(), *said], "events": [*(name for name in said if not name.endswith("Row"))]}
    operations: Node = {
        f"{name}_says": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [_message(name, each) for each in every[name] if each not in heard.values()],
        }
        for name in CHANNELS
    }
    for op, name in heard.items():
        answers = protocol.ANSWERS.get(op, replies)
        operations[op] = {
            "action": "receive",
            "summary": about[name],
            "channel": {"$ref": "#/channels/feed"},
            "messages": [_message("feed", name)],
            "reply": {
                "channel": {"$ref": "#/channels/feed"},
                "messages": [_message("feed", each.__name__) for each in (*answers, protocol.Error)],
            },
        }
    return _page(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "The feed of aggregator",
                "version": __version__,
                "description": f"Made by `{COMMAND}` from aggregator/feed/protocol.py. docs/feed.md says what a client "
                "may rely on. Places are those of the examples there.",
            },
            "defaultContentType": "application/json",
            "servers": {
                name: {"host": host, "protocol": spoken, "description": text}
                for name, (host, spoken, text) in SERVERS.items()
            },
            "channels": {
                name: {
                    "address": address,
                    "description": text,
                    "servers": [{"$ref": f"#/servers/{server}"} for server in servers],
                    "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in every[name]},
                }
                for name, (address, servers, text) in CHANNELS.items()
            },
            "operations": operations,
            "components": {
                "messages": {
                    name: {
                        "name": name,
                        **({"summary": about[name]} if about.get(name) else {}),
                        "payload": {
                            "schemaFormat": SCHEMA_FORMAT,
                            "schema": {"$ref": f"./schema.json#/$defs/{name}"},
                        },
                    }
                    for name in every["feed"]
                }
            },
        }
    )


def tag_of(kind: type[Struct]) -> str:
    """The word by which a message is told from others."""
    return str(kind.__struct_config__.tag)


def _message(channel: str, name: str) -> Node:
    return {"$ref": f"#/channels/{channel}/messages/{name}"}
