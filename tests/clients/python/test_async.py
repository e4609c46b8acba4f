"""The asyncio flavour against a real server, through each of its doors."""

import asyncio

import pytest

from fanfare_client import (
    EndedError,
    Event,
    FanfareError,
    Position,
    Reset,
    ResetError,
    Roster,
    Signal,
    State,
    Unsubscribed,
    UnsubscribedError,
)
from tests.clients.conftest import make_channel, say
from tests.clients.python.conftest import client_of, run, until
from tests.support.client import registered


def bodies(events: list[Event]) -> list[str]:
    return [event.data["body"] for event in events if event.type == "message.created"]


async def take(subscription, count: int) -> list[Event]:
    return [await anext(subscription) for _ in range(count)]


async def to_the_end(subscription) -> None:
    async for _ in subscription:
        pass


class TestFollowing:
    def test_it_is_live_through_the_wanted_door(self, ada, door):
        async def walk() -> State:
            async with client_of(ada, door=door) as client:
                return client.state

        state = run(walk())

        assert (state.state, state.door) == ("live", door)

    def test_what_is_published_comes_in_order_and_once(self, ada, channel, door):
        async def walk() -> list[Event]:
            async with client_of(ada, door=door) as client:
                subscription = await client.channel(channel["slug"]).subscribe()
                await asyncio.to_thread(say, ada, channel, *map(str, range(20)))
                return await take(subscription, 20)

        events = run(walk())

        assert bodies(events) == [*map(str, range(20))]
        assert [event.offset for event in events] == [*range(3, 23)]
        assert {event.stream for event in events} == {channel["stream"]}

    def test_history_comes_first(self, ada, channel, door):
        say(ada, channel, "one", "two", "three")

        async def walk() -> list[Event]:
            async with client_of(ada, door=door) as client:
                subscription = await client.channel(channel["id"]).subscribe(history=2)
                start = subscription.position
                assert start is not None
                assert start.offset == 3
                await client.channel(channel["id"]).send("four")
                return await take(subscription, 3)

        assert bodies(run(walk())) == ["two", "three", "four"]

    def test_from_a_position_on_comes_all_that_was_missed(self, ada, channel, door):
        """Also when more is missed than one page holds."""

        async def first() -> Position:
            async with client_of(ada, door=door) as client:
                subscription = await client.channel(channel["id"]).subscribe()
                assert subscription.position is not None
                return subscription.position

        async def second(position: Position) -> list[Event]:
            async with client_of(ada, door=door) as client:
                subscription = await client.channel(channel["id"]).subscribe(after=position)
                return await take(subscription, 1200)

        position = run(first())
        for start in range(0, 1200, 100):
            events = [
                {"stream": channel["stream"], "type": "order.paid", "data": start + n}
                for n in range(100)
            ]
            assert ada.post("/publish", {"events": events}).ok

        assert [event.data for event in run(second(position))] == [*range(1200)]

    def test_handlers_are_called_one_after_the_other(self, ada, channel, door):
        """A handler that waits holds back the next event, and one that fails does not."""
        seen: list[str] = []

        async def on_event(event: Event) -> None:
            seen.append(f"begin {event.offset}")
            await asyncio.sleep(0)
            seen.append(f"end {event.offset}")
            if event.offset == 3:
                raise RuntimeError("a fault of the application")

        async def walk() -> None:
            async with client_of(ada, door=door) as client:
                subscription = await client.channel(channel["id"]).subscribe(on_event=on_event)
                for n in range(3):
                    await client.channel(channel["id"]).publish("order.paid", n)
                await until(lambda: len(seen) == 6)
                assert subscription.position is not None
                assert subscription.position.offset == 5

        run(walk())

        assert seen == [f"{word} {n}" for n in (3, 4, 5) for word in ("begin", "end")]

    def test_several_streams_and_the_own_one(self, ada, door):
        channels = [make_channel(ada) for _ in range(30)]

        async def walk() -> tuple[list[Event], Event]:
            async with client_of(ada, door=door) as client:
                own = await client.notifications.subscribe()
                subscriptions = [await client.channel(c["id"]).subscribe() for c in channels]
                for one in channels:
                    await asyncio.to_thread(say, ada, one, one["id"])
                found = [await anext(subscription) for subscription in subscriptions]
                await client.channel(channels[0]["id"]).read(3)
                return found, await anext(own)

        found, own = run(walk())

        assert bodies(found) == [one["id"] for one in channels]
        assert own.type == "read.moved"

    def test_signals_come_too(self, ada, channel, door):
        signals: list[Signal] = []

        async def walk(url: str) -> None:
            with registered(url) as bob:
                bob.put(f"/channels/{channel['id']}/members/me", {})
                async with client_of(ada, door=door) as here, client_of(bob) as there:
                    await here.channel(channel["id"]).subscribe(
                        on_event=lambda event: None, on_signal=signals.append
                    )
                    # One that comes between two polls is dropped, as signals may be.
                    while {signal.type for signal in signals} != {"typing", "cursor.moved"}:
                        await there.channel(channel["id"]).typing()
                        await there.channel(channel["id"]).publish(
                            "cursor.moved", {"x": 1}, ephemeral=True
                        )
                        await asyncio.sleep(0.05)

        run(walk(ada.url))

        assert {signal.actor for signal in signals} != {None}

    def test_who_is_present_is_shown_first_and_who_comes_after(self, ada, channel, door):
        hidden = make_channel(ada)
        rosters: list[Roster] = []
        signals: list[Signal] = []

        async def walk(bob) -> None:
            bob.put(f"/channels/{channel['id']}/members/me", {})
            async with client_of(ada, door=door) as here:
                await here.channel(hidden["slug"]).subscribe()
                await here.channel(channel["slug"]).subscribe(
                    presence=True,
                    on_event=lambda event: None,
                    on_presence=rosters.append,
                    on_signal=signals.append,
                )
                await until(lambda: rosters, "who is there")
                async with client_of(bob) as there:
                    await there.channel(channel["id"]).subscribe(presence=True)
                    roster = await there.channel(channel["id"]).presence()
                    assert {one["user_id"] for one in roster.people or ()} == {ada.id, bob.id}
                    await until(lambda: signals, "that somebody came")
                    # Where it was not asked for, one is not shown.
                    assert (await here.channel(hidden["slug"]).presence()).people == []

        with registered(ada.url) as bob:
            run(walk(bob))

        assert rosters[0].people is not None
        assert signals[0].type == "presence.joined"

    def test_who_leaves_hears_nothing_more(self, ada, channel, door):
        async def walk() -> list[Event]:
            async with client_of(ada, door=door) as client:
                gone = await client.channel(channel["id"]).subscribe()
                await gone.close()
                await asyncio.to_thread(say, ada, channel, "unheard")
                again = await client.channel(channel["id"]).subscribe()
                await asyncio.to_thread(say, ada, channel, "heard")
                return await take(again, 1)

        assert bodies(run(walk())) == ["heard"]


