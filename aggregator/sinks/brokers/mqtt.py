"""The `mqtt` sink: records as messages of MQTT 5, which each server acknowledges with a reason.

Eclipse's client runs on the event loop here: it is told when its socket can be read or written, and what it hears ends
a wait. It makes no connection anew by itself, since that is the frame's.
Protocol: https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.sinks.address import address
from aggregator.sinks.messages import Chain, Message, messages_of
from aggregator.sinks.naming import MQTT, Places
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import only_with, tls_context
from aggregator.sinks.values import Bytes, FilePath, Secret, reveal

if TYPE_CHECKING:
    from paho.mqtt.client import Client, SocketLike
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

KEEPALIVE_S = 30  # a server that says nothing for so long is asked, and so long again it has for its answer
LOOK_S = 1.0  # so often the client looks at these times
MOST_UNANSWERED = 1000  # messages; a server may name a lower number
LONGEST_TOPIC = 65_535  # bytes, by the protocol
HEADERS_BYTES = 512  # a message has no more beside its topic and its lines
OF_THE_RECORDS = frozenset({0x90, 0x95, 0x99})  # the name of the topic, the size or the form is not allowed
FAILURE = 0x80  # reasons from here on are failures
AT_ONCE: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux alone has it, and forgets it with each read
SCHEMES = ("mqtt", "mqtts")
PORTS = {"mqtt": 1883, "mqtts": 8883}


class MqttSettings(Struct, frozen=True, kw_only=True):
    """Messages of MQTT 5.

    url: the server, like `"mqtt://127.0.0.1:1883"`; `mqtts://` speaks TLS
    mode: `batches`: the records of a batch that are of one channel and exchange are one message, at
        `PREFIX/CHANNEL/EXCHANGE`; `records`: each record is one, at `PREFIX/CHANNEL/EXCHANGE/SYMBOL`, some thirty times
        as slowly
    prefix: begins every topic of MQTT
    qos: what the server says to a message: `0`: nothing; but it answers behind each batch; `1`: that it has it; `2`:
        the same, in two steps, so that it knows a message that the same connection brings twice
    retain: whether the server keeps the latest message of each topic of MQTT, for those who subscribe later
    largest_message: bytes that a message has at most; less where the server says so
    client_id: the name of this client at the server; by default the server gives it one
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    url: Annotated[str, AfterValidator(address(SCHEMES, "mqtt://127.0.0.1:1883"))]
    mode: Literal["batches", "records"] = "batches"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=100)] = "market"
    qos: Literal[0, 1, 2] = 1
    retain: bool = False
    largest_message: Annotated[Bytes, Field(ge=1000, le=200_000_000)] = 1_000_000
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,100}$")] = ""
    user: str | None = None
    password: Secret | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: Annotated[FilePath | None, Field(validate_default=True), AfterValidator(only_with("mqtts://", "url"))] = None


