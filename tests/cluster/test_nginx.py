"""nginx before stand-ins of nodes: who is asked, what is told of a caller, what is kept out."""

import json
import os
import shutil
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
import requests

from cluster.certificates import find_openssl, make_certificates
from cluster.nginx import Nginx, NginxOptions
from cluster.process import ProcessError
from tests.support import needs
from tests.support.wait import wait_until

NAMES = ("n1", "n2", "n3")
SID = "0123456789abcdef"


class StandIn(ThreadingHTTPServer):
    """A node that tells what it was asked, and keeps count."""

    daemon_threads = True

    def __init__(self, name):
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.asked: Counter[str] = Counter()
        self.connections = 0
        self.hangs_up = False
        self.is_draining = False
        self.is_away = False
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def go_away(self):
        if not self.is_away:
            self.is_away = True
            self.shutdown()
            self._thread.join()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def setup(self):
        super().setup()
        self.server.connections += 1

    def handle_call(self):
        self.server.asked[self.command] += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.hangs_up:
            self.close_connection = True
            return
        if self.server.is_draining:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.headers.get("Upgrade"):
            self.send_response(101)
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.read(4))
            self.close_connection = True
            return
        told = {
            "node": self.server.name,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "length": len(body),
        }
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self):
        self.handle_call()

    def do_POST(self):
        self.handle_call()

    def log_message(self, *_words):
        pass


@pytest.fixture
def nodes():
    made = {name: StandIn(name) for name in NAMES}
    yield made
    for node in made.values():
        node.go_away()


@pytest.fixture
def start_nginx(nodes):
    """Start nginx before the stand-ins; what is given are variables of its templates."""
    needs.require_nginx()
    started = []

    def start(certificates=None, **values):
        places = {name: node.address for name, node in nodes.items()}
        nginx = Nginx(places, NginxOptions(certificates=certificates, values=values))
        started.append(nginx)
        nginx.start()
        return nginx

    yield start
    for nginx in started:
        nginx.close()


@pytest.fixture
def nginx(start_nginx):
    return start_nginx()


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def certificates(tmp_path_factory):
    """A folder as one that is mounted: a chain and a key, readable for nginx alone."""
    needs.require(find_openssl(), "no openssl on PATH (Debian: apt-get install openssl)")
    folder = tmp_path_factory.mktemp("certificates")
    made = make_certificates(folder)
    mounted = folder / "mounted"
    mounted.mkdir()
    shutil.copy(made.server.certificate, mounted / "fullchain.pem")
    shutil.copy(made.server.key, mounted / "privkey.pem")
    return made.authority, mounted


def ask(http, nginx, path="/socket.io/", method="GET", **more):
    return http.request(method, nginx.url + path, timeout=60, allow_redirects=False, **more)


class TestConfiguration:
    def test_nginx_finds_no_fault(self, nginx):
        said = nginx.check()

        assert "test is successful" in said
        assert "[warn]" not in said
        assert "${" not in (nginx.folder / "nginx.conf").read_text()

    def test_a_fault_is_told(self, start_nginx):
        with pytest.raises(ProcessError, match="invalid"):
            start_nginx(MAX_BODY_BYTES="a lot")

    def test_it_does_not_run_as_root(self, nginx):
        """Neither its main process nor its workers."""
        main = psutil.Process(nginx.pid)

        assert {process.uids().real for process in (main, *main.children())} != {0}
        assert all(process.uids().real != 0 for process in (main, *main.children()))

    def test_nothing_is_left_of_it(self, nginx):
        main = psutil.Process(nginx.pid)
        processes = [main, *main.children()]
        nginx.close()

        assert len(processes) > 1
        psutil.wait_procs(processes, timeout=30)
        assert not [process for process in processes if process.is_running()]
        assert not nginx.folder.exists()


