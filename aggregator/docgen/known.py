"""Every exchange of the catalogue, beside what its connector declares."""

from collections.abc import Iterable
from itertools import chain

from msgspec import Struct

from aggregator.catalog.catalog import CatalogEntry, load_catalog
from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.exchange import Exchange


class KnownExchange(Struct, frozen=True):
    """One id: its facts, and its connector's declaration where there is one."""

    entry: CatalogEntry
    exchange: Exchange | None


def load_known() -> tuple[list[KnownExchange], list[str]]:
    """Every id in order; and a complaint for each connector that cannot be loaded or that the catalogue lacks."""
    catalog = load_catalog()
    exchanges: dict[str, Exchange] = {}
    complaints: list[str] = []
    for id in connector_ids():
        if id not in catalog:
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
    return [KnownExchange(entry, exchanges.get(id)) for id, entry in catalog.items()], complaints


def ended(entry: CatalogEntry) -> str:
    """When an id ended and what took its place: `2022-01 → other`; empty for one that lives."""
    return " → ".join(chain(filter(None, [entry.closed]), [entry.successor] if entry.successor else [])) or ""


def live_first(known: Iterable[KnownExchange]) -> list[KnownExchange]:
    """The live ones, then the others, each in order of ids."""
    return sorted(known, key=lambda one: (one.entry.status != "live", one.entry.id))
