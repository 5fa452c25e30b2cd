"""What proxy.py measures of reloads: what those notice who are served while 1 000 routes are replaced again and again.

Load by a schedule on a route with parameters, in turns alone and beside reloads by SIGHUP. Each reload changes an answer
that is asked for afterwards, so that only a reload that took effect counts as one.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time

import measure
import proxies
from measure import say

ROUTES = 1_000
EVERY_SECONDS = 0.25
EFFECT_SECONDS_MAX = 5
RATE = 5_000
PATH = f"/r{ROUTES // 2}/users/17/items/4"


@dataclasses.dataclass
class Found:
    """The 99th percentiles are one for each round."""

    rate: int = RATE
    failed: int = 0
    calm_us: list = dataclasses.field(default_factory=list)
    busy_us: list = dataclasses.field(default_factory=list)
    reloads_asked: int = 0
    reloads_done: int = 0


def reloads(directory, options, chance):
    found = Found()
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(proxies.upstream(directory, options.client_cpu))
        site = directory / "site.toml"
        write(site, upstream.port, 0)
        extra = options.myriapod_args.split()
        ready = lambda port: proxies.ask(port, "/version") == (200, b"0")
        server = stack.enter_context(proxies.configured(site, directory, options.server_cpu, extra, ready))
        one_load(server, 1, directory, options).wait()
        for number in range(options.rounds):
            for is_busy in chance.sample([False, True], 2):
                one_block(server, upstream.port, site, is_busy, found, options)
            say(f"round {number + 1} of {options.rounds}: p99 {found.calm_us[-1]:.0f} us, "
                f"{found.busy_us[-1]:.0f} us with reloads; {found.failed} failed")
    return found


def write(path, upstream_port, version):
    """In one step, as whoever reads it meanwhile must not see half of it."""
    routes = [proxies.respond_route("/version", str(version))]
    routes += [proxies.proxy_route(f"/r{number}/users/{{user}}/items/{{item}}", "pool") for number in range(ROUTES)]
    new = path.with_suffix(".new")
    new.write_text(proxies.site({"pool": [upstream_port]}, routes))
    os.replace(new, path)


def one_block(server, upstream_port, site, is_busy, found, options):
    running = one_load(server, options.seconds, site.parent, options)
    while running.poll() is None:
        if is_busy:
            reload_once(server, upstream_port, site, found)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(EVERY_SECONDS)
    p99_us, failed = outcome_of(site.parent)
    (found.busy_us if is_busy else found.calm_us).append(p99_us)
    found.failed += failed


def reload_once(server, upstream_port, site, found):
    found.reloads_asked += 1
    write(site, upstream_port, found.reloads_asked)
    server.process.send_signal(signal.SIGHUP)
    give_up = time.monotonic() + EFFECT_SECONDS_MAX
    while time.monotonic() < give_up:
        if proxies.ask(server.port, "/version") == (200, str(found.reloads_asked).encode()):
            found.reloads_done += 1
            return
        time.sleep(0.01)


def one_load(server, seconds, directory, options):
    """Tells what it found in a file, as a pipe that nobody reads meanwhile holds too little."""
    command = ["taskset", "-c", str(options.client_cpu), str(measure.release("myriapod-load")), "open", "-q", "-t1", "-c32"]
    command += ["-R", str(RATE), "-d", f"{seconds}s", "--warm-up", "0s", "--arrivals", options.arrivals]
    return subprocess.Popen([*command, "--json", str(directory / "reload.json"), server.url(PATH)], stdout=subprocess.DEVNULL)


def outcome_of(directory):
    """The 99th percentile in µs and how many requests had no right answer."""
    [only] = json.loads((directory / "reload.json").read_text())["loads"]
    return only["latency_ns"]["p99"] / 1000, only["errors_total"]
