"""A watch over what goes on while things go wrong: pauses at a reader, and what members say of themselves."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

from aggregator.cluster.report import MemberReport, read_report
from tests.cluster.nodes import Daemon

LOOK_S = 0.1
REPORTS = "$KV.cluster-leases.member.>"


async def _is_expected(_error: Exception) -> None:
    """Servers that are gone are the point."""


class Watching:
    """It looks on in a thread of its own, from `begin` to `end`.

    held: the most records that a member had waiting to be published
    lost: records that members have lost because no server took them in time
    """

    def __init__(self, reader: Daemon, servers: Sequence[str]) -> None:
        self.held = 0
        self.lost = 0
        self._reader = reader
        self._servers = list(servers)
        self._pauses: list[tuple[float, float]] = []  # when one ended, and how long it was
        self._reports: dict[str, MemberReport] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look()), daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(10)

    def longest(self, since: float = 0.0) -> float:
        """The longest time without a record at the reader, of those that ended after a moment."""
        return max((pause for at, pause in list(self._pauses) if at > since), default=0.0)

    def life(self, name: str) -> str:
        """The life of a member of which it has told last."""
        report = self._reports.get(name)
        return "" if report is None else report.member.life

    def is_ready(self, name: str, shard: str, since_ns: int = 0) -> bool:
        """Tell whether a member has said last, and after a moment, that it could go on with a shard at once."""
        report = self._reports.get(name)
        return report is not None and report.ts > since_ns and shard in report.member.ready

    async def _take(self, message: Any) -> None:
        report = read_report(message.data, message.subject.rpartition(".")[2])
        if report is None:
            return
        before = self._reports.get(report.member.name)
        self._reports[report.member.name] = report
        self.held = max([self.held, *(share.held for share in report.shares if share.is_owned)])
        overflowed = sum(share.overflowed for share in report.shares)
        is_same = before is not None and before.member.life == report.member.life
        known = sum(share.overflowed for share in before.shares) if is_same and before is not None else 0
        self.lost += max(0, overflowed - known)

    async def _look(self) -> None:
        import nats

        client = await nats.connect(
            self._servers, max_reconnect_attempts=-1, reconnect_time_wait=0.5, error_cb=_is_expected
        )
        await client.subscribe(REPORTS, cb=self._take)
        size, at = 0, time.monotonic()
        while not self._is_over.is_set():
            now, size_now = time.monotonic(), sum(path.stat().st_size for path in self._reader.outputs)
            if size_now != size:
                if size:
                    self._pauses.append((now, now - at))
                size, at = size_now, now
            await asyncio.sleep(LOOK_S)
        await client.close()
