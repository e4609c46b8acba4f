"""The faults: each breaks one promise in a way in which real servers have broken it.

What a fault takes the place of is named where it is planted: when that moves, planting fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.event_cursor import EventCursors
from core.events import Control
from core.pages import Json
from core.positions import Position, StreamState
from core.services import history, intents, messages, publish, snapshots
from core.services.history import Wish
from core.store import appends
from core.store.database import Write
from realtime import green, handlers
from realtime.connection import Connection
from realtime.follower import Follower
from realtime.followers import Followers
from realtime.gateway import Gateway
from realtime.hub import Frame, Hub, Watcher
from realtime.node import Node
from realtime.sse import SseStream


@dataclass(frozen=True, slots=True)
class Fault:
    """What is broken, how, and which tests of the suite have to say so.

    A test is named as pytest does, without what stands for the address: `test_a` or `test_a[sse]`.
    """

    says: str
    plant: Callable[[], None]
    caught_by: tuple[str, ...]


def _replace(place: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(place, name, make(getattr(place, name)))


def _fan_out_by(choose: Callable[[str, int, tuple[Any, ...]], list[tuple[Any, ...]]]) -> None:
    """Fan out what `choose` makes of each event, as offsets with what goes with them."""

    def make(fan_out: Any) -> Any:
        def broken(self: Hub, stream: str, offset: int, *more: Any) -> None:
            for event in choose(stream, offset, more):
                fan_out(self, stream, *event)

        return broken

    _replace(Hub, "fan_out", make)


def _drop_every_seventh() -> None:
    _fan_out_by(lambda _, offset, more: [(offset, *more)] if offset % 7 else [])


def _double_every_fifth() -> None:
    _fan_out_by(lambda _, offset, more: [(offset, *more)] * (1 if offset % 5 else 2))


def _swap_two() -> None:
    kept: dict[str, tuple[Any, ...]] = {}

    def choose(stream: str, offset: int, more: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if offset % 6 == 0:
            kept[stream] = (offset, *more)
            return []
        late = kept.pop(stream, None)
        return [(offset, *more)] if late is None else [(offset, *more), late]

    _fan_out_by(choose)


def _forget_keys() -> None:
    def make(add: Any) -> Any:
        def broken(write: Write, rows: list[Json], *more: Any) -> None:
            # The log holds no key to find; the event that is told of has it all the same.
            add(write, [{**row, "key": None} for row in rows], *more)

        return broken

    _replace(appends, "add", make)
    # Nor is it looked for among those who are committed together.
    _replace(intents._Round, "_is_repeated", lambda _: lambda _self, _intent: False)


def _take_any_content_for_a_retry() -> None:
    for place in (publish, messages):
        _replace(place, "digest_of", lambda _: lambda _type, _asked: "the same")


def _deaf_to(kind: str) -> Callable[[], None]:
    def make(act_on: Any) -> Any:
        def broken(self: Node, control: Control) -> None:
            if control.kind != kind:
                act_on(self, control)

        return broken

    return lambda: _replace(Node, "act_on", make)


def _ack_late() -> None:
    subscribe: Any = handlers.HANDLERS["subscribe"]

    def broken(gateway: Gateway, connection: Connection, packet: Any, reply: Any) -> Any:
        def later(ack: Json) -> None:
            green.later(0.2, lambda: reply(ack))

        return subscribe(gateway, connection, packet, later)

    handlers.HANDLERS["subscribe"] = broken


def _trust_every_position() -> None:
    def make(judge: Any) -> Any:
        def broken(after: Position, state: StreamState) -> Any:
            return judge(Position(min(after.offset, state.top), state.epoch), state)

        return broken

    _replace(history, "judge_resume", make)


def _forget_who_saw_nothing() -> None:
    def make(start: Any) -> Any:
        def broken(wish: Wish, state: StreamState) -> Any:
            found = start(wish, state)
            return found if found.offset else state.position

        return broken

    _replace(history, "_start", make)


def _look_at_the_position_too_late() -> None:
    def make(own: Any) -> Any:
        def broken(*arguments: Any) -> Json:
            told: Json = own(*arguments)
            told["position"]["offset"] += 1
            return told

        return broken

    _replace(snapshots, "_own", make)


def _count_no_subscriptions() -> None:
    _replace(handlers, "_check_room", lambda _: lambda *_arguments: None)


def _queue_without_a_bound() -> None:
    def has_room(self: Connection, _size: int) -> bool:
        return not self.is_over()

    _replace(Connection, "_has_room_for", lambda _: has_room)
    _replace(Connection, "cut", lambda _: lambda _self: None)


def _show_signals_to_their_maker() -> None:
    def make(fan_out: Any) -> Any:
        def broken(self: Hub, stream: str, frame: Frame, _but: Watcher | None = None) -> None:
            fan_out(self, stream, frame)

        return broken

    _replace(Hub, "fan_out_signal", make)


def _forget_how_far_it_got() -> None:
    _replace(Follower, "pass_on", lambda _: lambda _self, _frame: None)


def _send_no_ids() -> None:
    def make(render: Any) -> Any:
        def broken(self: SseStream, frame: Frame, **_more: Any) -> Any:
            return render(self, frame)

        return broken

    _replace(SseStream, "_render", make)


def _hold_the_greeting_back() -> None:
    _replace(SseStream, "greet", lambda _: lambda *_arguments: None)


def _sign_nothing() -> None:
    _replace(EventCursors, "_sign", lambda _: lambda _self, _body: bytes(12))


def _answer_polls_at_once() -> None:
    _replace(Followers, "_wait", lambda _: lambda *_arguments: None)


def _nothing() -> None:
    """Break nothing."""


IN_ORDER = (
    "test_there_is_no_gap_and_no_repeat_while_many_write[socket]",
    "test_there_is_no_gap_and_no_repeat_while_many_write[sse]",
)
FAULTS: Mapping[str, Fault] = {
    "none": Fault("nothing is broken", _nothing, ()),
    "drops": Fault(
        "every seventh event reaches no watcher",
        _drop_every_seventh,
        IN_ORDER,
    ),
    "doubles": Fault(
        "every fifth event comes twice",
        _double_every_fifth,
        IN_ORDER,
    ),
    "swaps": Fault(
        "some events come after the ones that follow them",
        _swap_two,
        IN_ORDER,
    ),
    "forgets-keys": Fault(
        "a retry with a key takes effect again",
        _forget_keys,
        (
            "test_a_retry_takes_no_effect_and_gets_the_first_result",
            "test_retries_at_the_same_moment_take_effect_once",
        ),
    ),
    "trusts-keys": Fault(
        "a key that is used for something else is answered as a retry",
        _take_any_content_for_a_retry,
        ("test_the_same_key_for_something_else_is_a_conflict",),
    ),
    "leaks": Fault(
        "who is removed from a private channel watches on",
        _deaf_to("access_lost"),
        (
            "test_who_is_removed_while_watching_is_told[socket]",
            "test_who_is_removed_sees_nothing_of_what_comes_after[socket]",
            "test_who_is_removed_sees_nothing_of_what_comes_after[sse]",
        ),
    ),
    "outlives-logout": Fault(
        "what is open stays open after the logout",
        _deaf_to("session_revoked"),
        (
            "test_logout_ends_every_socket_of_the_session",
            "test_logout_ends_a_poll_that_waits",
            "test_logout_ends_a_stream_of_sse",
        ),
    ),
    "acks-late": Fault(
        "the ack of subscribe comes after later events",
        _ack_late,
        ("test_the_first_live_event_is_the_one_after_the_ack",),
    ),
    "trusts-positions": Fault(
        "a position of another numbering, or ahead of the log, is answered with silence",
        _trust_every_position,
        (
            "test_a_position_of_another_numbering_is_answered_with_a_reset[socket]",
            "test_a_position_of_another_numbering_is_answered_with_a_reset[pages]",
            "test_a_position_of_another_numbering_is_answered_with_a_reset[sse]",
            "test_a_position_of_another_numbering_is_answered_with_a_reset[poll]",
            "test_a_position_ahead_of_the_log_is_answered_with_a_reset[socket]",
        ),
    ),
    "needs-an-event": Fault(
        "who has seen no event yet resumes at the top",
        _forget_who_saw_nothing,
        ("test_from_before_the_first_event_comes_everything[socket]",),
    ),
    "late-position": Fault(
        "a snapshot has a position of a moment later",
        _look_at_the_position_too_late,
        ("test_an_old_snapshot_and_what_came_after_is_a_new_snapshot[socket]",),
    ),
    "watches-all": Fault(
        "subscriptions are not counted",
        _count_no_subscriptions,
        ("test_one_too_many_is_refused_and_the_others_stay",),
    ),
    "never-cuts": Fault(
        "whatever waits for a slow reader is kept",
        _queue_without_a_bound,
        ("test_who_does_not_read_is_cut_off_and_loses_nothing",),
    ),
    "stands-still": Fault(
        "cursors and ids stay where they were, whatever was told",
        _forget_how_far_it_got,
        (
            "test_later_ones_hold_what_came_after_the_cursor",
            "test_the_last_id_goes_on_exactly_behind_it",
        ),
    ),
    "no-ids": Fault(
        "events of SSE have no id to go on from",
        _send_no_ids,
        ("test_each_event_has_an_id_to_go_on_from",),
    ),
    "holds-back": Fault(
        "nothing of a stream of SSE is sent before its first event",
        _hold_the_greeting_back,
        ("test_it_begins_with_ready",),
    ),
    "trusts-cursors": Fault(
        "a cursor is believed, whoever wrote it",
        _sign_nothing,
        ("test_a_spoilt_one_is_refused[changed]",),
    ),
    "never-waits": Fault(
        "a poll is answered at once, empty",
        _answer_polls_at_once,
        ("test_one_that_waits_is_given_as_soon_as_there_is_something",),
    ),
    "echoes": Fault(
        "a signal comes back to its maker",
        _show_signals_to_their_maker,
        ("test_a_signal_reaches_who_watches_but_not_its_maker",),
    ),
}
