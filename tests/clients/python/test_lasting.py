"""The asyncio flavour over all that ends a door: restarts, cuts, tokens, slow applications."""

import asyncio
import random
import threading
from dataclasses import replace

import pytest

from fanfare_client import AsyncFanfare, EndedError, Event, Published, State, Timing
from fanfare_client.core.outbox import replay
from tests.clients.conftest import make_channel, say
from tests.clients.python.conftest import DOORS, QUICK, client_of, run, until
from tests.clients.python.test_async import bodies, take
from tests.support.bad_proxies import BadProxy
from tests.support.client import registered
from tests.support.server import Server


class TestRestarts:
    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_nothing_is_lost_and_nothing_doubled(self, own_server: Server, door, how):
        """Stopped in order (with a goodbye), or as by a power cut."""

        async def walk(person) -> list[Event]:
            channel = make_channel(person)
            async with client_of(person, door=door) as client:
                subscription = await client.channel(channel["id"]).subscribe()
                for n in range(3):
                    await asyncio.to_thread(say, person, channel, f"before {n}")
                    await asyncio.to_thread(getattr(own_server, how))
                    await until(lambda: client.state.state != "live", "that it notices")
                    await asyncio.to_thread(own_server.start)
                    await asyncio.to_thread(say, person, channel, f"after {n}")
                    await until(lambda: client.state.state == "live", "the next door")
                return await take(subscription, 6)

        with registered(own_server.url) as person:
            events = run(walk(person))

        assert bodies(events) == [f"{word} {n}" for n in range(3) for word in ("before", "after")]

    def test_publishes_wait_for_the_server(self, own_server: Server, door):
        async def walk(person) -> list[Event]:
            channel = make_channel(person)
            async with client_of(person, door=door) as client:
                there = client.channel(channel["id"])
                subscription = await there.subscribe()
                await asyncio.to_thread(own_server.kill)
                sends = [asyncio.create_task(there.send(str(n))) for n in range(3)]
                await until(lambda: client.waiting == 3)
                await asyncio.to_thread(own_server.start)
                await asyncio.gather(*sends)
                return await take(subscription, 3)

        with registered(own_server.url) as person:
            assert bodies(run(walk(person))) == ["0", "1", "2"]


class TestTheOutboxsFile:
    def test_it_survives_the_program(self, own_server: Server, tmp_path):
        """Three written while the server is away, and the first had arrived before: once each."""
        file = tmp_path / "outbox"

        async def offline(person, there: str) -> None:
            async with client_of(person, outbox=file) as client:
                await asyncio.to_thread(own_server.stop)
                channel = client.channel(there)
                sends = [
                    asyncio.create_task(channel.send(body, key=f"key {body}")) for body in "abc"
                ]
                await until(lambda: client.waiting == 3)
            for send in sends:
                with pytest.raises(EndedError):
                    await send

        async def online(person) -> None:
            async with client_of(person, outbox=file) as client:
                await until(lambda: client.waiting == 0, "an empty outbox")

        with registered(own_server.url) as person:
            channel = make_channel(person)
            body = {"body": "a", "key": "key a"}
            assert person.post(f"/channels/{channel['id']}/messages", body).ok
            run(offline(person, channel["id"]))
            own_server.start()
            run(online(person))
            page = person.get(f"/channels/{channel['id']}/messages?sort=offset").json()
            run(online(person))
            again = person.get(f"/channels/{channel['id']}/messages?sort=offset").json()

        assert [message["body"] for message in page["items"]] == ["a", "b", "c"]
        assert again == page
        assert replay(file.read_text().splitlines()) == []

    def test_one_that_never_was_online_can_write_to_it(self, ada, channel, tmp_path):
        file = tmp_path / "outbox"
        nowhere = "http://127.0.0.1:9"

        async def offline() -> None:
            client = AsyncFanfare(nowhere, token="x", outbox=file, timing=QUICK, trust_env=False)
            await client.connect(wait=False)
            send = asyncio.create_task(client.channel(channel["id"]).send("from the train"))
            await until(lambda: client.waiting == 1)
            await until(lambda: client.state.state == "offline")
            await client.close()
            await asyncio.gather(send, return_exceptions=True)

        async def online() -> list[Event]:
            async with client_of(ada, outbox=file) as client:
                subscription = await client.channel(channel["id"]).subscribe(history=1)
                return await take(subscription, 1)

        run(offline())

        assert bodies(run(online())) == ["from the train"]


