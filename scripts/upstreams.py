"""A proxy before real upstreams, two of nginx and two of Node, that are killed, paused and restarted under load.

While one of them lives, no error may reach a client, but for POSTs that were sent to one that then died or fell silent:
whether it acted on them nobody knows, so they are not sent again (502 or 504). They are counted, and each must lie in the
span of a fault. Told as well is how long it takes until who comes back is asked again, and how late an answer was.

Then what Node does on the wire that a file never would (upstream_checks.py), and a hundred reloads under load. With
`--proxy nginx` or `haproxy` the same is asked of those: what they do not do either shows what is hard.
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import measure
import proxies
import upstream_checks
from measure import Failure, say

PACKAGES = {"nginx": "nginx-light", "node": "nodejs"}
KINDS = ("nginx", "nginx", "node", "node")
# What one of ours is told: short spans, so that a fault is over while the script looks on.
FIRST_BYTE_SECONDS = 1
SITE_MORE = """connect-timeout = "500ms"
first-byte-timeout = "1s"
eject = { failures = 3, time = "500ms" }
breaker = { open = "500ms" }
health = { path = "/1k", interval = "250ms", timeout = "500ms", rise = 1, fall = 2 }
"""
POST = "POST /1k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\na body"
POSTERS = 4
ANSWER_SECONDS_MAX = 20
CALM_SECONDS = 1
PAUSE_SECONDS = 3
# How long after the fault began a POST may have been sent to the faulty one: until its silence or its end is noticed.
NOTICED_SECONDS_MAX = 2.5
BACK_SECONDS_MAX = 15
RELOADS = 100


class Member:
    """An upstream that can be ended and begun again on its port."""

    def __init__(self, kind, directory):
        self.kind, self.directory, self.port = kind, directory, measure.free_port()
        self.stack = contextlib.ExitStack()
        self.server = None

    def begin(self):
        if self.kind == "nginx":
            self.server = self.stack.enter_context(proxies.upstream(self.directory, port=self.port))
            return
        command = ["node", str(measure.PEERS / "upstream.js"), str(self.port), proxies.BODY]
        self.server = self.stack.enter_context(proxies.child(self.kind, self.port, command, self.directory))
        proxies.wait_until(self.server, self.directory, proxies.gives_the_answer)

    def signal(self, number):
        self.server.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.server.process.wait()

    def end(self):
        """As an operator ends it: nginx finishes what it has begun, Node just goes."""
        self.signal(signal.SIGQUIT if self.kind == "nginx" else signal.SIGTERM)
        self.server.process.wait(measure.STOP_SECONDS_MAX)


# --- those who ask meanwhile -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Asked:
    """One request: when, by whom it was answered, how."""

    began: float
    seconds: float
    outcome: object
    upstream: str = ""


class Asker(threading.Thread):
    """Asks again and again on one connection, and remembers every outcome."""

    def __init__(self, port, request, pause):
        super().__init__(daemon=True)
        self.port, self.request, self.pause = port, request, pause
        self.asked, self.over, self.wire = [], threading.Event(), None

    def run(self):
        while not self.over.wait(self.pause):
            began = time.monotonic()
            outcome, upstream = self.once()
            self.asked.append(Asked(began, time.monotonic() - began, outcome, upstream))

    def once(self):
        """Head and body go out together: an answer that overtakes the body is another matter."""
        try:
            if self.wire is None:
                self.wire = upstream_checks.Wire(self.port, ANSWER_SECONDS_MAX)
            self.wire.send(self.request)
            status, fields, body, _ = self.wire.answer()
            if fields.get("connection", "").lower() == "close":
                self.wire = None
            is_wrong = status == 200 and body != proxies.BODY.encode()
            return "another body" if is_wrong else status, fields.get("x-upstream", "")
        except (OSError, Failure, ValueError, KeyError) as error:
            self.wire = None
            return repr(error), ""

    def finish(self):
        self.over.set()
        self.join()
        return self.asked


def closed_load(port, seconds):
    """myriapod-load with GETs on connections that stay; read by `wrong_of`."""
    command = [str(measure.release("myriapod-load")), "closed", "-q", "-t1", "-c16", "--rate-limit", "2000", "--warm-up", "0s"]
    command += ["-d", f"{seconds:.1f}s", "--json", "-", f"http://127.0.0.1:{port}/1k"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def churn_load(port, seconds):
    """A connection for each request."""
    command = [str(measure.release("myriapod-load")), "churn", "-q", "-t1", "-c32", "-R", "300", "-d", f"{seconds:.1f}s"]
    command += ["--json", "-", f"http://127.0.0.1:{port}/1k"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wrong_of(load):
    """How many requests there were, and those without a right answer by kind."""
    text, errors = load.communicate()
    if not text:
        raise Failure(f"myriapod-load: {errors.strip()}")
    [only] = json.loads(text)["loads"]
    return only["requests"], {kind: count for kind, count in only["errors"].items() if count}


# --- faults ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Told:
    """One fault done to one upstream, and what became of the requests of that time."""

    what: str
    gets: int
    get_errors: dict
    get_seconds_max: float
    posts: int
    refused: int
    unexplained: list
    back_seconds: float

    def is_good(self):
        return not self.get_errors and not self.unexplained and self.back_seconds is not None

    def row(self):
        back = "never" if self.back_seconds is None else f"{self.back_seconds * 1000:.0f} ms"
        errors = ", ".join(f"{count} {kind}" for kind, count in self.get_errors.items()) or "0"
        return (self.what, self.gets, errors, f"{self.get_seconds_max * 1000:.0f} ms", self.posts, self.refused,
                "; ".join(self.unexplained[:3]) or "0", back)


def killed(member):
    member.kill()
    time.sleep(CALM_SECONDS)
    member.begin()


def paused(member):
    member.signal(signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    member.signal(signal.SIGCONT)


def restarted(member):
    member.end()
    member.begin()


FAULTS = {"killed": killed, "paused": paused, "restarted": restarted}


def under_load(port, what, member):
    """Does `what` to a member while many ask."""
    load = closed_load(port, 3 * CALM_SECONDS + (PAUSE_SECONDS if what == "paused" else CALM_SECONDS))
    askers = [Asker(port, upstream_checks.get("/1k"), 0.002)] + [Asker(port, POST, 0.003) for _ in range(POSTERS)]
    for asker in askers:
        asker.start()
    time.sleep(CALM_SECONDS)
    began = time.monotonic()
    FAULTS[what](member)
    over = time.monotonic()
    back = seconds_until_asked(askers[0], member, over)
    time.sleep(CALM_SECONDS)
    gets, posts = askers[0].finish(), [asked for asker in askers[1:] for asked in asker.finish()]
    requests, errors = wrong_of(load)
    errors = collections.Counter(errors)
    errors.update(str(asked.outcome) for asked in gets if asked.outcome != 200)
    refused, unexplained = sorted_out(posts, began, over)
    return Told(f"{member.kind} {what}", requests + len(gets), dict(errors), max(asked.seconds for asked in gets),
                len(posts), refused, unexplained, back)


def seconds_until_asked(asker, member, since):
    """From when it was there again to its first answer after that."""
    while time.monotonic() < since + BACK_SECONDS_MAX:
        for asked in reversed(list(asker.asked)):
            if asked.upstream == str(member.port) and asked.began > since:
                first = min(each.began for each in asker.asked if each.upstream == str(member.port) and each.began > since)
                return first - since
        time.sleep(0.01)
    return None


def sorted_out(posts, began, over):
    """How many POSTs were refused as the rules demand, and what else went wrong with any."""
    refused, unexplained = 0, []
    for asked in posts:
        end = asked.began + asked.seconds
        is_of_the_fault = end >= began and asked.began <= max(over, began + NOTICED_SECONDS_MAX)
        if asked.outcome in (502, 504) and is_of_the_fault:
            refused += 1
        elif asked.outcome != 200:
            unexplained.append(f"POST {asked.outcome} at {asked.began - began:+.3f} s")
    return refused, unexplained


def fault_rounds(port, members, options):
    for what in FAULTS:
        for member in members[:: 1 if options.all else 2]:
            told = under_load(port, what, member)
            say(" | ".join(map(str, told.row())))
            yield told


# --- reloads -----------------------------------------------------------------------------------------------------


def reloaded(server, site, ports, options):
    """Errors by kind while it is told to reload again and again, each tenth time with a file that is wrong."""
    memory, descriptors = measure.pss_bytes(server.pid)[0], descriptors_of(server.pid)
    loads = [closed_load(server.port, options.reloads * 0.1 + 1), churn_load(server.port, options.reloads * 0.1 + 1)]
    asker = Asker(server.port, upstream_checks.get("/1k"), 0.005)
    asker.start()
    took_effect = 0
    for number in range(1, options.reloads + 1):
        if site:
            replace(site, "[upstream" if number % 10 == 0 else site_text(ports, number))
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        if site:
            version = number if number % 10 else number - 1
            took_effect += proxies.ask(server.port, "/version") == (200, str(version).encode())
    outcomes = [wrong_of(load) for load in loads]
    errors = collections.Counter(str(asked.outcome) for asked in asker.finish() if asked.outcome != 200)
    for _, wrong in outcomes:
        errors.update(wrong)
    time.sleep(2)
    added = measure.pss_bytes(server.pid)[0] - memory
    return sum(count for count, _ in outcomes), dict(errors), took_effect, added, descriptors_of(server.pid) - descriptors


def replace(path, text):
    """In one step: half a file, or an empty one, may be a good one that says something else."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def descriptors_of(pid):
    return sum(len(os.listdir(f"/proc/{member}/task/{task}/fd")) for member in measure.family(pid)
               for task in os.listdir(f"/proc/{member}/task"))


