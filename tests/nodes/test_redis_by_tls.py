"""A node speaks to Redis by TLS, and by nothing else where that is asked for."""

import requests

from cluster.certificates import make_certificates
from cluster.redis import RedisOptions, RedisServer
from realtime.client_redis import RedisAddress
from tests.support import needs
from tests.support.client import registered
from tests.support.server import Server

# The server asks for a certificate of ours, too.
BOTH = {"tls-auth-clients": "yes"}


class TestTls:
    def test_a_node_shows_its_certificate_and_is_ready(self, tmp_path):
        """The bus, the limits of logins and presence all go by it."""
        needs.require_redis_with_tls()
        tls = make_certificates(tmp_path / "tls")
        with (
            RedisServer(RedisOptions(tls=tls, settings=BOTH)) as redis,
            Server(
                instance=tmp_path,
                REDIS_URL=redis.url,
                REDIS_CA_FILE=str(tls.authority),
                REDIS_CERT_FILE=str(tls.client.certificate),
                REDIS_KEY_FILE=str(tls.client.key),
            ) as node,
        ):
            node.wait_until_ready()
            with registered(node.url) as who:
                seen = who.get("/presence?users=me")
            metrics = requests.get(f"{node.url}/metrics", timeout=30).text

        assert seen.status_code == 200
        assert "fanfare_presence_failures_total 0.0" in metrics
        assert "Traceback" not in node.log

    def test_without_the_right_files_redis_is_not_reached(self, tmp_path):
        """A server that nobody we trust has signed may be anybody."""
        needs.require_redis_with_tls()
        tls = make_certificates(tmp_path / "tls")
        ours = (str(tls.client.certificate), str(tls.client.key))
        with RedisServer(RedisOptions(tls=tls, settings=BOTH)) as redis:
            assert RedisAddress(redis.url, str(tls.authority), *ours).check()
            assert not RedisAddress(redis.url).check()
            assert not RedisAddress(redis.url, "", *ours).check()
            assert not RedisAddress(redis.url, str(tls.authority)).check()
            assert not RedisAddress(redis.url.replace("rediss", "redis")).check()
