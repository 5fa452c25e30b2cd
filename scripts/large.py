"""Bodies of 4 GiB through a proxy, both ways, with a fast and with a slow client, and what memory it takes meanwhile.

Every byte is checked: what is sent depends on its place, and both ends hash what they have (SHA-256). The slow client takes
or gives a few MiB a second for a while, then the rest as fast as it can, as a whole body at its pace would take an hour.
The peak of the proxy's resident memory is the kernel's own record (VmHWM), reset before each body.
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import pathlib
import re
import socket
import time

import measure
import proxies
from measure import Failure, say

MIB = 2**20
PIECE = MIB
RSS_BYTES_MAX = 64 * MIB
# Two copies, so that a piece that begins anywhere in the first is one slice.
PATTERN = hashlib.shake_256(b"large").digest(PIECE) * 2
STALL_SECONDS_MAX = 30


def pieces(size):
    """The body: no two places of it are alike, so a piece that is lost, doubled or moved changes the hash."""
    view = memoryview(PATTERN)
    for number in range(-(-size // PIECE)):
        begin = number * 7919 % PIECE
        yield view[begin : begin + min(PIECE, size - number * PIECE)]


class Pace:
    """Holds its caller to so many bytes a second until a moment, and to nothing after that."""

    def __init__(self, bytes_per_second, seconds):
        self.rate, self.began, self.seconds, self.moved = bytes_per_second, time.monotonic(), seconds, 0

    def moved_more(self, count):
        self.moved += count
        elapsed = time.monotonic() - self.began
        if self.rate and elapsed < self.seconds:
            time.sleep(max(0, min(self.moved / self.rate, self.seconds) - elapsed))


# --- one message on a socket -------------------------------------------------------------------------------------


def head_of(reader):
    """The first line and fields by lower-case name."""
    lines = []
    while (line := reader.readline(65536)) not in (b"\r\n", b""):
        lines.append(line.decode().strip())
    if not lines:
        raise Failure("it ended before a head")
    return lines[0], {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}


def send_body(sock, size, is_chunked, pace):
    hash = hashlib.sha256()
    for piece in pieces(size):
        hash.update(piece)
        if is_chunked:
            sock.sendall(b"%x\r\n" % len(piece))
        step = PIECE if not pace.rate else 64 * 1024
        for at in range(0, len(piece), step):
            sock.sendall(piece[at : at + step])
            pace.moved_more(len(piece[at : at + step]))
        if is_chunked:
            sock.sendall(b"\r\n")
    if is_chunked:
        sock.sendall(b"0\r\n\r\n")
    return hash.hexdigest()


def receive_body(reader, fields, pace):
    """Its hash and length."""
    hash, length = hashlib.sha256(), 0
    for piece in body_pieces(reader, fields, bytearray(PIECE)):
        hash.update(piece)
        length += len(piece)
        pace.moved_more(len(piece))
    return hash.hexdigest(), length


def body_pieces(reader, fields, buffer):
    if fields.get("transfer-encoding") != "chunked":
        yield from exactly(reader, int(fields["content-length"]), buffer)
        return
    while size := int(reader.readline(64).split(b";")[0], 16):
        yield from exactly(reader, size, buffer)
        reader.readline(8)
    reader.readline(8)


def exactly(reader, size, buffer):
    view = memoryview(buffer)
    while size:
        count = reader.readinto1(view[: min(size, len(buffer))])
        if not count:
            raise Failure(f"{size} bytes short")
        size -= count
        yield view[:count]


# --- the upstream, a process of its own --------------------------------------------------------------------------


def upstream(listener, size):
    """GET /length and /chunked give the body; POST takes one and tells its hash."""
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError, Failure), connection:
            serve(connection, size)


def serve(connection, size):
    reader = connection.makefile("rb", PIECE)
    while True:
        line, fields = head_of(reader)
        method, path, _ = line.split(" ")
        connection.settimeout(120)
        if method == "POST":
            text = " ".join(map(str, receive_body(reader, fields, Pace(0, 0)))).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            continue
        is_chunked = path == "/chunked"
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size
        connection.sendall(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        if method == "GET" and path != "/":
            send_body(connection, size, is_chunked, Pace(0, 0))
        elif method == "GET":
            connection.sendall(bytes(size))


@contextlib.contextmanager
def upstream_process(size):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    process = multiprocessing.Process(target=upstream, args=(listener, size), daemon=True)
    process.start()
    try:
        yield listener.getsockname()[1]
    finally:
        process.terminate()
        process.join()
        listener.close()


# --- a body there, or back ---------------------------------------------------------------------------------------


def download(port, size, framing, pace):
    with client(port, pace) as sock:
        sock.sendall(f"GET /{framing} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reader = sock.makefile("rb", 64 * 1024)
        line, fields = head_of(reader)
        require_200(line)
        return receive_body(reader, fields, pace)


def upload(port, size, framing, pace):
    with client(port, pace) as sock:
        is_chunked = framing == "chunked"
        told = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
        sock.sendall(f"POST /{framing} HTTP/1.1\r\nHost: localhost\r\n{told}\r\n\r\n".encode())
        send_body(sock, size, is_chunked, pace)
        reader = sock.makefile("rb")
        line, fields = head_of(reader)
        require_200(line)
        digest, length = reader.read(int(fields["content-length"])).decode().split()
        return digest, int(length)


def require_200(line):
    if " 200 " not in line:
        raise Failure(f"answered {line!r}")


@contextlib.contextmanager
def client(port, pace):
    """A slow one has little room, as a phone has: what its kernel takes at once is not slow."""
    sock = socket.socket()
    if pace.rate:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    sock.settimeout(STALL_SECONDS_MAX)
    sock.connect(("127.0.0.1", port))
    with sock:
        yield sock


WAYS = {"download": download, "upload": upload}


def moved(way, framing, is_slow, server, options):
    """Seconds, the peak of resident memory."""
    size = options.size
    pace = Pace(options.slow_rate if is_slow else 0, options.slow_seconds)
    clear_peak(server.pid)
    began = time.monotonic()
    digest, length = WAYS[way](server.port, size, framing, pace)
    seconds, peak = time.monotonic() - began, peak_bytes(server.pid)
    if (digest, length) != (options.digest, size):
        raise Failure(f"{way}, {framing}: {length} bytes with the hash {digest} arrived, not {size} with {options.digest}")
    say(f"{way}, {framing}, {'slow' if is_slow else 'fast'}: {seconds:.1f} s, peak {peak / MIB:.1f} MiB")
    return seconds, peak


def clear_peak(pid):
    for member in measure.family(pid):
        pathlib.Path(f"/proc/{member}/clear_refs").write_text("5")


def peak_bytes(pid):
    """Of all processes of a family together; an upper bound, as they need not have peaked at once."""
    texts = (pathlib.Path(f"/proc/{member}/status").read_text() for member in measure.family(pid))
    return sum(int(re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)[1]) * 1024 for text in texts)


def rows(server, options):
    for way in WAYS:
        for framing in ("length", "chunked"):
            for is_slow in (False, True) if framing == "length" or options.all else (False,):
                seconds, peak = moved(way, framing, is_slow, server, options)
                pace = f"{options.slow_rate // MIB} MiB/s for {options.slow_seconds} s, then fast" if is_slow else "fast"
                rate = options.size / seconds / MIB
                yield way, framing, pace, f"{seconds:.1f} s ({rate:.0f} MiB/s)", f"{peak / MIB:.1f} MiB", peak


def flags():
    parser = argparse.ArgumentParser(
        prog="large.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--proxy", choices=(proxies.OURS, *proxies.OTHERS), default=proxies.OURS)
    add("--size", type=lambda text: int(float(text) * 2**30), default=4 * 2**30, help="of each body, in GiB (default 4)")
    add("--slow-rate", type=lambda text: int(text) * MIB, default=4 * MIB, help="in MiB a second (default 4)")
    add("--slow-seconds", type=int, default=30)
    add("--all", action="store_true", help="chunked bodies with a slow client too")
    add("--no-build", action="store_true", help="use what is built already")
    add("--write-readme", action="store_true", help="put the report between the large markers of README.md")
    options = parser.parse_args()
    hash = hashlib.sha256()
    for piece in pieces(options.size):
        hash.update(piece)
    options.digest = hash.hexdigest()
    return options


def main():
    options = flags()
    if not options.no_build:
        measure.build(["myriapod"])
    extra = ["--max-body", "8g"] if options.proxy == proxies.OURS else ()
    with measure.scratch() as directory, upstream_process(options.size) as port:
        ready = lambda at: proxies.ask(at, "/", "HEAD")[0] == 200
        with proxies.proxy(options.proxy, [port], directory, extra=extra, ready=ready) as server:
            found = list(rows(server, options))
    text = "\n\n".join([
        measure.heading("large"),
        f"{options.size / 2**30:g} GiB through {options.proxy}, one reactor; every byte checked. Asked: resident memory below "
        f"{RSS_BYTES_MAX // MIB} MiB throughout.",
        measure.table(["way", "framing", "client", "time", "peak of resident memory"], [row[:-1] for row in found]),
    ])
    measure.publish("large", text, options.write_readme)
    if max(row[-1] for row in found) >= RSS_BYTES_MAX:
        raise Failure("it took more memory than it may")


if __name__ == "__main__":
    measure.run(main)
