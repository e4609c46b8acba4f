"""docs/operations.md is true: settings with their defaults, metrics, limits on calls, retention."""

import re
from typing import get_args

import pytest

import config
from api import limits
from core import metrics
from tests.docs.pages import blocks, codes, read, rows
from tests.support.client import RestClient

PAGE = "docs/operations.md"
SETTINGS = {
    codes(row[0])[0].lower(): row for row in rows(read(PAGE), "setting", "default", "what it is")
}


class TestSettings:
    def test_every_setting_is_in_the_table(self):
        assert list(SETTINGS) == list(config.Settings.model_fields)

    @pytest.mark.parametrize("name", config.Settings.model_fields)
    def test_its_default_is_the_one_of_the_table(self, name):
        default = config.Settings.model_fields[name].default
        told = (codes(SETTINGS[name][1]) or [""])[0]

        assert told == (f"{default:g}" if isinstance(default, float) else str(default))

    @pytest.mark.parametrize("name", config.Settings.model_fields)
    def test_another_default_in_production_is_told(self, name):
        """Where production differs, the row says how."""
        usual = config.Settings.model_fields[name].default
        default = config.ProductionSettings.model_fields[name].default

        assert default == usual or f"`{default}` in production" in SETTINGS[name][2]

    def test_the_words_that_a_setting_takes_are_told(self):
        """Of those that take one of a few."""
        for name in ("environment", "log_level", "sqlite_synchronous"):
            words = get_args(config.Settings.model_fields[name].annotation)
            assert words
            assert set(words) <= set(codes(" ".join(SETTINGS[name])))

    def test_a_setting_that_any_page_names_exists(self):
        """SCREAMING_CASE in backticks is a setting, or a header's or compose file's own word."""
        others = {"SIGTERM", "COMMIT", "UPDATE", "RETURNING", "BEGIN", "OFF", "NORMAL", "FULL"}
        others |= {"EXTRA", "GET", "PATCH", "POST", "PUT", "DELETE", "NOTE", "POSTGRES_PASSWORD"}
        others |= {
            "SO_REUSEPORT",
            "SIGHUP",
            "SIGINT",
            "SIGQUIT",
            "TCP_NODELAY",
            "EVENTLET_NO_GREENDNS",
            "PROMETHEUS_MULTIPROC_DIR",
            "PSYCOPG_WAIT_FUNC",
            "TOKEN",
        }
        others |= {"ARGS", "NODES", "CLUSTER_DIR"}  # of make
        others |= set(re.findall(r"^([A-Z_]+)=", read(".env.example"), re.MULTILINE))
        for page in ("README.md", "docs/protocol.md", "docs/operations.md", "docs/architecture.md"):
            told = set(re.findall(r"`([A-Z][A-Z_]{2,})(?:=[^`]*)?`", read(page))) - others
            assert not [name for name in told if name.lower() not in SETTINGS], page


class TestMetrics:
    def test_every_metric_is_in_the_table(self, shared_server):
        """As a server gives them; what the library adds about the process is its own."""
        text = RestClient(shared_server.url).raw("GET", "/metrics").text
        there = set(re.findall(r"^# TYPE (fanfare_\w+) (?:counter|gauge)$", text, re.MULTILINE))
        told = {codes(row[0])[0] for row in rows(read(PAGE), "metric", "kind")}

        assert told == {name for name in there if not name.endswith("_created")}

    def test_the_labels_of_packets_and_requests_are_told(self):
        told = " ".join(" ".join(row) for row in rows(read(PAGE), "metric", "kind"))

        for metric in (metrics.PACKETS, metrics.REQUESTS):
            assert set(metric._labelnames) <= set(codes(told))


class TestLimits:
    def test_the_limits_are_those_of_the_code(self):
        """In the table's order; changing a password is limited as registering is."""
        items = dict(limits.RateLimits(is_on=True, events_per_s=50)._items)
        write, search, follow = (items.pop(name) for name in ("write", "search", "follow"))
        told = [row[1] for row in rows(read(PAGE), "calls", "limit", "counted by")][:-3]

        order = ["login", "login_address", "register", "register", "refresh"]
        assert told == [f"{items[name].amount} a minute" for name in order]
        assert items.keys() == set(order)
        assert (write.amount, write.get_expiry()) == (500, 10)
        assert (search.amount, search.get_expiry()) == (50, 10)
        assert (follow.amount, follow.get_expiry()) == (2000, 10)


class TestHealth:
    @pytest.mark.parametrize("row", rows(read(PAGE), "address", "answers"), ids=lambda r: r[0])
    def test_a_probe_answers(self, shared_server, row):
        answer = RestClient(shared_server.url).raw("GET", codes(row[0])[0])

        assert answer.status_code == 200


class TestProxy:
    def test_the_headers_that_are_trusted_are_set(self):
        """What the node reads of a proxy that it trusts, the example sets."""
        (nginx,) = [block.text for block in blocks(PAGE) if block.language == "nginx"]

        for header in ("For", "Proto", "Host"):
            assert f"proxy_set_header X-Forwarded-{header} " in nginx
        assert "proxy_set_header Upgrade $http_upgrade;" in nginx

    def test_an_idle_socket_outlives_the_proxys_patience(self):
        (nginx,) = [block.text for block in blocks(PAGE) if block.language == "nginx"]
        found = re.search(r"proxy_read_timeout (\d+)s;", nginx)
        fields = config.Settings.model_fields

        assert found
        assert int(found[1]) > (
            fields["ping_interval_s"].default + fields["ping_timeout_s"].default
        )
