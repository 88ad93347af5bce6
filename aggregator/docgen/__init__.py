"""The pages of the documentation that are made from the code, so that they cannot drift from it."""

from collections.abc import Iterable
from pathlib import Path

from click import Group

COMMAND = "aggregator docs"


def make_pages(group: Group, names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Every page's text by file name, and what must be mended in the code before the pages can be trusted."""
    from aggregator.docgen.by_country import country_page
    from aggregator.docgen.commands import commands_page
    from aggregator.docgen.configuration import configuration_page, undocumented
    from aggregator.docgen.exchanges import exchanges_page
    from aggregator.docgen.known import load_known
    from aggregator.docgen.limits import limits_page, unlisted
    from aggregator.docgen.records import records_page, undescribed
    from aggregator.docgen.schema import asyncapi_page, schema_page
    from aggregator.docgen.states import states_page
    from aggregator.docgen.status import status_page
    from aggregator.docgen.status import undescribed as unexplained
    from aggregator.docgen.typescript import types_page

    known, unloaded = load_known()
    commands, absent = commands_page(group, names)
    pages = {
        "records.md": records_page(),
        "records.d.ts": types_page(),
        "schema.json": schema_page(),
        "asyncapi.json": asyncapi_page(),
        "exchanges.md": exchanges_page(known),
        "exchanges-by-country.md": country_page(known, "en"),
        "exchanges-by-country.zh.md": country_page(known, "zh"),
        "cli.md": commands,
        "limits.md": limits_page(),
        "topic-states.md": states_page(),
        "status.md": status_page(),
        "configuration.md": configuration_page(),
    }
    return pages, [*undescribed(), *unexplained(), *unloaded, *absent, *unlisted(), *undocumented()]


def stale(pages: dict[str, str], directory: Path) -> list[Path]:
    """The pages that are not in `directory`, or not as they should be. Raises OSError where one cannot be read."""
    return [directory / name for name, text in pages.items() if _read(directory / name) != text.encode()]


def write(pages: dict[str, str], directory: Path) -> list[Path]:
    """Write the pages that are stale, and name them. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    written = stale(pages, directory)
    for path in written:
        path.write_bytes(pages[path.name].encode())
    return written


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