class _Line:
    """The client on the event loop: its questions, and the server's answers.

    largest: bytes of a packet, where the server has a limit
    """

    def __init__(self, client: "Client") -> None:
        self.largest: int | None = None
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._socket: SocketLike | None = None
        self._looking: asyncio.Task[None] | None = None
        self._gone: OSError | None = None
        self._welcome: asyncio.Future[int] = self._loop.create_future()
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._room = asyncio.Semaphore(MOST_UNANSWERED)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_unsubscribe = self._on_unsubscribe

    async def connect(self, host: str, port: int) -> None:
        """Connect, and wait for the server's welcome. Raises OSError."""
        await asyncio.to_thread(self._client.connect, host, port, KEEPALIVE_S, clean_start=True)
        self._socket = self._client.socket()
        if self._socket is None:
            raise ConnectionResetError("the connection is gone")
        self._hurry(socket.TCP_NODELAY)
        self._loop.add_reader(self._socket, self._read)
        self._client.on_socket_register_write = self._on_more
        self._client.on_socket_unregister_write = self._on_no_more
        self._client.on_socket_close = self._on_close
        self._looking = self._loop.create_task(self._look())
        await self._welcome

    def _hurry(self, option: int | None) -> None:
        """Have the kernel wait for nothing: a message in two pieces, or two answers, take 40 ms longer otherwise."""
        if option is not None and isinstance(self._socket, socket.socket):
            self._socket.setsockopt(socket.IPPROTO_TCP, option, 1)

    def _read(self) -> None:
        self._client.loop_read()
        self._hurry(AT_ONCE)
        while isinstance(self._socket, ssl.SSLSocket) and self._gone is None and self._socket.pending():
            self._client.loop_read()  # TLS has more than the socket shows

    async def _look(self) -> None:
        while self._gone is None:
            self._client.loop_misc()
            await asyncio.sleep(LOOK_S)

    async def publish(
        self, topic: str, payload: bytes, qos: int, properties: "Properties", *, retain: bool
    ) -> asyncio.Future[int] | None:
        """Publish a message; what is to come is the reason in its acknowledgement. Raises OSError."""
        if not qos:
            self._sent(self._client.publish(topic, payload, qos, retain, properties).rc)
            return None
        await self._room.acquire()
        info = self._client.publish(topic, payload, qos, retain, properties)
        self._sent(info.rc)
        answer = self._asked[info.mid] = self._loop.create_future()
        answer.add_done_callback(lambda _: self._room.release())
        return answer

    async def answers(self) -> None:
        """Wait until the server has done with all that was sent before. Raises OSError."""
        code, id = self._client.unsubscribe("aggregator/answers")  # a subscription that there is not; any name will do
        self._sent(code)
        if id is not None:
            answer = self._asked[id] = self._loop.create_future()
            await answer

    def _sent(self, code: int) -> None:
        if code:
            raise self._gone or ConnectionResetError("the connection is gone")

    def _on_connect(
        self, _: object, __: object, ___: object, reason: "ReasonCode", properties: "Properties | None"
    ) -> None:
        most = getattr(properties, "ReceiveMaximum", MOST_UNANSWERED)
        self._room = asyncio.Semaphore(min(most, MOST_UNANSWERED))
        self.largest = getattr(properties, "MaximumPacketSize", None)
        if self._welcome.done():
            return
        if reason.is_failure:
            self._welcome.set_exception(OSError(f"the server says: {reason}"))
        else:
            self._welcome.set_result(0)

    def _on_more(self, _: object, __: object, at: "SocketLike") -> None:
        self._loop.add_writer(at, self._client.loop_write)

    def _on_no_more(self, _: object, __: object, at: "SocketLike") -> None:
        self._loop.remove_writer(at)

    def _on_close(self, *_: object) -> None:
        self._leave()

    def _on_publish(self, _: object, __: object, id: int, reason: "ReasonCode", ___: object) -> None:
        self._answer(id, reason.value)

    def _on_unsubscribe(self, _: object, __: object, id: int, ___: object, ____: object) -> None:
        self._answer(id, 0)

    def _answer(self, id: int, reason: int) -> None:
        answer = self._asked.pop(id, None)
        if answer is not None and not answer.done():
            answer.set_result(reason)

    def _on_disconnect(self, _: object, __: object, ___: object, reason: "ReasonCode", ____: object) -> None:
        self._end(OSError(f"the connection is gone: {reason}"))

    def _end(self, error: OSError) -> None:
        """Have nobody wait any longer."""
        self._gone = self._gone or error
        asked, self._asked = self._asked, {}
        for answer in (self._welcome, *asked.values()):
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # whoever waits is told; where nobody does it is no fault

    def _leave(self) -> "SocketLike | None":
        """Look at the socket no longer; it is given where it was looked at until now."""
        found, self._socket = self._socket, None
        if found is not None:
            self._loop.remove_reader(found)
            self._loop.remove_writer(found)
        return found

    def close(self) -> None:
        """Hang up, whether the server hears it or not."""
        self._end(OSError("hung up"))
        if self._looking is not None:
            self._looking.cancel()
        if self._socket is not None:
            self._client.disconnect()
            self._client.loop_write()
        if (left := self._leave()) is not None:
            left.close()


