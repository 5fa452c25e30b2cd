"""What upstreams.py asks of a proxy before Node, one thing a function: trailers, streams, 100-continue, upgrades and more.

Each takes a port and raises Failure; each is also asked of Node directly, since what does not hold there says nothing.
"""

import json
import re
import socket
import time

import proxies
from measure import Failure

SECONDS_MAX = 5


class Wire:
    """One connection that speaks raw bytes and reads answers by their framing."""

    def __init__(self, port, seconds_max=SECONDS_MAX):
        self.socket = socket.create_connection(("127.0.0.1", port), seconds_max)
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def fill(self):
        piece = self.socket.recv(65536)
        self.unread += piece
        return piece

    def until(self, end):
        while end not in self.unread:
            expect(self.fill(), f"it ended before {end!r}: {self.unread!r}")
        text, _, self.unread = self.unread.partition(end)
        return text + end

    def exactly(self, count):
        while len(self.unread) < count:
            expect(self.fill(), f"it ended {count - len(self.unread)} bytes early")
        text, self.unread = self.unread[:count], self.unread[count:]
        return text

    def head(self):
        """Status and fields by lower-case name."""
        lines = self.until(b"\r\n\r\n").decode().rstrip("\r\n").split("\r\n")
        fields = [line.split(":", 1) for line in lines[1:]]
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, value in fields}

    def chunk(self):
        size = int(self.until(b"\r\n").split(b";")[0], 16)
        return self.exactly(size + 2)[:-2] if size else None

    def trailers(self):
        lines = []
        while (line := self.until(b"\r\n")) != b"\r\n":
            lines.append(line.decode().strip())
        return lines

    def answer(self):
        """Status, fields, body and trailers of an answer to anything but HEAD."""
        status, fields = self.head()
        if fields.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, None))
            return status, fields, body, self.trailers()
        return status, fields, self.exactly(int(fields["content-length"])), []


def expect(holds, why):
    if not holds:
        raise Failure(why)


def get(path, more=""):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"


def streams_arrive_piece_by_piece(port):
    """The first piece is there long before the last is sent."""
    with Wire(port) as wire:
        began = time.monotonic()
        wire.send(get("/chunks"))
        status, fields = wire.head()
        expect(status == 200 and fields.get("transfer-encoding") == "chunked", f"{status} {fields}")
        first = wire.chunk()
        first_seconds = time.monotonic() - began
        rest = b"".join(iter(wire.chunk, None))
        expect(wire.trailers() == [], "a trailer that nobody sent")
        text = first + rest
        expect(text.startswith(b"piece 20\n") and text.endswith(b"end\n") and text.count(b"\n") == 21, f"{text!r}")
        expect(first_seconds < (time.monotonic() - began) / 2, "the first piece waited for the last")
        wire.send(get("/1k"))
        expect(wire.answer()[0] == 200, "the connection does not go on")


def trailers_come_through(port):
    with Wire(port) as wire:
        # RFC 9110 section 6.5.1: who wants them says so.
        wire.send(get("/trailers", "TE: trailers\r\n"))
        status, fields, body, trailers = wire.answer()
        expect((status, body) == (200, b"with a trailer"), f"{status} {body!r}")
        expect([line.lower() for line in trailers] == ["x-sum: 14"], f"trailers {trailers}")


