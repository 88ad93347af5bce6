"""The configuration file: read, checked as a whole, and handed on as plain frozen values."""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar, get_type_hints
from urllib.parse import urlsplit

from msgspec import Struct, structs
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aggregator.cluster.buckets import SymbolPart
from aggregator.cluster.settings import EVERY, ClusterKeys
from aggregator.cluster.shared import SharedConfig
from aggregator.config.own_tables import OWN_TABLES, with_own_tables
from aggregator.config.parts import DIRECTORY, MOST_FILES, ConfigFile, Whole, files_beside, joined
from aggregator.config.schema import (
    LINGER_S,
    START_GRACE_S,
    VERSION,
    ClusterDocument,
    Document,
    ExchangeTable,
    KnownChannels,
    SinksDocument,
    SourcesDocument,
    cluster_table,
    configured,
    configured_cluster,
    configured_source,
    sink_table,
    source_table,
    split_channel,
)
from aggregator.config.shared import in_place, told_by, wrong_in_shared
from aggregator.config.toml_lines import KeyPath, key_lines, line_of
from aggregator.errors import ConfigError
from aggregator.ingest.bounds import MOST_INSTRUMENTS, MOST_TOPICS
from aggregator.ingest.credentials import KeyPlace, KnownKeys, wrong_fields
from aggregator.ingest.proxies import DialOptions, is_loopback
from aggregator.sinks.registry import find_sink, lacking, sink_names
from aggregator.sinks.sink import Sink, SinkConfig
from aggregator.sinks.values import choices, quote
from aggregator.sources.registry import find_source, source_names
from aggregator.sources.source import Source, SourceConfig

MOST_DOTS = 50  # in one key
LARGEST_BYTES = 1_000_000  # a file that is longer is not a configuration
SYNTAX = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
QUOTED = re.compile("'([^']*)'")
CREDENTIALS = re.compile(r".*@", re.DOTALL)
WRONG = {
    "missing": "is missing",
    "too_short": "must not be empty",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "is_instance_of": "must be text",  # a path is what has to be an instance of something
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}