def site_text(ports, version):
    return proxies.site({"pool": ports}, [
        proxies.respond_route("/version", str(version)), proxies.proxy_route("/*", "pool"),
    ], SITE_MORE)


# --- all of it ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def front(ports, directory, options):
    """The proxy, and the file that it was told by, if it is ours."""
    if options.proxy != proxies.OURS:
        with proxies.proxy(options.proxy, ports, directory, threads=2, read_timeout=FIRST_BYTE_SECONDS) as server:
            yield server, None
        return
    path = directory / "site.toml"
    path.write_text(site_text(ports, 0))
    with proxies.configured(path, directory) as server:
        yield server, path


def wire_rows(members, directory, options):
    """What Node's answers become, one row for each that is not as it should be."""
    port = next(member.port for member in members if member.kind == "node")
    direct = [check for check in upstream_checks.ALL if check not in upstream_checks.PROXY_ONLY]
    if wrong := list(upstream_checks.failed(port, direct)):
        raise Failure(f"Node itself does not do that: {wrong}")
    with front([port], directory, options) as (server, _):
        return list(upstream_checks.failed(server.port))


def report(faults, wire, reload, options):
    header = ["what", "GETs", "errors", "slowest GET", "POSTs", "not repeated (502, 504)", "unexplained", "asked again after"]
    parts = [
        measure.heading("upstreams"),
        f"{options.proxy} before {', '.join(KINDS)}; 16 connections of GETs at up to 2000/s, one that asks every 2 ms, "
        f"{POSTERS} of POSTs. Not repeated: POSTs that were under way to the faulty one.",
        measure.table(header, [told.row() for told in faults]),
        f"On the wire, before Node: {len(upstream_checks.ALL) - len(wire)} of {len(upstream_checks.ALL)} checks hold"
        + "".join(f"\n- {name}: {why}" for name, why in wire) + ("" if wire else "."),
    ]
    if reload:
        requests, errors, took_effect, added, descriptors = reload
        parts.append(f"{options.reloads} reloads under load, each tenth with a bad file: {requests} requests, errors: "
                     f"{errors or 'none'}; {took_effect} had the effect they should; memory {added / 2**20:+.1f} MiB, "
                     f"{descriptors:+d} descriptors.")
    return "\n\n".join(parts)


