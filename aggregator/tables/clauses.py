"""Each record type's columns in the words of tools that read NDJSON, so that they infer nothing.

Numbers and times are read as they stand in the lines, as text and as integers. `duckdb_select` makes of them the very
columns of a table (`columns.stored`).
"""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

from msgspec import UNSET

from aggregator.records import RECORD_TYPES, Record, defaults
from aggregator.tables.columns import EPOCH, MISFITS, TEXT, Column, Kind, columns, tag

Tool = Literal["duckdb", "polars", "pandas", "pyarrow", "clickhouse"]
TOOLS: tuple[Tool, ...] = get_args(Tool)

TYPE = Column("type", "word")  # in lines the type is a field beside the others

# The words of each tool for a text, an integer, a double and a truth. A number is text in a line.
PLAIN: dict[str, tuple[str, str, str, str]] = {
    "duckdb": ("VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN"),
    "polars": ("pl.String", "pl.Int64", "pl.Float64", "pl.Boolean"),
    "pyarrow": ("pa.string()", "pa.int64()", "pa.float64()", "pa.bool_()"),
    "clickhouse": ("String", "Int64", "Float64", "Bool"),
}
AT: dict[Kind, int] = {"text": 0, "word": 0, "json": 0, "number": 0, "time": 1, "count": 1, "measure": 2, "flag": 3}
CSV_OF_DUCKDB = (
    """auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', """
    "nullstr = '', allow_quoted_nulls = false, hive_partitioning = false"
)
OF_CSV: dict[Kind, str] = {  # DuckDB makes this of a field's text
    "time": "make_timestamp_ns(TRY_CAST({} AS BIGINT)) AT TIME ZONE 'UTC'",
    "count": "TRY_CAST({} AS BIGINT)",
    "number": "TRY_CAST({} AS DOUBLE)",
    "measure": "{}::DOUBLE",
    "flag": "{}::BOOLEAN",
    "words": """coalesce(from_json({}, '["VARCHAR"]'), [])""",
}
LISTS: dict[str, Callable[[str], str]] = {
    "duckdb": "{}[]".format,
    "polars": "pl.List({})".format,
    "pyarrow": "pa.list_({})".format,
    "clickhouse": "Array({})".format,
}


def told(record: type[Record]) -> tuple[Column, ...]:
    """The columns of a type's lines: its fields, and before them the type."""
    return (TYPE, *(column for column in columns(record) if column.name != EPOCH))


def clause(tool: Tool, record: type[Record]) -> str:
    """The clause by which a tool reads lines of one type right. Lines of others, and a header, may stand among them."""
    return WRITE[tool](record)


def _duckdb(record: type[Record]) -> str:
    return _block("columns={", (f"'{c.name}': '{_type('duckdb', c)}'" for c in told(record)), "}")


def _polars(record: type[Record]) -> str:
    return _block("schema={", (f'"{c.name}": {_type("polars", c)}' for c in told(record)), "}")


def _pyarrow(record: type[Record]) -> str:
    return "\n".join([*_warnings(record), _options(record)])


def _pandas(record: type[Record]) -> str:
    # Its own reader makes floats of integers that are missing somewhere, before it looks at any dtype.
    reading = f"pyarrow.json.read_json(FILE, {_options(record)}).to_pandas(types_mapper=pd.ArrowDtype)"
    return "\n".join([*_warnings(record), reading])


def _options(record: type[Record]) -> str:
    schema = _block("pa.schema({", (f'"{c.name}": {_type("pyarrow", c)}' for c in _of_one_kind(record)), "})")
    return f'parse_options=pyarrow.json.ParseOptions(unexpected_field_behavior="ignore", explicit_schema={schema})'


def _clickhouse(record: type[Record]) -> str:
    return ", ".join(f"{c.name} {_type('clickhouse', c)}" for c in told(record))


