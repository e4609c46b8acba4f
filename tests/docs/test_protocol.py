"""docs/protocol.md is true: its examples are replayed, its tables compared with the code."""

import re
from typing import Any

import pytest
from flask import Flask

import app
import config
from api import schemas, system
from api.errors import STATUS
from api.routing import Endpoint
from core import errors, events
from realtime.asyncapi import document
from realtime.packets import PACKETS
from tests.docs.pages import blocks, codes, read, rows, section
from tests.docs.replay import Exchange, MismatchError, Names, Replay, packets
from tests.support.client import registered

PAGE = "docs/protocol.md"
GRACE = "01a1f8c2-7d10-7a3b-9c4e-0000000000b2"
EXAMPLES = [block for block in blocks(PAGE) if block.language in ("http", "text")]
ENDPOINTS = {(e.method, e.path): e for api in app._APIS for e in api.endpoints}
# Reasons that only a goodbye gives: no class of core/errors.py raises them.
WITHOUT_CLASS = {"slow_consumer", "draining"}


def all_errors(
    of: type[errors.FanfareError] = errors.FanfareError,
) -> list[type[errors.FanfareError]]:
    return [each for sub in of.__subclasses__() for each in (sub, *all_errors(sub))]


def documented_calls() -> dict[tuple[str, str], list[str]]:
    calls = {}
    for row in rows(read(PAGE), "call", "takes", "gives", "refuses"):
        method, path = codes(row[0])[0].split(" ")
        calls[method, path] = row
    return calls


def fields_in(text: str) -> dict[str, bool]:
    """Read `{a, b?}`: each field, and whether it must be there."""
    inner = re.search(r"`\{(.*?)\}`", text)
    names = [name.strip() for name in inner[1].split(",")] if inner else []
    return {name.removesuffix("?"): not name.endswith("?") for name in names}


def fields_of(model: Any) -> dict[str, bool]:
    return {name: field.is_required() for name, field in model.model_fields.items()}


class TestExamples:
    def test_every_example_is_what_a_server_answers(self, start_server, database_url):
        """One after the other, on a fresh server: bodies, headers, acks, events, goodbyes."""
        server = start_server(database_url, migrate=False, RATE_LIMITS="on")
        names = Names()
        replay = Replay(server.url, names)
        replay.run(EXAMPLES[0], "nobody")  # registers ada, whose id is to be the lowest
        grace = registered(server.url, "grace", display_name="Grace")
        names.bound[GRACE] = grace.id
        replay.sign_in("grace", grace)
        replay.sign_in("root", registered(server.url, "root"))
        assert server.run("create-admin", "root").returncode == 0

        try:
            for example in EXAMPLES[1:]:
                replay.run(example, example.about or "ada")
        finally:
            replay.close()

    def test_there_are_examples_of_every_kind(self):
        """An empty page would be true as well."""
        assert len([block for block in EXAMPLES if block.language == "http"]) >= 10
        assert len([block for block in EXAMPLES if block.language == "text"]) >= 6

    @pytest.mark.parametrize(
        "block", [b for b in EXAMPLES if b.language == "text"], ids=lambda block: block.place
    )
    def test_what_clients_send_fits_its_schema(self, block):
        """But for the examples of what is refused."""
        said = packets(block.text)
        for index, (arrow, name, data) in enumerate(said):
            if arrow == "→" and said[index + 1][2]["ok"]:
                PACKETS[name].model_validate(data)

    @pytest.mark.parametrize(
        "block", [b for b in EXAMPLES if b.language == "http"], ids=lambda block: block.place
    )
    def test_what_http_answers_fits_its_schema(self, block):
        example = Exchange.parse(block.text)
        if example.answer is None:
            return
        endpoint = find_endpoint(example)
        model = endpoint.answers[example.status] if example.status < 400 else schemas.Problem

        assert model is not None
        model.model_validate(example.answer)


def find_endpoint(example: Exchange) -> Endpoint:
    path = example.path.removeprefix("/api/v1").partition("?")[0]
    for (method, template), endpoint in ENDPOINTS.items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if method == example.method and re.fullmatch(pattern, path):
            return endpoint
    raise AssertionError(f"no call fits {example.method} {path}")


class TestReplaying:
    """The comparison itself can fail."""

    @pytest.mark.parametrize(
        ("page", "server"),
        [
            ({"a": 1}, {"a": 2}),
            ({"a": 1}, {"a": 1, "b": 2}),
            ({"a": 1, "b": 2}, {"a": 1}),
            ([1], [1, 2]),
            ("Hello", "Bye"),
            ("eyJ…", "abc"),
            (1, True),
            (None, "text"),
            ("channel:01a1f8c4-2e55-7f01-8d6a-00000000c001", "channel:orders-42"),
            ("2026-11-20T10:00:00.123Z", "2026-11-20 10:00:00"),
            (["9f3c12ab", "9f3c12ab"], ["00000001", "00000002"]),
        ],
    )
    def test_a_difference_is_seen(self, page, server):
        with pytest.raises(MismatchError):
            Names().compare(page, server)

    def test_a_name_stands_for_what_it_was_bound_to(self):
        names = Names()
        names.compare("channel:01a1f8c4-2e55-7f01-8d6a-00000000c001@1/9f3c12ab",
                      "channel:01a1fbcc-57f6-7659-b780-c0ff4588ddf4@1/8b403b6a")  # fmt: skip

        assert names.to_server("after 9f3c12ab") == "after 8b403b6a"