# Keys with dots, of which the parser takes a time that grows with the square of their number.
DEEP = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{MOST_DOTS}}}""")
LogFormat = Literal["auto", "journal", "console", "json"]
VERIFY = {"all": 1, "sampled": 16, "off": 0}  # one of so many checksums is computed
Complaint = tuple[KeyPath, str]
T = TypeVar("T")


class ExchangeConfig(Struct, frozen=True, kw_only=True):
    """The wishes of a user about one exchange.

    intervals: of the channel `candles`
    symbols: unified, raw, or patterns
    redundancy: connections that carry the same topics
    lifetime: seconds after which a connection is replaced; null: what the exchange declares
    verify: of how many checksums of books one is computed; 0: none
    audit: seconds between two comparisons of a book with the exchange's own; null: never
    relist: seconds between two listings of its instruments; null: only at the start
    max_instruments: that are read of its listing
    max_topics: that are followed
    on_demand: whether a topic is followed only while a subscriber of the feed asks for it
    linger: seconds after which such a topic is released once nobody does
    on_start_error: `fail`: the daemon does not start when its first attempt fails; `retry`: it is tried again
    route: how it is reached
    credentials: where its keys are, by their names
    buckets: into so many its symbols are divided, each for a worker of its own; null: as its load says
    part: the part of its symbols that this process gathers; null: all. A cluster says so, or the hub of workers
    part_name: of that part, where other workers gather the rest; null: none does
    """

    id: str
    channels: tuple[str, ...]
    intervals: tuple[str, ...] = ()
    symbols: tuple[str, ...]
    endpoints: Mapping[str, str]  # the beginning of an address: what replaces it
    redundancy: int = 1
    lifetime: float | None = None
    verify: int = 1
    audit: float | None = None
    relist: float | None = None
    max_instruments: int = MOST_INSTRUMENTS
    max_topics: int = MOST_TOPICS
    on_demand: bool = False
    linger: float = LINGER_S
    on_start_error: Literal["fail", "retry"] = "retry"
    route: DialOptions = DialOptions()
    credentials: Mapping[str, KeyPlace] = {}
    buckets: int | None = None
    part: SymbolPart | None = None
    part_name: str | None = None

    @property
    def name(self) -> str:
        """Begins the names of its files and of its connections."""
        return self.part_name or self.id

    @property
    def processes(self) -> int:
        """How many processes of this daemon gather from it, and share what it allows an address."""
        return 1 if self.part is None or self.part_name is None else self.part.count


class Config(Struct, frozen=True, kw_only=True):
    """A whole configuration that has been checked."""

    exchanges: tuple[ExchangeConfig, ...]
    sinks: tuple[SinkConfig, ...]
    state: Path
    sources: tuple[SourceConfig, ...] = ()
    cluster: ClusterKeys | None = None  # null: the daemon is a member of none
    control: Path | None = None  # the control socket; null: there is none
    log_level: str
    log_format: LogFormat = "auto"
    required: tuple[str, ...] = ()  # patterns of the topics that must be live before the daemon is ready
    start_grace: float = START_GRACE_S  # seconds that it waits for them
    workers: int = 1  # processes that gather; with 1 it is this one
    warnings: "tuple[Problem, ...]" = ()  # each names a key that should be written otherwise


class Problem(Struct, frozen=True):
    """One mistake: `line` is None where the file could not be read, `key` is empty where no key is to blame."""

    file: str
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.text) if part)


class ConfigErrors(ConfigError):
    """Every mistake of a configuration, one a line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load_config(
    path: Path,
    *,
    known_channels: KnownChannels,
    known_keys: KnownKeys | None = None,
    schema: type[Document] = Document,
    shared: ConfigFile | None = None,
) -> Config:
    """Read a configuration, and the files of `conf.d` beside it.

    `known_channels` gives the channels of an exchange's connector, None where none exists.
    The names of keys are judged where `known_keys` is given; nothing looks for the keys themselves.
    `shared` is what the cluster shares: it stands in the place of the same in the files, and is judged with them.
    Raises ConfigErrors with all that is wrong.
    """
    parts = _parts(path)
    whole = joined(parts if shared is None else in_place(parts, shared))
    misplaced = [] if shared is None else list(wrong_in_shared(shared))
    moved = with_own_tables(whole.values)
    if schema is Document and moved.values.get("sources"):
        schema = SourcesDocument
    if schema is Document and moved.values.get("cluster"):
        schema = ClusterDocument
    document, complaints = _validated(moved.values, known_channels, schema)
    sinks, wrong = _sinks(moved.values)
    complaints += [
        *wrong,
        *_repeated(moved.values),
        *_same_names(moved.values),
        *_nested(moved.values),
        *_taken(moved.values),
        *_spilling(moved.values),
    ]
    cluster, wrong = _cluster(moved.values)
    complaints += wrong
    sources, wrong = _sources(moved.values)
    complaints += [*wrong, *_crossed(moved.values), *_never_live(moved.values)]
    if known_keys is not None:
        complaints += _wrong_credentials(moved.values, known_keys)

    def problems(said: Iterable[Complaint]) -> tuple[Problem, ...]:
        at = ((moved.place(key), whole.placed(text)) for key, text in said)
        places = [(*(told_by(shared, key) or whole.origin(key)), text) for key, text in at]
        return _in_order(whole, places)

    if document is None or complaints or whole.twice or misplaced:
        raise ConfigErrors((*_in_order(whole, [*whole.twice, *misplaced]), *problems(complaints)))
    state = Path(document.state) if document.state else default_state()
    control = None if document.control == "none" else Path(document.control or default_control(state))
    return Config(
        exchanges=tuple(_exchange(table) for table in document.exchanges),
        sinks=sinks,
        sources=sources,
        cluster=cluster,
        state=state,
        control=control,
        log_level=document.log_level,
        log_format=document.log_format,
        required=document.required,
        start_grace=document.start_grace,
        workers=document.workers,
        warnings=problems([*moved.warnings(), *_open_keys(whole, document), *_plain_ways(document)]),
    )


def read_shared_file(path: Path) -> ConfigFile:
    """A file that a cluster is to share, for `load_config` to judge. Raises ConfigErrors where it is no TOML."""
    return _one_file(path, _read(path))


