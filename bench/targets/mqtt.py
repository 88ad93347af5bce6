"""MQTT: the client publishes the same payloads, from its own thread's loop, and awaits the same acknowledgements.

With QoS 0 there are none; then it asks the server behind each batch, as the sink does, and awaits the answer.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Event

from paho.mqtt.client import Client, MQTTMessageInfo, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.mqtt import SINK
from bench.targets.target import Alone, Mode, Send, Target
from tests.support.servers import mosquitto


def settings(mode: str, qos: int, port: int) -> dict[str, object]:
    return {"url": f"mqtt://127.0.0.1:{port}", "mode": mode, "qos": qos}


@contextmanager
def connected(port: int) -> Iterator[Client]:
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    while not client.is_connected():
        pass
    at = client.socket()
    if isinstance(at, socket.socket):
        at.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a question behind a message waits 40 ms otherwise
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


async def answered(client: Client, qos: int, sent: list[MQTTMessageInfo]) -> None:
    """Wait until the server has said that it has all of these; with QoS 0, until it has answered behind them."""
    has_answered = Event()
    client.on_unsubscribe = lambda *_: has_answered.set()
    if not qos:
        client.unsubscribe("aggregator/answers")

    def wait() -> None:
        for each in sent:
            each.wait_for_publish()
        if not qos:
            has_answered.wait()

    await asyncio.to_thread(wait)


def batches(qos: int) -> Alone:
    @asynccontextmanager
    async def alone(port: int) -> AsyncIterator[Send]:
        """One message a batch."""
        with connected(port) as client:

            async def send(batch: Batch) -> None:
                await answered(client, qos, [client.publish("market/trades/x", batch.blob, qos)])

            yield send

    return alone


def records(qos: int) -> Alone:
    @asynccontextmanager
    async def alone(port: int) -> AsyncIterator[Send]:
        """One message a record, all of a batch before the first acknowledgement."""
        with connected(port) as client:

            async def send(batch: Batch) -> None:
                sent = [client.publish("market/trades/x/BTC%2FUSDT", line, qos) for line in batch.lines]
                await answered(client, qos, sent)

            yield send

    return alone


TARGET = Target(
    SINK,
    mosquitto,
    {
        "batches, QoS 0": Mode(lambda port: settings("batches", 0, port), batches(0)),
        "batches, QoS 1": Mode(lambda port: settings("batches", 1, port), batches(1)),
        "batches, QoS 2": Mode(lambda port: settings("batches", 2, port), batches(2)),
        "records, QoS 0": Mode(lambda port: settings("records", 0, port), records(0), is_slow=True),
        "records, QoS 1": Mode(lambda port: settings("records", 1, port), records(1), is_slow=True),
    },
)
