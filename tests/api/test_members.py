"""Who is in a channel: joining, leaving, and which role may do what to which."""

import pytest

from core import permissions
from tests.api.people import (
    NOBODYS_ID,
    TIME,
    done,
    faults,
    log_of,
    make_channel,
    own_events,
    own_top,
    position,
    post,
    problem,
    walk,
)

ROLES = ("owner", "moderator", "member", "guest")


def path(channel, person) -> str:
    return f"/channels/{channel['id']}/members/{getattr(person, 'id', person)}"


def roles(reader, channel) -> dict[str, str]:
    members = walk(reader, f"/channels/{channel['id']}/members")
    return {member["user_id"]: member["role"] for member in members}


class TestJoining:
    @pytest.mark.parametrize("body", [None, {}, {"role": "member"}, {"role": None}])
    def test_anybody_may_join_what_is_public(self, ada, ben, body):
        channel = make_channel(ada)
        response = ben.put(path(channel, "me"), body)
        member = done(response, 201)
        (event,) = log_of(ada, channel, 2)

        assert response.headers["Location"] == f"/api/v1{path(channel, ben)}"
        assert (member["user_id"], member["username"]) == (ben.id, ben.user["username"])
        assert (member["role"], member["channel_id"]) == ("member", channel["id"])
        assert TIME.fullmatch(member["joined_at"])
        assert (event["type"], event["data"], event["actor"]) == ("member.joined", member, ben.id)
        assert position(response)[1] == event["offset"]

    def test_twice_is_once(self, ada, ben):
        channel = make_channel(ada)
        first = done(ben.put(path(channel, "me")), 201)
        again = ben.put(path(channel, "me"))

        assert done(again) == first
        assert "Fanfare-Position" not in again.headers
        assert len(log_of(ada, channel)) == 3

    @pytest.mark.parametrize("role", ["owner", "moderator", "guest"])
    def test_nobody_chooses_a_role(self, ada, ben, role):
        channel = make_channel(ada)
        problem(ben.put(path(channel, "me"), {"role": role}), 403, "forbidden")

        assert roles(ada, channel) == {ada.id: "owner"}

    @pytest.mark.parametrize("role", ["king", "", 4, ["owner"], True])
    def test_there_are_four_roles(self, ada, ben, role):
        assert faults(ada.put(path(make_channel(ada), ben), {"role": role})) == {"role"}

    def test_strangers_post_nothing(self, ada, ben):
        """A public channel is open to read; writing takes joining."""
        channel = make_channel(ada)
        messages = f"/channels/{channel['id']}/messages"
        problem(ben.post(messages, {"body": "hello"}), 403, "forbidden")
        ben.put(path(channel, "me"))

        done(ben.post(messages, {"body": "hello"}), 201)

    def test_guests_listen(self, ada, ben):
        channel = make_channel(ada, "private")
        done(ada.put(path(channel, ben), {"role": "guest"}), 201)
        message = post(ada, channel)
        place = f"/channels/{channel['id']}"

        assert done(ben.get(f"{place}/messages"))["items"] == [message]
        problem(ben.post(f"{place}/messages", {"body": "hello"}), 403, "forbidden")
        problem(ben.post(f"{place}/events", {"type": "a.b", "data": 1}), 403, "forbidden")
        done(ben.put(f"{place}/read", {"offset": message["offset"]}))

    def test_somebody_who_does_not_exist_cant_be_added(self, ada):
        for person in (NOBODYS_ID, "nonsense"):
            problem(ada.put(path(make_channel(ada), person)), 404, "not_found")


