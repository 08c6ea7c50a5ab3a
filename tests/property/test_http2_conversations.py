"""Conversations of an HTTP/2 client with an HTTP/2 target through the data path: what arrives is what was sent.

Both ends are `h2`, which raises for any frame that it was not to get: beyond a window, behind an end, malformed. The
steps are random: who sends how much, ends, answers, gives up, takes what has come, or changes its windows; and all of
it comes in pieces of any size.
"""

from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from h2.settings import SettingCodes
from h2.windows import WindowManager
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.dialogue import Dialogue
from tests.support.http2_peer import only2
from tests.support.transport import Peer

Pair = tuple[bytes, bytes]
# Codes with which one ends a stream without a reason of the protocol.
CANCEL = 8


@dataclass
class Exchange:
    """What was said of one request and its answer, and what was heard."""

    number: int
    asked: bytearray = field(default_factory=bytearray)
    asked_all: bool = False
    asked_trailers: bool = False
    request: bytearray = field(default_factory=bytearray)
    request_whole: bool = False
    request_trailers: list[Pair] = field(default_factory=list)
    answered: bool = False
    said: bytearray = field(default_factory=bytearray)
    said_all: bool = False
    said_trailers: bool = False
    status: int = 0
    answer: bytearray = field(default_factory=bytearray)
    answer_whole: bool = False
    answer_trailers: list[Pair] = field(default_factory=list)
    # Who gave up, and who has heard that the stream is over.
    client_left: bool = False
    target_left: bool = False
    client_closed: bool = False
    target_closed: bool = False


class End:
    """One end of a connection: `h2` and the bytes that it says and hears."""

    def __init__(self, peer: Peer, *, client: bool, values: dict[SettingCodes, int]) -> None:
        self.peer = peer
        self.codec = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding=None))
        self.codec.local_settings = h2.settings.Settings(client=client, initial_values=dict(values))
        self.codec.max_inbound_frame_size = self.codec.local_settings.max_frame_size
        self.codec.initiate_connection()
        self.streams: dict[int, Exchange] = {}
        # Bytes that came and were not granted anew.
        self.owed: dict[int, int] = {}

    def speak(self, size: int) -> bool:
        """Sends what there is, in pieces; whether there was anything."""
        data = self.codec.data_to_send()
        if data:
            self.peer.says(*[data[at : at + size] for at in range(0, len(data), size)])
        return bool(data)

    def listen(self) -> list[h2.events.Event]:
        """What has come."""
        data = self.peer.hears()
        events: list[h2.events.Event] = self.codec.receive_data(data) if data else []
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                assert event.flow_controlled_length is not None
                self.owed[event.stream_id or 0] = self.owed.get(event.stream_id or 0, 0) + event.flow_controlled_length
        return events

    def grant(self) -> None:
        """Takes all that has come."""
        for stream, size in self.owed.items():
            self.codec.acknowledge_received_data(size, stream)
        self.owed.clear()

    def number_of(self, exchange: Exchange) -> int:
        return next(number for number, each in self.streams.items() if each is exchange)

    def send(self, exchange: Exchange, size: int, sent: bytearray) -> None:
        """Sends as much of a body as may be sent now."""
        number = self.number_of(exchange)
        size = min(size, self.codec.local_flow_control_window(number))
        while size > 0:
            data = bytes((len(sent) + i) % 251 for i in range(min(size, self.codec.max_outbound_frame_size)))
            self.codec.send_data(number, data)
            sent.extend(data)
            size -= len(data)

    def finish(self, exchange: Exchange, *, trailers: bool) -> None:
        """Ends a message."""
        number = self.number_of(exchange)
        if trailers:
            self.codec.send_headers(number, [(b"x-sum", b"%d" % exchange.number)], end_stream=True)
        else:
            self.codec.end_stream(number)


