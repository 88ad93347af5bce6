"""The words between a hub and its workers: what the hub asks for, and what a worker tells beside records."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from aggregator.bus.demand import Unmet
from aggregator.bus.selection import Pattern
from aggregator.bus.view import Wanted
from aggregator.config.config import ExchangeConfig
from aggregator.daemon.marks import MarksStatus
from aggregator.daemon.process import ProcessStatus
from aggregator.daemon.status import ExchangeStatus
from aggregator.exchange import Budget
from aggregator.ingest.status import RestStatus
from aggregator.records import Channel
from aggregator.session.status import TopicStatus

# --- from the hub -----------------------------------------------------------------------------------------------------


class BeginWorker(Struct, frozen=True, tag=True):
    """The first word to a worker.

    epoch: of the hub, with what tells this life of the worker from others
    exchanges: those that it has
    capture: the directory for raw frames; null: they are not kept
    is_successor: whether it goes on for a process of this worker that has died
    """

    epoch: str
    exchanges: list[ExchangeConfig]
    state: str
    log_level: str
    log_format: str
    capture: str | None = None
    is_successor: bool = False


class GatherStatus(Struct, frozen=True, tag=True):
    """How its exchanges are; `topics` that fit the patterns (null: all) are told one by one, at most so many."""

    patterns: list[Pattern] | None = None
    is_troubled: bool = False
    most: int = 0


class AnswerLine(Struct, frozen=True, tag=True):
    """A line of the control socket is to be answered, as that would."""

    line: bytes


class AddExchange(Struct, frozen=True, tag=True):
    """An exchange is new."""

    config: ExchangeConfig


class ChangeExchange(Struct, frozen=True, tag=True):
    """An exchange has another configuration."""

    config: ExchangeConfig


class RemoveExchange(Struct, frozen=True, tag=True):
    """An exchange is gone."""

    id: str


class AwaitBegun(Struct, frozen=True, tag=True):
    """The answer comes once the first attempt of an exchange was a good one, where it must be."""

    id: str


class PauseExchange(Struct, frozen=True, tag=True):
    """An exchange is to be paused; `Add` has it go on."""

    id: str


class SayTopic(Struct, frozen=True, tag=True):
    """A topic is to be followed, or to be done without."""

    topic: str
    is_wanted: bool


class ReopenCaptures(Struct, frozen=True, tag=True):
    """Captures are to begin new files."""


class LogFrom(Struct, frozen=True, tag=True):
    """The level of the log is another."""

    level: str


class StandBy(Struct, frozen=True, tag=True):
    """An exchange that another worker has is to be gathered too, and nothing of it published yet.

    standing: lines of how its topics stand, and which gaps are open
    """

    config: ExchangeConfig
    standing: bytes


class LetGo(Struct, frozen=True, tag=True):
    """Nothing more of an exchange is to be published: the worker of that epoch goes on once this one has answered."""

    id: str
    epoch: str


class TakeOver(Struct, frozen=True, tag=True):
    """An exchange for which this worker has stood by is its own now."""

    id: str


Question = (
    GatherStatus
    | AnswerLine
    | AddExchange
    | ChangeExchange
    | RemoveExchange
    | AwaitBegun
    | PauseExchange
    | SayTopic
    | ReopenCaptures
    | LogFrom
    | StandBy
    | LetGo
    | TakeOver
)


class AskWorker(Struct, frozen=True, tag=True):
    """Something that is answered by one or more `Told` of the same number."""

    id: int
    question: Question


class AskWhole(Struct, frozen=True, tag=True):
    """The whole book of a market is asked for: it comes among the records."""

    exchange: str
    raw_symbol: str


class WantTopics(Struct, frozen=True, tag=True):
    """A subscriber of the feed, by its number, asks for these patterns now, and for no others."""

    who: int
    patterns: dict[str, Pattern]


class LeaveNow(Struct, frozen=True, tag=True):
    """The worker is to end in order."""


class HeardOfStream(Struct, frozen=True, tag=True):
    """Lines of an exchange as they were published, for whoever stands by."""

    exchange: str
    lines: bytes


class Granted(Struct, frozen=True, tag=True):
    """A turn that was asked for is there; `refused`: it is not, and is not to be asked for within `wait` seconds."""

    id: int
    refused: str | None = None
    wait: float = 0.0


class HostRests(Struct, frozen=True, tag=True):
    """A host is to be left alone until a moment (monotonic ns), as it has said; either side tells the other."""

    host: str
    until: int
    words: str


class ListingTurn(Struct, frozen=True, tag=True):
    """A listing is to be read from the exchange by this worker, or stands in a file already, where another one has."""

    id: int
    exchange: str
    is_yours: bool


FromHub = BeginWorker | AskWorker | AskWhole | WantTopics | LeaveNow | HeardOfStream | Granted | HostRests | ListingTurn


# --- from a worker ----------------------------------------------------------------------------------------------------


class WorkerUp(Struct, frozen=True, tag=True):
    """It has begun; `numbers` is the file of the last numbers, null: there is none."""

    numbers: str | None


class ExpectTopics(Struct, frozen=True, tag=True):
    """These topics are wanted too."""

    topics: list[Wanted]


class WorkerOver(Struct, frozen=True, tag=True):
    """All that it had to publish has come: it closes what it has used, and ends."""


class WorkerBeat(Struct, frozen=True, tag=True):
    """It lives, and all that it has published before this moment (ns) has come before this word."""

    ts: int
    cpu_s: float


class ToldPiece(Struct, frozen=True, tag=True):
    """A part of an answer; `error`: what was asked for cannot be done."""

    id: int
    piece: bytes = b""
    is_end: bool = True
    error: str | None = None


class NoBook(Struct, frozen=True, tag=True):
    """There is no whole book of a market now."""

    exchange: str
    raw_symbol: str


class UnmetWishes(Struct, frozen=True, tag=True):
    """A subscriber cannot have these for now.

    is_answer: to `WantTopics`, and there may be none; else it has changed
    """

    who: int
    unmet: list[Unmet]
    is_answer: bool = False


class StandsBy(Struct, frozen=True, tag=True):
    """So many topics of an exchange are not here yet as they are in the stream; 0: this worker could go on."""

    exchange: str
    lacking: int


class AskTurn(Struct, frozen=True, tag=True):
    """A call to a host is to be made, out of the budgets of a prefix of addresses: `Granted` answers."""

    id: int
    prefix: str
    budgets: tuple[Budget, ...]
    host: str
    weight: int
    need: int


class AskConnect(Struct, frozen=True, tag=True):
    """A connection to a host is to be made: `Granted` answers."""

    id: int
    host: str
    budget: Budget


class AskListing(Struct, frozen=True, tag=True):
    """The listing of an exchange is wanted, of which other workers have parts: `ListingTurn` answers."""

    id: int
    exchange: str


class ListingRead(Struct, frozen=True, tag=True):
    """The turn to read a listing is over; whether it stands in the file."""

    exchange: str
    is_there: bool


FromWorker = (
    WorkerUp
    | WorkerOver
    | ExpectTopics
    | WorkerBeat
    | ToldPiece
    | NoBook
    | UnmetWishes
    | StandsBy
    | AskTurn
    | AskConnect
    | HostRests
    | AskListing
    | ListingRead
)


class ToldLags(Struct, frozen=True):
    """How long records of a channel were on their way, as a histogram."""

    exchange: str
    channel: Channel
    counts: list[int]
    sum_s: float


class GatheredStatus(Struct, frozen=True):
    """The answer to `Gather`, as JSON."""

    process: ProcessStatus
    rest: RestStatus
    marks: MarksStatus | None
    exchanges: list[ExchangeStatus]
    left_out: int
    topics: list[TopicStatus]
    states: dict[str, int]
    lags: list[ToldLags] = []


encode: Callable[[FromHub | FromWorker], bytes] = msgspec.msgpack.Encoder().encode
from_hub: Callable[[bytes | memoryview], FromHub] = msgspec.msgpack.Decoder(FromHub).decode
from_worker: Callable[[bytes | memoryview], FromWorker] = msgspec.msgpack.Decoder(FromWorker).decode
gathered: Callable[[bytes], GatheredStatus] = msgspec.json.Decoder(GatheredStatus).decode
