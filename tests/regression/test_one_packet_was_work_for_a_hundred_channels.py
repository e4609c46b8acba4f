"""One packet changed presence in each of 128 channels, at the price of one.

`presence.set` fifty times a second was 6,400 changes in Redis and as many signals to everybody
there, and `resume` as many rosters of up to 200 people: one client could keep all nodes busy.
"""

import pytest

from core.ids import new_id
from realtime.limits import Bucket
from tests.delivery.raw import RawSocket
from tests.support.client import registered

CHANNELS = 10
TIMES = 35


@pytest.fixture
def server(start_own):
    """A server with room for ten channels: 50 turns at once, and as many a second."""
    return start_own(MAX_SUBSCRIPTIONS=CHANNELS)


@pytest.fixture
def ada(server):
    with registered(server.url) as client:
        yield client


@pytest.fixture
def streams(ada):
    made = [ada.post("/channels", {"name": new_id(), "kind": "private"}) for _ in range(CHANNELS)]
    return [f"channel:{answer.json()['id']}" for answer in made]


def outcomes(connection, name, packet):
    """Send a packet many times at once; give the codes of the refusals, None for those done."""
    sent = [connection.send(name, packet) for _ in range(TIMES)]
    acks = [connection.read_ack(ack_id) for ack_id in sent]
    return [ack.get("error", {}).get("code") for ack in acks]


class TestManyChannels:
    def test_each_channel_in_which_a_status_is_shown_counts(self, server, ada, streams):
        with RawSocket(server.url, ada.access_token) as connection:
            for stream in streams:
                connection.ok("subscribe", {"stream": stream, "presence": True})
            found = outcomes(connection, "presence.set", {"status": "away"})

        assert {None, "rate_limited"} == set(found)

    def test_each_channel_that_is_entered_again_counts(self, server, ada, streams):
        with RawSocket(server.url, ada.access_token) as connection:
            positions = {
                stream: connection.ok("subscribe", {"stream": stream})["position"]
                for stream in streams
            }
            packet = {"positions": positions, "presence": streams}
            found = outcomes(connection, "resume", packet)
            still_watches = connection.call("unsubscribe", {"stream": streams[0]})["ok"]

        assert {None, "rate_limited"} == set(found)
        assert still_watches

    def test_without_presence_nothing_of_it_counts(self, server, ada, streams):
        with RawSocket(server.url, ada.access_token) as connection:
            positions = {
                stream: connection.ok("subscribe", {"stream": stream})["position"]
                for stream in streams
            }
            found = outcomes(connection, "resume", {"positions": positions})

        assert set(found) == {None}


class TestBucket:
    def test_turns_are_taken_and_come_back_with_time(self):
        bucket = Bucket(10, 0.0, 20)

        assert bucket.take(0.0, 15) == 0
        assert bucket.take(0.0, 15) == pytest.approx(1.0)
        assert bucket.take(1.0, 15) == 0
        bucket.give_back(15)
        assert bucket.take(1.0, 15) == 0
        assert bucket.take(1000.0, 20) == 0
        assert bucket.take(1000.0) == pytest.approx(0.1)

    def test_what_comes_back_is_never_more_than_fits(self):
        bucket = Bucket(10, 0.0, 20)
        bucket.give_back(100)

        assert bucket.take(0.0, 20) == 0
        assert bucket.take(0.0) > 0