class TestLosing:
    def test_a_stranger_is_told_that_there_is_no_such_channel(self, ada, served, door):
        with registered(served.url) as bob:
            hidden = make_channel(bob, kind="private")

        async def walk() -> None:
            async with client_of(ada, door=door) as client:
                with pytest.raises(UnsubscribedError) as caught:
                    await client.channel(hidden["id"]).subscribe()
                assert caught.value.code == "not_found"
                # The good ones are not drawn in.
                mine = make_channel(ada)
                subscription = await client.channel(mine["id"]).subscribe()
                await client.channel(mine["id"]).send("still here")
                assert bodies(await take(subscription, 1)) == ["still here"]

        run(walk())

    def test_a_lost_membership_ends_the_subscription_alone(self, ada, served, door):
        told: list[Unsubscribed] = []

        async def walk(bob) -> None:
            hidden = make_channel(ada, kind="private", members=[bob.user["username"]])
            async with client_of(bob, door=door) as client:
                await client.channel(hidden["id"]).subscribe(
                    on_event=lambda event: None, on_unsubscribed=told.append
                )
                iterated = await client.channel(hidden["id"]).subscribe()
                assert ada.delete(f"/channels/{hidden['id']}/members/{bob.id}").ok
                with pytest.raises(UnsubscribedError) as caught:
                    await to_the_end(iterated)
                # Between two polls it is lost like one that never was.
                assert caught.value.code in ("forbidden", "not_found")
                await until(lambda: told)
                assert client.state.state == "live"

        with registered(served.url) as bob:
            run(walk(bob))

        assert told[0].code in ("forbidden", "not_found")

    def test_who_is_logged_out_ends(self, served, door):
        states: list[State] = []

        async def walk(bob) -> None:
            async with client_of(bob, door=door, on_state=states.append) as client:
                subscription = await client.notifications.subscribe()
                assert (await asyncio.to_thread(bob.post, "/auth/logout")).ok
                with pytest.raises(EndedError):
                    await to_the_end(subscription)
                with pytest.raises(EndedError):
                    await client.channel("x").send("too late")

        with registered(served.url) as bob:
            run(walk(bob))

        assert states[-1].state == "ended"

    def test_a_token_that_never_held_ends_the_connect(self, ada, door):
        async def walk() -> None:
            async with client_of(ada, door=door, token="e30.e30.c2ln"):
                pass

        with pytest.raises(EndedError):
            run(walk())