class TestRouting:
    def test_new_callers_are_spread(self, nginx, http, nodes):
        for _ in range(30):
            assert ask(http, nginx).ok

        assert all(node.asked["GET"] for node in nodes.values())

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_polling_session_stays_with_its_node(self, nginx, http, name, method):
        for _ in range(6):
            answer = ask(http, nginx, f"/socket.io/?EIO=4&sid={name}.{SID}", method)

            assert answer.json()["node"] == name

    @pytest.mark.parametrize(
        "query", ["sid={}", "a=b&sid={}", "sid={}&a=b", "sid=&sid={}", "SID=n1.x&sid={}"]
    )
    def test_its_id_is_found_where_a_node_finds_it(self, nginx, http, query):
        for _ in range(6):
            answer = ask(http, nginx, f"/socket.io/?{query.format(f'n3.{SID}')}")

            assert answer.json()["node"] == "n3"

    def test_the_upgrade_of_a_session_goes_to_its_node(self, nginx, nodes):
        said = upgrade(nginx, f"/socket.io/?transport=websocket&sid=n2.{SID}")

        assert said.startswith(b"HTTP/1.1 101")
        assert said.endswith(b"ping")
        assert nodes["n2"].asked["GET"] == 1

    @pytest.mark.parametrize(
        "sid",
        ["n4.abc", "n1", "xn1.abc", "n1.a:b", "127.0.0.1:{port}.abc", "127.0.0.1:{port}", "{port}"],
    )
    def test_a_caller_names_no_address(self, nginx, http, nodes, sid):
        """What is not the id of a node's session goes to a node, never where it says."""
        with socket.create_server(("127.0.0.1", 0)) as secret:
            secret.settimeout(0.2)
            answer = ask(http, nginx, f"/socket.io/?sid={sid.format(port=secret.getsockname()[1])}")
            with pytest.raises(TimeoutError):
                secret.accept()

        assert answer.json()["node"] in NAMES

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_the_session_of_a_lost_node_is_told_so_by_another_one(self, nginx, http, nodes, method):
        """It begins anew at once, instead of calling a dead node until it gives up."""
        nodes["n1"].go_away()
        answer = ask(http, nginx, f"/socket.io/?sid=n1.{SID}", method, data=b"4hello")

        assert answer.json()["node"] in ("n2", "n3")
        assert answer.json()["path"] == f"/socket.io/?sid=n1.{SID}"
        assert answer.json()["length"] == 6


class TestLostNodes:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_call_that_reached_no_node_goes_to_another_one(self, nginx, http, nodes, method):
        nodes["n1"].go_away()
        nodes["n2"].go_away()
        answers = [ask(http, nginx, "/api/v1/me", method) for _ in range(6)]

        assert [answer.json()["node"] for answer in answers] == ["n3"] * 6

    def test_a_call_that_may_have_taken_effect_is_not_repeated(self, nginx, http, nodes):
        for node in nodes.values():
            node.hangs_up = True
        answer = ask(http, nginx, "/api/v1/channels", "POST")

        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert sum(node.asked["POST"] for node in nodes.values()) == 1

    def test_a_call_that_changes_nothing_is_repeated(self, nginx, http, nodes):
        nodes["n1"].hangs_up = nodes["n2"].hangs_up = True
        answers = [ask(http, nginx, "/api/v1/me") for _ in range(6)]

        assert [answer.json()["node"] for answer in answers] == ["n3"] * 6

    def test_a_handshake_that_a_draining_node_refuses_goes_to_another_one(self, nginx, http, nodes):
        """A rolling restart shows nobody an error."""
        nodes["n1"].is_draining = nodes["n2"].is_draining = True
        answers = [ask(http, nginx) for _ in range(6)]

        assert [answer.json()["node"] for answer in answers] == ["n3"] * 6

    @pytest.mark.parametrize("path", ["/api/v1/me", "/socket.io/", f"/socket.io/?sid=n1.{SID}"])
    def test_without_a_node_the_answer_is_one_of_ours(self, nginx, http, nodes, path):
        for node in nodes.values():
            node.go_away()
        answer = ask(http, nginx, path)

        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Retry-After"] == "1"
        assert {"code": "unavailable", "status": 503}.items() <= answer.json().items()


class TestWhatIsTold:
    def test_connections_to_nodes_are_kept(self, nginx, http, nodes):
        """Worker by worker: there are a few, and not one for each call."""
        for _ in range(60):
            assert ask(http, nginx, "/api/v1/me").ok

        assert sum(node.asked["GET"] for node in nodes.values()) == 60
        assert sum(node.connections for node in nodes.values()) <= 3 * (os.cpu_count() or 1)

    def test_who_calls_is_told_whatever_the_caller_says(self, nginx, http):
        lies = {
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "bank.example.com",
        }
        told = ask(http, nginx, headers=lies).json()["headers"]

        assert told["x-forwarded-for"] == "127.0.0.1"
        assert told["x-forwarded-proto"] == "http"
        assert told["x-forwarded-host"] == told["host"] == nginx.url.removeprefix("http://")

    def test_another_proxy_in_front_is_believed(self, start_nginx, http):
        nginx = start_nginx(OUTER_PROXY="127.0.0.1")
        said = {
            "X-Forwarded-For": "198.51.100.7, 203.0.113.9",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "chat.example.com",
        }
        told = ask(http, nginx, headers=said).json()["headers"]

        assert told["x-forwarded-for"] == "203.0.113.9"
        assert told["x-forwarded-proto"] == "https"
        assert told["x-forwarded-host"] == "chat.example.com"

    def test_the_log_holds_no_query(self, nginx, http):
        """The id of a polling session is all that its thief needs."""
        ask(http, nginx, f"/socket.io/?sid=n1.{SID}")

        wait_until(lambda: '"path": "/socket.io/"' in nginx.access_log, deadline_s=30)
        assert SID not in nginx.access_log


