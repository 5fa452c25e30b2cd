"""What proxy.py measures of memory: what a connection with a slow answer in flight adds to a proxy.

Thousands of clients ask once each, through the proxy, an upstream that takes its time (slow_upstream.py): it says nothing
yet, or it has said the head and a little of the body and goes on by a byte a second. The slope of the proportional set
size over five steps is the price of one.
"""

import contextlib
import socket
import statistics
import sys
import time

import idle
import measure
import proxies
from measure import Failure, say

KINDS = {"waiting": "upstream says nothing yet", "half": "upstream has sent a head and 4 KiB, and drips"}
STEPS = 5
SETTLE_SECONDS = 2
HELD_SECONDS_MAX = 30
WARM_UP = 200
REQUEST = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"


def memory(names, directory, options):
    """Bytes per connection (all, anonymous) by server and kind."""
    return {
        name: {kind: slope_of(name, kind, directory, options) for kind in KINDS} for name in names
    }


def slope_of(name, kind, directory, options):
    port = measure.free_port()
    command = [sys.executable, "-B", str(measure.ROOT / "scripts" / "slow_upstream.py"), str(port), kind]
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        upstream = enter(proxies.child("slow upstream", port, command, directory, options.client_cpu))
        proxies.wait_until(upstream, directory, lambda at: held(at) == 0)
        # Two threads: who has a descriptor table for each, has room for 10 000 clients and as many upstream connections
        # under the usual limit of 20 000. haproxy has one table, so it is measured with as many as it can hold.
        threads = 1 if name.startswith("haproxy") else 2
        count = min(options.connections, 9_900) if threads == 1 else options.connections
        proxy = enter(proxies.proxy(name, [port], directory, threads=threads, ready=is_there))
        warm_up(proxy, upstream, kind)
        points = points_of(proxy, upstream, kind, count)
    counts, sizes, anonymous = zip(*points)
    slope, of_it = (statistics.linear_regression(counts, each).slope for each in (sizes, anonymous))
    say(f"{name}, {kind}: {slope:.0f} bytes per connection, {of_it:.0f} anonymous; {count} connections")
    return slope, of_it


def is_there(port):
    """A connection is enough: nobody behind it answers."""
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True


def warm_up(proxy, upstream, kind):
    crowd = idle.Crowd(proxy.port)
    with contextlib.closing(crowd):
        add(crowd, upstream, kind, WARM_UP)
    until_held(upstream, 0)
    time.sleep(1)


def points_of(proxy, upstream, kind, total):
    """Points (connections, bytes, anonymous bytes)."""
    crowd = idle.Crowd(proxy.port)
    with contextlib.closing(crowd):
        points = [(0, *measure.pss_bytes(proxy.pid))]
        for step in range(STEPS):
            add(crowd, upstream, kind, total * (step + 1) // STEPS - len(crowd.members))
            time.sleep(SETTLE_SECONDS)
            points.append((len(crowd.members), *measure.pss_bytes(proxy.pid)))
        if held(upstream.port) != total:
            raise Failure(f"{proxy.name} let go some of {total} connections")
    return points


def add(crowd, upstream, kind, count):
    """Returns once the upstream has all requests, and every client the beginning of its answer where there is one."""
    before = len(crowd.members)
    while count > 0:
        batch = min(count, idle.BATCH)
        crowd.grow(batch, REQUEST, answered=False)
        until_held(upstream, len(crowd.members))
        count -= batch
    for member in crowd.members[before:] if kind == "half" else ():
        until_begun(member)


def until_begun(member):
    """The head and the first 4 KiB are there, and read, as a client that is not the slow one does."""
    heard = b""
    member.settimeout(HELD_SECONDS_MAX)
    while len(heard) < 4096:
        piece = member.recv(16384)
        if not piece or not (heard + piece).startswith(b"HTTP/1.1 200"[: len(heard + piece)]):
            raise Failure(f"not the answer: {heard + piece!r}")
        heard += piece


def until_held(upstream, count):
    give_up = time.monotonic() + HELD_SECONDS_MAX
    while (now := held(upstream.port)) != count:
        if time.monotonic() > give_up:
            raise Failure(f"the upstream has {now} requests instead of {count}")
        time.sleep(0.01)


def held(port):
    return int(proxies.ask(port, "/held")[1])