class Conversation:
    """A client, the balancer, and the connections to one target."""

    def __init__(self, piece: int, down: dict[SettingCodes, int], up: dict[SettingCodes, int]) -> None:
        self.dialogue = Dialogue(only2())
        self.piece = piece
        self.up = up
        self.client = End(self.dialogue.client(), client=True, values=down)
        self.targets: list[End] = []
        self.exchanges: list[Exchange] = []

    def pump(self) -> None:
        """Lets everybody speak until nobody has anything to say."""
        busy = True
        while busy:
            busy = self.client.speak(self.piece)
            for event in self.client.listen():
                self._client_hears(event)
                busy = True
            while self.dialogue.dials:
                self.targets.append(End(self.dialogue.accept(), client=False, values=self.up))
            for target in self.targets:
                busy |= target.speak(self.piece)
                for event in target.listen():
                    self._target_hears(target, event)
                    busy = True

    def _client_hears(self, event: h2.events.Event) -> None:
        exchange = self.client.streams.get(getattr(event, "stream_id", None) or 0)
        if exchange is None:
            assert not isinstance(event, h2.events.ConnectionTerminated)
            return
        if isinstance(event, h2.events.ResponseReceived):
            exchange.status = int(dict(event.headers or [])[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            exchange.answer += event.data or b""
        elif isinstance(event, h2.events.TrailersReceived):
            exchange.answer_trailers = [(bytes(name), bytes(value)) for name, value in event.headers or []]
        elif isinstance(event, h2.events.StreamEnded):
            exchange.answer_whole = True
        elif isinstance(event, h2.events.StreamReset):
            exchange.client_closed = True

    def _target_hears(self, target: End, event: h2.events.Event) -> None:
        assert not isinstance(event, h2.events.ConnectionTerminated)
        number = getattr(event, "stream_id", None) or 0
        if isinstance(event, h2.events.RequestReceived):
            target.streams[number] = self.exchanges[int(dict(event.headers or [])[b"x-number"])]
        exchange = target.streams.get(number)
        if exchange is None:
            return
        if isinstance(event, h2.events.DataReceived):
            exchange.request += event.data or b""
        elif isinstance(event, h2.events.TrailersReceived):
            exchange.request_trailers = [(bytes(name), bytes(value)) for name, value in event.headers or []]
        elif isinstance(event, h2.events.StreamEnded):
            exchange.request_whole = True
        elif isinstance(event, h2.events.StreamReset):
            exchange.target_closed = True

    def target_of(self, exchange: Exchange) -> End | None:
        """Where a request has arrived."""
        return next((each for each in self.targets if exchange in each.streams.values()), None)

    # Steps

    def open(self, choice: int, size: int) -> None:
        """A request with a body, of which nothing is sent yet."""
        del choice
        if self.client.codec.open_outbound_streams >= 20:
            return
        exchange = Exchange(len(self.exchanges))
        self.exchanges.append(exchange)
        number = self.client.codec.get_next_available_stream_id()
        self.client.streams[number] = exchange
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/%d" % size)]
        fields.append((b"x-number", b"%d" % exchange.number))
        self.client.codec.send_headers(number, fields, end_stream=size == 0)
        exchange.asked_all = size == 0

    def client_sends(self, choice: int, size: int) -> None:
        exchange = self.pick(choice)
        if exchange is not None and not (exchange.asked_all or exchange.client_left or exchange.client_closed):
            self.client.send(exchange, size, exchange.asked)

    def client_ends(self, choice: int, size: int) -> None:
        exchange = self.pick(choice)
        if exchange is not None and not (exchange.asked_all or exchange.client_left or exchange.client_closed):
            exchange.asked_all = True
            exchange.asked_trailers = size % 2 == 1
            self.client.finish(exchange, trailers=exchange.asked_trailers)

    def client_leaves(self, choice: int, size: int) -> None:
        exchange = self.pick(choice)
        done = exchange is None or exchange.client_left or exchange.client_closed
        if size % 4 or exchange is None or done or (exchange.asked_all and exchange.answer_whole):
            return
        exchange.client_left = True
        self.client.codec.reset_stream(self.client.number_of(exchange), CANCEL)

    def client_takes(self, choice: int, size: int) -> None:
        del choice, size
        self.client.grant()

    def client_changes(self, choice: int, size: int) -> None:
        del choice
        self.client.codec.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})

    def target_answers(self, choice: int, size: int) -> None:
        exchange = self.pick(choice)
        target = None if exchange is None else self.target_of(exchange)
        if exchange is None or target is None or exchange.answered or exchange.target_left or exchange.target_closed:
            return
        exchange.answered = True
        number = target.number_of(exchange)
        if size % 3 == 0:
            target.codec.send_headers(number, [(b":status", b"103"), (b"link", b"</>")])
        target.codec.send_headers(number, [(b":status", b"200")])

    def answering(self, choice: int) -> tuple[Exchange, End] | None:
        exchange = self.pick(choice)
        target = None if exchange is None else self.target_of(exchange)
        if exchange is None or target is None or not exchange.answered:
            return None
        if exchange.said_all or exchange.target_left or exchange.target_closed:
            return None
        return exchange, target

    def target_sends(self, choice: int, size: int) -> None:
        found = self.answering(choice)
        if found is not None:
            found[1].send(found[0], size, found[0].said)

    def target_ends(self, choice: int, size: int) -> None:
        found = self.answering(choice)
        if found is not None:
            exchange, target = found
            exchange.said_all = True
            exchange.said_trailers = size % 2 == 1
            target.finish(exchange, trailers=exchange.said_trailers)

    def target_leaves(self, choice: int, size: int) -> None:
        exchange = self.pick(choice)
        target = None if exchange is None else self.target_of(exchange)
        if size % 4 or exchange is None or target is None:
            return
        over = exchange.target_left or exchange.target_closed or (exchange.said_all and exchange.request_whole)
        if not over and not exchange.said_all:
            exchange.target_left = True
            target.codec.reset_stream(target.number_of(exchange), CANCEL)

    def target_takes(self, choice: int, size: int) -> None:
        del size
        if self.targets:
            self.targets[choice % len(self.targets)].grant()

    def target_changes(self, choice: int, size: int) -> None:
        if self.targets:
            codec = self.targets[choice % len(self.targets)].codec
            codec.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})

    def pick(self, choice: int) -> Exchange | None:
        return self.exchanges[choice % len(self.exchanges)] if self.exchanges else None

    # The end

    def come_to_an_end(self) -> None:
        """Everybody says all that is left to say, and takes all that comes."""
        for exchange in self.exchanges:
            self.client_ends(exchange.number, 0)
        self.take_all()
        for exchange in self.exchanges:
            self.target_answers(exchange.number, 1)
            self.target_ends(exchange.number, 0)
        self.take_all()

    def take_all(self) -> None:
        self.client.codec.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        for target in self.targets:
            target.codec.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        self.pump()
        while self.client.owed or any(target.owed for target in self.targets):
            for end in (self.client, *self.targets):
                end.grant()
            self.pump()


