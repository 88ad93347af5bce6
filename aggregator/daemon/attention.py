"""Attention: what the daemon notices of its exchanges while it runs, for whoever asks later.

It counts what the stream tells (`tally.py`), and has one frame a second of each connection compared with what the
exchange has always sent (`ingest/drift.py`), which is kept for the next start.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from aggregator.bus.bus import Bus
from aggregator.daemon.tally import StreamTally
from aggregator.ingest import state
from aggregator.ingest.drift import Drift, DriftFinding, Normal
from aggregator.ingest.listing import letters
from aggregator.ingest.network import Network
from aggregator.ingest.overhearing import Ear
from aggregator.records import Instrument
from aggregator.sinks.worker import Worker

LOOK_S = 1.0  # between two looks at a connection
KEEP_EVERY = 300  # looks, after which what is normal is kept
KEEP_S = 0.5  # keeping it is waited for so long

log = logging.getLogger("aggregator.daemon")
decode = msgspec.json.Decoder(Normal).decode
encode = msgspec.json.Encoder(order="deterministic").encode


class DriftStatus(Struct, frozen=True, kw_only=True):
    """Differences from what an exchange has always sent.

    kinds: of frames that are known
    counts: how many differences were found since the start, by `what` they are
    findings: the first hundred of them
    """

    kinds: int
    counts: dict[str, int]
    findings: list[DriftFinding]


class Attention:
    """Whatever is noticed of all exchanges."""

    def __init__(self, bus: Bus, directory: Path) -> None:
        """Begin; `directory` is where that is kept which is normal of an exchange."""
        self.tally = StreamTally()
        self.ears: dict[str, Ear] = {}
        self._bus = bus
        self._directory = directory
        self._said: dict[str, int] = {}  # by exchange, how many findings the log has
        self._names: dict[str, str] = {}  # by exchange, the name of its file
        bus.watch(self.tally.take)

    async def at(self, id: str, network: Network, keeper: Worker, name: str | None = None) -> Network:
        """A network of an exchange to which attention is paid; `name` is that of the part that is gathered here."""
        self._names[id] = name or id
        drift = Drift(await keeper.do(partial(self._known, id)))
        ear = self.ears[id] = Ear(network, self._bus, drift, self.tally.measure)
        return ear.network()

    def know(self, id: str, instruments: Iterable[Instrument]) -> None:
        """Learn which words of frames are names of markets."""
        if id in self.ears:
            names = {letters(each.raw_symbol).upper() for each in instruments if each.raw_symbol}
            self.ears[id].drift.is_market = names.__contains__

    def status(self, id: str) -> DriftStatus | None:
        """Tell what was found of an exchange; null: it is not listened to yet."""
        if id not in self.ears:
            return None
        drift = self.ears[id].drift
        counts = {str(what): count for what, count in drift.counts.items()}
        return DriftStatus(kinds=len(drift.normal.kinds), counts=counts, findings=list(drift.findings.values()))

    async def watch(self, keeper: Worker) -> None:
        """Pay attention until cancelled."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_S)
            looks += 1
            for id, ear in list(self.ears.items()):
                ear.prick_up()
                self._tell(id, list(ear.drift.findings.values())[self._said.get(id, 0) :])
            if looks % KEEP_EVERY == 0:
                await self.keep(keeper)

    async def keep(self, keeper: Worker) -> None:
        """Keep what is normal for the next start; a disk that does not answer is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_S):
                for id in list(self.ears):
                    await self._keep_one(id, keeper)

    async def _keep_one(self, id: str, keeper: Worker) -> None:
        ear = self.ears.get(id)
        if ear is not None and ear.drift.normal.kinds:
            await keeper.do(partial(self._write, id, encode(ear.drift.normal)))

    async def forget(self, id: str, keeper: Worker) -> None:
        """Pay no attention to an exchange any more, and keep what is normal of it, likewise."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_S):
                await self._keep_one(id, keeper)
        self.ears.pop(id, None)
        self._said.pop(id, None)

    def _tell(self, id: str, new: list[DriftFinding]) -> None:
        """Log each finding once."""
        self._said[id] = self._said.get(id, 0) + len(new)
        for found in new:
            log.warning("%s: %s; the first: %.300s", id, found.words, found.example)

    def _known(self, id: str) -> Normal | None:
        path = self._path(id)
        try:
            blob = state.read(path)
            return None if blob is None or state.is_newer(path, blob) else decode(blob)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s: what %s usually sends is learnt anew: %s", path, id, error)
            return None

    def _write(self, id: str, blob: bytes) -> None:
        try:
            state.write(self._path(id), [blob])
        except OSError as error:
            log.warning("%s: what it usually sends cannot be kept for the next start: %s", id, error)

    def _path(self, id: str) -> Path:
        return self._directory / f"{self._names.get(id, id)}.json"