class TestTheMatrix:
    """Every role's every try at every other, against the table of core.permissions."""

    @pytest.fixture
    def cast(self, ada, ben, eve):
        def play(mine, theirs):
            channel = make_channel(ada, "private")
            for person, role in ((ben, mine), (eve, theirs)):
                if role:
                    done(ada.put(path(channel, person), {"role": role}), 201)
            return channel

        return play

    @pytest.mark.parametrize("mine", ROLES)
    def test_giving_a_role(self, cast, ada, ben, eve, mine):
        for theirs in (None, *ROLES):
            channel = cast(mine, theirs)
            present = theirs
            for wanted in ROLES:
                response = ben.put(path(channel, eve), {"role": wanted})
                allowed = permissions.may_set_role(mine, present, wanted)
                assert response.ok == allowed, (mine, present, wanted, response.text)
                if not allowed:
                    problem(response, 403, "forbidden")
                present = wanted if allowed else present
                assert roles(ada, channel).get(eve.id) == present

    @pytest.mark.parametrize("mine", ROLES)
    def test_removing(self, cast, ada, ben, eve, mine):
        for theirs in ROLES:
            channel = cast(mine, theirs)
            response = ben.delete(path(channel, eve))
            allowed = permissions.may_remove(mine, theirs)
            assert response.status_code == (204 if allowed else 403), (mine, theirs)
            assert (eve.id in roles(ada, channel)) != allowed

    @pytest.mark.parametrize("mine", ROLES)
    def test_changing_and_deleting_the_channel(self, cast, ben, mine):
        channel = cast(mine, None)
        change = ben.patch(f"/channels/{channel['id']}", {"name": "New"})
        delete = ben.delete(f"/channels/{channel['id']}")

        assert change.status_code == (200 if permissions.may_moderate(mine) else 403)
        assert delete.status_code == (204 if permissions.may_own(mine) else 403)

    def test_an_administrator_acts_as_an_owner(self, cast, admin, ada, eve):
        channel = cast(None, None)
        done(admin.put(path(channel, eve), {"role": "moderator"}), 201)
        done(admin.patch(f"/channels/{channel['id']}", {"name": "New"}))
        assert admin.delete(path(channel, eve)).status_code == 204

        assert roles(ada, channel) == {ada.id: "owner"}
        assert admin.delete(f"/channels/{channel['id']}").status_code == 204

    def test_a_step_down_is_free_and_a_step_up_is_not(self, ada, ben):
        channel = make_channel(ada, members=[ben])
        problem(ben.put(path(channel, "me"), {"role": "owner"}), 403, "forbidden")
        done(ada.put(path(channel, ben), {"role": "owner"}))
        done(ben.put(path(channel, "me"), {"role": "moderator"}))

        problem(ben.put(path(channel, "me"), {"role": "owner"}), 403, "forbidden")
        assert roles(ada, channel) == {ada.id: "owner", ben.id: "moderator"}


class TestChanges:
    def test_a_changed_role_is_told(self, ada, newcomer, shared_server):
        """In the channel, and to the person whom it is about."""
        channel = make_channel(ada, members=[newcomer])
        top = own_top(newcomer, shared_server)
        response = ada.put(path(channel, newcomer), {"role": "moderator"})
        (event,) = log_of(ada, channel, 3)
        (own,) = own_events(newcomer, shared_server, top)

        assert (event["type"], event["data"]) == ("member.updated", done(response))
        assert (own["type"], own["data"]) == ("member.updated", event["data"])
        assert position(response)[1] == event["offset"]

    def test_the_same_role_again_is_no_change(self, ada, ben):
        channel = make_channel(ada, members=[ben])
        response = ada.put(path(channel, ben), {"role": "member"})

        assert "Fanfare-Position" not in response.headers
        assert len(log_of(ada, channel)) == 3

    def test_no_role_leaves_the_present_one(self, ada, ben):
        channel = make_channel(ada, members=[ben])
        done(ada.put(path(channel, ben), {"role": "moderator"}))

        assert done(ada.put(path(channel, ben)))["role"] == "moderator"
        assert done(ada.put(path(channel, "me"), {}))["role"] == "owner"

    def test_a_new_member_is_told(self, ada, newcomer, shared_server):
        """A private channel shows up live on all devices of its new member."""
        top = own_top(newcomer, shared_server)
        channel = make_channel(ada, "private")
        member = done(ada.put(path(channel, newcomer)), 201)
        (event,) = own_events(newcomer, shared_server, top)

        assert (event["type"], event["data"]) == ("member.joined", member)


