"""Schemathesis over the OpenAPI document: no 500, and no answer that the document doesn't name.

It makes up good and bad requests for every call, as an administrator and as a plain user, in
turn for things that exist and for things that it made up. The run's seed repeats it.
"""

import pytest
import requests
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from tests.api.people import done, make_channel, post
from tests.support.client import RestClient, registered, unique

EXAMPLES = {"sqlite": 8, "postgres": 5}
# These end the caller's session, so they are called by somebody who is not needed any more.
ENDINGS = {"log_out", "end_session", "change_password", "refresh"}
FOLLOWING = {"poll_events", "stream_events"}


class Scene:
    """What exists while one call is tried: a channel with people, a message, a notification."""

    def __init__(self, admin: RestClient, plain: RestClient, victim: RestClient) -> None:
        self.admin, self.plain, self.victim = admin, plain, victim
        self.channel = make_channel(plain, members=[victim], slug=unique("scene"))
        self.message = post(plain, self.channel)
        self.stream = f"channel:{self.channel['id']}"
        body = {"user_ids": [plain.id], "kind": "a", "title": "t"}
        self.note = done(admin.post("/notifications", body), 202)["notifications"][0]

    def values(self, name: str) -> list[str]:
        """Give real values of a part of a path."""
        return {
            "channel": [self.channel["id"], self.channel["slug"]],
            "message_id": [self.message["id"]],
            "notification_id": [self.note["id"]],
            "user_id": [self.victim.id, "me"],
            "session_id": [self.victim.id],
        }[name]

    def bearer(self, operation: str, who: str) -> dict[str, str]:
        """Give the header of a caller."""
        client = self.victim if operation in ENDINGS else getattr(self, who)
        token = client.refresh_token if operation == "refresh" else client.access_token
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def document(ada):
    """The document as it is served, read by schemathesis."""
    import schemathesis  # noqa: PLC0415 - takes a second, and only this module wants it

    return schemathesis.openapi.from_dict(ada.get("/openapi.json").json())


def checks():
    from schemathesis import checks as common  # noqa: PLC0415
    from schemathesis.specs.openapi import checks as special  # noqa: PLC0415

    return [
        common.not_a_server_error,
        special.status_code_conformance,
        special.content_type_conformance,
        special.response_headers_conformance,
        special.response_schema_conformance,
    ]


def length_of(case, url) -> int:
    """Tell how long the address of a request is."""
    sent = case.as_transport_kwargs(base_url=url)
    request = requests.Request(sent["method"], sent["url"], params=sent.get("params"))
    return len(request.prepare().url or "")


class FirstPiece(requests.adapters.HTTPAdapter):
    """Takes what a stream begins with for the whole answer: it has no end."""

    def send(self, request, *args, **named):
        answer = super().send(request, *args, **{**named, "stream": True})
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            answer._content = next(answer.iter_content(None))
            answer.close()
        return answer


@pytest.fixture(scope="module")
def http():
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", FirstPiece())
        yield session


def follow_something(case, scene, data) -> None:
    """Have a call name streams that exist, most often, and wait for nothing."""
    names = st.sampled_from(["user:me", scene.stream, "channel:nowhere"])
    if data.draw(st.integers(0, 3)):
        case.query["streams"] = ",".join(data.draw(st.lists(names, min_size=1, max_size=4)))
        for name in ("cursor", "presence"):
            case.query.pop(name, None)
    if case.query.get("wait"):
        case.query["wait"] = 0


def try_out(operation, mode, scene, url, how):
    """Make up calls of one operation and hold each answer to the document."""
    name = operation.definition.raw["operationId"]
    wanted = checks()

    @seed(how["seed"])
    @settings(
        max_examples=how["examples"],
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        who=st.sampled_from(["admin", "plain"]),
        data=st.data(),
    )
    def call(case, who, data):
        for part in case.path_parameters or {}:
            if data.draw(st.integers(0, 3)):
                case.path_parameters[part] = data.draw(st.sampled_from(scene.values(part)))
        if name in FOLLOWING and mode.is_positive:
            follow_something(case, scene, data)
        # A longer line is refused with 414 before anything of ours is asked.
        assume(length_of(case, url) < 8_000)
        case.call_and_validate(
            base_url=url, session=how["http"], headers=scene.bearer(name, who), checks=wanted
        )

    call()


class TestTheDocument:
    @pytest.mark.parametrize("mode", ["positive", "negative"])
    def test_no_answer_is_outside_of_it(
        self, document, admin, shared_server, backend, http, rng, subtests, mode
    ):
        from schemathesis import GenerationMode  # noqa: PLC0415

        how = {"seed": rng.randrange(2**32), "examples": EXAMPLES[backend], "http": http}
        operations = [result.ok() for result in document.get_all_operations()]
        plain, boss = registered(shared_server.url), registered(shared_server.url)
        done(admin.patch(f"/users/{boss.id}", {"is_admin": True}))
        for operation in operations:
            if mode == "negative" and not can_be_wrong(operation):
                continue
            victim = registered(shared_server.url)
            scene = Scene(boss, plain, victim)
            with subtests.test(operation.label):
                url = f"{shared_server.url}/api/v1"
                try_out(operation, GenerationMode(mode), scene, url, how)

        assert len(operations) >= 40
        assert {it.definition.raw["operationId"] for it in operations} >= FOLLOWING


def can_be_wrong(operation) -> bool:
    """Tell whether a call takes anything that could break a rule."""
    raw = operation.definition.raw
    return "requestBody" in raw or any(p["in"] == "query" for p in raw["parameters"])
