"""docs/limits.md: what is bounded at each border, by how much, and what happens beyond; the code's own values."""

import ast
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from msgspec import Struct, structs

from aggregator.docgen.markdown import code, notice, table

ROOT = Path(__file__).resolve().parents[1]
BOUNDS = ("MOST_", "LONGEST_", "LARGEST_", "DEEPEST")  # how the names of bounds begin
YEAR_S = 365.2425 * 86400
ALONE = {"MOST", "LONGEST", "LARGEST"}  # or are


class Bound(Struct, frozen=True):
    """One bound.

    name: of the constant, behind `aggregator.`; with a dot more a field of a class, whose default it is
    unit: bytes, seconds, ns, or what is counted
    beyond: what happens there
    """

    name: str
    unit: str
    what: str
    beyond: str


BORDERS: dict[str, tuple[Bound, ...]] = {
    "Frames of an exchange": (
        Bound(
            "ingest.lines.LARGEST_FRAME_BYTES",
            "bytes",
            "a message, whole; an answer that is no listing",
            "the line is hung up, and made again",
        ),
        Bound("wire.frames.MOST_VALUES", "values", "in either, above 1 MiB (its commas)", "likewise"),
        Bound("wire.frames.MOST_ROWS", "rows", "in it: lists and objects", "likewise"),
        Bound("ingest.lines.VALUES_AT_ONCE", "values", "in messages above 1 MiB, one behind the other", "likewise"),
        Bound("ingest.lines.VALUES_A_SECOND", "values", "in such messages later on, each second", "likewise"),
        Bound(
            "ingest.connection.MOST_LOOKED_AT",
            "topics",
            "that time alone makes due, looked at in one turn",
            "others have their turn first",
        ),
        Bound("session.session.MOST_EVENTS", "records", "of one frame", "a `gap`, and the line is hung up"),
        Bound("ingest.lines.MOST_FRAGMENTS", "fragments", "of one message", "likewise"),
        Bound(
            "wire.inflating.LARGEST_INFLATED_BYTES",
            "bytes",
            "a compressed frame, inflated",
            "a `gap`, and the line is hung up",
        ),
        Bound("ingest.lines.PIECE_BYTES", "bytes", "of a read, handed on together", "the rest follows at once"),
        Bound("ingest.lines.MOST_FRAMES", "frames", "of a read, handed on together", "likewise"),
        Bound(
            "ingest.lines.MOST_AT_ONCE", "frames", "of a read, handed on in one turn", "others have their turn first"
        ),
        Bound(
            "ingest.lines.PLAIN_BUFFER_BYTES",
            "bytes",
            "that the system holds of a line without TLS",
            "the sender waits",
        ),
        Bound(
            "ingest.websockets_line.SLICE_BYTES",
            "bytes",
            "of a compressed read, inflated in one turn",
            "others have their turn",
        ),
        Bound(
            "ingest.lines.MOST_UNSENT_BYTES",
            "bytes",
            "that an exchange leaves unread",
            "the line is hung up, and made again",
        ),
        Bound(
            "session.unreadable.MOST_A_SECOND", "frames", "that cannot be read, in a second", "hung up; backoff doubles"
        ),
        Bound(
            "session.unreadable.LONGEST_RUN_NS",
            "ns",
            "that such frames in a row are not told",
            "a `gap`, and another one",
        ),
        Bound("session.unreadable.KEPT", "frames", "that cannot be read, kept for a look", "the oldest go"),
        Bound("session.unreadable.KEPT_BYTES", "bytes", "of each of these", "the rest is cut off"),
        Bound("ingest.lines.DIAL_TIMEOUT_S", "seconds", "a connection and its handshake", "tried again after a pause"),
        Bound("ingest.host_names.LOOKUP_S", "seconds", "that a host's name may take to be told", "likewise"),
        Bound("ingest.host_names.MOST_LOOKUPS", "names", "looked up at once, each by a thread", "likewise"),
        Bound("ingest.lines.IDLE_PING_S", "seconds", "of silence, and of waiting for a pong", "the line is dead"),
        Bound(
            "ingest.shard.LONGEST_BACKOFF_S",
            "seconds",
            "the pause before a reconnect, which doubles",
            "doubles no further",
        ),
        Bound(
            "ingest.shard.LONGEST_PAUSE_S",
            "seconds",
            "the pause before a replacement is tried again",
            "doubles no further",
        ),
    ),
    "What frames bring into being": (
        Bound(
            "session.session.MOST_TOPICS",
            "topics",
            "of a connection, made by frames alone",
            "further ones are not taken",
        ),
        Bound(
            "daemon.on_demand.MOST_OF_A_PATTERN", "topics", "that one pattern has brought on demand", "none is brought"
        ),
        Bound(
            "daemon.on_demand.MOST_OF_A_SUBSCRIBER", "topics", "that one subscriber has brought", "told, and not had"
        ),
        Bound(
            "daemon.on_demand.MOST_PATTERNS", "patterns", "with `*` in the symbol that have topics brought", "likewise"
        ),
        Bound("daemon.on_demand.MOST_HINTS", "names", "of a request that get one that was meant", "no hint"),
        Bound("daemon.names.MOST_NEAR", "names", "that are told as meant by one that is none", "the likeliest"),
        Bound("daemon.names.MOST_ALIKE", "names", "that begin alike, among which these are found", "not looked at"),
        Bound("ingest.runner.MOST_RESTED", "topics", "not wanted any more, whose last number is kept", "the oldest go"),
        Bound("session.polled.MOST_RESTED", "topics", "likewise, of a poll, whose last answer is kept", "likewise"),
        Bound("session.topics.MOST_WORDS", "words", "that mean nothing to us, told apart", "counted together"),
        Bound(
            "session.topics.LONGEST_WORD",
            "characters",
            "of such a word, or of a refusal's reason",
            "the rest is cut off",
        ),
        Bound("bus.bus.LARGEST_BITS", "bits", "of an integer in a record", "the field is null"),
        Bound("wire.numbers.LONGEST_NUMBER", "digits", "that an expanded exponent gives", "the frame is lost: a `gap`"),
        Bound("refusals.LONGEST_REASON", "characters", "of a reason, searched for a topic", "the rest is not read"),
        Bound("wire.times.LONGEST_TIME", "digits", "of a time", "likewise"),
        Bound(
            "session.order_book.BUFFER",
            "deltas",
            "held back while a whole book is on its way",
            "the oldest go, the book covers them",
        ),
        Bound(
            "session.order_book.ANEW_NS",
            "ns",
            "in which a book's changes have numbers of the past alone",
            "the exchange counts anew: a `gap`",
        ),
        Bound(
            "session.orders.MOST_ORDERS",
            "orders",
            "of a book that is told order by order",
            "the book is in doubt: a `gap`",
        ),
        Bound("session.orders.LONGEST_SIZE", "digits", "of an order's size", "likewise"),
        Bound(
            "session.checksum.MOST_WRONG",
            "books",
            "in a row that contradict their checksum",
            "checksums are not believed",
        ),
        Bound(
            "session.trades.HOLES", "ranges", "of missing trades of a topic, remembered", "the oldest are not asked for"
        ),
        Bound("session.trades.LATE_NS", "ns", "that trades out of order are waited for", "their gap closes"),
        Bound(
            "session.arbiter.MOST_HOLES",
            "ranges",
            "of numbers of a topic that no connection has brought yet, waited for",
            "the oldest are told as missing",
        ),
        Bound(
            "session.arbiter.MOST_LEFT",
            "topics",
            "no longer wanted, whose latest trades are known yet, and so many trades of each",
            "the oldest are forgotten",
        ),
        Bound(
            "session.arbiter.REMEMBERED",
            "trades",
            "of a topic, to know one that comes twice",
            "the oldest are forgotten",
        ),
        Bound(
            "session.rhythm.CEILING_NS", "ns", "of silence, however slow a topic's rhythm", "the topic is asked about"
        ),
        Bound("session.rhythm.LONGEST", "times", "the longest interval of late: a silence", "the topic is asked about"),
        Bound("session.summaries.LONGEST_NS", "ns", "a delay that a summary counts", "it is left out"),
    ),
    "Sinks that speak to servers": (
        Bound("feed.arrow.LONGEST_REQUEST_BYTES", "bytes", "the line of a client of `arrow`", "an error, and closed"),
        Bound("feed.arrow.MOST_PATTERNS", "topics", "of such a client", "likewise"),
        Bound("feed.arrow.ArrowSettings.max_clients", "clients", "of `arrow` (`max_clients`)", "an error, and closed"),
        Bound(
            "feed.arrow.ArrowSettings.client_bytes", "bytes", "that wait for one of them", "it is cut off, and counted"
        ),
        Bound("sinks.brokers.amqp.LARGEST_BYTES", "bytes", "a message of RabbitMQ", "a batch is several"),
        Bound("sinks.brokers.amqp.LONGEST_KEY", "bytes", "a routing key of RabbitMQ", "the record is a dead letter"),
        Bound("sinks.brokers.mqtt.LONGEST_TOPIC", "bytes", "a topic of MQTT", "the record is a dead letter"),
        Bound(
            "sinks.brokers.mqtt.MOST_UNANSWERED",
            "messages",
            "of MQTT that wait for an acknowledgement",
            "the next waits until one has come",
        ),
        Bound(
            "sinks.databases.rows.MOST_REASONS",
            "reasons",
            "beside the records of a batch that a database refuses",
            "the others are counted",
        ),
        Bound(
            "sinks.databases.influx.LARGEST_ANSWER_BYTES", "bytes", "of an answer of InfluxDB", "the rest is not read"
        ),
        Bound("sinks.databases.questdb.REQUEST_S", "seconds", "a request to QuestDB", "it is given again"),
        Bound(
            "sinks.databases.clickhouse.TOKENS",
            "inserts",
            "that a table of ClickHouse remembers, to know one that is repeated",
            "`FINAL` passes over what is there twice",
        ),
        Bound("sinks.brokers.redis.LARGEST_BYTES", "bytes", "an entry or a message of Redis", "a batch is several"),
        Bound(
            "sinks.http.LARGEST_ANSWER_BYTES",
            "bytes",
            "of an answer of a webhook",
            "the rest is not read, and it counts",
        ),
        Bound("sinks.http.LONGEST_PAUSE_S", "seconds", "of a pause that a webhook asks for", "it is asked again then"),
        Bound("sinks.naming.MOST_PLACES", "places", "of topics at a target, remembered", "they are named anew"),
        Bound(
            "sinks.brokers.nats.MOST_PENDING",
            "messages",
            "that wait for an answer of the server",
            "the next waits until one has come",
        ),
    ),
    "Answers by REST, and listings": (
        Bound(
            "ingest.weight.LARGEST_BODY_BYTES",
            "bytes",
            "an answer, or all of a listing together",
            "the call has failed",
        ),
        Bound("ingest.weight.LARGEST_DECODED_BYTES", "bytes", "it, and 64 for each element of its lists", "likewise"),
        Bound("ingest.network.UNPACKED_BYTES", "bytes", "of an answer, inflated in one turn", "others have their turn"),
        Bound("ingest.network.FETCH_TIMEOUT_S", "seconds", "a call", "likewise"),
        Bound("ingest.network.MOST_REDIRECTS", "redirects", "followed, to the same host and scheme alone", "likewise"),
        Bound("ingest.network.MOST_REST_CONNECTIONS", "connections", "for calls to an exchange", "calls wait"),
        Bound(
            "ingest.network.REST_CONNECTIONS", "connections", "likewise, where connections are limited", "calls wait"
        ),
        Bound(
            "ingest.poller.MOST_ASKED_AT_ONCE",
            "calls",
            "of one poll that wait for an answer together",
            "the others wait",
        ),
        Bound(
            "ingest.rest.LONGEST_WAIT_S", "seconds", "that a call waits for a host that wants rest", "it fails at once"
        ),
        Bound("ingest.rest.LONGEST_PAUSE_S", "seconds", "a rest that we choose, which doubles", "doubles no further"),
        Bound("ingest.signing.LONGEST_PAUSE_S", "seconds", "until keys that were refused are shown again", "likewise"),
        Bound("ingest.lines.LONGEST_REST_S", "seconds", "a rest that an exchange names", "asked again after that"),
        Bound("session.fetches.BACKFILL_NS", "ns", "an answer to missing trades", "their gap closes without them"),
        Bound("ingest.bounds.MOST_INSTRUMENTS", "rows", "of a listing (`max_instruments`)", "left out, one warning"),
        Bound("ingest.bounds.MOST_TOPICS", "topics", "of an exchange (`max_topics`)", "markets left out, one warning"),
        Bound("ingest.listing.MOST_PAGES", "pages", "of one request of a listing", "the part has failed"),
        Bound(
            "ingest.listing.MOST_FAILED", "failures", "in a row, of what follows from it", "its rest is not asked for"
        ),
        Bound("ingest.listing.LONGEST_NAME", "characters", "of an instrument's name", "that row is skipped and named"),
        Bound("ingest.listing.MOST_UNREADABLE", "rows", "that cannot be read, named one by one", "counted together"),
        Bound("daemon.relisting.MOST_WARNINGS", "lines", "in the log of one listing", "left out"),
        Bound(
            "daemon.running_exchanges.LONGEST_RETRY_S",
            "seconds",
            "the pause before an exchange is begun again",
            "doubles no further",
        ),
    ),
    "The journal": (
        Bound(
            "sinks.journal.journal.MOST_HELD", "records", "that wait to be written", "missing there, told by a `gap`"
        ),
        Bound(
            "sinks.journal.writer.MOST_LOST",
            "holes",
            "that are remembered until they are read",
            "the disk tells the rest",
        ),
        Bound("sinks.journal.reader.MOST_READABLE", "files", "that are open to be read", "closed and opened anew"),
        Bound(
            "sinks.journal.reader.MOST_WANTED", "selections", "of which it is known where they are", "looked for anew"
        ),
        Bound("bus.history.LONGEST_CURSOR", "characters", "of a cursor", "it is none"),
    ),
    "Uploads to S3": (
        Bound("sinks.s3.WHOLE_BYTES", "bytes", "a file that is uploaded in one part", "parts of a quarter of it"),
        Bound("sinks.s3.AT_ONCE", "files", "uploaded at once", "the others wait"),
        Bound("sinks.s3.IDLE_TIMEOUT_S", "seconds", "of silence in a request", "tried again after a pause"),
        Bound("sinks.s3.LONGEST_BACKOFF_S", "seconds", "the pause after a failure, which doubles", "no further"),
    ),
    "Sources": (
        Bound(
            "sources.nats.MOST_WAITING_BYTES",
            "bytes",
            "of messages of NATS that wait to be read",
            "what is published beyond is lost: a `gap`",
        ),
    ),
    "A member of a cluster": (
        Bound(
            "sinks.brokers.nats_client.MOST_BUCKETS",
            "buckets",
            "into which the symbols of an exchange are divided",
            "a configuration with more is refused",
        ),
        Bound(
            "cluster.buckets.MOST_REMEMBERED",
            "symbols",
            "whose bucket is known",
            "that of others is computed anew each time",
        ),
        Bound("cluster.writer.MOST_RECORDS", "records", "in a frame of the stream", "the rest goes into the next one"),
        Bound(
            "cluster.writer.MOST_FRAME_BYTES",
            "bytes",
            "in a frame, and no more than a message of the servers may have",
            "likewise; a `gap` for a larger record",
        ),
        Bound(
            "cluster.settings.ClusterKeys.buffer",
            "records",
            "that wait while no server takes them",
            "the oldest are left out, and a `gap` tells how many",
        ),
        Bound(
            "cluster.member.LONGEST_PAUSE_S",
            "seconds",
            "between two tries to reach the servers",
            "it is tried for ever",
        ),
        Bound(
            "cluster.turns.LONGEST_S",
            "seconds",
            "until it is a member's turn to begin an exchange anew",
            "it begins it anew all the same",
        ),
        Bound("cluster.member.MOST_REFUSALS", "refusals", "of one stream, in a row", "what it holds is read anew"),
        Bound("cluster.member.MOST_UNREADABLE", "keys", "of entries that are none, told in the log", "others are not"),
        Bound("cluster.shared.MOST_BYTES", "bytes", "of a configuration that members share", "it is refused"),
        Bound("cluster.shared.KEPT", "revisions", "of it, to go back to", "the oldest go"),
    ),
    "Subscribers of the feed": (
        Bound("feed.settings.FeedSettings.max_clients", "clients", "at once (`max_clients`)", "the next is refused"),
        Bound("feed.hub.AUTHENTICATE_S", "seconds", "to show a token, where one is needed", "it is hung up on"),
        Bound("feed.access.LONGEST_TOKEN", "characters", "of a token", "it is wrong"),
        Bound("feed.transports.logins.MOST_LOGINS", "logins", "of browsers at once, at one port", "the oldest ends"),
        Bound("feed.transports.logins.LOGIN_S", "seconds", "that a login holds", "it is to be done again"),
        Bound("feed.transports.logins.LONGEST_BODY_BYTES", "bytes", "of the body of a login", "it is refused"),
        Bound("feed.access.MOST_PAUSES", "addresses", "whose wrong tokens are remembered", "the oldest is forgotten"),
        Bound("feed.access.LONGEST_PAUSE_S", "seconds", "before a wrong token is answered", "it grows no further"),
        Bound(
            "feed.settings.FeedSettings.max_clients_per_address",
            "connections",
            "to ports, from one address (`max_clients_per_address`)",
            "the next is hung up on",
        ),
        Bound("feed.transports.farewell.HANDSHAKE_S", "seconds", "to begin TLS", "it is hung up on"),
        Bound(
            "feed.transports.farewell.MOST_FAREWELLS",
            "connections",
            "that are not let in and have a second to read why",
            "the next is hung up on at once",
        ),
        Bound("feed.hub.SLOW_PARTING_S", "seconds", "for one that was too slow to read why it ends", "it is cut"),
        Bound("feed.transports.http.HEAD_S", "seconds", "to ask something over HTTP", "likewise"),
        Bound("feed.transports.http.KEEP_S", "seconds", "over HTTP until another question", "likewise"),
        Bound("feed.settings.FeedSettings.ring", "records", "kept for a slow one (`ring`)", "the oldest go: a `lag`"),
        Bound("feed.subscriber_queue.RING_BYTES", "bytes", "likewise", "likewise"),
        Bound(
            "feed.protocol.LONGEST_LINE_BYTES", "bytes", "a line that one sends", "an error; the connection is closed"
        ),
        Bound("feed.protocol.MOST_PATTERNS", "patterns", "that one holds", "the request is refused"),
        Bound("bus.selection.LONGEST_PATTERN", "characters", "of a pattern", "likewise"),
        Bound("derived.channels.LONGEST_NAME", "characters", "of the name of a derived channel", "likewise"),
        Bound("derived.channels.LONGEST_INTERVAL_MS", "ms", "between two records of `interval_ms`", "likewise"),
        Bound("derived.intervals.LONGEST_BAR_NS", "ns", "of a bar of time", "likewise"),
        Bound("derived.candles.MOST_KEPT", "bars", "of a topic, kept for late trades", "the oldest is forgotten"),
        Bound("feed.protocol.MOST_SEARCHED", "patterns", "with `*` beside other text that one holds", "likewise"),
        Bound("feed.protocol.MOST_DERIVED_CHANNELS", "derived channels", "of which one has topics", "likewise"),
        Bound(
            "derived.derivations.MOST_DERIVED",
            "topics",
            "derived at once, for all together; bars shorter than 6 s count as several",
            "the request is refused; one of a market that comes later is `down`",
        ),
        Bound("derived.derivations.MOST_CHANNELS", "derived channels", "likewise", "the request is refused"),
        Bound(
            "derived.derivations.MOST_WIDE",
            "patterns",
            "of derived topics with `*` in the symbol, for all together",
            "the request is refused",
        ),
        Bound(
            "derived.derivations.MOST_ENDED",
            "topics",
            "that have ended, and whose times are waited for still",
            "they are forgotten",
        ),
        Bound(
            "feed.subscriber.MOST_ANSWERS_BYTES",
            "bytes",
            "of answers that one leaves unread",
            "it is not heard until then",
        ),
        Bound("feed.transports.sockets.LINES_AT_ONCE", "lines", "of one, read in one turn", "others have their turn"),
        Bound("feed.transports.http.LINES_AT_ONCE", "lines", "likewise, of a WebSocket", "others have their turn"),
        Bound(
            "feed.transports.http.LONGEST_MESSAGE_BYTES",
            "bytes",
            "a message that a WebSocket's client sends",
            "the connection is closed",
        ),
        Bound(
            "feed.transports.http.UNASKED",
            "connections",
            "beyond `max_clients`, that ask by HTTP or have not asked yet",
            "the next is hung up on",
        ),
        Bound(
            "feed.transports.http_peer.MOST_UNSENT_BYTES",
            "bytes",
            "that wait in the transport of a client of HTTP",
            "it is given more once it has read",
        ),
        Bound(
            "feed.transports.pace.MOST_WRITES",
            "writes",
            "in a millisecond, to all; one to a port counts twice",
            "they take turns, and each write takes more with it",
        ),
        Bound("feed.transports.http.MOST_DIGITS", "digits", "of a number in an address, and more", "status 400"),
        Bound("feed.socket_file.BACKLOG", "connections", "that wait to be accepted", "the system lets them wait"),
        Bound(
            "client.wire.GREETING_S",
            "seconds",
            "that a client waits for the daemon's answer, and for its greeting",
            "`FeedError`",
        ),
        Bound("client.conversation.LONGEST_LINE_BYTES", "bytes", "a line of the feed to a client", "`FeedError`"),
        Bound(
            "client.wire.LONGEST_MESSAGE_BYTES",
            "bytes",
            "a WebSocket's message to a client",
            "the connection is closed",
        ),
        Bound(
            "client.wire.READ_BYTES",
            "bytes",
            "that a client reads at once; it reads ahead no more than twice as much",
            "the kernel's buffers fill, and then the feed's: a `lag`",
        ),
        Bound("client.frames.MOST_RECORDS", "records", "in one batch of frames", "it is given before its time"),
        Bound(
            "client.pauses.LONGEST_PAUSE_S",
            "seconds",
            "that a client lets pass before it makes its connection anew",
            "it tries again",
        ),
        Bound(
            "client.conversation.RESUMED_BYTES",
            "bytes",
            "of topics with which a client goes on behind a break: they have to be in one line",
            "it begins anew; a gap tells of the break",
        ),
        Bound(
            "client.conversation.MOST_WAITING_BYTES",
            "bytes",
            "of records that a client holds unread while it waits for an answer",
            "`FeedError`",
        ),
    ),
    "A replay that is served": (
        Bound("cli.served.MOST_CLIENTS", "clients", "at once", "the next is told so, and hung up on"),
        Bound("feed.replaying.UNREAD", "records", "that wait for one", "it is given more once it has read"),
        Bound("feed.replaying.UNREAD_BYTES", "bytes", "likewise", "likewise"),
        Bound("sinks.recorded_file.LONGEST_LINE_BYTES", "bytes", "a line of a file", "a `gap` for what cannot be read"),
        Bound("feed.kept.MOST_CHANGES", "changes", "of one book, kept unapplied", "they are applied"),
        Bound("feed.kept.MOST_PRICES", "prices", "likewise", "likewise"),
        Bound("feed.replaying.MOST_SAID", "complaints", "that are said", "others are not"),
    ),
    "Processes that gather": (
        Bound("config.schema.MOST_WORKERS", "processes", "that gather for one daemon", "refused"),
        Bound("sinks.link.MOST_WAITING_BYTES", "bytes", "that a worker has ready and the hub has not read", "it waits"),
        Bound("sinks.link.TOGETHER_RECORDS", "records", "that travel together", "the rest follows at once"),
        Bound("sinks.link.MOST_PIECES", "pieces", "that are given to the system at once", "likewise"),
        Bound(
            "daemon.workers.LONGEST_SILENCE_S", "seconds", "that a worker says nothing", "it is killed, and replaced"
        ),
        Bound("daemon.workers.LONGEST_START_S", "seconds", "that one that begins says nothing", "likewise"),
        Bound("daemon.workers.LONGEST_PAUSE_S", "seconds", "before one that dies at its start is begun anew", "begun"),
        Bound("daemon.workers.GATHER_S", "seconds", "that a worker has to say how it fares", "left out of the answer"),
        Bound("daemon.workers.UP_S", "seconds", "that whoever asks one that is just begun waits", "told so"),
        Bound("daemon.relayed_demand.FORESEE_S", "seconds", "that a worker has to say what is absent", "told later"),
        Bound("daemon.workers.LEAVE_S", "seconds", "that workers have for their last words", "killed: marks tell gaps"),
        Bound("daemon.workers.LEFT_S", "seconds", "that they have to close captures and files of state", "killed"),
        Bound(
            "daemon.workers.TAKE_S",
            "seconds",
            "that a disk has to give what one has left",
            "the log says so, and it is waited for",
        ),
        Bound(
            "daemon.workers.KEEP_S", "seconds", "that it has in the end to keep how much came", "as it was kept before"
        ),
        Bound("daemon.moving.MOVE_S", "seconds", "until an exchange could go on in another worker", "it stays"),
        Bound("daemon.moving.LET_GO_S", "seconds", "that the worker before has to let it go", "it is killed"),
        Bound("daemon.moving.MOST_BEHIND_BYTES", "bytes", "that the other one is to hear and has not read", "it stays"),
        Bound("daemon.standing_by.MOST_HELD", "records", "that wait there for it", "the oldest are let go"),
        Bound("daemon.workers.MOST_TAPPED", "frames", "of a tap that wait to be sent", "workers leave out more"),
        Bound(
            "sources.link.LEAST_BEHIND_BYTES",
            "bytes",
            "of changes behind a whole book, at least",
            "a whole one is asked for",
        ),
    ),
    "Whoever asks at the control socket": (
        Bound("daemon.control.MOST_CLIENTS", "clients", "at once", "the next is told so, and hung up on"),
        Bound("daemon.control.LONGEST_LINE_BYTES", "bytes", "a line that one sends", "likewise"),
        Bound("daemon.status.MOST_PATTERNS", "patterns", "in one request", "the request is refused"),
        Bound("daemon.status.MOST_TOPICS", "topics", "in one answer", "left out, and counted"),
        Bound("daemon.explain.MOST_EXPLAINED", "topics", "in one answer to `explain`", "left out"),
        Bound("daemon.explain.MOST_DRIFT", "differences", "of its frames that are told of a topic", "they are not"),
        Bound("daemon.tap.MOST_WAITING", "frames", "that wait for one who taps", "the oldest go, and are counted"),
        Bound("daemon.tap.LONGEST_TAP_S", "seconds", "that one taps", "the tap ends"),
        Bound("daemon.tap.LARGEST_SHOWN_BYTES", "bytes", "of a frame that is shown", "cut"),
        Bound("daemon.control.IDLE_S", "seconds", "that one asks nothing", "hung up on"),
        Bound("daemon.control.SENDING_S", "seconds", "that one does not read its answer", "likewise"),
    ),
    "What is noticed of an exchange's frames": (
        Bound("ingest.drift.LARGEST_BYTES", "bytes", "a frame that is compared with earlier ones", "it is not"),
        Bound("ingest.drift.DEEPEST", "levels", "of it that are looked at", "those below are not"),
        Bound("ingest.drift.MOST_KEYS", "keys", "of an object in it, as fields", "it is a map: its keys are data"),
        Bound("ingest.drift.MOST_KINDS", "kinds", "of frames that are known", "no more is learnt of new ones"),
        Bound("ingest.drift.MOST_FIELDS", "fields", "of one kind that are known", "likewise"),
        Bound("ingest.drift.MOST_FINDINGS", "differences", "of one exchange that are told", "counted"),
        Bound("ingest.drift.LONGEST_EXAMPLE", "characters", "of a frame that is told with one", "cut"),
        Bound("ingest.drift.LONGEST_WORD", "characters", "a word by which frames say what they are", "it is none"),
        Bound("ingest.overhearing.MOST_IN_DOUBT", "frames", "a second, after one that cannot be read", "not looked at"),
        Bound("ingest.overhearing.MOST_PLACES", "addresses", "whose answers by REST are looked at", "likewise"),
        Bound("daemon.tally.MOST_REMEMBERED", "topics", "whose latest events are remembered", "the oldest are not"),
        Bound(
            "daemon.tally.MOST_OPEN", "gaps", "of an exchange that are known to be open", "counted again at their end"
        ),
        Bound("daemon.coverage.MOST_DAYS", "days", "in one question of `/coverage`", "it is refused"),
        Bound("daemon.coverage.LONGEST_S", "seconds", "that its answer takes", "status 503, and the process ends"),
        Bound("daemon.coverage.LARGEST_MEMORY_BYTES", "bytes", "of memory that this takes", "likewise"),
        Bound("daemon.coverage.LARGEST_ANSWER_BYTES", "bytes", "of that answer", "likewise"),
        Bound("daemon.coverage.MOST_WAITING", "questions", "that are answered or wait for that", "status 503"),
        Bound("daemon.coverage.MOST_KEPT", "answers", "that are given again for a while", "the oldest are forgotten"),
        Bound("daemon.coverage.LONGEST_WORDS_BYTES", "bytes", "of what goes wrong there", "the last are told"),
        Bound("daemon.insight.MOST_STALE", "topics", "that `/readyz` names", "counted"),
        Bound("daemon.metrics.MOST_CLIENTS_TOLD", "clients", "of a feed with metrics of their own", "they have none"),
    ),
    "Files that are written": (
        Bound("sinks.sink.Delivery.queue", "records", "that wait for a sink (`queue`)", "the oldest go: a `gap`"),
        Bound("sinks.sink.Delivery.queue_bytes", "bytes", "of memory that they take (`queue_bytes`)", "likewise"),
        Bound("sinks.sink.Delivery.batch_records", "records", "given at once (`batch_records`)", "the rest follows"),
        Bound("sinks.sink.Delivery.batch_bytes", "bytes", "of their lines (`batch_bytes`)", "likewise"),
        Bound("sinks.sink.Delivery.longest_backoff", "seconds", "before a sink is tried again", "doubles no further"),
        Bound("sinks.sink.Delivery.dead_letters_bytes", "bytes", "of records that a sink refused", "told as missing"),
        Bound("sinks.running.MOST_FAILURES", "failures", "of one batch that its data may cause", "given in halves"),
        Bound("sinks.queue.MOST_TOLD", "topics", "whose losses are told one by one", "told together"),
        Bound("sinks.queue.MOST_KNOWN", "topics", "that a sink's patterns were tried on", "tried again"),
        Bound("backfill.files.LARGEST_FILE_BYTES", "bytes", "in one file of the past", "it is closed"),
        Bound("backfill.walks.LONGEST_SLICE_S", "seconds", "of the past in memory", "no longer slice is walked"),
        Bound("backfill.walks.MOST_GATHERED", "records", "of such a slice", "its later half is asked for anew"),
        Bound("backfill.running.MOST_TRIES", "times", "a page of the past is asked for", "the command ends"),
        Bound("backfill.running.LONGEST_PAUSE_S", "seconds", "between two of them", "doubles no further"),
        Bound(
            "sinks.files_settings.FilesSettings.rotate_bytes",
            "bytes",
            "of a file (`rotate_bytes`)",
            "a new one is begun",
        ),
        Bound(
            "sinks.segment.MOST_OPEN", "files", "open at once, a quarter of `ulimit -n` at most", "closed, opened again"
        ),
        Bound("sinks.retention.LOOKED_AT", "files", "looked at in a second, for old ones", "the rest follows"),
        Bound("sinks.retention.REMOVED", "files", "removed in a second, where old ones go", "likewise"),
        Bound("sinks.retention.MOST", "files", "the oldest, that a round remembers", "another round follows at once"),
        Bound("research.csv.LONGEST_FIELD", "characters", "a field of a first row of CSV", "told, and not read"),
        Bound("sinks.paths.LONGEST_PART_BYTES", "bytes", "of a file's name", "cut, and marked with a hash"),
        Bound("sinks.routes.MOST_ROUTES", "topics", "whose file is remembered", "found anew"),
        Bound(
            "sinks.files.LONGEST_BACKOFF_S", "seconds", "before a file that failed is tried again", "doubles no further"
        ),
        Bound(
            "sinks.parquet.ParquetSettings.rotate_rows",
            "records",
            "before Parquet files appear (`rotate_rows`)",
            "they appear, and others are begun",
        ),
        Bound(
            "sinks.csv.CsvSettings.rotate_rows",
            "records",
            "before CSV files appear (`rotate_rows`)",
            "they appear, and others are begun",
        ),
        Bound("sinks.intervals.GATHERED", "records", "that wait one by one for tables", "they become columns"),
        Bound("daemon.daemon.DRAIN_S", "seconds", "that sinks have at the end", "one error; the rest is lost to them"),
        Bound(
            "daemon.running_sinks.DRAIN_S",
            "seconds",
            "that a sink has which another configuration takes away, or begins anew",
            "one error; the rest is lost to it",
        ),
        Bound(
            "daemon.process.LEAVE_S", "seconds", "from a signal to the end, whatever hangs", "left at once, exit code 1"
        ),
    ),
    "Captures": (
        Bound(
            "capture.reading.LONGEST_LINE_BYTES",
            "bytes",
            "a line that is read",
            "it is cut there, and no line of a capture",
        ),
        Bound("capture.replay.MOST_FOUND", "connections", "whose streams a replay remembers", "found anew"),
        Bound("capture.recorder.MOST_HELD_BYTES", "bytes", "that wait to be written", "written at once"),
        Bound("capture.recorder.FLUSH_NS", "ns", "that lines wait to be written", "written with the next"),
        Bound(
            "capture.recorder.MOST_UNWRITTEN_BYTES",
            "bytes",
            "of an exchange, where the disk is slow",
            "lines are left out, and counted",
        ),
        Bound(
            "capture.recorder.CLOSE_S", "seconds", "that the end waits for such a disk", "one error; its end is missing"
        ),
        Bound(
            "daemon.running_exchanges.OPEN_S",
            "seconds",
            "that a capture's first file may take",
            "gathered without a capture",
        ),
    ),
    "Files of state": (
        Bound("ingest.state.MOST_BYTES", "bytes", "a file that is read", "renamed to `*.bad`, one warning"),
        Bound("daemon.marks.SLOTS", "topics", "of trades whose last number outlives a kill", "their gap has no count"),
        Bound(
            "daemon.marks.SOON_S",
            "seconds",
            "before a change of what is followed is marked",
            "untold after a kill before that",
        ),
        Bound("daemon.marks.EVERY_S", "seconds", "between two marks otherwise", "marked anew"),
        Bound("daemon.marks.SHARE", "times", "what a mark took, before the next", "marks are rarer"),
    ),
    "Configuration and environment": (
        Bound("config.config.LARGEST_BYTES", "bytes", "a configuration", "refused (78)"),
        Bound("sinks.values.SOCKET_PATH_BYTES", "bytes", "of the path of a socket", "refused (78)"),
        Bound("config.parts.MOST_FILES", "files", "in `conf.d`", "refused (78)"),
        Bound("config.config.MOST_DOTS", "dots", "in a key of it", "refused (78)"),
        Bound(
            "research.chains.MOST_HOLES",
            "holes",
            "in the numbers of a topic, that `coverage` still fills",
            "the oldest is missing",
        ),
        Bound(
            "research.coverage.MOST_GAPS",
            "gaps",
            "of a topic and day, that `coverage` lists",
            "the shortest are counted alone",
        ),
        Bound("research.coverage.MOST_GAPS_IN_BRIEF", "gaps", "likewise, with `--brief`", "likewise"),
        Bound("research.coverage.MOST_DAYS", "days", "of one topic, in `coverage`", "later ones are left out"),
        Bound(
            "cli.coverage_picture.MOST_LINES",
            "topics",
            "in a picture of `coverage`",
            "the worst are drawn, and that is said",
        ),
        Bound("cli.coverage_picture.MOST_TICKS", "times", "that its scale names", "they are further apart"),
        Bound(
            "cli.coverage_picture.LONGEST_LABEL",
            "characters",
            "of a topic's name there",
            "it is cut, and whole in its title",
        ),
        Bound(
            "cli.query.MOST_ROWS", "rows", "the table of `query` on a terminal", "the first are shown, and that is said"
        ),
        Bound("config.schema.LONGEST_S", "seconds", "a time that an exchange's table names", "refused (78)"),
        Bound("config.schema.SHORTEST_LIFE_S", "seconds", "the least `lifetime` of a connection", "refused (78)"),
        Bound("sinks.values.SHOWN", "characters", "of a value that a complaint repeats", "cut off"),
        Bound("ingest.proxies.LONGEST_SECRET", "characters", "of a file that holds a proxy", "refused (78)"),
        Bound("ingest.credentials.LONGEST_KEY_BYTES", "bytes", "a key of an account", "refused; the exchange waits"),
    ),
    "What is said": (
        Bound("daemon.log_forms.LONGEST", "characters", "of a message in the log", "cut off; its length is said"),
        Bound(
            "daemon.log_forms.LARGEST_ENTRY_BYTES", "bytes", "of a message and its traceback in the journal", "likewise"
        ),
        Bound(
            "daemon.repeats.MOST_LATELY",
            "messages",
            "of which it is known that they were said in the last ten seconds",
            "the oldest counts as new when it comes again",
        ),
        Bound("daemon.logs.MOST_WAITING", "messages", "that wait for whoever reads the log", "left out, and counted"),
        Bound(
            "daemon.signals.PAUSE_S",
            "seconds",
            "from what SIGHUP, SIGUSR1 or SIGUSR2 does to the next time",
            "done once",
        ),
        Bound("ingest.rest.SHOWN", "characters", "of an answer that an error repeats", "cut off"),
        Bound("ingest.signing.SHOWN_BYTES", "bytes", "of an answer that refuses keys, in the log", "cut off"),
        Bound(
            "ingest.connection.MOST_REASONS", "reasons", "of refusals logged a second, a connection", "counted together"
        ),
        Bound("ingest.connection.MOST_NAMED", "topics", "named in one line of the log", "counted"),
        Bound("daemon.by_hand.MOST_BY_HAND", "patterns", "of an exchange, said by `ctl subscribe` and such", "refused"),
        Bound("daemon.followed.MOST_NAMES", "instruments", "named in one line of the log", "counted"),
        Bound("daemon.signals.MOST_TASKS", "tasks", "whose stacks SIGUSR2 writes", "counted"),
        Bound("daemon.signals.DEEPEST", "frames", "of each of these", "the outermost are left out"),
        Bound("cli.normalize.LONGEST_SHOWN", "characters", "of a frame in a complaint", "cut off"),
        Bound("cli.ctl.MOST_TROUBLED", "topics", "that `ctl status` shows without being asked for", "counted"),
        Bound("cli.ctl.MOST_SHOWN", "topics", "that it shows of those asked for", "counted"),
        Bound("cli.doctor.MOST_AT_ONCE", "exchanges", "that `doctor` asks at once", "the others follow"),
        Bound("cli.top.MOST_TOPICS", "topics", "that `top` shows", "left out"),
        Bound("cli.top_rows.MOST_CHARACTERS", "characters", "of a text in a cell of it", "cut"),
        Bound("cli.tail.MOST_TOPICS", "topics", "named where none fits", "counted"),
        Bound("cli.show.MOST_FIELDS", "fields", "of a record on a terminal", "left out"),
    ),
}
INTRODUCTION = """
A daemon that reads what strangers send bounds number, size, depth, rate and time at each of its borders. These are the
bounds, and what happens at each. The values are read from the code; those with a name in brackets are set in the
[configuration](configuration.md), and their default stands here. Depth has no number of its own: JSON that is nested
more deeply than Python's own stack allows counts as a frame, an answer or a line that cannot be read.
"""