def install():
    """Real peers are needed; they are Debian's."""
    missing = [PACKAGES[name] for name in PACKAGES if not shutil.which(name, path=measure.SEARCH_PATH)]
    if missing:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)


def flags():
    parser = argparse.ArgumentParser(
        prog="upstreams.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--proxy", choices=(proxies.OURS, *proxies.OTHERS), default=proxies.OURS)
    add("--all", action="store_true", help="every fault to every upstream, not to one of each kind")
    add("--parts", default="wire,faults,reload", help="comma-separated (default: all of them)")
    add("--reloads", type=int, default=RELOADS)
    add("--no-build", action="store_true", help="use what is built already")
    add("--write-readme", action="store_true", help="put the report between the upstreams markers of README.md")
    return parser.parse_args()


def main():
    options = flags()
    install()
    if not options.no_build:
        measure.build(["myriapod", "myriapod-load"])
    parts = options.parts.split(",")
    with measure.scratch() as directory, contextlib.ExitStack() as stack:
        members = [Member(kind, directory) for kind in KINDS]
        for member in members:
            stack.enter_context(member.stack)
            member.begin()
        ports = [member.port for member in members]
        wire = wire_rows(members, directory, options) if "wire" in parts else []
        with front(ports, directory, options) as (server, site):
            faults = list(fault_rounds(server.port, members, options)) if "faults" in parts else []
            reload = reloaded(server, site, ports, options) if "reload" in parts else None
            if (reload and reload[1]) or not all(told.is_good() for told in faults):
                say(f"it said:\n{(directory / f'{server.port}.log').read_text()[-4000:]}")
    measure.publish("upstreams", report(faults, wire, reload, options), options.write_readme)
    bad_reload = reload and (reload[1] or (site and reload[2] != options.reloads))
    if wire or bad_reload or not all(told.is_good() for told in faults):
        raise Failure("not all is as it should be; the report says what")


if __name__ == "__main__":
    measure.run(main)