class _TlsSocket(ssl.SSLSocket):
    """A socket that is closed where its handshake fails: the client leaves it open (paho-mqtt 2.2.0)."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is called
        """Shake hands. Raises OSError."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class MqttWriter(Writer):
    """A connection, and the place of the last record at each topic of MQTT."""

    def __init__(self, settings: MqttSettings, line: _Line, step: Callable[[], None]) -> None:
        self._settings = settings
        self._line = line
        self._step = step
        self._places = Places(MQTT, f"{settings.prefix}/", by_symbol=settings.mode == "records")
        self._chain = Chain()
        self._taken: set[tuple[str, int]] = set()  # the server has these of the batch at hand

    async def write(self, batch: Batch) -> None:
        """Hand over a batch, and wait until the server has answered. Raises OSError, Retry or Refused."""
        most_records = 1 if self._settings.mode == "records" else None
        most = min(self._settings.largest_message, self._line.largest or self._settings.largest_message)
        messages, too_large = messages_of(
            batch, self._places.of(batch.records), most_bytes=most - HEADERS_BYTES, most_records=most_records
        )
        asked: list[tuple[Message, asyncio.Future[int]]] = []
        for message, previous in self._chain.linked(messages):
            if len(message.place) > LONGEST_TOPIC:
                too_large += message.which
            elif (message.place, message.first) not in self._taken:
                answer = await self._publish(batch.epoch, message, previous)
                if answer is not None:
                    answer.add_done_callback(lambda _: self._step())
                    asked.append((message, answer))
        if not self._settings.qos:
            await self._line.answers()
        reasons = await asyncio.gather(*[answer for _, answer in asked])
        too_large += self._judge([message for message, _ in asked], reasons)
        self._taken.clear()
        self._chain.passed(messages)
        if too_large:
            raise Refused(f"larger than {most} bytes, or not allowed by the server", too_large)

    async def _publish(self, epoch: str, message: Message, previous: int) -> asyncio.Future[int] | None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call,unused-ignore]
        properties.ContentType = "application/x-ndjson"
        properties.UserProperty = [
            ("Aggregator-Epoch", epoch),
            ("Aggregator-First", str(message.first)),
            ("Aggregator-Last", str(message.last)),
            ("Aggregator-Previous", str(previous)),
        ]
        return await self._line.publish(
            message.place, message.payload, self._settings.qos, properties, retain=self._settings.retain
        )

    def _judge(self, messages: list[Message], reasons: list[int]) -> list[int]:
        """The records that the server will never take, by its answers. Raises Retry where others are not taken."""
        refused: list[int] = []
        trouble = None
        for message, reason in zip(messages, reasons, strict=True):
            if reason < FAILURE:
                self._taken.add((message.place, message.first))
            elif reason in OF_THE_RECORDS:
                refused += message.which
            else:
                trouble = f"the server does not take {message.place}: {_words(reason)}"
        if trouble is not None:
            raise Retry(trouble)
        return refused

    async def close(self) -> None:
        """Hang up. All that was taken has its answer by then."""
        self._line.close()


def _words(reason: int) -> str:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    return f"{ReasonCode(PacketTypes.PUBACK, identifier=reason)} ({reason:#x})"


async def open_mqtt(settings: MqttSettings, context: Context) -> Writer:
    """Connect, and wait for the server's welcome. Raises OSError."""
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion

    parts = urlsplit(settings.url)
    client = Client(CallbackAPIVersion.VERSION2, settings.client_id, protocol=MQTTv5, reconnect_on_failure=False)
    client.max_inflight_messages = 0  # how many may wait for an answer is counted here, by what the server says
    if settings.user is not None:
        client.username_pw_set(settings.user, reveal(settings.password))
    if parts.scheme == "mqtts":
        context_of_tls = await asyncio.to_thread(tls_context, settings.ca, settings.certificate, settings.key)
        context_of_tls.sslsocket_class = _TlsSocket
        client.tls_set_context(context_of_tls)
    line = _Line(client)
    try:
        await line.connect(parts.hostname or "", parts.port or PORTS[parts.scheme])
    except BaseException:
        line.close()
        raise
    return MqttWriter(settings, line, context.step)


SINK = Sink(
    "mqtt",
    MqttSettings,
    open_mqtt,
    kind="network",
    delivery=structs.replace(NETWORK, queue=400_000, timeout=15.0),
    example={"url": "mqtt://127.0.0.1:1883"},
    module="paho",
)