WRITE: dict[Tool, Callable[[type[Record]], str]] = {
    "duckdb": _duckdb,
    "polars": _polars,
    "pandas": _pandas,
    "pyarrow": _pyarrow,
    "clickhouse": _clickhouse,
}


def _block(head: str, lines: Iterable[str], tail: str) -> str:
    return "\n".join([head, *(f"    {line}," for line in lines), tail])


def _type(tool: str, column: Column) -> str:
    text = PLAIN[tool][0]
    if column.kind == "words":
        return LISTS[tool](text)
    if column.kind == "rows":
        if tool == "clickhouse":
            return f"Array(Tuple({', '.join(_type(tool, part) for part in column.parts)}))"
        return LISTS[tool](LISTS[tool](text))
    plain = PLAIN[tool][AT[column.kind]]
    return f"Nullable({plain})" if tool == "clickhouse" and column is not TYPE else plain


def _of_one_kind(record: type[Record]) -> list[Column]:
    """The columns without those whose rows mix texts and integers, which Arrow's reader does not take."""
    return [c for c in told(record) if c.kind != "json" and not any(part.kind == "count" for part in c.parts)]


def _warnings(record: type[Record]) -> list[str]:
    """The traps of Arrow's reader, as comments: it looks at a field's kind in every line, of whichever type."""
    here = {c.name: AT.get(c.kind) for c in told(record)}
    odd = {
        f"{c.name} of {tag(other)}"
        for other in RECORD_TYPES
        for c in told(other)
        if c.name in here and here[c.name] != AT.get(c.kind)
    }
    left = [c.name for c in told(record) if c not in _of_one_kind(record)]
    notes = []
    if odd:
        notes.append(f"# Give it lines of this type alone: {', '.join(sorted(odd))} is of another kind.")
    if left:
        notes.append(f"# Left out, as rows of several kinds cannot be read: {', '.join(left)}.")
    return notes


# --- CSV


def csv_clause(tool: Tool, record: type[Record]) -> str:
    """The clause by which a tool reads CSV of one type right: a null is an empty field, an empty text is `""`."""
    return WRITE_CSV[tool](record)


def _csv_duckdb(record: type[Record]) -> str:
    kinds = ", ".join(f"'{c.name}': '{_csv_type('duckdb', c)}'" for c in columns(record))
    return f"{CSV_OF_DUCKDB}, columns = {{{kinds}}}"


def _csv_polars(record: type[Record]) -> str:
    return _block("schema={", (f'"{c.name}": {_csv_type("polars", c)}' for c in columns(record)), "}")


def _csv_pyarrow(record: type[Record]) -> str:
    types = _block("column_types={", (f'"{c.name}": {_csv_type("pyarrow", c)}' for c in columns(record)), "}")
    reading = "parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)"
    nulls = 'null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False'
    return f"{reading}, convert_options=pyarrow.csv.ConvertOptions({nulls}, {types})"


def _csv_pandas(record: type[Record]) -> str:
    # Its own reader takes an empty text for a null, or a null for an empty text.
    return f"pyarrow.csv.read_csv(FILE, {_csv_pyarrow(record)}).to_pandas(types_mapper=pd.ArrowDtype)"


def _csv_clickhouse(record: type[Record]) -> str:
    return ", ".join(f"{c.name} {_csv_type('clickhouse', c)}" for c in columns(record))


WRITE_CSV: dict[Tool, Callable[[type[Record]], str]] = {
    "duckdb": _csv_duckdb,
    "polars": _csv_polars,
    "pandas": _csv_pandas,
    "pyarrow": _csv_pyarrow,
    "clickhouse": _csv_clickhouse,
}


def _csv_type(tool: str, column: Column) -> str:
    """The type of a field: lists are text there, as their JSON."""
    plain = PLAIN[tool][AT.get(column.kind, 0)]
    return f"Nullable({plain})" if tool == "clickhouse" else plain