class TestWhatIsKeptOut:
    @pytest.mark.parametrize(
        "path", ["/metrics", "//metrics", "/%6detrics", "/x/../metrics", "/metrics?x=1"]
    )
    def test_metrics_are_not_for_outside(self, nginx, nodes, path):
        said = raw(nginx, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

        assert said.startswith(b"HTTP/1.1 404")
        assert not any(node.asked for node in nodes.values())

    def test_a_body_that_is_too_large_is_refused(self, start_nginx, http, nodes):
        nginx = start_nginx(MAX_BODY_BYTES="1000")
        answer = ask(http, nginx, "/api/v1/channels", "POST", data=b"x" * 1001)

        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert ask(http, nginx, "/api/v1/channels", "POST", data=b"x" * 1000).ok

    def test_too_many_new_connections_of_an_address_are_refused(self, start_nginx, http):
        """Those that are open go on, and calls are not counted."""
        nginx = start_nginx(CONNECTS_PER_S="1", CONNECT_BURST="2")
        answers = [ask(http, nginx) for _ in range(30)]

        assert {answer.status_code for answer in answers[:3]} == {200}
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(refused) > 10
        assert {answer.status_code for answer in refused} == {429}
        assert refused[0].json()["code"] == "rate_limited"
        assert refused[0].headers["Retry-After"] == "1"
        assert all(ask(http, nginx, f"/socket.io/?sid=n1.{SID}").ok for _ in range(10))
        assert all(ask(http, nginx, "/api/v1/me").ok for _ in range(10))

    @pytest.mark.parametrize(
        "query",
        ["SID=x", "Sid=x", "sid=", "sid", "xsid=x", "a=1&sid=&b=2", "a=sid=x", "%73id", "a?sid=x"],
    )
    def test_what_a_node_takes_for_a_new_session_is_counted(self, start_nginx, http, query):
        """What begins with other letters than `sid` begins a session, and went uncounted."""
        nginx = start_nginx(CONNECTS_PER_S="1", CONNECT_BURST="2")
        answers = [ask(http, nginx, f"/socket.io/?{query}") for _ in range(20)]

        assert [answer.status_code for answer in answers].count(429) > 10

    @pytest.mark.parametrize(
        ("address", "is_counted_as_one"),
        [
            ("2001:db8::{0:x}", True),
            ("2001:db8:0:0:{0:x}::a0a", True),
            ("2001:db8:0:{0:x}::1", False),
            ("198.51.100.{0}", False),
        ],
    )
    def test_of_ipv6_a_network_is_one_caller(self, start_nginx, http, address, is_counted_as_one):
        nginx = start_nginx(OUTER_PROXY="127.0.0.1", CONNECTS_PER_S="1", CONNECT_BURST="2")
        answers = [
            ask(http, nginx, headers={"X-Forwarded-For": address.format(number)})
            for number in range(1, 21)
        ]
        refused = [answer.status_code for answer in answers].count(429)

        assert refused > 10 if is_counted_as_one else not refused


class TestTls:
    def test_with_certificates_it_speaks_tls_alone(self, start_nginx, http, certificates):
        authority, mounted = certificates
        nginx = start_nginx(certificates=mounted)
        http.verify = str(authority)
        told = ask(http, nginx).json()["headers"]
        plain = http.get(f"http://127.0.0.1:{nginx.port}/a?b=c", timeout=60, allow_redirects=False)

        assert nginx.url.startswith("https://")
        assert told["x-forwarded-proto"] == "https"
        assert plain.status_code == 308
        assert plain.headers["Location"] == "https://127.0.0.1/a?b=c"

    def test_nginx_finds_no_fault_in_it(self, start_nginx, certificates):
        assert "[warn]" not in start_nginx(certificates=certificates[1]).check()


def upgrade(nginx, path):
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    return raw(nginx, head.encode() + b"ping")


def raw(nginx, request):
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))
