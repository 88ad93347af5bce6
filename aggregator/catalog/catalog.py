"""The catalogue of all exchanges, with and without a connector, from the project's own data files."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal

from msgspec import Struct, json

Status = Literal["live", "renamed", "duplicate-api", "delisted", "suspended", "closed"]
Transport = Literal["ws", "ws-auth", "rest-poll"]


class OldFormat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A format of which captures are read, and that is not spoken any more.

    channels: what is read of it
    until: from when on it was not spoken, as exactly as it is known; null: it is not known
    """

    channels: tuple[str, ...]
    until: str | None = None


class CatalogEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange id.

    `status` is that of the id, `operating` that of the venue: a venue may trade on under a successor's id, or after
    the lists dropped it (`delisted`). `closed` is the date of closing, suspending, renaming or delisting, as exactly as
    it is known: `2023-12-04`, `2020-07`, `2021`, or a range `2025-10..2026-03`.
    """

    id: str  # in ccxt's spelling
    name: str
    former_names: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()  # ISO 3166 codes, and EU
    version: str | None = None  # the API's, in the exchange's spelling
    home: str
    docs: tuple[str, ...]
    certified: bool = False  # ccxt has certified it
    status: Status
    closed: str | None = None
    reason: str | None = None
    note: str | None = None
    successor: str | None = None  # an id; not always one of this catalogue
    operating: Literal["yes", "no", "suspended", "unknown"]
    transport: Transport | None = None  # how market data is had, of those that operate
    keys: Literal["all", "some"] | None = None  # how much of it our connector has only with keys of an account
    family: str | None = None  # the protocol's name
    archives: tuple[OldFormat, ...] = ()  # older formats of which our connector reads captures
    read_as: str | None = None  # the id whose connector reads captures of this one
    zh_name: str | None = None


class Country(Struct, frozen=True, forbid_unknown_fields=True):
    """A country's English and Chinese name, and what else it is called."""

    en: str
    zh: str
    also: tuple[str, ...] = ()


@cache
def load_catalog() -> Mapping[str, CatalogEntry]:
    """Every exchange by id, in the order of ids; read-only."""
    entries = json.decode(_resource("exchanges.json"), type=list[CatalogEntry])
    return MappingProxyType({entry.id: entry for entry in entries})


@cache
def load_countries() -> Mapping[str, Country]:
    """Every country of the catalogue by code; read-only."""
    return MappingProxyType(json.decode(_resource("countries.json"), type=dict[str, Country]))


@cache
def load_aliases() -> Mapping[str, Mapping[str, str]]:
    """Unified asset by the exchange's asset, by exchange id; `*` holds those of all. One look-up, not a chain."""
    aliases = json.decode(_resource("aliases.json"), type=dict[str, dict[str, str]])
    return MappingProxyType({exchange: MappingProxyType(assets) for exchange, assets in aliases.items()})


@cache
def aliases_of(exchange: str) -> Mapping[str, str]:
    """The aliases in force on one exchange: those of all, overridden by its own."""
    aliases = load_aliases()
    return MappingProxyType({**aliases["*"], **aliases.get(exchange, {})})


def country_code(text: str) -> str | None:
    """The code of a country given by code or by name, in any case; None where it is not in the catalogue."""
    wanted = text.strip().casefold()
    for code, country in load_countries().items():
        if wanted in {name.casefold() for name in (code, country.en, country.zh, *country.also)}:
            return code
    return None


@cache
def ids_by_name() -> Mapping[str, str]:
    """Ids by every name in lower case; an id beats a name, and a name a former one."""
    entries = load_catalog().values()
    former = {name.casefold(): entry.id for entry in entries for name in entry.former_names}
    names = {name.casefold(): entry.id for entry in entries for name in (entry.name, entry.zh_name) if name}
    return MappingProxyType(former | names | {entry.id: entry.id for entry in entries})


def _resource(name: str) -> bytes:
    return (resources.files("aggregator") / "data" / name).read_bytes()