def limits_page() -> str:
    """The page: a table for each border."""
    parts = [notice("the constants"), "# Limits\n", INTRODUCTION.strip() + "\n"]
    for border, bounds in BORDERS.items():
        rows = [(in_words(value_of(b), b.unit), b.what, b.beyond, code(b.name)) for b in bounds]
        parts.append(f"## {border}\n\n{table(('at most', 'of what', 'beyond', 'constant'), rows)}")
    return "\n".join(parts)


def value_of(bound: Bound) -> float:
    """The value in the code. Raises AttributeError or ImportError where there is none."""
    path, _, name = f"aggregator.{bound.name}".rpartition(".")
    module, _, last = path.rpartition(".")
    if last[0].isupper():
        fields = structs.fields(getattr(import_module(module), last))
        found = next((field.default for field in fields if field.name == name), None)
    else:
        found = getattr(import_module(path), name)
    if not isinstance(found, int | float):
        raise AttributeError(f"{bound.name} is no number")  # noqa: TRY004 - it is as good as missing
    return found


def in_words(value: float, unit: str) -> str:
    """A value with its unit: 32 MiB, 15 s, 2000 frames."""
    if unit == "ns":
        value, unit = value / 1e9, "seconds"
    if unit == "seconds":
        for size, name in ((86400, "d"), (3600, "h")):
            if value >= size and value % size == 0:
                return f"{value / size:g} {name}"
        return f"{value:g} s" if value < 10**8 else f"{value / YEAR_S:.0f} years"
    if unit == "bytes":
        for size, name in ((2**20, "MiB"), (2**10, "KiB")):
            if value >= size and value % size == 0:
                return f"{value / size:g} {name}"
    return f"{value:,} {unit}"


def unlisted() -> Iterator[str]:
    """Bounds in the code that no table has, in words."""
    listed = {bound.name for bounds in BORDERS.values() for bound in bounds}
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if module.partition(".")[0] in {"docgen", "sandbox"}:  # neither is a border of the daemon
            continue
        for name in _constants(path.read_text()):
            if f"{module}.{name}" not in listed:
                yield f"aggregator.{module}.{name} is a bound that aggregator/docgen/limits.py does not explain"


def _constants(source: str) -> Iterable[str]:
    """Names of bounds that a module assigns."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.startswith(BOUNDS) or name in ALONE:
                yield name
