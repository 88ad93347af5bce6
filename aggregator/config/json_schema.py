"""The JSON Schema of a configuration: for editors, and for programs that write one."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from aggregator.config.own_tables import OWN_TABLES
from aggregator.config.schema import Document, cluster_table, sink_table, source_table
from aggregator.sinks.registry import find_sink, sink_names
from aggregator.sources.registry import find_source, source_names

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NUMBERS = {"integer", "number"}


class _AsWritten(GenerateJsonSchema):
    """Values as a file may hold them: a number that has a unit may be text."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        found = super().function_before_schema(schema)
        return {"anyOf": [found, {"type": "string"}]} if found.get("type") in NUMBERS else found


def json_schema() -> dict[str, Any]:
    """The schema of a whole file, with the types of sinks and sources that are installed here.

    What one key means for another it does not say: `aggregator check` does.
    """
    whole = _of(Document)
    definitions: dict[str, Any] = whole.setdefault("$defs", {})
    sinks = {name: sink_table(sink) for name in sink_names() if (sink := _found(find_sink, name)) is not None}
    sources = {
        name: source_table(source) for name in source_names() if (source := _found(find_source, name)) is not None
    }
    properties = whole["properties"]
    properties["sinks"] = _list(_typed(sinks, definitions, "sink"))
    properties["sources"] = _list(_typed(sources, definitions, "source"))
    properties["cluster"] = _of(cluster_table())
    for name in OWN_TABLES:
        table = _of(sinks[name])
        del table["properties"]["type"]
        table["required"] = [key for key in table["required"] if key != "type"]
        properties[name] = table
    whole.pop("required", None)  # the tables of conf.d are files too
    return {"$schema": DIALECT, "title": "aggregator", **{k: v for k, v in whole.items() if k != "title"}}


def _of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(schema_generator=_AsWritten)


def _found(find: Callable[[str], Any], name: str) -> Any:
    """A sink or a source; null: it cannot be loaded here."""
    try:
        return find(name)
    except Exception:  # noqa: BLE001 - somebody else's package may raise anything
        return None


def _typed(tables: dict[str, Any], definitions: dict[str, Any], what: str) -> dict[str, Any]:
    """The tables of one kind, told apart by their type."""
    for name, model in tables.items():
        table = _of(model)
        table["properties"]["type"] = {"const": name}
        definitions |= table.pop("$defs", {})
        definitions[f"{what}-{name}"] = table
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": sorted(tables)}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{what}-{name}"},
            }
            for name in sorted(tables)
        ],
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
