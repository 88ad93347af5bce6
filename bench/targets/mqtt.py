"""MQTT: the client publishes the same payloads, from its own thread's loop, and awaits the same acknowledgements."""

import asyncio
from collections.abc import Awaitable, Callable

from paho.mqtt.client import Client, MQTTMessageInfo, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.mqtt import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import mosquitto


def settings(mode: str, qos: int, port: int) -> dict[str, object]:
    return {"url": f"mqtt://127.0.0.1:{port}", "mode": mode, "qos": qos}


def connected(port: int) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    while not client.is_connected():
        pass
    return client


def wait(sent: list[MQTTMessageInfo]) -> None:
    for each in sent:
        each.wait_for_publish()


def batches(qos: int) -> Callable[[int], Awaitable[Send]]:
    async def alone(port: int) -> Send:
        """One message a batch."""
        client = connected(port)

        async def send(batch: Batch) -> None:
            await asyncio.to_thread(wait, [client.publish("market/trades/x", batch.blob, qos)])

        return send

    return alone


def records(qos: int) -> Callable[[int], Awaitable[Send]]:
    async def alone(port: int) -> Send:
        """One message a record, all of a batch before the first acknowledgement."""
        client = connected(port)

        async def send(batch: Batch) -> None:
            sent = [client.publish("market/trades/x/BTC%2FUSDT", line, qos) for line in batch.lines]
            await asyncio.to_thread(wait, sent)

        return send

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
