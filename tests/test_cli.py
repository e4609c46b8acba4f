"""run.py as a person at a terminal has it: what it does, what it says, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

import commands
from config import Settings
from tests.clients.drivers import SyncDriver
from tests.support.client import PASSWORD, RestClient, SocketClient, registered, unique
from tests.support.server import READY, Server
from tests.support.terminal import make_channel, refused, run, said, started
from tests.support.wait import wait_until

COMMANDS = (
    *("serve", "check-config", "migrate", "create-admin", "token", "publish", "tail"),
    "new-epoch",
)
POSITION = re.compile(r"^(\S+)@(\d+)/(\S+?)( \(replayed\))?$")


@pytest.fixture
def here(monkeypatch, tmp_path, capsys):
    """`here(words, PORT=…)` runs a command in this process: for those that touch no database."""

    def run_here(*words, **settings):
        monkeypatch.chdir(tmp_path)
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["run.py", *words])
        try:
            status = commands.main(list(words))
        except SystemExit as ended:  # of argparse
            status = int(ended.code or 0)
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, shown.out, shown.err)

    return run_here


def position_in(text):
    """Take apart what `publish` prints."""
    found = POSITION.match(text)
    assert found, text
    return found.groups()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A server that runs, for all that leave it as it is."""
    with Server(instance=tmp_path_factory.mktemp("home"), COMPARE_INTERVAL_S=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def ada(home):
    with registered(home.url) as person:
        yield person


@pytest.fixture
def idle(tmp_path):
    """Settings of a server that does not run, on a database without tables."""
    return Server(instance=tmp_path / "idle", migrate=False)


@pytest.fixture
def channel(ada):
    return make_channel(ada)


class TestHelp:
    def test_it_shows_every_command_and_the_first_steps(self, here):
        text = said(here("--help"))

        listed = re.findall(r"^    ([a-z-]+)\b", text, re.MULTILINE)

        assert sorted(listed) == sorted(COMMANDS)
        assert "python run.py migrate" in text
        assert "check-config" in text.partition("Settings")[2]
        assert max(map(len, text.splitlines())) <= 100

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_explains_itself(self, here, command):
        text = said(here(command, "--help"))

        assert f"run.py {command}" in text
        assert len(text.split()) > 10

    def test_an_unknown_command_is_refused_with_the_known_ones(self, here):
        text = refused(here("sevre"))

        assert "sevre" in text
        assert "check-config" in text


class TestCheckConfig:
    def test_it_lists_every_setting_and_shows_no_secret(self, here):
        secret, url = (
            "A7f-s3cret+0987654321/qwertz.uiopas",
            "postgresql://fanfare:hunter2@db/fanfare",
        )
        text = said(here("check-config", SECRET_KEY=secret, DATABASE_URL=url))
        lines = dict(line.split("=", 1) for line in text.splitlines())

        assert set(lines) >= {name.upper() for name in Settings.model_fields}
        assert secret not in text
        assert "hunter2" not in text
        assert lines["SECRET_KEY"].startswith("(set)")

    @pytest.mark.parametrize("environment", ["development", "testing", "production"])
    def test_all_faults_are_told_at_once(self, here, environment):
        """In every environment, whose classes have defaults of their own but the same bounds."""
        wrong = {
            "PORT": "99999",
            "LOG_LEVEL": "loud",
            "DATABASE_URL": "mysql://fanfare:hunter2@db/fanfare",
            "CORS_ORIGINS": "*",
            "MAX_SUBSCRIPTIONS": "many",
            "TRANSPORTS": "pigeons",
            "COMPARE_INTERVAL_S": "0",
            "SECRET_KEY": "short",
        }
        text = refused(here("check-config", ENVIRONMENT=environment, **wrong))
        lines = {line.split(":")[0].strip(): line for line in text.splitlines()[1:]}

        assert set(lines) == set(wrong)
        assert "hunter2" not in text
        assert "'99999'" in lines["PORT"]  # what is wrong …
        assert "65535" in lines["PORT"]  # … and what would be right
        assert "websocket,polling" in lines["TRANSPORTS"]

    def test_every_command_that_needs_settings_tells_them(self, here):
        assert "PORT" in refused(here("migrate", PORT="99999"))

    def test_production_wants_a_secret_that_can_not_be_guessed(self, here):
        text = refused(here("check-config", ENVIRONMENT="production", SECRET_KEY="a" * 64))
        short = refused(here("check-config", ENVIRONMENT="production", SECRET_KEY="short1"))

        assert "SECRET_KEY" in text
        assert "token_urlsafe" in text
        assert "short1" not in short

    def test_an_unknown_environment_is_told_with_the_known_ones(self, here):
        text = refused(here("check-config", ENVIRONMENT="staging"))

        assert "'staging'" in text
        assert "development, testing, production" in text

    def test_a_file_env_is_read_and_the_environment_wins(self, here, tmp_path):
        (tmp_path / ".env").write_text("MAX_SUBSCRIPTIONS=7\nLOG_LEVEL=error\n")
        text = said(here("check-config", LOG_LEVEL="debug"))

        assert re.search(r"^MAX_SUBSCRIPTIONS=7\b", text, re.MULTILINE)
        assert re.search(r"^LOG_LEVEL=debug\b", text, re.MULTILINE)


class TestServe:
    def test_it_is_the_default(self, home):
        with started(home, PORT="0") as process:
            lines = iter(process.stdout.readline, "")
            assert any(READY.match(line.encode()) for line in lines)
            process.send_signal(signal.SIGTERM)

            assert process.wait(30) == 0

    def test_wrong_settings_are_told_before_anything_is_done(self, idle):
        text = refused(run(idle, "serve", LOG_LEVEL="loud", MAX_SUBSCRIPTIONS="many"))

        assert "LOG_LEVEL" in text
        assert "MAX_SUBSCRIPTIONS" in text

    def test_a_port_in_use_is_told(self, home):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            text = refused(run(home, "serve", PORT=port))

        assert "PORT" in text
        assert port in text
        assert "in use" in text

    def test_a_database_without_tables_is_told_with_the_mend(self, idle):
        text = refused(run(idle, "serve"))

        assert "run.py migrate" in text

    def test_a_database_that_does_not_answer_is_told_without_its_password(self, idle, tmp_path):
        url = f"postgresql://fanfare:hunter2@/fanfare?host={tmp_path}"
        text = refused(run(idle, "serve", DATABASE_URL=url))

        assert "DATABASE_URL" in text
        assert "hunter2" not in text

    def test_its_end_is_told_to_clients_and_is_no_failure(self, start_server):
        """By the signal of a service manager and by that of a terminal."""
        server = start_server()
        with registered(server.url) as person:
            for name in (signal.SIGTERM, signal.SIGINT):
                with SyncDriver(server.url) as client:
                    client.connect({"token": person.access_token})
                    os.kill(server.pid, name)
                    bye = client.wait_for_packet("bye")
                    wait_until(lambda: not server.is_running(), deadline_s=30, what="the end")

                assert server.stop() == 0, server.log
                assert (bye["code"], bye["retry"]) == ("draining", "later")
                server.start()

        assert "Traceback" not in server.log


class TestMigrate:
    def test_it_may_be_run_again(self, empty_database_url, tmp_path):
        server = Server(empty_database_url, instance=tmp_path, migrate=False)
        first, again = run(server, "migrate"), run(server, "migrate")

        assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
        # There are tables: nobody is in them.
        assert "user" in refused(run(server, "token", "ada"))


class TestCreateAdmin:
    def test_a_new_one_signs_in_and_is_an_administrator(self, home):
        name = unique("root")
        done = run(home, "create-admin", name, "--password-stdin", stdin=f"{PASSWORD}\n")
        with RestClient(home.url) as admin:
            login = admin.login(name)

        assert name in said(done)
        assert login.status_code == 200, login.text
        assert login.json()["user"]["is_admin"] is True

    def test_a_user_who_exists_becomes_one_and_keeps_the_password(self, home):
        with registered(home.url) as person:
            name = person.user["username"]
            done = run(home, "create-admin", name.upper())
            login = person.login(name)

        assert "administrator now" in said(done)
        assert login.json()["user"]["is_admin"] is True

    def test_what_is_wrong_with_name_and_password_is_told_at_once(self, home):
        text = refused(run(home, "create-admin", "-x!", "--password-stdin", stdin="short\n"))

        assert "username" in text
        assert "password" in text
        assert "short" not in text.replace("too short", "")

    def test_without_a_terminal_it_asks_for_the_pipe(self, home):
        text = refused(run(home, "create-admin", unique("root")))

        assert "--password-stdin" in text


class TestToken:
    def test_it_is_one_of_the_users(self, home, ada):
        token = said(run(home, "token", ada.user["username"]))
        with RestClient(home.url, token=token) as somebody:
            me = somebody.get("/me")

        assert me.json()["id"] == ada.id

    def test_it_is_good_for_as_long_as_was_said(self, home, ada):
        token = said(run(home, "token", ada.user["username"], "--ttl", "1"))
        with RestClient(home.url, token=token) as somebody:
            late = wait_until(
                lambda: somebody.get("/me").json().get("code"),
                deadline_s=30,
                what="the token's end",
            )

        assert late == "token_expired"

    @pytest.mark.parametrize("ttl", ["0", "-5", "soon"])
    def test_a_life_that_is_none_is_refused(self, here, ttl):
        assert "--ttl" in refused(here("token", "ada", "--ttl", ttl))

    def test_an_unknown_user_is_told(self, home):
        assert "no such user" in refused(run(home, "token", "nobody-here")).lower()


class TestPublish:
    def test_watchers_of_a_running_server_get_it(self, server):
        """From another process, without a bus: within the interval of comparison."""
        with (
            registered(server.url) as person,
            SocketClient(server.url, person.access_token) as client,
        ):
            channel = make_channel(person)
            client.ok("subscribe", {"stream": channel["stream"]})
            done = run(server, "publish", f"channel:{channel['slug']}", "order.paid", '{"n": 1}')
            event = client.wait_for_event("order.paid", deadline_s=30)
        stream, offset, _, replayed = position_in(said(done))

        assert (stream, int(offset)) == (channel["stream"], event["offset"])
        assert not replayed
        assert event["data"] == {"n": 1}
        assert event["actor"] is None

    def test_a_retry_with_its_key_takes_effect_once(self, home, channel):
        words = ("publish", channel["stream"], "order.paid", "1", "--key", "k1")
        first, again = said(run(home, *words)), said(run(home, *words))
        other = refused(run(home, "publish", channel["stream"], "order.paid", "2", "--key", "k1"))

        assert again == f"{first} (replayed)"
        assert "key" in other

    def test_data_may_come_by_a_pipe(self, home, channel, ada):
        said(run(home, "publish", channel["stream"], "order.paid", "-", stdin='{"from": "pipe"}'))
        page = ada.get(f"/channels/{channel['id']}/events?after=0").json()

        assert page["items"][-1]["data"] == {"from": "pipe"}

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("{stream}", "order.paid", "{not json"), "JSON"),
            (("{stream}", "message.created", "1"), "type"),
            (("channel:nowhere", "order.paid", "1"), "channel"),
            (("lobby", "order.paid", "1"), "stream"),
        ],
    )
    def test_what_can_not_be_published_is_told(self, home, channel, words, named):
        words = [word.replace("{stream}", channel["stream"]) for word in words]

        assert named in refused(run(home, "publish", *words))


