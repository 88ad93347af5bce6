"""Keys, tokens and certificates are looked for where a configuration says that they are."""

from aggregator.catalog.registry import load_exchange
from aggregator.config.config import Config, ExchangeConfig
from aggregator.errors import ConfigError
from aggregator.ingest.credentials import lacking, read_keys


def looked_at(config: Config) -> tuple[list[str], list[str]]:
    """Look for all that a configuration names: what cannot be had, and warnings. Neither says anything of a key."""
    troubles: list[str] = []
    warnings: list[str] = []
    for wanted in config.exchanges:
        try:
            warnings += _warnings(wanted)
        except ConfigError as error:
            troubles.append(str(error))
    for source in config.sources:
        wrong = None if source.source.check is None else source.source.check(source.settings)
        if wrong is not None:
            troubles.append(f"source {source.name}: {wrong}")
    return troubles, warnings


def _warnings(wanted: ExchangeConfig) -> list[str]:
    """A word about keys that are not there, or that others can read. Raises ConfigError where one cannot be had."""
    exchange = load_exchange(wanted.id)
    if exchange is None or exchange.keys is None:
        return []
    if not wanted.credentials:
        said = lacking(exchange, wanted.channels)
        return [] if said is None else [said]
    return read_keys(exchange.id, exchange.keys, wanted.credentials)[1]