def shared_file(shared: SharedConfig) -> ConfigFile:
    """A revision of what a cluster shares, likewise."""
    return _one_file(Path(f"revision {shared.revision} of the cluster"), shared.text)


def _one_file(path: Path, text: str) -> ConfigFile:
    values, lines = _parse(path, text)
    if (newer := _newer(values)) is not None:
        raise _failure(path, line_of(lines, ("version",)), newer)
    return ConfigFile(path, values, lines)


def load_sinks(path: Path, *, known_channels: KnownChannels) -> Config:
    """A configuration that need not name an exchange. Raises ConfigErrors with all that is wrong."""
    return load_config(path, known_channels=known_channels, schema=SinksDocument)


def sinks_without_file(out: Path | None) -> Config:
    """The configuration that stands for none: files below a directory, or else standard output."""
    from aggregator.sinks import files, stdout

    sink = stdout.SINK.configured() if out is None else files.SINK.configured(path=out)
    return Config(exchanges=(), sinks=(sink,), state=default_state(), log_level="info")


def default_state() -> Path:
    """Where the daemon keeps what must outlive it: the service's directory, else root's, else the user's."""
    if given := os.environ.get("STATE_DIRECTORY"):  # systemd's, perhaps one of several
        return Path(given.split(":")[0], "state")
    if os.geteuid() == 0:
        return Path("/var/lib/aggregator/state")
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local/state") / "aggregator"


