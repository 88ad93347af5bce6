"""How frames of older servers of the protocol are read, and what is sent to them: `depth.subscribe`."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import ValidationError

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Heartbeat, Parse, Refused, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import channels_by_word, encode, symbols_by
from connectors.families.viabtc.dotted_wires import Answer, decode, decode_answer

SPAN = 16  # a request's number is our id times this, and the place of its word: an answer brings nothing else back
PING = Heartbeat(20, b'{"method":"server.ping","params":[],"id":0}')
READ = {f"{word}.update" for word in ("deals", "trades", "depth", "state", "price", "ticker", "all_ticker")}
PASSING = ("too many", "frequen")


def parser(words: Sequence[str], channels: Mapping[Channel, str]) -> Parse:
    """A parser of one address, of whose words one answer may confirm several channels of ours."""
    ours = channels_by_word(channels)

    def parse(frame: bytes) -> Iterable[Event]:
        try:
            said = decode(frame)
        except ValidationError:
            return answer(decode_answer(frame))
        found: Iterable[Event] = said.records()
        return found

    def answer(said: Answer) -> Iterable[Event]:
        if said.method in READ:
            raise BadFrame(f"{said.method} that cannot be read")
        if said.method:
            return ()
        id, asked = (None, 0) if said.id is None else divmod(said.id, SPAN)
        if said.error is not None:
            reason = f"{said.error.message} (code {said.error.code})"
            return (Refused(reason, id, meaning=meaning_of(reason, passing=PASSING)),)
        if type(said.result) is not dict or not 0 < asked <= len(words):
            return ()  # a pong
        return [Accepted(channel=channel) for channel in ours.get(words[asked - 1], ())]

    return parse


def asking(words: Sequence[str], channels: Mapping[Channel, str], *params: object) -> Subscribe:
    """Requests of one word each; without further `params` they name all of its markets, with them one market each."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for word, names in symbols_by(lambda s: channels[s.channel], wanted).items():
            number = id * SPAN + 1 + words.index(word)
            for named in [[name, *params] for name in names] if params else [names]:
                yield encode({"method": f"{word}.subscribe", "params": named, "id": number})

    return ask
