"""Every exchange of the catalogue, beside what its connector declares."""

from collections.abc import Iterable
from itertools import chain

from msgspec import Struct

from aggregator.catalog.catalog import CatalogEntry, OldFormat, load_catalog
from aggregator.catalog.registry import archived_ids, connector_ids, installed_ids, load_exchange
from aggregator.exchange import Archive, Exchange


class KnownExchange(Struct, frozen=True):
    """One id: its facts, its connector's declaration where there is one, and the formats of which captures are read."""

    entry: CatalogEntry
    exchange: Exchange | None
    archives: tuple[Archive, ...] = ()


def load_known(*, everything: bool = False) -> tuple[list[KnownExchange], list[str]]:
    """Every id of the catalogue, and a complaint for each connector that cannot be loaded or that the catalogue lacks.

    With `everything` the connectors of other distributions count too, and what the catalogue lacks comes last.
    """
    catalog = load_catalog()
    exchanges: dict[str, Exchange] = {}
    complaints: list[str] = []
    archived = archived_ids()
    for id in (*connector_ids(), *archived, *(installed_ids() if everything else ())):
        if id not in catalog and not everything:
            complaints.append(f"the connector {id!r} is not in the catalogue")
            continue
        try:
            exchange = load_exchange(id)
        except Exception as error:  # noqa: BLE001 - one broken connector hides no other
            complaints.append(f"the connector {id!r} cannot be loaded: {type(error).__name__}: {error}")
            continue
        if exchange is None:
            complaints.append(f"the connector {id!r} declares no EXCHANGE")
        else:
            exchanges[id] = exchange
    entries = {**catalog, **{id: other(id) for id in sorted(exchanges.keys() - catalog.keys())}}
    running = {id: exchange for id, exchange in exchanges.items() if id not in archived}
    archives = {id: exchange.archives for id, exchange in exchanges.items()}
    return [KnownExchange(entry, running.get(id), archives.get(id, ())) for id, entry in entries.items()], complaints


def old_formats(exchange: Exchange) -> tuple[OldFormat, ...]:
    """The formats of before that a connector reads, as the catalogue has them."""
    archived = (OldFormat(channels=old.channels, until=old.until) for old in exchange.archives)
    return *archived, *(OldFormat(channels=old.channels, until=old.until) for old in exchange.older)


def captures(entry: CatalogEntry) -> str:
    """The channels that are read in captures of older formats, and until when these were spoken."""
    read = (
        f"{', '.join(old.channels)}{f' until {old.until}' if old.until else ', of an older format'}"
        for old in entry.archives
    )
    if entry.read_as is not None:
        return f"as those of `{entry.read_as}`"
    return "; ".join(read) or ("none were found" if has_no_captures(entry) else "")


def has_no_captures(entry: CatalogEntry) -> bool:
    """Tell whether an exchange is over, and neither its own messages nor those of a successor could be found."""
    return entry.status in {"closed", "suspended", "delisted"} and entry.transport is None and not entry.archives


def ended(entry: CatalogEntry) -> str:
    """When an id ended and what took its place: `2022-01 → other`; empty for one that lives."""
    return " → ".join(chain(filter(None, [entry.closed]), [entry.successor] if entry.successor else [])) or ""


def live_first(known: Iterable[KnownExchange]) -> list[KnownExchange]:
    """The live ones, then the others, each in order of ids."""
    return sorted(known, key=lambda one: (one.entry.status != "live", one.entry.id))


def other_ids() -> list[str]:
    """Every id that the catalogue lacks and a connector has, in order."""
    return sorted({*connector_ids(), *installed_ids()} - load_catalog().keys())


def other(id: str) -> CatalogEntry:
    """The entry of an exchange outside the catalogue, of which nothing is known but that it has a connector."""
    return CatalogEntry(id=id, name=id, home="", docs=(), status="live", operating="unknown")
