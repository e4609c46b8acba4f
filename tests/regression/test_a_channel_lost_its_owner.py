"""The last owner of a channel could make a guest of themselves, where nobody else was in it.

Nobody could change the channel any more, nor post to it, but an administrator.
"""

from tests.support.client import registered


class TestLastOwner:
    def test_they_stay_it_though_they_are_alone(self, sturdy):
        with registered(sturdy.url) as ada:
            lobby = ada.post("/channels", {"name": "x", "kind": "private"}).json()["id"]
            refused = ada.put(f"/channels/{lobby}/members/me", {"role": "guest"})
            (member,) = ada.get(f"/channels/{lobby}/members").json()["items"]
            left = ada.delete(f"/channels/{lobby}/members/me")

        assert refused.status_code == 409
        assert member["role"] == "owner"
        assert left.status_code == 204
