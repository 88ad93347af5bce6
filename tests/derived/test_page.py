"""The machine that docs/add-a-derived-channel.md shows is one that works."""

import re
from pathlib import Path
from typing import Any

from aggregator.derived.channel import Stamp
from aggregator.records import Bbo

PAGE = Path(__file__).resolve().parents[2] / "docs/add-a-derived-channel.md"


def test_the_example_of_the_page_works() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)  # noqa: S102 - it is ours
    start = names["MIDDLE"].read(("index_price", "middle"))
    assert names["MIDDLE"].read(("index_price",)) is None
    machine = start(Stamp("alpha", "A/B", "AB", "derived/index_price.middle"))
    assert machine.news() is None
    machine.take(Bbo(bid_price="0.10000000000000000000000000001", ask_price="0.3", ts_recv=5))
    found = machine.news()
    assert (found.price, found.ts_recv, found.source) == ("0.200000000000000000000000000005", 5, "derived")
    assert machine.news() is None