def default_control(state: Path) -> Path:
    """Where the daemon can be asked: in the service's runtime directory, else beside its state."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime or state, "control.sock")


def _in_order(whole: Whole, places: Iterable[tuple[ConfigFile, KeyPath, str]]) -> tuple[Problem, ...]:
    """Complaints as the files have them, line by line."""
    order = {part.path: at for at, part in enumerate(whole.parts)}
    found = [(part, line_of(part.lines, key), _shown(key), text) for part, key, text in places]
    found.sort(key=lambda problem: (order[problem[0].path], problem[1]))
    return tuple(Problem(str(part.path), line, key, text) for part, line, key, text in found)


def _parts(path: Path) -> list[ConfigFile]:
    """The file, and those of `conf.d` beside it. Raises ConfigErrors with all that is wrong so far."""
    try:
        beside = files_beside(path)
    except OSError as error:
        raise _failure(path.parent / DIRECTORY, None, f"cannot be read: {error.strerror}") from error
    if len(beside) > MOST_FILES:
        raise _failure(path.parent / DIRECTORY, None, f"holds more than {MOST_FILES} files")
    parts: list[ConfigFile] = []
    problems: list[Problem] = []
    for each in (path, *beside):
        try:
            if each is not path and each.exists() and not each.is_file():
                raise _failure(each, None, "is no file: a directory, a pipe or a device")  # a pipe might never end
            values, lines = _parse(each, _read(each))
            if (newer := _newer(values)) is not None:
                problems.append(Problem(str(each), line_of(lines, ("version",)), "version", newer))
            parts.append(ConfigFile(each, values, lines))
        except ConfigErrors as errors:
            problems += errors.problems
    if problems:
        raise ConfigErrors(tuple(problems))
    return parts


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise _failure(path, None, f"cannot be read: {error.strerror}") from error
    if len(raw) > LARGEST_BYTES:
        raise _failure(path, None, f"is longer than {LARGEST_BYTES} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _failure(path, raw.count(b"\n", 0, error.start) + 1, "is not UTF-8") from error


def _parse(path: Path, text: str) -> tuple[dict[str, object], dict[KeyPath, int]]:
    if (deep := DEEP.search(text)) is not None:
        raise _failure(path, text.count("\n", 0, deep.start()) + 1, "is nested too deeply")
    try:
        return tomllib.loads(text), key_lines(text)
    except RecursionError:
        raise _failure(path, 1, "is nested too deeply") from None
    except ValueError as error:
        match = SYNTAX.fullmatch(str(error))
        said, line, column = match.groups() if match else (str(error), "1", None)
        at = int(line) if line else text.rstrip().count("\n") + 1
        raise _failure(path, at, f"is not TOML: {said}{f', column {column}' if column else ''}") from error


def _failure(path: Path, line: int | None, text: str) -> ConfigErrors:
    return ConfigErrors((Problem(str(path), line, "", text),))


def _newer(values: Mapping[str, object]) -> str | None:
    """Say that a file is of a later version: then nothing else of it is judged, because its keys may be new."""
    version = values.get("version")
    if isinstance(version, int) and version > VERSION:
        return (
            f"{version} is of a later aggregator than this one, which reads {VERSION}: install that, or write it anew"
        )
    return None


def _validated(
    values: dict[str, object], known: KnownChannels, schema: type[Document]
) -> tuple[Document | None, list[Complaint]]:
    try:
        return schema.model_validate(values, context=known), []
    except ValidationError as error:
        return None, [_complaint(detail) for detail in error.errors(include_url=False)]


def _sinks(values: dict[str, object]) -> tuple[tuple[SinkConfig, ...], list[Complaint]]:
    """The sinks, each read by the table of its type, and what is wrong with them."""
    sinks: list[SinkConfig] = []
    complaints: list[Complaint] = []
    for index, table in _tables(values, "sinks"):
        place: KeyPath = ("sinks", index)
        try:
            sink = _sink_of(table)
            keys = sink_table(sink)
            sinks.append(configured(sink, keys.model_validate(table)))
        except ValidationError as error:
            complaints += [
                _complaint({**detail, "loc": (*place, *detail["loc"])}, keys)
                for detail in error.errors(include_url=False)
            ]
        except (ConfigError, ValueError) as error:
            complaints.append(((*place, "type"), str(error)))
    return tuple(sinks), complaints


def _cluster(values: dict[str, object]) -> tuple[ClusterKeys | None, list[Complaint]]:
    """The table `[cluster]`, and what is wrong with it."""
    table = values.get("cluster")
    if not isinstance(table, dict):
        return None, []
    keys = cluster_table()
    try:
        found = configured_cluster(keys.model_validate(table))
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [_complaint({**detail, "loc": ("cluster", *detail["loc"])}, keys) for detail in details]
    gathered = {each.get("id") for _, each in _tables(values, "exchanges")}
    named = [("needs", id) for id in found.needs or ()] + [("buckets", id) for id in found.buckets or () if id != EVERY]
    wrong: list[Complaint] = [
        (("cluster", key, id), "is not among the exchanges here") for key, id in named if id not in gathered
    ]
    if values.get("workers", 1) != 1:
        wrong.append((("workers",), "must be 1 in a member of a [cluster]: run several members instead"))
    wrong += [
        (("exchanges", index, "buckets"), "is for workers; members of a [cluster] have `buckets` of that table")
        for index, table in _tables(values, "exchanges")
        if "buckets" in table
    ]
    if missing := lacking("nats", "nats"):
        wrong.append((("cluster",), missing))
    return found, wrong


def _sources(values: dict[str, object]) -> tuple[tuple[SourceConfig, ...], list[Complaint]]:
    """The sources, each read by the table of its type, and what is wrong with them."""
    sources: list[SourceConfig] = []
    complaints: list[Complaint] = []
    seen: dict[str, int] = {}
    for index, table in _tables(values, "sources"):
        place: KeyPath = ("sources", index)
        try:
            source = _source_of(table)
            keys = source_table(source)
            found = configured_source(source, keys.model_validate(table))
        except ValidationError as error:
            complaints += [
                _complaint({**detail, "loc": (*place, *detail["loc"])}, keys)
                for detail in error.errors(include_url=False)
            ]
            continue
        except (ConfigError, ValueError) as error:
            complaints.append(((*place, "type"), str(error)))
            continue
        some = found.all()
        sources += some
        before = [at for each in some if (at := seen.setdefault(each.name, index)) != index]
        if before:
            said = f"is already the {source.unique} of sources[{before[0]}]: name all topics there"
            complaints.append(((*place, source.unique), said))
    return tuple(sources), complaints


def _crossed(values: dict[str, object]) -> Iterator[Complaint]:
    """Topics that would come two ways, and sources that are this very daemon."""
    gathered = {str(table.get("id")): index for index, table in _tables(values, "exchanges")}
    listen = {str(each) for _, table in _tables(values, "sinks") for each in _texts(table.get("listen"))}
    seen: dict[str, int] = {}
    for index, table in _tables(values, "sources"):
        if str(table.get("url")) in listen:
            yield ("sources", index, "url"), "is where this very daemon listens: its records would come back to it"
        for at, topic in enumerate(_texts(table.get("topics"))):
            exchange = topic.split(":", 2)[1] if topic.count(":") > 1 else "*"
            place: KeyPath = ("sources", index, "topics", at)
            if exchange in gathered:
                other = f"exchanges[{gathered[exchange]}]"
                yield place, f"{exchange} is gathered by this daemon itself ({other}): an exchange comes by one way"
            elif "*" not in exchange and (first := seen.setdefault(topic, index)) != index:
                yield place, f"{quote(topic)} comes already by sources[{first}]"


def _never_live(values: dict[str, object]) -> Iterator[Complaint]:
    """Required topics of exchanges that do not come; of what other daemons send that is not known beforehand."""
    gathered = [str(table.get("id")) for _, table in _tables(values, "exchanges")]
    for index, topic in enumerate(_texts(values.get("required"))):
        exchange = topic.split(":", 2)[1] if topic.count(":") > 1 else "*"
        if "*" not in exchange and exchange not in gathered and not values.get("sources"):
            yield ("required", index), f"{quote(exchange)} is not gathered here{choices(exchange, gathered)}"


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _source_of(table: Mapping[str, object]) -> Source:
    """The source of a table's type. Raises ValueError where there is none, ConfigError where it cannot be loaded."""
    source = _of_type(table, "source", find_source, source_names)
    if missing := lacking(source.name, source.module):
        raise ValueError(missing)
    return source