class TestCalls:
    def test_every_call_is_on_the_page(self):
        assert documented_calls().keys() == ENDPOINTS.keys()

    @pytest.mark.parametrize("call", ENDPOINTS, ids=" ".join)
    def test_a_call_takes_what_the_page_says(self, call):
        """The fields of its body, each needed or not, and the fields of its address."""
        takes, endpoint = documented_calls()[call][1], ENDPOINTS[call]
        query = set(re.findall(r"[?&](\w+)=", takes))

        assert fields_in(takes) == (fields_of(endpoint.body) if endpoint.body else {})
        assert query == (fields_of(endpoint.query).keys() if endpoint.query else set())

    @pytest.mark.parametrize("call", ENDPOINTS, ids=" ".join)
    def test_a_call_gives_what_the_page_says(self, call):
        """Its statuses, and the things in its answers."""
        gives, endpoint = documented_calls()[call][2], ENDPOINTS[call]
        models = {model.__name__ for model in endpoint.answers.values() if model is not None}
        named = {f"Page[{found}]" for found in re.findall(r"page of (\w+)", gives)} or set(
            re.findall(r"\b[A-Z][a-z]\w+", gives)
        )

        assert {int(found) for found in re.findall(r"\b\d{3}\b", gives)} == set(endpoint.answers)
        assert named == models

    @pytest.mark.parametrize("call", ENDPOINTS, ids=" ".join)
    def test_a_call_refuses_with_the_codes_of_the_page(self, call):
        assert codes(documented_calls()[call][3]) == [e.code for e in ENDPOINTS[call].refuses]

    def test_every_other_route_is_on_the_page(self):
        routes = Flask("docs", static_folder=None)
        probes = system.Probes({}, lambda: False, lambda: None)
        routes.register_blueprint(system.blueprint(app._ROOT / "web", {}, {}, probes))
        there = {
            rule.rule.removeprefix("/api/v1").replace("<path:", "{").replace(">", "}")
            for rule in routes.url_map.iter_rules()
        }
        told = re.findall(r"`GET (/[^`]*)`", section(PAGE, "### Beside the calls"))

        assert set(told) == there

    @pytest.mark.parametrize("row", rows(read(PAGE), "thing", "fields"), ids=lambda row: row[0])
    def test_a_thing_has_the_fields_of_the_page(self, row):
        model = getattr(schemas, row[0])
        inherited = set(schemas.Channel.model_fields) if row[0] == "ListedChannel" else set()

        assert set(codes(row[1])) - {"member=me"} | inherited == set(model.model_fields)


class TestSocket:
    def test_every_packet_takes_what_the_page_says(self):
        told = {codes(row[0])[0]: fields_in(row[1]) for row in rows(read(PAGE), "packet", "takes")}

        assert told == {name: fields_of(model) for name, model in PACKETS.items()}

    def test_every_packet_of_the_server_holds_what_the_page_says(self):
        """As the AsyncAPI document has it; an event and a signal are described above it."""
        told = {
            codes(row[0])[0]: set(fields_in(row[1])) for row in rows(read(PAGE), "packet", "holds")
        }
        messages = document("0")["components"]["messages"]
        sent = {name: set(messages[name]["payload"]["required"]) for name in told}

        assert told.keys() | {"ack"} == messages.keys() - PACKETS.keys()
        event = {codes(row[0])[0] for row in rows(read(PAGE), "field", "")}
        assert sent.pop("event") == event
        assert sent.pop("signal") == event - {"offset", "key"}
        del told["event"], told["signal"]
        assert told == sent


class TestTypes:
    def test_the_words_kept_for_the_server_are_on_the_page(self):
        told = section(PAGE, "## Events and signals")

        assert set(codes(told.rpartition("An application")[2])) >= events.RESERVED_WORDS
        assert events.TYPE_PATTERN in codes(told)

    def test_the_types_of_the_server_begin_with_such_a_word(self):
        told = [
            type_
            for row in rows(section(PAGE, "## Events and signals"), "type", "stream")
            for type_ in codes(row[0])
        ]

        assert {type_.partition(".")[0] for type_ in told} <= events.RESERVED_WORDS
        assert not [type_ for type_ in told if events.is_application_type(type_)]


CODES = {codes(row[0])[0]: row for row in rows(read(PAGE), "code", "HTTP")}


class TestCodes:
    def test_every_code_is_in_the_table(self):
        raised = {error.code for error in all_errors()}

        assert set(CODES) == raised | WITHOUT_CLASS
        assert set(STATUS) == set(CODES) - {"slow_consumer"}

    def test_its_status_is_the_one_that_is_answered(self):
        told = {code: int(row[1]) for code, row in CODES.items() if row[1] != "—"}

        assert told == STATUS

    @pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.code)
    def test_it_says_whether_a_retry_may_help(self, error):
        assert CODES[error.code][2] == ("yes" if error.retryable else "no")

    def test_the_codes_in_the_prose_are_in_the_table(self):
        told = [code for row in rows(read(PAGE), "code of a bye") for code in codes(row[0])]

        assert set(told) <= set(CODES)


class TestLimits:
    @pytest.mark.parametrize(
        "row", rows(read(PAGE), "what", "default", "setting"), ids=lambda row: row[2]
    )
    def test_a_default_is_that_of_its_setting(self, row):
        default = config.Settings.model_fields[codes(row[2])[0].lower()].default

        assert float(row[1].split(" ")[0]) == default

    def test_the_limits_in_ready_are_limits_of_the_table(self):
        """A client finds each where this page explains it."""
        told = {codes(row[2])[0].lower() for row in rows(read(PAGE), "what", "default", "setting")}
        ready = next(data for b in EXAMPLES for _, name, data in example_packets(b, "ready"))

        assert set(ready["limits"]) <= told


def example_packets(block: Any, name: str) -> list[tuple[str, str, Any]]:
    if block.language != "text":
        return []
    return [packet for packet in packets(block.text) if packet[1] == name]