def trailers_of_requests_come_through(port):
    with Wire(port) as wire:
        wire.send("POST /request-trailers HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        wire.send("3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n")
        status, _, body, _ = wire.answer()
        expect(status == 200 and json.loads(body) == {"x-sum": "3"}, f"{status} {body!r}")


def chunked_bodies_come_through(port):
    with Wire(port) as wire:
        wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(50):
            piece = bytes([65 + number % 26]) * (number * 37 + 1)
            wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        wire.send("0\r\n\r\n")
        whole = b"".join(bytes([65 + number % 26]) * (number * 37 + 1) for number in range(50))
        status, _, body, _ = wire.answer()
        expect(status == 200 and body == whole, f"{status}, {len(body)} of {len(whole)} bytes")


def uploads_are_streamed(port):
    """What was sent comes back before the rest is sent: nobody waits for the whole body."""
    with Wire(port) as wire:
        wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n" + "a" * 10_000)
        expect(wire.head()[0] == 200, "not 200")
        heard = len(wire.unread)
        while heard < 10_000:
            expect(piece := wire.fill(), "it ended")
            heard += len(piece)
        wire.send("b" * 10_000)
        while heard < 20_000:
            expect(piece := wire.fill(), "it ended")
            heard += len(piece)


def continue_is_said_before_the_body(port):
    with Wire(port) as wire:
        wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        status, _ = wire.head()
        expect(status == 100, f"{status} instead of 100")
        wire.send("hello")
        status, _, body, _ = wire.answer()
        expect((status, body) == (200, b"hello"), f"{status} {body!r}")


def heads_have_no_body(port):
    with Wire(port) as wire:
        wire.send("HEAD /1k HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, fields = wire.head()
        expect(status == 200 and fields.get("content-length") == "1024", f"{status} {fields}")
        wire.send("HEAD /chunks HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect(wire.head()[0] == 200, "not 200")
        wire.send(get("/1k"))
        expect(wire.answer()[2] == proxies.BODY.encode(), "the connection does not go on behind a HEAD")


def events_arrive_as_they_happen(port):
    with Wire(port) as wire:
        wire.send(get("/events", "Accept: text/event-stream\r\n"))
        status, fields = wire.head()
        expect(status == 200 and fields["content-type"] == "text/event-stream", f"{status} {fields}")
        late_ms = []
        for number in range(1, 11):
            chunk = wire.chunk().decode()
            expect(chunk.startswith(f"id: {number}\n"), f"event {number}: {chunk!r}")
            late_ms.append(time.time() * 1000 - int(re.search(r"data: (\d+)", chunk)[1]))
        expect(max(late_ms) < 40, f"events are late by {max(late_ms):.0f} ms")


def tunnels_echo(port):
    """A WebSocket's handshake, then bytes both ways, small and large, until one side ends."""
    with Wire(port) as wire:
        wire.send(get("/socket", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))
        status, fields = wire.head()
        expect(status == 101 and fields.get("upgrade", "").lower() == "websocket", f"{status} {fields}")
        expect(fields.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", f"{fields}")
        for size in (1, 125, 70_000, 3):
            piece = bytes(size % 251 + at % 5 for at in range(size))
            wire.send(piece)
            expect(wire.exactly(size) == piece, f"{size} bytes came back as others")
        wire.socket.shutdown(socket.SHUT_WR)
        expect(wire.fill() == b"", "no end")


def hints_come_before_the_answer(port):
    """103 is passed on, or left out; what follows is the answer."""
    with Wire(port) as wire:
        wire.send(get("/hints"))
        status, _ = wire.head()
        if status == 103:
            status, _ = wire.head()
        expect(status == 200, f"{status}")


def an_answer_before_the_body_s_end_is_passed_on(port):
    with Wire(port) as wire:
        wire.send("POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + "x" * 1000)
        status, _, body, _ = wire.answer()
        expect((status, body) == (403, b"no"), f"{status} {body!r}")


def a_cut_answer_is_cut_here_too(port):
    with Wire(port) as wire:
        wire.send(get("/cut"))
        status, fields = wire.head()
        try:
            while wire.fill():
                pass
        except ConnectionError:
            pass
        expect(status in (200, 502) and len(wire.unread) < int(fields.get("content-length", 1000)), "it looks whole")


def hop_by_hop_fields_stay_behind(port):
    """And the client is told of, whatever it says of itself."""
    with Wire(port) as wire:
        wire.send(get("/fields?a=b%20c", "Connection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: a\r\n"
                      "TE: gzip\r\nX-Kept: yes\r\nX-Forwarded-For: 203.0.113.9\r\n"))
        status, _, body, _ = wire.answer()
        seen = json.loads(body)
        fields = {name.lower(): value for name, value in zip(seen["fields"][::2], seen["fields"][1::2])}
        expect(status == 200 and seen["url"] == "/fields?a=b%20c" and fields["x-kept"] == "yes", f"{seen}")
        kept = {"x-secret", "keep-alive", "proxy-connection"} & set(fields)
        expect(not kept, f"sent on: {kept}")
        expect(fields.get("host") == "localhost", f"Host: {fields.get('host')}")
        expect(fields.get("x-forwarded-for") == "127.0.0.1", f"X-Forwarded-For: {fields.get('x-forwarded-for')}")


def connections_that_the_upstream_closes_are_no_fault(port):
    with Wire(port) as wire:
        for _ in range(20):
            wire.send(get("/close"))
            expect(wire.answer()[2] == proxies.BODY.encode(), "not the answer")


# Of Node alone these do not hold, as it is the end of the way and no proxy; the last one closes each connection.
PROXY_ONLY = (hop_by_hop_fields_stay_behind, connections_that_the_upstream_closes_are_no_fault)
ALL = (
    streams_arrive_piece_by_piece, trailers_come_through, trailers_of_requests_come_through, chunked_bodies_come_through,
    uploads_are_streamed, continue_is_said_before_the_body, heads_have_no_body, events_arrive_as_they_happen, tunnels_echo,
    hints_come_before_the_answer, an_answer_before_the_body_s_end_is_passed_on, a_cut_answer_is_cut_here_too, *PROXY_ONLY,
)


def failed(port, checks=ALL):
    """Names of those that do not hold, with what was seen."""
    for check in checks:
        try:
            check(port)
        except (Failure, OSError, KeyError, ValueError) as error:
            yield check.__name__, repr(error) if not isinstance(error, Failure) else str(error)
