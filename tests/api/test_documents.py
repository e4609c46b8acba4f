"""The machine-readable descriptions: valid, complete, and the same schemas that validate."""

import re

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import app
from core import errors
from realtime.asyncapi import document as asyncapi_document
from realtime.handlers import HANDLERS
from realtime.packets import PACKETS, Auth
from tests.api.people import done, make_channel, post, problem
from tests.support.client import SocketClient


@pytest.fixture(scope="module")
def openapi(ada):
    return done(ada.get("/openapi.json"))


@pytest.fixture(scope="module")
def asyncapi(ada):
    return done(ada.get("/asyncapi.json"))


def refs_in(node):
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from refs_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from refs_in(item)


def resolve(document, ref):
    node = document
    for part in ref.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def faults_of(document, schema, value) -> list[str]:
    """Return what is wrong with a value, by a schema that may refer to the document's others."""
    resource = Resource.from_contents(
        {**document, "x-schema": schema}, default_specification=DRAFT202012
    )
    registry = Registry().with_resource("urn:document", resource)
    validator = Draft202012Validator({"$ref": "urn:document#/x-schema"}, registry=registry)
    return [error.message for error in validator.iter_errors(value)]


def operations(openapi):
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


class TestOpenApi:
    def test_it_is_valid(self, openapi):
        """By the meta-schema of OpenAPI 3.1, and each schema by that of JSON Schema."""
        import schemathesis  # noqa: PLC0415 - takes a second, and few tests want it

        schemathesis.openapi.from_dict(openapi).validate()
        assert openapi["openapi"].startswith("3.1")
        for schema in openapi["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)

    def test_every_reference_leads_somewhere(self, openapi):
        found = set(refs_in(openapi))

        assert found
        assert all(resolve(openapi, ref) for ref in found)

    def test_every_call_of_the_server_is_in_it(self, openapi, own_flask):
        served = {
            (
                re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/api/v1")),
                method.lower(),
            )
            for rule in own_flask.url_map.iter_rules()
            if rule.rule.startswith("/api/v1/")
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        described = {(path, method) for path, method, _ in operations(openapi)}

        assert served - described == {
            *(("/openapi.json", "get"), ("/asyncapi.json", "get"), ("/docs", "get"))
        }
        assert described - served == set()

    def test_each_call_has_a_name_and_says_what_it_does(self, openapi):
        names = [operation["operationId"] for _, _, operation in operations(openapi)]

        assert len(names) == len(set(names))
        assert all(operation["summary"] for _, _, operation in operations(openapi))

    def test_every_part_of_a_path_is_described(self, openapi):
        for path, _, operation in operations(openapi):
            wanted = set(re.findall(r"\{(\w+)\}", path))
            assert {p["name"] for p in operation["parameters"] if p["in"] == "path"} == wanted

    def test_every_error_has_its_code_and_an_example(self, openapi):
        """A client that reads it knows what it must be ready for."""
        codes = {
            error.code
            for error in vars(errors).values()
            if isinstance(error, type) and issubclass(error, errors.FanfareError)
        }
        for path, method, operation in operations(openapi):
            failures = {s: r for s, r in operation["responses"].items() if s >= "400"}
            assert {"500", "503"} <= failures.keys(), path
            assert ("401" in failures) or operation["security"] == [], (method, path)
            assert ("422" in failures) or not operation.get("requestBody"), (method, path)
            for status, response in failures.items():
                examples = response["content"]["application/problem+json"]["examples"]
                for code, example in examples.items():
                    assert code in codes
                    assert example["value"]["status"] == int(status)
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert faults_of(openapi, schema, example["value"]) == []

    def test_the_examples_of_fields_fit_their_fields(self, openapi):
        for name, schema in openapi["components"]["schemas"].items():
            for field, rule in schema.get("properties", {}).items():
                for example in rule.get("examples", []):
                    assert faults_of(openapi, rule, example) == [], (name, field)

    def test_what_needs_a_token_says_so(self, openapi, ada):
        """And only that is open which says that it is."""
        client = type(ada)(ada.url)
        for path, method, operation in operations(openapi):
            concrete = re.sub(r"\{\w+\}", "x", path)
            response = client.call(method.upper(), concrete, {} if method != "get" else None)
            if operation["security"]:
                problem(response, 401, "unauthorized")
            else:
                assert response.status_code == 422, path


@pytest.fixture
def own_flask(tmp_path):
    """The application itself, for its table of addresses."""
    import config  # noqa: PLC0415

    environment = {"ENVIRONMENT": "testing", "INSTANCE_PATH": str(tmp_path)}
    made = app.create_app(config.load(environment, dotenv=None))
    yield made.flask
    made.db.close()


class TestAsyncApi:
    def test_it_is_whole(self, asyncapi):
        assert asyncapi["asyncapi"].startswith("3.")
        assert {"title", "version"} <= asyncapi["info"].keys()
        assert all(resolve(asyncapi, ref) for ref in refs_in(asyncapi))
        assert set(asyncapi["channels"]["socket"]["messages"]) == set(
            asyncapi["components"]["messages"]
        )

    def test_it_is_the_one_of_the_code(self, asyncapi):
        assert asyncapi == asyncapi_document(app.__version__)

    @pytest.mark.parametrize("name", PACKETS)
    def test_each_packet_is_described_by_what_validates_it(self, asyncapi, name):
        """Field for field: what the document allows is what the server takes."""
        ref = asyncapi["components"]["messages"][name]["payload"]["$ref"]
        template = "#/components/schemas/{model}"
        wanted = PACKETS[name].model_json_schema(ref_template=template)
        definitions = wanted.pop("$defs", {})

        assert resolve(asyncapi, ref) == wanted
        for model, schema in definitions.items():
            assert asyncapi["components"]["schemas"][model] == schema
        Draft202012Validator.check_schema(wanted)

    def test_each_packet_and_each_message_has_an_operation(self, asyncapi):
        found = {
            (operation["action"], message["$ref"].rsplit("/", 1)[1])
            for operation in asyncapi["operations"].values()
            for message in operation["messages"]
        }
        from_server = {
            *("ready", "event", "signal", "reset", "unsubscribed", "auth.expiring", "bye")
        }

        assert found == {("receive", name) for name in HANDLERS} | {
            ("send", name) for name in from_server
        }
        assert HANDLERS.keys() == PACKETS.keys()

    def test_the_token_of_a_connect_is_in_it(self, asyncapi):
        assert asyncapi["components"]["schemas"]["Auth"] == Auth.model_json_schema()

    def test_what_the_server_sends_is_what_it_says(self, asyncapi, ada, ben, shared_server):
        """A session's worth of real packets and acks, against their schemas."""
        messages = asyncapi["components"]["messages"]
        channel = make_channel(ada, "private", members=[ben])
        stream = f"channel:{channel['id']}"
        with SocketClient(shared_server.url, ben.access_token) as socket:
            acks = [
                socket.call("subscribe", {"stream": stream}),
                socket.call("typing", {"channel": channel["id"]}),
                socket.call("typing", {}),
                socket.call("nonsense", {}),
            ]
            post(ada, channel)
            body = {"type": "a.b", "data": 1, "ephemeral": True}
            ada.post(f"/channels/{channel['id']}/events", body)
            socket.wait_for(lambda it: it.events and it.signals, what="both")
            ada.delete(f"/channels/{channel['id']}/members/{ben.id}")
            socket.wait_for(lambda it: it.named("unsubscribed"), what="unsubscribed")
            packets = list(socket.packets)

        assert {name for name, _ in packets} == {"ready", "event", "signal", "unsubscribed"}
        for name, data in [*packets, *(("ack", ack) for ack in acks)]:
            assert faults_of(asyncapi, messages[name]["payload"], data) == [], name
