"""Read markers and what is unread, and the snapshot that a client starts from."""

import pytest

from tests.api.people import (
    done,
    faults,
    log_of,
    make_channel,
    own_events,
    own_top,
    position,
    post,
    walk,
)
from tests.support.client import unique


@pytest.fixture
def channel(ada, ben):
    """A private channel of ada's and ben's; its log stands at 3."""
    return make_channel(ada, "private", name=unique("reads"), members=[ben])


def read(reader, channel, offset):
    return reader.put(f"/channels/{channel['id']}/read", {"offset": offset})


def sync(reader, channel, **query):
    return done(reader.get(f"/channels/{channel['id']}/sync", params=query))


class TestMarker:
    def test_it_moves_forward(self, ada, channel, newcomer, shared_server):
        ada.put(f"/channels/{channel['id']}/members/{newcomer.id}")
        messages = [post(ada, channel, str(number)) for number in range(3)]
        top = own_top(newcomer, shared_server)
        response = read(newcomer, channel, messages[1]["offset"])
        (event,) = own_events(newcomer, shared_server, top)
        offset = messages[1]["offset"]

        assert done(response) == {"read_offset": offset, "unread": 1}
        assert event["type"] == "read.moved"
        assert event["data"] == {"channel_id": channel["id"], "offset": offset, "unread": 1}
        assert position(response)[:2] == (f"user:{newcomer.id}", top + 1)

    @pytest.mark.parametrize("offset", [0, 1, 4])
    def test_and_never_back(self, ada, ben, channel, offset):
        """A slow device must not make read what another has read long ago unread again."""
        post(ada, channel)
        done(read(ben, channel, 4))
        response = read(ben, channel, offset)

        assert done(response) == {"read_offset": 4, "unread": 0}
        assert "Fanfare-Position" not in response.headers

    def test_nobody_reads_ahead(self, ada, ben, channel):
        """Or what comes next would be read before it was written."""
        post(ada, channel)

        for offset in (5, 2**53 - 1):
            assert faults(read(ben, channel, offset)) == {"offset"}
        assert sync(ben, channel)["read_offset"] == 0
        assert done(read(ben, channel, 4))["read_offset"] == 4

    def test_each_person_has_one(self, ada, ben, channel):
        post(ada, channel)
        done(read(ben, channel, 4))

        assert sync(ada, channel)["read_offset"] == 0
        assert sync(ben, channel)["read_offset"] == 4

    def test_a_reader_of_a_public_channel_has_one_too(self, ada, eve):
        channel = make_channel(ada)
        post(ada, channel)

        assert done(read(eve, channel, 2)) == {"read_offset": 2, "unread": 1}
        assert sync(eve, channel)["read_offset"] == 2

    def test_it_tells_nobody_else(self, ada, ben, channel, connect):
        """What somebody has read is not a thing of the channel."""
        post(ada, channel)
        done(read(ben, channel, 4))

        assert [event["type"] for event in log_of(ada, channel, 4)] == []


class TestUnread:
    def test_it_counts_what_others_wrote(self, ada, ben, channel):
        for author in (ada, ben, ada, ada):
            post(author, channel)

        assert (sync(ada, channel)["unread"], sync(ben, channel)["unread"]) == (1, 3)

    def test_what_was_deleted_counts_no_more(self, ada, ben, channel):
        messages = [post(ada, channel) for _ in range(3)]
        ada.delete(f"/channels/{channel['id']}/messages/{messages[1]['id']}")

        assert sync(ben, channel)["unread"] == 2

    def test_other_events_dont_count(self, ada, ben, channel):
        message = post(ada, channel)
        ada.patch(f"/channels/{channel['id']}/messages/{message['id']}", {"body": "edited"})
        ada.patch(f"/channels/{channel['id']}", {"topic": "changed"})
        ada.post(f"/channels/{channel['id']}/events", {"type": "order.paid", "data": 1})

        assert sync(ben, channel)["unread"] == 1

    def test_every_door_tells_the_same(self, ada, ben, channel, connect):
        messages = [post(ada, channel) for _ in range(5)]
        told = done(read(ben, channel, messages[2]["offset"]))
        (listed,) = walk(ben, "/channels", member="me", q=channel["name"])
        offset = {"channel": channel["id"], "offset": messages[2]["offset"]}
        ack = connect(ben).ok("read", offset)

        assert told["unread"] == listed["unread"] == sync(ben, channel)["unread"] == 2
        assert ack["unread"] == 2
        assert listed["membership"]["read_offset"] == messages[2]["offset"]


class TestSync:
    def test_it_is_all_one_needs(self, ada, ben, channel):
        messages = [post(ada, channel, str(number)) for number in range(3)]
        done(read(ben, channel, 4))
        found = sync(ben, channel)
        top = log_of(ada, channel)[-1]

        assert found["channel"] == channel
        assert found["messages"] == messages
        assert found["membership"]["user_id"] == ben.id
        assert found["members"] == walk(ada, f"/channels/{channel['id']}/members")
        assert found["member_count"] == 2
        assert (found["read_offset"], found["unread"]) == (4, 2)
        assert found["presence"] == {"count": 0, "people": []}
        assert found["position"]["offset"] == top["offset"] == 6

    def test_the_newest_messages_oldest_first(self, ada, channel):
        messages = [post(ada, channel, str(number)) for number in range(4)]

        assert sync(ada, channel, messages=2)["messages"] == messages[2:]
        assert sync(ada, channel, messages=200)["messages"] == messages

    @pytest.mark.parametrize("count", ["0", "201", "-1", "x", "1.5", ""])
    def test_a_wrong_count_is_named(self, ada, channel, count):
        response = ada.get(f"/channels/{channel['id']}/sync", params={"messages": count})

        assert faults(response) == {"messages"}

    def test_who_is_no_member_is_told_so(self, ada, eve):
        found = sync(eve, make_channel(ada))

        assert found["membership"] is None
        assert found["unread"] == 0

    def test_what_follows_its_position_is_what_is_new(self, ada, channel, connect):
        position = sync(ada, channel)["position"]
        message = post(ada, channel)
        stream = f"channel:{channel['id']}"
        ack = connect(ada).ok("subscribe", {"stream": stream, "after": position})

        assert [event["data"] for event in ack["events"]] == [message]