class TestLeaving:
    def test_who_left_is_out(self, ada, ben):
        channel = make_channel(ada, "private", members=[ben])
        response = ben.delete(path(channel, "me"))
        (event,) = log_of(ada, channel, 3)

        assert response.status_code == 204
        assert (event["type"], event["data"]["user_id"]) == ("member.left", ben.id)
        assert position(response)[1] == event["offset"]
        problem(ben.get(f"/channels/{channel['id']}"), 404, "not_found")

    def test_open_subscriptions_end(self, ada, ben, connect):
        """Access now: nothing that comes after the removal reaches who was removed."""
        channel = make_channel(ada, "private", members=[ben])
        stream, socket = f"channel:{channel['id']}", connect(ben)
        socket.ok("subscribe", {"stream": stream})
        ada.delete(path(channel, ben))
        post(ada, channel, "not for ben")
        (gone,) = socket.wait_for(lambda it: it.named("unsubscribed"), what="unsubscribed")
        last = make_channel(ben)
        socket.wait_for_event("member.joined")

        assert gone == {"stream": stream, "code": "forbidden"}
        assert last["id"] != channel["id"]
        assert "message.created" not in [event["type"] for event in socket.events]
        assert socket.refusal("subscribe", {"stream": stream})["code"] == "not_found"

    def test_of_a_public_channel_one_stays_a_reader(self, ada, ben, connect):
        channel = make_channel(ada, members=[ben])
        stream, socket = f"channel:{channel['id']}", connect(ben)
        socket.ok("subscribe", {"stream": stream})
        ben.delete(path(channel, "me"))
        post(ada, channel, "for all")

        assert socket.wait_for_event("message.created", stream=stream)["data"]["body"] == "for all"
        assert socket.named("unsubscribed") == []

    def test_who_is_not_in_cant_leave(self, ada, ben):
        channel = make_channel(ada)

        for person in (ben.id, NOBODYS_ID, "nonsense"):
            problem(ada.delete(path(channel, person)), 404, "not_found")
        problem(ben.delete(path(channel, "me")), 404, "not_found")

    def test_and_comes_back_as_a_member(self, ada, ben):
        channel = make_channel(ada, members=[ben])
        done(ada.put(path(channel, ben), {"role": "moderator"}))
        ben.delete(path(channel, "me"))

        assert done(ben.put(path(channel, "me")), 201)["role"] == "member"


class TestTheLastOwner:
    def test_stays_while_there_are_others(self, ada, ben):
        """Or nobody could ever manage the channel again."""
        channel = make_channel(ada, members=[ben])
        problem(ada.delete(path(channel, "me")), 409, "conflict")
        problem(ada.put(path(channel, "me"), {"role": "member"}), 409, "conflict")

        assert roles(ada, channel) == {ada.id: "owner", ben.id: "member"}
        assert len(log_of(ada, channel)) == 3

    def test_goes_once_there_is_another(self, ada, ben):
        channel = make_channel(ada, members=[ben])
        done(ada.put(path(channel, ben), {"role": "owner"}))
        assert ada.delete(path(channel, "me")).status_code == 204

        assert roles(ben, channel) == {ben.id: "owner"}

    def test_goes_when_alone(self, ada):
        channel = make_channel(ada)

        assert ada.delete(path(channel, "me")).status_code == 204


class TestDirect:
    def test_its_members_are_fixed(self, ada, ben, eve):
        channel = make_channel(ada, "direct", members=[ben])
        tries = [
            ada.put(path(channel, eve)),
            ada.put(path(channel, ben), {"role": "member"}),
            ada.delete(path(channel, ben)),
            ben.delete(path(channel, "me")),
        ]

        for response in tries:
            problem(response, 403, "forbidden")
        assert roles(ben, channel) == {ada.id: "owner", ben.id: "owner"}


class TestListing:
    def test_in_pages_and_by_role(self, ada, ben, eve, admin):
        channel = make_channel(ada, members=[ben, eve, admin])
        place = f"/channels/{channel['id']}/members"
        whole = walk(ada, place)

        assert [member["user_id"] for member in whole] == sorted([ada.id, ben.id, eve.id, admin.id])
        for limit in (1, 3, 4):
            assert walk(ada, place, limit=limit) == whole
        assert [m["user_id"] for m in walk(ada, place, role="owner")] == [ada.id]
        assert len(walk(ada, place, role="member", limit=2)) == 3
        assert walk(ada, place, role="guest") == []