def _sink_of(table: Mapping[str, object]) -> Sink:
    """The sink of a table's type. Raises ValueError where there is none, ConfigError where it cannot be loaded."""
    sink = _of_type(table, "sink", find_sink, sink_names)
    if missing := lacking(sink.name, sink.module):
        raise ValueError(missing)
    return sink


def _of_type(
    table: Mapping[str, object], what: str, find: Callable[[str], T | None], names: Callable[[], list[str]]
) -> T:
    kind = table.get("type")
    if "type" not in table:
        raise ValueError(f"is missing{choices('', names())}")
    if not isinstance(kind, str):
        raise ValueError("must be text")  # noqa: TRY004 - it is told as any other mistake
    found = find(kind)
    if found is None:
        raise ValueError(f"{quote(kind)} is not a {what}{choices(kind, names())}")
    return found


def _complaint(detail: ErrorDetails, keys: type[BaseModel] | None = None) -> Complaint:
    """A complaint of pydantic's in our words, at the place where the file says it; `keys`: of the sink concerned."""
    path, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    path = path[:-1] if path[-1] == "[key]" else path
    if path in {("exchanges",), ("sinks",), ("sources",)}:
        return path, f"must name at least one: write [[{path[0]}]]"
    match kind:
        case "value_error":
            said = str(context["error"])
        case "extra_forbidden":
            beside = _keys_beside(detail["loc"]) if keys is None else _keys_of(keys)
            allowed = choices(str(path[-1]), beside)
            said = WRONG["dict_type"] if path in {(name,) for name in OWN_TABLES} else f"is not a key here{allowed}"
        case "literal_error":
            value = str(detail["input"])
            said = f"{quote(value)} is unknown{choices(value, QUOTED.findall(context['expected']))}"
        case "greater_than_equal":
            said = f"must be at least {context['ge']}"
        case "greater_than":
            said = f"must be more than {context['gt']}"
        case "less_than_equal":
            said = f"must be at most {context['le']}"
        case _:
            said = WRONG.get(kind, detail["msg"])
    return path, said


def _keys_beside(path: KeyPath) -> list[str]:
    """The keys of the table that holds this path of pydantic's."""
    match path:
        case ("exchanges", _, _):
            return list(ExchangeTable.model_fields)
        case _:
            return [*Document.model_fields, *OWN_TABLES]


