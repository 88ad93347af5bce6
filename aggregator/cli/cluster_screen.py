"""The screen of `aggregator cluster top`, made with textual."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual.binding import BindingType

from aggregator.cli.cluster_rows import cluster_sheets, head, rates_of
from aggregator.cli.cluster_view import ClusterView, ClusterWatch, shards_of
from aggregator.cli.ctl import NoAnswer
from aggregator.cli.top_rows import RateHistory
from aggregator.cli.top_screen import Shown, Tables, numbered
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.shared import SharedConfig
from aggregator.cluster.store import Unanswered, open_store
from aggregator.config.config import Config
from aggregator.errors import AggregatorError, in_short

AGAIN_S = 2.0  # between two tries to reach the servers

InForce = Callable[[SharedConfig], Config]


class ClusterTop(Tables):
    """The tables of a cluster."""

    TITLE = "aggregator cluster top"
    NAMES = ("shards", "members")
    BINDINGS: ClassVar[list[BindingType]] = numbered(NAMES)

    def __init__(self, keys: ClusterKeys, in_force: InForce, every: float) -> None:
        """Look every so many seconds; `in_force` gives a member's configuration with what is shared."""
        super().__init__(every)
        self._keys = keys
        self._in_force = in_force
        self._known: tuple[int, Config] | None = None  # the configuration in force, and its revision
        self._rates = RateHistory()
        self._watch: ClusterWatch | None = None
        self._trouble = "the servers are being asked"

    async def on_mount(self) -> None:
        """Begin to follow the servers; textual calls that of `Tables` too."""
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        """Follow the servers over one connection, which is made anew when it is lost."""
        while True:
            try:
                store = await open_store(self._keys)
                try:
                    watch = ClusterWatch(store)
                    await watch.begin()
                    self._watch = watch
                    await self.look()
                    await watch.follow()
                finally:
                    self._watch = None
                    await store.close()
            except (OSError, AggregatorError, Unanswered) as error:
                self._trouble = f"{', '.join(self._keys.nats)}: {in_short(error)}"
            await asyncio.sleep(AGAIN_S)

    def view(self) -> ClusterView:
        """The cluster now. Raises NoAnswer."""
        if self._watch is None:
            raise NoAnswer(self._trouble)
        return self._watch.view()

    async def answer(self) -> Shown:
        """Tell of the cluster now. Raises NoAnswer."""
        view = self.view()
        if self._known is None or self._known[0] != view.shared.revision:
            self._known = view.shared.revision, await asyncio.to_thread(self._in_force, view.shared)
        shards = shards_of(self._known[1], view)
        rates = rates_of(view, shards)
        self._rates.note(rates)
        return Shown(head(view), cluster_sheets(view, shards, self._rates), sum(rates.values()))
