"""ETags: reading only what has changed, and changing only what one has read."""

import pytest

from tests.api.people import done, log_of, make_channel, post, problem


class Thing:
    """Something with an ETag, and a change of it."""

    def __init__(self, owner, path, change):
        self.owner, self.path, self.change = owner, path, change

    def tag(self) -> str:
        return str(self.owner.get(self.path).headers["ETag"])


@pytest.fixture(params=["me", "user", "channel", "message", "notification"])
def thing(request, newcomer, admin):
    """One of each kind of thing that has a version."""
    if request.param == "me":
        return Thing(newcomer, "/me", {"display_name": "Other"})
    if request.param == "user":
        return Thing(admin, f"/users/{newcomer.id}", {"display_name": "Other"})
    if request.param == "notification":
        body = {"user_ids": [newcomer.id], "kind": "a", "title": "t"}
        made = done(admin.post("/notifications", body), 202)["notifications"][0]
        return Thing(newcomer, f"/notifications/{made['id']}", {"read": True})
    channel = make_channel(newcomer)
    if request.param == "channel":
        return Thing(newcomer, f"/channels/{channel['id']}", {"name": "Other"})
    message = post(newcomer, channel)
    path = f"/channels/{channel['id']}/messages/{message['id']}"
    return Thing(newcomer, path, {"body": "Other"})


class TestReading:
    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
    def test_what_one_has_is_not_sent_again(self, thing, form):
        tag = thing.tag()
        response = thing.owner.get(thing.path, headers={"If-None-Match": form.format(tag)})

        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["ETag"] == tag

    @pytest.mark.parametrize("form", ['"other"', "nonsense", '"v"', ""])
    def test_what_one_has_not_is(self, thing, form):
        response = thing.owner.get(thing.path, headers={"If-None-Match": form})

        done(response)
        assert response.headers["Cache-Control"] == "private, no-cache"

    def test_a_change_changes_the_tag(self, thing):
        tag = thing.tag()
        changed = thing.owner.patch(thing.path, thing.change)
        again = thing.owner.get(thing.path, headers={"If-None-Match": tag})

        assert changed.headers["ETag"] == again.headers["ETag"] != tag
        assert done(again) == done(changed)

    def test_a_list_has_a_tag_too(self, newcomer, admin):
        """Of everything that is in it: what it says and who may go on from it."""
        channel = make_channel(newcomer)
        message = post(newcomer, channel)
        place = f"/channels/{channel['id']}"
        paths = [
            *("/users", "/channels", "/channels?member=me", "/auth/sessions"),
            *(f"{place}/members", f"{place}/messages", f"{place}/sync", "/notifications"),
        ]
        tags = {path: newcomer.get(path).headers["ETag"] for path in paths}
        again = {}
        for path, tag in tags.items():
            response = newcomer.get(path, headers={"If-None-Match": tag})
            again[path] = (response.status_code, response.headers["ETag"] == tag)
        newcomer.patch(f"{place}/messages/{message['id']}", {"body": "Other"})
        body = {"user_ids": [newcomer.id], "kind": "a", "title": "t"}
        admin.post("/notifications", body)
        changed = {
            path
            for path, tag in tags.items()
            if newcomer.get(path, headers={"If-None-Match": tag}).status_code == 200
        }

        assert set(again.values()) == {(304, True)}
        assert changed == {
            *(f"{place}/messages", f"{place}/sync", "/notifications", "/channels?member=me")
        }

    def test_a_stranger_gets_no_304(self, ada, eve):
        """What one may not see is not there, whatever tag one guesses."""
        hidden = make_channel(ada, "private")
        response = eve.get(f"/channels/{hidden['id']}", headers={"If-None-Match": '"v1"'})

        problem(response, 404, "not_found")


class TestChanging:
    @pytest.mark.parametrize("form", ["{}", '"other", {}', "*", ""])
    def test_what_one_has_read_can_be_changed(self, thing, form):
        header = {"If-Match": form.format(thing.tag())}

        done(thing.owner.patch(thing.path, thing.change, headers=header))

    @pytest.mark.parametrize("form", ['"other"', "W/{}", '"v"', '"v999999"'])
    def test_what_changed_meanwhile_can_not(self, thing, form):
        """And nothing of it is done. A weak tag proves nothing (RFC 9110)."""
        before = done(thing.owner.get(thing.path))
        header = {"If-Match": form.format(thing.tag())}
        problem(
            thing.owner.patch(thing.path, thing.change, headers=header), 412, "precondition_failed"
        )

        assert done(thing.owner.get(thing.path)) == before

    def test_of_two_editors_the_second_is_told(self, thing):
        header = {"If-Match": thing.tag()}
        done(thing.owner.patch(thing.path, thing.change, headers=header))
        second = thing.owner.patch(thing.path, thing.change, headers=header)

        problem(second, 412, "precondition_failed")

    @pytest.mark.parametrize("thing", ["user", "channel", "message", "notification"], indirect=True)
    def test_nor_deleted(self, thing):
        header = {"If-Match": '"other"'}
        problem(thing.owner.delete(thing.path, headers=header), 412, "precondition_failed")
        done(thing.owner.get(thing.path))
        response = thing.owner.delete(thing.path, headers={"If-Match": thing.tag()})

        assert response.ok

    def test_a_refused_change_is_no_event(self, ada):
        channel = make_channel(ada)
        message = post(ada, channel)
        path, header = f"/channels/{channel['id']}", {"If-Match": '"other"'}
        ada.patch(path, {"name": "x"}, headers=header)
        ada.patch(f"{path}/messages/{message['id']}", {"body": "x"}, headers=header)
        ada.delete(path, headers=header)

        assert [event["offset"] for event in log_of(ada, channel)] == [1, 2, 3]

    def test_a_version_is_the_offset_of_its_last_event(self, ada):
        channel = make_channel(ada)
        message = post(ada, channel)
        path = f"/channels/{channel['id']}/messages/{message['id']}"
        changed = ada.patch(
            path, {"body": "Other"}, headers={"If-Match": f'"v{message["offset"]}"'}
        )

        assert changed.headers["ETag"] == '"v4"'
        assert done(changed)["version"] == 4