class TestTail:
    """What it shows is in test_tail.py."""

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("user:me",), "--as"),
            (("user:me", "--token", "x", "--after", "soon"), "--after"),
            (("user:me", "--token", "x", "--after", "7"), "--after"),
            (("user:me", "--token", "x", "--url", "http://127.0.0.1:1"), "127.0.0.1:1"),
            (("user:me", "--token", "x", "--door", "window"), "--door"),
        ],
    )
    def test_what_can_not_be_meant_is_told(self, here, words, named):
        assert named in refused(here("tail", *words))


class TestNewEpoch:
    def test_a_position_of_before_no_longer_fits(self, server):
        """And who watches meanwhile is told within the interval of comparison."""
        with (
            registered(server.url) as person,
            SocketClient(server.url, person.access_token) as client,
        ):
            channel = make_channel(person)
            old = client.ok("subscribe", {"stream": channel["stream"]})["position"]
            text = said(run(server, "new-epoch"))
            reset = client.wait_for(
                lambda it: [r for r in it.named("reset") if r["stream"] == channel["stream"]],
                deadline_s=30,
                what="a reset",
            )[0]
            ack = client.ok("subscribe", {"stream": channel["stream"], "after": old})

        assert text.startswith("2 streams")
        assert reset["reason"] == "epoch"
        assert reset["position"]["epoch"] != old["epoch"]
        assert ack["reset"]["reason"] == "epoch"
        assert ack["position"] == reset["position"]
