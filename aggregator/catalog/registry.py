"""Connectors by id: the one place that loads them.

They are the modules of `connectors`, and what other distributions name by the entry point of their group.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from aggregator.exchange import Exchange, Keys

GROUP = "aggregator.exchanges"  # entry points of this group are named by the id: `id = "module:EXCHANGE"`
NO_EXCHANGES = {"archive", "families", "simulated"}  # packages of connectors/ that are none


def load_exchange(id: str) -> Exchange | None:
    """The connector's declaration, an archived one's too, or None where there is no connector of that id."""
    if not id.isalnum() and not id.isidentifier():
        return None
    for module in (f"connectors.{id}", f"connectors.archive.{id}"):
        if importlib.util.find_spec(module) is not None:
            exchange = getattr(importlib.import_module(module), "EXCHANGE", None)
            break
    else:
        exchange = _installed()[id].load() if id in _installed() else None
    return exchange if isinstance(exchange, Exchange) else None


@cache
def _installed() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def known_channels(id: str) -> Sequence[str] | None:
    """The channels that a connector offers, or None where there is none that could ask for them."""
    exchange = load_exchange(id)
    return None if exchange is None or not exchange.feeds else exchange.channels


def known_keys(id: str) -> Keys | None:
    """The keys that a connector declares; None where it takes none, or there is no connector."""
    exchange = load_exchange(id)
    return None if exchange is None else exchange.keys


def simulated_ids() -> list[str]:
    """Every id that the sandbox can simulate and a connector can read, in order."""
    from connectors import simulated

    names = (module.name for module in pkgutil.iter_modules(simulated.__path__))
    return sorted(name for name in names if load_exchange(name) is not None)


def connector_ids() -> list[str]:
    """Every id that has a connector of this project, in order; without those that are only archived."""
    import connectors

    names = (module.name for module in pkgutil.iter_modules(connectors.__path__))
    return sorted(name for name in names if name not in NO_EXCHANGES)


def archived_ids() -> list[str]:
    """Every id of an exchange that is over, and of which captures can be read, in order."""
    from connectors import archive

    return sorted(module.name for module in pkgutil.iter_modules(archive.__path__))


def installed_ids() -> list[str]:
    """Every id whose connector another distribution brings, in order; where both have one, this project's is used."""
    return sorted(_installed().keys() - set(connector_ids()))


def every_exchange() -> Iterator[Exchange]:
    """The declaration of every connector: this project's in the order of their ids, then those of others."""
    for id in (*connector_ids(), *installed_ids()):
        exchange = load_exchange(id)
        if exchange is not None:
            yield exchange
