"""docs/records.d.ts: the records as TypeScript sees them in JSON, from their types."""

from msgspec import UNSET, inspect, structs

from aggregator.docgen import COMMAND
from aggregator.docgen.records import RARELY_OFFSET
from aggregator.records import RECORD_TYPES, SCHEMA

NAMES: dict[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.IntType: "number",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.NoneType: "null",
    inspect.AnyType: "unknown",
}
HEAD = f"""\
// Made by `{COMMAND}` from aggregator/records.py: change that, and run it again.
// The records, version {SCHEMA}, as they are in JSON; records.md tells what each field means. Prices are text.
// Nanoseconds are more than a number of JavaScript holds exactly: subscribe with "time": "us", "ms" or "iso".
"""


def types_page() -> str:
    """The declarations, one interface for each type of record."""
    kinds = [kind for kind in inspect.multi_type_info(RECORD_TYPES) if isinstance(kind, inspect.StructType)]
    names = " | ".join(kind.cls.__name__ for kind in kinds)
    return "\n".join([HEAD, *map(_interface, kinds), f"export type AnyRecord = {names};\n"])


def _interface(kind: inspect.StructType) -> str:
    left_out = {field.name for field in structs.fields(kind.cls) if field.default is None or field.default is UNSET}
    if kind.cls in RARELY_OFFSET:
        left_out.add("offset")
    fields = [f'  type: "{kind.tag}";', *(_field(field, may_be_absent=field.name in left_out) for field in kind.fields)]
    return f"export interface {kind.cls.__name__} {{\n" + "\n".join(fields) + "\n}\n"


def _field(field: inspect.Field, *, may_be_absent: bool) -> str:
    """A field; one that is left out where it holds nothing is never null."""
    told = _type(field.type)
    if may_be_absent:
        told = told.removesuffix(" | null")
    return f"  {field.encode_name}{'?' if may_be_absent else ''}: {told};"


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.LiteralType():
            return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in kind.values)
        case inspect.UnionType():
            return " | ".join(_type(each) for each in sorted(kind.types, key=lambda t: isinstance(t, inspect.NoneType)))
        case inspect.TupleType():
            return f"[{', '.join(map(_type, kind.item_types))}]"
        case inspect.ListType() | inspect.VarTupleType():
            inner = _type(kind.item_type)
            return f"({inner})[]" if " | " in inner else f"{inner}[]"
        case inspect.DictType():
            return f"{{ [key: string]: {_type(kind.value_type)} }}"
        case _:
            return NAMES[type(kind)]
