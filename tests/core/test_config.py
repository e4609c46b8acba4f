"""Settings: every fault at once, no production without a secret, and one secret for all."""

import subprocess
import sys

import pytest

from config import Settings, SettingsError, load, with_secret
from tests.support.tree import ROOT

SECRET = "correct-horse-battery-staple-0123456789"


def complaint(**environ) -> str:
    with pytest.raises(SettingsError) as refused:
        load(environ, dotenv=None)
    return str(refused.value)


class TestFaults:
    def test_all_are_told_at_once(self):
        """Each by its name, with what is wrong and what would be right."""
        told = complaint(
            ENVIRONMENT="prod",
            PORT="70000",
            DATABASE_URL="mysql://x",
            LOG_LEVEL="loud",
            MAX_EVENTS_PER_S="many",
            SECRET_KEY="short",
            CORS_ORIGINS="*",
            TRANSPORTS="polling",
        )
        lines = {line.split(":")[0].strip(): line for line in told.splitlines()[1:]}

        assert lines.keys() == {
            *("ENVIRONMENT", "PORT", "DATABASE_URL", "LOG_LEVEL", "MAX_EVENTS_PER_S"),
            *("SECRET_KEY", "CORS_ORIGINS", "TRANSPORTS"),
        }
        assert "70000" in lines["PORT"]
        assert "0 takes a free one" in lines["PORT"]
        assert "production" in lines["ENVIRONMENT"]

    @pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
    def test_what_may_be_secret_is_not_repeated(self, name):
        assert "hush" not in complaint(**{name: "hush://ada:hush@host"})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PORT", "-1"),
            ("PORT", "1.5"),
            ("MAX_BODY_BYTES", "1"),
            ("MAX_QUEUED_BYTES", "1000"),
            ("ACCESS_TOKEN_TTL_S", "0"),
            ("ACCESS_TOKEN_TTL_S", "nan"),
            ("ACCESS_TOKEN_TTL_S", "inf"),
            ("COMPARE_INTERVAL_S", "inf"),
            ("RETENTION_MIN_AGE_S", "nan"),
            ("PING_INTERVAL_S", "0"),
            ("RATE_LIMITS", "maybe"),
            ("SQLITE_SYNCHRONOUS", "full; DROP TABLE users"),
            ("CORS_ORIGINS", "app.example.com"),
            ("DATABASE_POOL_SIZE", "0"),
            ("WS_COMPRESSION_LEVEL", "10"),
            ("WS_COMPRESSION_LEVEL", "-1"),
            ("WS_COMPRESSION_MIN_BYTES", "-1"),
            ("REDIS_URL", "http://x"),
        ],
    )
    def test_each_has_bounds(self, name, value):
        assert f"{name}:" in complaint(**{name: value})


class TestTheSecret:
    @pytest.mark.parametrize("secret", ["", "short", "x" * 64, "changeme" * 8])
    def test_production_needs_a_real_one(self, secret):
        assert "SECRET_KEY:" in complaint(ENVIRONMENT="production", SECRET_KEY=secret)

    def test_and_takes_it(self):
        settings = load({"ENVIRONMENT": "production", "SECRET_KEY": SECRET}, dotenv=None)

        assert settings.secret_key == SECRET
        assert with_secret(settings) is settings

    def test_elsewhere_one_is_made_and_kept(self, tmp_path):
        """Tokens outlive a restart, and nobody else on the machine reads the file."""
        settings = load({"INSTANCE_PATH": str(tmp_path / "instance")}, dotenv=None)
        first, second = with_secret(settings), with_secret(settings)
        (path,) = (tmp_path / "instance").iterdir()

        assert first.secret_key == second.secret_key
        assert len(first.secret_key) >= 43
        assert path.stat().st_mode & 0o077 == 0

    def test_of_a_race_there_comes_one(self, tmp_path):
        """Two processes that start together must not sign with two secrets."""
        script = (
            "import config, sys\n"
            "for number in range(100):\n"
            "    environ = {'INSTANCE_PATH': f'{sys.argv[1]}/{number}'}\n"
            "    print(config.with_secret(config.load(environ, dotenv=None)).secret_key)\n"
        )
        command = [sys.executable, "-c", script, str(tmp_path)]
        racers = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
        ]
        made = [racer.communicate(timeout=60)[0].splitlines() for racer in racers]

        assert len(made[0]) == 100
        assert all(len(secret) >= 43 for secret in made[0])
        assert made[0] == made[1] == made[2] == made[3]


class TestWhereTheyComeFrom:
    def test_the_environment_wins_over_the_file(self, tmp_path):
        path = tmp_path / ".env"
        path.write_text("PORT=1234\nLOG_LEVEL=warning\nUNKNOWN=1\n# PING_TIMEOUT_S=1\n")
        settings = load({"PORT": "4321", "PATH": "/bin"}, dotenv=str(path))

        assert (settings.port, settings.log_level) == (4321, "warning")
        assert settings.ping_timeout_s == 20

    def test_no_file_is_no_fault(self, tmp_path):
        assert load({}, dotenv=str(tmp_path / "missing")) == Settings()

    def test_empty_is_as_good_as_unset(self):
        assert load({"PORT": "", "DATABASE_URL": ""}, dotenv=None) == Settings()

    def test_each_environment_has_defaults(self):
        testing = load({"ENVIRONMENT": "testing"}, dotenv=None)
        production = load({"ENVIRONMENT": "production", "SECRET_KEY": SECRET}, dotenv=None)

        assert (testing.port, Settings().port) == (0, 5000)
        assert (production.host, Settings().host) == ("0.0.0.0", "127.0.0.1")
        assert production.transports == "websocket"

    def test_they_are_frozen(self):
        with pytest.raises(ValueError, match="frozen"):
            setattr(Settings(), "port", 1)  # noqa: B010 - a plain assignment fails the type check

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
            ("postgresql://h/d?x=1", "postgresql+psycopg://h/d?x=1"),
            ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
            ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ],
    )
    def test_the_address_of_the_database(self, given, wanted):
        assert load({"DATABASE_URL": given}, dotenv=None).database_uri == wanted