def duckdb_csv_select(record: type[Record], files: str) -> str:
    """A query that gives of files of CSV the columns of a table, as `duckdb_select` does of NDJSON.

    files: an SQL expression: the path or the paths of the files, or a pattern
    """
    texts = ", ".join(f"'{c.name}': 'VARCHAR'" for c in columns(record))
    given = [f"{_of_csv(c)} AS {_quoted(c.name)}" for c in columns(record)]
    given += [f"{_quoted(c.name)} AS {_quoted(c.name + TEXT)}" for c in columns(record) if c.kind == "number"]
    given.append(f"{_misfits(record)} AS {MISFITS}")
    body = ",\n    ".join(given)
    return f"SELECT\n    {body}\nFROM read_csv({files}, {CSV_OF_DUCKDB}, columns = {{{texts}}})"


def _of_csv(column: Column) -> str:
    name = _quoted(column.name)
    if column.kind == "rows":
        return f"[{_row(column.parts)} FOR each IN from_json({name}, '[[\"VARCHAR\"]]')]"
    return OF_CSV.get(column.kind, "{}").format(name)


def _misfits(record: type[Record]) -> str:
    """Integers of more than 64 bits, as JSON: null where there is none."""
    odd = [
        f"CASE WHEN {_quoted(c.name)} IS NOT NULL AND TRY_CAST({_quoted(c.name)} AS BIGINT) IS NULL "
        f"THEN '\"{c.name}\":' || {_quoted(c.name)} END"
        for c in columns(record)
        if c.kind in {"time", "count"}
    ]
    return f"'{{' || nullif(concat_ws(',', {', '.join(odd)}), '') || '}}'"


# --- DuckDB, whole


def duckdb_select(record: type[Record], files: str, *, epoch: str = "NULL") -> str:
    """A query that gives of NDJSON files the columns of a table: numbers as doubles and as text, times as times.

    files: an SQL expression: the path or the paths of the files, or a pattern
    epoch: an SQL expression of it, as lines do not say it; `filename` may stand there
    """
    lines = ", ".join(f"'{c.name}': '{_type('duckdb', c)}'" for c in told(record))
    given = [f"({epoch})::VARCHAR AS {EPOCH}"]
    preset = defaults(record)
    given += [f"{_value(c, preset.get(c.name))} AS {_quoted(c.name)}" for c in columns(record)[1:]]
    given += [f"{_quoted(c.name)} AS {_quoted(c.name + TEXT)}" for c in columns(record) if c.kind == "number"]
    given.append(f"NULL::VARCHAR AS {MISFITS}")
    told_by = f"read_json({files}, format = 'newline_delimited', filename = true, columns = {{{lines}}})"
    body = ",\n    ".join(given)
    return f"SELECT\n    {body}\nFROM {told_by}\nWHERE type = '{tag(record)}'"


def _value(column: Column, preset: object) -> str:
    name = _quoted(column.name)
    if column.kind == "number":
        return f"TRY_CAST({name} AS DOUBLE)"
    if column.kind == "rows":
        return f"[{_row(column.parts)} FOR each IN {name}]"
    if preset is UNSET:
        return f"coalesce({name}, [])"
    if preset is not None and not column.is_null:  # a line leaves a field out that holds its default
        name = f"coalesce({name}, {_literal(preset)})"
    return f"make_timestamp_ns({name}) AT TIME ZONE 'UTC'" if column.kind == "time" else name


def _row(parts: tuple[Column, ...]) -> str:
    casts = {"number": "TRY_CAST(each[{}] AS DOUBLE)", "count": "each[{}]::BIGINT"}
    found = [f"{part.name}: {casts.get(part.kind, 'each[{}]').format(at)}" for at, part in enumerate(parts, 1)]
    found += [f"{part.name}{TEXT}: each[{at}]" for at, part in enumerate(parts, 1) if part.kind == "number"]
    return "{" + ", ".join(found) + "}"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return f'"{name}"'