class TestResets:
    def test_a_foreign_position_is_told_and_the_stream_goes_on(self, ada, channel, door):
        resets: list[Reset] = []
        events: list[Event] = []

        async def walk() -> None:
            async with client_of(ada, door=door) as client:
                await client.channel(channel["id"]).subscribe(
                    after=Position(1, "elsewhere"),
                    on_event=events.append,
                    on_reset=resets.append,
                )
                await client.channel(channel["id"]).send("next")
                await until(lambda: events, "the next event")

        run(walk())

        assert [(reset.reason, reset.position.offset) for reset in resets] == [("epoch", 2)]
        assert bodies(events) == ["next"]

    def test_iterating_raises_it_and_can_go_on(self, ada, channel, door):
        async def walk() -> list[Event]:
            async with client_of(ada, door=door) as client:
                subscription = await client.channel(channel["id"]).subscribe(
                    after=Position(1, "elsewhere")
                )
                with pytest.raises(ResetError):
                    await anext(subscription)
                snapshot = await subscription.sync()
                assert subscription.position == Position.of(snapshot["position"])
                await client.channel(channel["id"]).send("next")
                return await take(subscription, 1)

        assert bodies(run(walk())) == ["next"]

    def test_events_that_a_snapshot_holds_are_not_given_again(self, ada, channel, door):
        async def walk() -> list[Event]:
            async with client_of(ada, door=door) as client:
                subscription = await client.channel(channel["id"]).subscribe()
                await client.channel(channel["id"]).send("in the snapshot")
                await until(lambda: subscription.waiting)
                snapshot = await subscription.sync()
                assert snapshot["messages"][-1]["body"] == "in the snapshot"
                await client.channel(channel["id"]).send("after it")
                return await take(subscription, 1)

        assert bodies(run(walk())) == ["after it"]


class TestPublishing:
    def test_it_tells_where_it_was_logged_and_the_key_comes_back(self, ada, channel, door):
        async def walk() -> None:
            async with client_of(ada, door=door) as client:
                there = client.channel(channel["id"])
                subscription = await there.subscribe()
                first = await there.send("Hello", key="k1", data={"n": 1})
                again = await there.send("Hello", key="k1", data={"n": 1})
                paid = await there.publish("order.paid", {"order": 42})
                events = await take(subscription, 2)

                assert first.position == again.position == events[0].position
                assert (first.replayed, again.replayed) == (False, True)
                assert first.message is not None
                assert first.message["body"] == "Hello"
                assert events[0].key == "k1"
                assert paid.position == events[1].position

        run(walk())

    def test_one_of_the_own_stream(self, ada, door):
        async def walk() -> Event:
            async with client_of(ada, door=door) as client:
                subscription = await client.notifications.subscribe()
                await client.publish("user:me", "note.made", 7)
                return await anext(subscription)

        assert run(walk()).data == 7

    def test_what_is_refused_is_raised_and_the_next_goes_on(self, ada, channel, door):
        async def walk() -> None:
            async with client_of(ada, door=door) as client:
                there = client.channel(channel["id"])
                await there.send("Hello", key="k1")
                with pytest.raises(FanfareError) as caught:
                    await there.send("Something else", key="k1")
                assert caught.value.code == "conflict"
                assert (await there.send("fine")).position
                assert client.waiting == 0

        run(walk())

    def test_many_at_once_keep_their_order(self, ada, channel, door):
        async def walk() -> list[Event]:
            async with client_of(ada, door=door) as client:
                there = client.channel(channel["id"])
                subscription = await there.subscribe()
                await asyncio.gather(*(there.send(str(n)) for n in range(40)))
                return await take(subscription, 40)

        assert bodies(run(walk())) == [*map(str, range(40))]


class TestReading:
    def test_the_log_messages_sync_presence_and_the_marker(self, ada, channel, door):
        say(ada, channel, *"abcde")

        async def walk() -> None:
            async with client_of(ada, door=door) as client:
                there = client.channel(channel["slug"])
                log = [event async for event in there.history(limit=2)]
                tail = [event.offset async for event in there.history(log[4].position)]
                page = await there.messages(limit=2)
                read = await there.read(4)

                assert [event.offset for event in log] == [*range(1, 8)]
                assert tail == [6, 7]
                assert [message["body"] for message in page["items"]] == ["e", "d"]
                assert (await there.sync())["position"]["offset"] == 7
                assert (await there.presence()).people == []
                assert read == {"read_offset": 4, "unread": 0}
                assert await client.notifications.unread() == 0
                assert (await client.notifications.list())["items"] == []

        run(walk())

    def test_messages_are_changed_and_deleted(self, ada, channel, door):
        async def walk() -> None:
            async with client_of(ada, door=door) as client:
                there = client.channel(channel["id"])
                made = (await there.send("Helo")).message
                assert made is not None
                edited = await there.edit(made["id"], "Hello")
                deleted = await there.delete(made["id"])

                assert edited["body"] == "Hello"
                assert deleted["deleted_at"]

        run(walk())

    def test_a_log_that_can_not_be_gone_on_with_says_so(self, ada, channel):
        async def walk() -> None:
            async with client_of(ada) as client:
                there = client.channel(channel["id"])
                with pytest.raises(ResetError):
                    async for _ in there.history(Position(1, "elsewhere")):
                        pass

        run(walk())