class TestTokens:
    def test_a_refresh_token_is_renewed_in_time(self, start_server, door):
        """Tokens that hold for four seconds; the pairs are told, nobody ends, no socket is cut."""
        pairs: list[tuple[str, str]] = []
        states: list[State] = []

        async def walk(person) -> list[Event]:
            channel = make_channel(person)
            async with client_of(
                person,
                door=door,
                refresh_token=person.refresh_token,
                on_tokens=lambda *pair: pairs.append(pair),
                on_state=states.append,
            ) as client:
                there = client.channel(channel["id"])
                subscription = await there.subscribe()
                sent = 0
                while len(pairs) < 3:
                    await there.send(str(sent))
                    sent += 1
                    await asyncio.sleep(0.05)
                return await take(subscription, sent)

        server = start_server(ACCESS_TOKEN_TTL_S=4)
        with registered(server.url) as person:
            events = run(walk(person))

        assert bodies(events) == [*map(str, range(len(events)))]
        assert len(set(pairs)) == len(pairs)
        assert "ended" not in [state.state for state in states[:-1]]
        assert door != "socket" or [state.state for state in states] == ["live", "ended"]

    def test_a_function_is_asked_at_the_start_and_when_one_is_refused(self, start_server, door):
        asked: list[str | None] = []

        async def walk(server, person) -> None:
            async def token(refused: str | None) -> str:
                asked.append(refused)
                done = await asyncio.to_thread(
                    server.run, "token", person.user["username"], "--ttl", "2"
                )
                return done.stdout.strip()

            async with client_of(person, token=token, door=door) as client:
                await client.notifications.subscribe()
                await until(lambda: len(asked) >= 3, "two renewals")
                assert client.state.state != "ended"

        server = start_server()
        with registered(server.url) as person:
            run(walk(server, person))

        assert asked[0] is None
        assert all(asked[1:])

    def test_many_calls_at_once_renew_it_once(self, ada):
        """Two refreshes with one token would end the session."""
        pairs: list[tuple[str, str]] = []

        async def walk(person) -> list[str]:
            client = AsyncFanfare(
                person.url,
                token="e30.e30.c2ln",
                refresh_token=person.refresh_token,
                on_tokens=lambda *pair: pairs.append(pair),
                trust_env=False,
            )
            found = await asyncio.gather(*(client.get("/me") for _ in range(10)))
            await client.close()
            return [one["id"] for one in found]

        with registered(ada.url) as person:
            assert run(walk(person)) == [person.id] * 10

        assert len(pairs) == 1

    def test_a_function_that_fails_is_asked_again(self, ada):
        calls: list[str | None] = []

        def token(refused: str | None) -> str:
            calls.append(refused)
            if len(calls) < 3:
                raise OSError("the server of tokens is away")
            return ada.access_token or ""

        async def walk() -> State:
            async with client_of(ada, token=token) as client:
                return client.state

        assert run(walk()).state == "live"
        assert len(calls) == 3


class TestSlowApplications:
    def test_what_waits_is_bounded_and_nothing_is_lost(self, ada, channel, door):
        """A page may come on top of the bound, and no more than that."""
        release = asyncio.Event()
        seen: list[int] = []
        bound, total = 50, 1500

        async def on_event(event: Event) -> None:
            await release.wait()
            seen.append(event.data)

        async def walk() -> int:
            async with client_of(ada, door=door, backlog=bound) as client:
                subscription = await client.channel(channel["id"]).subscribe(on_event=on_event)
                for start in range(0, total, 100):
                    events = [
                        {"stream": channel["stream"], "type": "order.paid", "data": start + n}
                        for n in range(100)
                    ]
                    await asyncio.to_thread(ada.post, "/publish", {"events": events})
                await until(lambda: client.state.state == "reconnecting", "that it stops reading")
                most = subscription.waiting
                release.set()
                await until(lambda: len(seen) == total, "all of them")
                return most

        most = run(walk())

        assert seen == [*range(total)]
        assert most < total


