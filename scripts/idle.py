"""Measures what connections cost a server that has nothing to do for them.

Memory added per idle keep-alive connection (the slope of the proportional set size over five steps), CPU while all sit
idle, and what is left after as many busy connections (half a head each, so that each holds a buffer) have closed.

Runs against myriapod, and for comparison against the peers and the ceiling of bench.sh.
"""

import argparse
import contextlib
import resource
import selectors
import socket
import statistics
import time

import measure
from measure import Failure, say

STEPS = 5
SETTLE_SECONDS = 2
IDLE_SECONDS = 10
RETURN_SECONDS = 10
# Several addresses, so that ports still in TIME_WAIT from the last wave do not run out.
SOURCES = [f"127.0.0.{last}" for last in range(2, 8)]
REQUEST = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_HEAD = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nX-Never"
BATCH = 250
ANSWER_SECONDS_MAX = 10
SPARE_DESCRIPTORS = 200
# Not in Python's socket module before 3.12.
IP_BIND_ADDRESS_NO_PORT = 24
MIB = 2**20


class Crowd:
    """Connections to one server, all opened the same way and closed together."""

    def __init__(self, port):
        self.port = port
        self.members = []

    def grow(self, count, opening, answered):
        """Adds connections a batch at a time; each says `opening` and, if `answered`, waits for one answer."""
        while count > 0:
            batch = [self.connect() for _ in range(min(count, BATCH))]
            for member in batch:
                member.sendall(opening)
            if answered:
                wait_for_answers(batch)
            self.members += batch
            count -= len(batch)

    def connect(self):
        member = socket.socket()
        # Lets the kernel choose the port at connect, when it knows both ends.
        member.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        member.bind((SOURCES[len(self.members) % len(SOURCES)], 0))
        member.connect(("127.0.0.1", self.port))
        return member

    def require_all_open(self):
        """A server that hangs up on its idlers has not been measured with them."""
        closed = sum(1 for member in self.members if not is_quiet(member))
        if closed:
            raise Failure(f"the server closed or spoke on {closed} of {len(self.members)} connections that did nothing")

    def close(self):
        for member in self.members:
            member.close()
        self.members = []


def wait_for_answers(batch):
    """Returns when every member has its answer, whole: the text is the last of it."""
    heard = {member: b"" for member in batch}
    give_up = time.monotonic() + ANSWER_SECONDS_MAX
    with selectors.DefaultSelector() as selector:
        for member in batch:
            selector.register(member, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(1):
                member = key.fileobj
                piece = member.recv(4096)
                heard[member] += piece
                if heard[member].endswith(b"Hello, World!"):
                    selector.unregister(member)
                elif not piece:
                    raise Failure(f"the server hung up after {heard[member]!r}")
            if time.monotonic() > give_up:
                raise Failure(f"{len(selector.get_map())} connections got no answer in {ANSWER_SECONDS_MAX} s")


def is_quiet(member):
    try:
        member.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return False
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


# --- the four measurements ---------------------------------------------------------------------------------------


def warm_up(server):
    """What a server allocates once, for its first visitors, is not the price of a connection."""
    crowd = Crowd(server.port)
    crowd.grow(100, REQUEST, answered=True)
    crowd.close()
    time.sleep(1)


def memory_by_step(server, crowd, total):
    """Points (connections, bytes, anonymous bytes)."""
    points = [(0, *measure.pss_bytes(server.pid))]
    for step in range(STEPS):
        crowd.grow(total * (step + 1) // STEPS - len(crowd.members), REQUEST, answered=True)
        time.sleep(SETTLE_SECONDS)
        points.append((len(crowd.members), *measure.pss_bytes(server.pid)))
        say(f"{points[-1][0]} idle connections: {points[-1][1] / MIB:.2f} MiB")
    return points


def idle_cpu_percent(server):
    began, cpu = time.monotonic_ns(), measure.cpu_ns(server.pid)
    time.sleep(IDLE_SECONDS)
    return 100 * (measure.cpu_ns(server.pid) - cpu) / (time.monotonic_ns() - began)


def busy_memory(server, crowd, total):
    """Bytes with every connection holding half a head, and some seconds after all have closed."""
    crowd.grow(total, HALF_HEAD, answered=False)
    time.sleep(SETTLE_SECONDS)
    crowd.require_all_open()
    peak, _ = measure.pss_bytes(server.pid)
    crowd.close()
    time.sleep(RETURN_SECONDS)
    return peak, measure.pss_bytes(server.pid)[0]


def measured(server, total):
    warm_up(server)
    crowd = Crowd(server.port)
    with contextlib.closing(crowd):
        points = memory_by_step(server, crowd, total)
        percent = idle_cpu_percent(server)
        crowd.require_all_open()
    time.sleep(SETTLE_SECONDS)
    crowd = Crowd(server.port)
    with contextlib.closing(crowd):
        peak, after = busy_memory(server, crowd, total)
    return points, percent, peak, after


# --- the report --------------------------------------------------------------------------------------------------


def report(server_name, total, points, percent, peak, after):
    counts, sizes, anonymous = zip(*points)
    slope, slope_anonymous = (statistics.linear_regression(counts, each).slope for each in (sizes, anonymous))
    start = points[0][1]
    rows = [
        ("memory added per idle keep-alive connection", "at most 128 B", f"{slope:.0f} B ({slope_anonymous:.0f} B of it anonymous)"),
        (f"CPU while {total} connections sit idle, {IDLE_SECONDS} s", "0.0 %", f"{percent:.3f} %"),
        (f"memory after {total} busy connections closed, {RETURN_SECONDS} s", "start + 8 MiB", mib_over(after, start)),
    ]
    steps = ", ".join(f"{count}: {size / MIB:.2f}" for count, size, _ in points)
    return "\n\n".join([
        measure.heading("idle"),
        measure.table([f"{server_name}, one reactor", "asked", "measured"], rows),
        f"Proportional set size in MiB by connections: {steps}; "
        f"with {total} half heads: {peak / MIB:.2f}; after: {after / MIB:.2f}.",
    ])


def mib_over(after, start):
    return f"start {(after - start) / MIB:+.2f} MiB"


def flags():
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="idle.sh", description=__doc__, formatter_class=plain)
    add = parser.add_argument
    add("--server", default="myriapod", help=f"one of {', '.join(measure.installed())} (default myriapod)")
    add("--connections", type=int, default=15_000, help="default 15000")
    add("--server-cpu", type=int, default=0, help="default 0")
    add("--myriapod-args", default="", help="further flags for myriapod, in one string")
    add("--no-build", action="store_true", help="measure what is built already")
    add("--write-readme", action="store_true", help="put the report between the idle markers of README.md")
    return parser.parse_args()


def allow_descriptors(count):
    """Servers inherit the limit, so this is for both sides."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + SPARE_DESCRIPTORS:
        raise Failure(f"{count} connections need ulimit -n {count + SPARE_DESCRIPTORS}; the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    options = flags()
    if options.server not in measure.installed():
        raise Failure(f"no server {options.server}; there are {', '.join(measure.installed())}")
    allow_descriptors(options.connections)
    if not options.no_build:
        measure.build([options.server])
    extra = options.myriapod_args.split() if options.server == "myriapod" else ()
    with measure.scratch() as directory:
        with measure.serving(options.server, directory, options.server_cpu, extra) as server:
            figures = measured(server, options.connections)
    measure.publish("idle", report(options.server, options.connections, *figures), options.write_readme)


if __name__ == "__main__":
    measure.run(main)