STEPS = {
    "open": Conversation.open,
    "client_sends": Conversation.client_sends,
    "client_ends": Conversation.client_ends,
    "client_leaves": Conversation.client_leaves,
    "client_takes": Conversation.client_takes,
    "client_changes": Conversation.client_changes,
    "target_answers": Conversation.target_answers,
    "target_sends": Conversation.target_sends,
    "target_ends": Conversation.target_ends,
    "target_leaves": Conversation.target_leaves,
    "target_takes": Conversation.target_takes,
    "target_changes": Conversation.target_changes,
}
# What is worth more when there is more of it.
OFTEN = ("client_sends", "target_answers", "target_sends")
SIZES = st.one_of(st.integers(0, 40), st.integers(0, 80_000), st.sampled_from([16_384, 32_768, 65_535, 65_536]))
SETTINGS = st.fixed_dictionaries(
    {
        SettingCodes.INITIAL_WINDOW_SIZE: st.sampled_from([0, 1, 100, 65_535, 1 << 20]),
        SettingCodes.MAX_FRAME_SIZE: st.sampled_from([16_384, 65_536]),
        SettingCodes.MAX_CONCURRENT_STREAMS: st.sampled_from([1, 3, 100]),
    }
)
# A step, on which exchange or connection, how much, and whether it is heard before the next one.
PLAN = st.lists(st.tuples(st.sampled_from([*STEPS, *OFTEN]), st.integers(0, 7), SIZES, st.booleans()), max_size=40)
PIECES = st.sampled_from([1 << 20, 5_000, 77])


def check(exchange: Exchange) -> None:
    """What arrived is what was sent: all of it, or the beginning of it where somebody gave up."""
    assert exchange.asked.startswith(exchange.request)
    early = exchange.said_all and not exchange.request_whole
    if not (exchange.client_left or exchange.target_left or early):
        assert exchange.request == exchange.asked
        assert exchange.request_whole
        assert exchange.request_trailers == trailers(exchange, exchange.asked_trailers)
    if exchange.client_left:
        assert not exchange.answer_whole or exchange.answer == exchange.said
        return
    if exchange.target_left and not exchange.answered:
        assert (exchange.status, exchange.answer_whole) == (502, True)
        return
    assert exchange.status == 200
    assert exchange.said.startswith(exchange.answer)
    if exchange.target_left:
        assert exchange.client_closed
        assert not exchange.answer_whole
        return
    assert exchange.answer == exchange.said
    assert exchange.answer_whole
    assert exchange.answer_trailers == trailers(exchange, exchange.said_trailers)


def trailers(exchange: Exchange, sent: bool) -> list[Pair]:
    return [(b"x-sum", b"%d" % exchange.number)] if sent else []


CONSUME = WindowManager.window_consumed


def consume(window: WindowManager, size: int) -> None:
    """`h2` takes it ill that a body ends below its window (RFC 9113 6.9.1: an empty DATA may always be sent)."""
    if size:
        CONSUME(window, size)


@pytest.fixture(autouse=True)
def empty_data_needs_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WindowManager, "window_consumed", consume)


@given(PIECES, SETTINGS, SETTINGS, PLAN)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_arrives_is_what_was_sent(
    piece: int, down: dict[SettingCodes, int], up: dict[SettingCodes, int], plan: list[tuple[str, int, int, bool]]
) -> None:
    talk = Conversation(piece, down, up)
    try:
        talk.pump()
        talk.open(0, 1)
        for name, choice, size, pause in plan:
            STEPS[name](talk, choice, size)
            if pause:
                talk.pump()
        talk.pump()
        talk.come_to_an_end()
        for exchange in talk.exchanges:
            check(exchange)
        assert talk.dialogue.in_flight == {}
        assert len(talk.dialogue.records) == len(talk.exchanges)
        assert repr(talk.client.peer) == "open"
    finally:
        talk.dialogue.close()
