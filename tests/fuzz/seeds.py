"""Where the search begins: one of each kind, and whatever it once found, which stays a test."""

import base64

from tests.fuzz.targets import CURSORS
from tests.websocket.line import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    close_frame,
    fragments,
    frame,
    handshake,
)

_FRAMES = [
    frame(TEXT, b"hello"),
    frame(BINARY, bytes(200)),
    frame(TEXT, b"x" * 126) + frame(PING, b"now") + frame(PONG),
    b"".join(fragments(TEXT, "für ".encode(), "🎺".encode()[:2], "🎺".encode()[2:])),
    frame(TEXT, b"a", final=False) + frame(PING) + frame(BINARY, b"b"),
    frame(TEXT, b"\xed\xa0\x80"),
    frame(CLOSE),
    close_frame(1000, "Tschüß".encode()),
    close_frame(1014),
    close_frame(1014, b"\xff"),
    close_frame(1016, b"\xff"),
    close_frame(1005),
    frame(BINARY, b"x", form=126),
    frame(BINARY, b"x", form=127),
    frame(BINARY, b"x", form=126)[:6],
    frame(BINARY, bytes(70_000))[:14],
    frame(BINARY, bytes(301)),
    b"".join(fragments(BINARY, bytes(150), bytes(150), b"x")),
    frame(TEXT, b"x", rsv=4),
    frame(TEXT, b"x", mask=None),
    frame(3),
]
_HELLO = b"\xcaH\xcd\xc9\xc9\x07\x00"  # RFC 7692, 7.2.3.1
_PACKED = [
    frame(TEXT, _HELLO, rsv=4),
    frame(TEXT, _HELLO[:3], final=False, rsv=4) + frame(0, _HELLO[3:]),
    frame(TEXT, _HELLO[:3], final=False, rsv=4) + frame(PING) + frame(0, _HELLO[3:], rsv=4),
    frame(BINARY, b"\xed\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\n" + bytes(40), rsv=4),
    frame(TEXT, b"\x00", rsv=4),
    frame(TEXT, _HELLO + b"x", rsv=4),
    frame(PING, b"", rsv=4),
]
_REQUESTS = [
    b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n",
    b"POST /api/v1/publish HTTP/1.1\r\nHost: a:80\r\nContent-Length: 2\r\nX: a\tb\r\n\r\n{}",
    b"GET / HTTP/1.1\r\nhost:a\r\nHOST: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nhos!t:a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
]
_PACKETS = [
    '2["subscribe",{"stream":"channel:a"}]',
    '2/,17["publish",{"data":[1,-2.5e3,null,true,"\\u00fc"]}]',
    '213["a",18446744073709551616,-9223372036854775809,1e400,-0,NaN]',
    '2٧["a"]',
    '29999999999999999["a"]',
    '21.5["a"]',
    '51-7["a",{"_placeholder":true,"num":0}]',
    '0{"token":"abc"}',
    '0/,{"token":"abc"}',
    "0/other?x=y,{}",
    "0/" + "n" * 300,
    "0",
    "00",
    "1",
    "1/other,",
    "3[]",
    "61-1[]",
    '2["a","\\ud800"]',
    "2" + "[" * 3000,
]
_SCHEMAS = [
    b'\x00{"token":"abc"}',
    b'\x01{"channel":"a","body":"b","data":{"c":[1]}}',
    b'\x05{"stream":"channel:a","type":"a.b","data":1,"key":"k","ephemeral":true}',
    b'\x07{"positions":{"channel:a":{"offset":1,"epoch":"e"}},"presence":["channel:a"]}',
    b'\x08{"stream":"channel:a","after":{"offset":9007199254740993,"epoch":"\\u0000"}}',
]
_HEADS = [
    handshake(),
    handshake(Origin="http://localhost", User_Agent="Mozilla/5.0"),
    handshake(Content_Length="5"),
    handshake(Transfer_Encoding="chunked"),
    handshake(X_Empty=""),
    handshake(path="/socket.io/?EIO=4&transport=webs\0\0ket"),
    handshake(Host="a b"),
    handshake().replace(b"\r\n", b"\n"),
]
_CURSORS = [
    CURSORS.write({}).encode(),
    base64.urlsafe_b64encode(bytes(60)),
    b"=",
    "é".encode(),
]
_HINTS = [
    b"\x01\x00\x02" + (7).to_bytes(8) + b'e1{"offset":7}',
    b"\x01\x01\x02" + bytes(8) + b'n2{"type":"typing"}',
    b"\x01\x02\x02" + bytes(8) + b'n2{"kind":"access_lost","user_id":"u","stream":"channel:x"}',
    b"\x01\x02\x02" + bytes(8) + b'n2{"kind":"none","user_id":7}',
    b"\x01\x00\xff" + bytes(8) + b"short",
    b"\x02\x00\x00" + bytes(8),
    b"\x01",
]
_RECORDS = [
    b'{"since":1700000000000,"seats":{"n1.a":["c","online","n1",1700000000000]}}',
    b'{"since":1700000000000,"seats":{}}',
    b'{"since":1e308,"seats":{"n1":["c","online","n1",true,5]}}',
    b'{"since":1700000000000,"seats":{"n1":7}}',
    b"[]",
]
# What a search should not have to guess, as libFuzzer writes it: bytes by their numbers.
WORDS = [
    *(
        rf"\x{first:02x}\x{second:02x}"
        for first in (0x01, 0x82, 0x88, 0x89)
        for second in (0xFE, 0xFF)
    ),
    *(r"\x03\xe8", r"\xf0\x9f\x8e\xba", r"\xed\xa0\x80", r"\x80\x00", r"\x00\x81"),
    *(r"2[\"a\"", "{}]", "/,", "51-", "0/a,", r"\"_placeholder\":true", r"\"token\":"),
    *(r"\"stream\":", r"\"channel:a\"", r"\"offset\":", r"\"data\":", r"\"presence\":"),
    *(r"\x0d\x0a", ": ", "Upgrade", "Connection", "websocket", "EIO=4", "&sid=", "Origin"),
]
SEEDS: dict[str, list[bytes]] = {
    "frames": [bytes((step,)) + data for step in (0, 6) for data in _FRAMES],
    "deflated": [bytes((6,)) + data for data in (*_FRAMES, *_PACKED)],
    "wsproto": _FRAMES,
    "encoders": [b"c\x00\x00bye", b"i" + bytes(200), b"o", b"t" + "für 🎺".encode() * 20],
    "packets": [text.encode() for text in _PACKETS],
    "schemas": _SCHEMAS,
    "heads": _HEADS,
    "requests": _REQUESTS,
    "cursors": _CURSORS,
    "hints": _HINTS,
    "records": _RECORDS,
}