def _keys_of(table: type[BaseModel]) -> list[str]:
    """The keys of a sink's or a source's table; one that is a table of its own has no type."""
    is_own = table.__name__ in {f"{name}Table" for name in OWN_TABLES}
    return [key for key in table.model_fields if not (is_own and key == "type")]


def _wrong_credentials(values: dict[str, object], known_keys: KnownKeys) -> Iterator[Complaint]:
    """The names of keys that are not those of the exchange, or that are missing."""
    for index, table in _tables(values, "exchanges"):
        id, given = table.get("id"), table.get("credentials")
        if isinstance(id, str) and isinstance(given, dict):
            for field, said in wrong_fields(known_keys(id), given):
                yield ("exchanges", index, "credentials", *([field] if field else [])), said


def _open_keys(whole: Whole, document: Document) -> Iterator[Complaint]:
    """A word about keys that stand in a file which everybody may read."""
    for index, table in enumerate(document.exchanges):
        part, _ = whole.origin(("exchanges", index))
        try:
            is_open = bool(part.path.stat().st_mode & stat.S_IROTH)
        except OSError:
            continue
        for field, place in table.credentials.items():
            if is_open and place.kind == "plain":
                said = "warning: everybody on this machine can read this file, and a key stands in it: `chmod o=` it"
                yield ("exchanges", index, "credentials", field), said


def _plain_ways(document: Document) -> Iterator[Complaint]:
    """A word about addresses at which others on the way could read the keys."""
    for index, table in enumerate(document.exchanges):
        for original, here in table.endpoints.items() if table.credentials else ():
            parts = urlsplit(here)
            if parts.scheme in {"http", "ws"} and not is_loopback(parts.hostname or ""):
                said = "warning: keys are shown there, and whoever is on the way can read them: it is not encrypted"
                yield ("exchanges", index, "endpoints", original), said


def _repeated(values: dict[str, object]) -> Iterator[Complaint]:
    """Exchanges and sinks that stand twice, also in a file that has other mistakes."""
    seen: dict[tuple[str, ...], int] = {}
    for index, table in _tables(values, "exchanges"):
        name = str(table.get("id"))
        if "id" in table and seen.setdefault((name,), index) != index:
            yield (("exchanges", index, "id"), f"{quote(name)} stands already at exchanges[{seen[(name,)]}]")
    seen = {}
    for index, table in _tables(values, "sinks"):
        listen = table.get("listen")
        for at, address in enumerate(listen if isinstance(listen, list) else ()):
            if ("listen", str(address)) in seen:
                yield ("sinks", index, "listen", at), f"{quote(str(address))} is listened at already"
            seen["listen", str(address)] = index
        try:
            unique = _sink_of(table).unique
        except (ConfigError, ValueError):
            continue
        value = table.get(unique or "")
        if unique is None or not isinstance(value, str):
            continue
        place = value if unique == "type" else _place(value)
        if place is None or (first := seen.setdefault((str(table["type"]), place), index)) == index:
            continue
        said = f"{value} stands" if unique == "type" else f"{quote(value)} is"
        other = f"sinks[{first}]"
        yield (
            ("sinks", index, unique),
            f"{said} already {f'at {other}' if unique == 'type' else f'the {unique} of {other}'}",
        )


def _same_names(values: dict[str, object]) -> Iterator[Complaint]:
    """Sinks that have one name: what is kept of them by their names would be mixed."""
    seen: dict[str, int] = {}
    for index, table in _tables(values, "sinks"):
        try:
            sink = _sink_of(table)
        except (ConfigError, ValueError):
            continue
        name = table.get("name", sink.name if sink.unique is None and sink.has_queue else None)
        if isinstance(name, str) and (first := seen.setdefault(name, index)) != index:
            said = f"{quote(name)} is the name of sinks[{first}]: write a `name` here that no other has"
            yield ("sinks", index, "name" if "name" in table else "type"), said


def _nested(values: dict[str, object]) -> Iterator[Complaint]:
    """Sinks that write below a directory of another of their type, whose files they would take for their own."""
    directories = _directories(values)
    for index, (sink, key, path) in directories.items():
        for other, (its_sink, _, outer) in directories.items():
            if sink is its_sink and outer in path.parents:
                yield (
                    ("sinks", index, key),
                    f"lies within the {key} of sinks[{other}]: give each a directory of its own",
                )


