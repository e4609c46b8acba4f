"""Each method that a client invented made a time series of its own, which nothing ever forgets."""

from tests.regression.wires import ask, call


class TestMethods:
    def test_what_is_none_is_counted_as_other(self, sturdy):
        for number in range(5):
            ask(
                sturdy, b"AAAA%d /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % number
            )
        text = call(sturdy, "GET", "/metrics").text

        assert "AAAA" not in text
        assert 'method="other"' in text