class TestBadNetworks:
    @pytest.mark.parametrize(
        ("fault", "ends_up"),
        [("refuse_upgrades", "sse"), ("swallow_frames", "sse"), ("buffer_sse", "poll")],
    )
    def test_it_goes_down_and_up_again(self, ada, channel, fault, ends_up):
        """The budgets are the real ones; at each step what is published arrives, once."""
        timing = replace(Timing(), probe_s=1.0, probe_most_s=2.0, backoff_s=0.05)

        async def walk(proxy: BadProxy) -> list[Event]:
            setattr(proxy, fault, True)
            if fault == "buffer_sse":
                proxy.refuse_upgrades = True
            async with client_of(ada, url=proxy.url, timing=timing) as client:
                there = client.channel(channel["id"])
                subscription = await there.subscribe()
                assert client.state.door == ends_up
                await there.send("below")
                events = await take(subscription, 1)
                proxy.heal()
                await until(lambda: client.state.door == "socket", "the socket")
                await there.send("above")
                return events + await take(subscription, 1)

        with BadProxy(ada.url) as proxy:
            assert bodies(run(walk(proxy))) == ["below", "above"]

    def test_a_socket_that_goes_deaf_is_left_and_the_publish_is_sent_again(self, start_server):
        """The packet got no ack in time: the same key goes by REST. No ping would tell it."""
        timing = replace(QUICK, ack_s=1.0, socket_s=1.0, probe_s=1000)

        async def walk(person, proxy: BadProxy) -> tuple[Published, list[Event]]:
            channel = make_channel(person)
            async with client_of(person, url=proxy.url, timing=timing) as client:
                there = client.channel(channel["id"])
                subscription = await there.subscribe()
                assert client.state.door == "socket"
                proxy.swallow_frames = True
                published = await there.send("in spite of it")
                await until(lambda: client.state.state == "live")
                assert client.state.door != "socket"
                return published, await take(subscription, 1)

        server = start_server(PING_INTERVAL_S=300)
        with registered(server.url) as person, BadProxy(server.url) as proxy:
            published, events = run(walk(person, proxy))

        assert bodies(events) == ["in spite of it"]
        assert published.position == events[0].position

    def test_cuts_are_healed(self, ada, channel, door):
        async def walk(proxy: BadProxy) -> list[Event]:
            async with client_of(ada, url=proxy.url, door=door) as client:
                there = client.channel(channel["id"])
                subscription = await there.subscribe()
                for n in range(10):
                    await there.send(str(n))
                    await asyncio.to_thread(proxy.cut)
                return await take(subscription, 10)

        with BadProxy(ada.url) as proxy:
            assert bodies(run(walk(proxy))) == [*map(str, range(10))]


class TestSwitching:
    def test_however_the_doors_change_the_list_is_the_log(self, ada, rng: random.Random):
        """Others publish and the client itself does, while it is sent from door to door, cut and
        let choose by itself; what was subscribed to from several places shows the same list.
        """
        channels = [make_channel(ada) for _ in range(3)]
        seen: dict[str, list[int]] = {channel["stream"]: [] for channel in channels}
        over = threading.Event()

        def publish() -> None:
            writer = random.Random(rng.random())
            with registered(ada.url) as bob:
                for channel in channels:
                    bob.put(f"/channels/{channel['id']}/members/me", {})
                for n in range(200):
                    say(bob, writer.choice(channels), f"bob {n}")
            over.set()

        async def walk(proxy: BadProxy) -> dict[str, list[int]]:
            moves = [*DOORS, None, "cut"]
            async with client_of(ada, url=proxy.url) as client:
                for channel in channels:
                    await client.channel(channel["id"]).subscribe(
                        history=100,
                        on_event=lambda event: seen[event.stream].append(event.offset),
                    )
                writing = asyncio.create_task(asyncio.to_thread(publish))
                sends = []
                while not over.is_set():
                    move = rng.choice(moves)
                    if move == "cut":
                        await asyncio.to_thread(proxy.cut)
                    else:
                        client.force(move)
                    there = client.channel(rng.choice(channels)["id"])
                    sends.append(asyncio.create_task(there.send("ada")))
                    await asyncio.sleep(rng.uniform(0, 0.1))
                client.force(None)
                await asyncio.gather(writing, *sends)
                logs = {
                    channel["stream"]: [
                        event.offset async for event in client.channel(channel["id"]).history()
                    ]
                    for channel in channels
                }
                await until(lambda: sum(map(len, seen.values())) >= sum(map(len, logs.values())))
                return logs

        with BadProxy(ada.url) as proxy:
            logs = run(walk(proxy))

        assert seen == logs
        assert sum(map(len, logs.values())) > 200