def _taken(values: dict[str, object]) -> Iterator[Complaint]:
    """Sinks that take the files of a directory in which these do not stay as they are, or one that is not a sink's."""
    directories, tables = _directories(values), dict(_tables(values, "sinks"))
    for index, (sink, key, path) in directories.items():
        if not sink.takes_files:
            continue
        place: KeyPath = ("sinks", index, key)
        for other, (its_sink, its_key, its_path) in directories.items():
            if its_sink.takes_files:
                continue
            if path == its_path:
                default = {field.name: field.default for field in structs.fields(its_sink.settings)}.get("merge")
                if tables[other].get("merge", default) is True:
                    said = f"the `merge` of sinks[{other}] makes new files of its old ones"
                    yield place, f"{said}, and records would be taken twice: write `merge = false` in sinks[{other}]"
            elif path in its_path.parents or its_path in path.parents:
                how = "lies above" if path in its_path.parents else "lies within"
                yield place, f"{how} the {its_key} of sinks[{other}]: write that very directory here"


def _directories(values: dict[str, object]) -> dict[int, tuple[Sink, str, Path]]:
    """Sinks that have a directory: each with the key that names it, and where that is."""
    directories: dict[int, tuple[Sink, str, Path]] = {}
    for index, table in _tables(values, "sinks"):
        try:
            sink = _sink_of(table)
        except (ConfigError, ValueError):
            continue
        key = sink.unique or ""
        value = table.get(key)
        place = _place(value) if isinstance(value, str) else None
        if place is not None and get_type_hints(sink.settings).get(key) is Path:
            directories[index] = sink, key, Path(place)
    return directories


def _spilling(values: dict[str, object]) -> Iterator[Complaint]:
    """Sinks that want what does not fit from the journal, and cannot have it."""
    has_journal = any(table.get("type") == "journal" for _, table in _tables(values, "sinks"))
    for index, table in _tables(values, "sinks"):
        if table.get("when_full") != "spill":
            continue
        place: KeyPath = ("sinks", index, "when_full")
        try:
            sink = _sink_of(table)
        except (ConfigError, ValueError):
            continue
        if not has_journal:
            yield place, '"spill" needs a journal, which keeps what does not fit: add [journal] with a path'
        if not sink.can_spill:
            yield place, f'"spill" is not for {sink.name}, as it takes records before it has written them'


def _place(path: str) -> str | None:
    """Where a path leads; None where it is none, which the rule of that one value says."""
    try:
        return str(Path(path).expanduser().resolve())
    except (RuntimeError, ValueError, OSError):
        return None


def _tables(values: dict[str, object], name: str) -> Iterator[tuple[int, dict[str, object]]]:
    tables = values.get(name)
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if isinstance(table, dict):
            yield index, table


def _exchange(table: ExchangeTable) -> ExchangeConfig:
    channels = [split_channel(name) for name in table.channels]
    return ExchangeConfig(
        id=table.id,
        channels=tuple(dict.fromkeys(name for name, _ in channels)),
        intervals=tuple(dict.fromkeys(interval for _, interval in channels if interval)),
        symbols=tuple(dict.fromkeys(table.symbols)),
        endpoints=dict(table.endpoints),
        redundancy=table.redundancy,
        lifetime=table.lifetime,
        verify=VERIFY[table.verify],
        audit=table.audit,
        relist=table.relist or None,
        max_instruments=table.max_instruments,
        max_topics=table.max_topics,
        on_demand=table.on_demand,
        linger=table.linger,
        on_start_error=table.on_start_error,
        route=DialOptions(table.transport, table.proxy, table.compression),
        credentials=dict(table.credentials),
        buckets=table.buckets,
    )


def _shown(path: KeyPath) -> str:
    """A path as the file would write it, without a password that an address holds."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            key = part if BARE_KEY.fullmatch(part) else quote(CREDENTIALS.sub("***@", part))
            shown += f".{key}" if shown else key
    return shown
