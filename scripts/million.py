"""Holds a million connections to one myriapod on this machine, and measures what they cost.

Builds, sets what the kernel needs (as root, and puts it back at the end), starts the server with as many reactors as
the limit on descriptors asks for, opens all connections from this machine, each answered once, measures memory, idle
CPU and a probe on the way, sweeps all of them once, closes them at once, and sees what the server gives back.

Leaves out/million.html (a page with plots), out/million.json (everything), and ten lines on standard output. A machine
that cannot hold so many is told what is missing, and the largest number that fits is run.
"""

import argparse
import contextlib
import json
import math
import pathlib
import resource
import subprocess

import measure
import tune
from measure import Failure, say

MILLION = 1_000_000
# What is promised of a million connections with server and generator on the same 2 CPUs: expectation, what it is.
BARS = [
    ("errors=0", "errors"),
    ("connection_errors=0", "connections that failed"),
    ("open_seconds<=40s", "time to open and answer them"),
    ("bytes_per_connection<=128B", "server memory an idle connection"),
    ("sweep_seconds<=30s", "sweep: each asks once more"),
    ("probe_ratio<=2", "p99 of a probe beside all, over beside 1 000"),
    ("idle_share<=0.5%", "server CPU with all idle"),
    ("release_seconds<=15s", "server below 64 MiB after all closed"),
    ("return_seconds<=2s", "1 000 new connections right after"),
]
# Of fewer connections these hold as well; the others are of a million.
ALWAYS = {"errors=0", "connection_errors=0"}
# Longer than any stage, so that the server hangs up on nobody who is meant to be idle.
IDLE_TIMEOUT = "1h"
IMBALANCE_MAX = 2


# --- what this machine can do ------------------------------------------------------------------------------------


def examine(options):
    """The doctor's report on so many connections with a client on the same machine."""
    asked = argparse.Namespace(connections=options.connections, host="/", doctor_args=["--with-client"])
    return tune.examine(asked)


def choose(options, report):
    """How many to hold: all that were asked for, or what fits, saying what is missing."""
    possible = report["connections_possible"]
    if report["fits"]:
        return options.connections
    say(f"{tune.grouped(options.connections)} connections do not fit here; the first limit is {report['first_limit']}:")
    for check in report["checks"]:
        if check["verdict"] == "binds":
            here, wanted = (tune.amount(check[which], check["unit"]) for which in ("here", "wanted"))
            say(f"  {check['name']} is {here}, wanted {wanted}: {check['why']}")
            for remedy in check["remedies"]:
                say(f"      {remedy['place']}: {remedy['command']}")
    fits = rounded_down(possible)
    if fits < 1000:
        raise Failure(f"only {possible} would fit; nothing was run")
    say(f"running the largest that fits: {tune.grouped(fits)}")
    return fits


def rounded_down(count):
    """To two digits: 873 512 is run as 870 000."""
    unit = 10 ** max(0, int(math.log10(max(count, 1))) - 1)
    return count // unit * unit


@contextlib.contextmanager
def tuned(report, options):
    """The kernel's settings for the length of a `with`; without the right to set them, as they are."""
    settings = [] if options.no_tune else tune.settings_of(report, pathlib.Path("/"))
    done = []
    for setting in settings:
        problem = setting.apply()
        if problem:
            say(f"not set: {problem}")
        else:
            done.append(setting)
            say(f"set until the end of this run: {tune.assignment(setting.key, setting.read())}")
    try:
        yield
    finally:
        for setting in done:
            setting.restore()


# --- the run -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(reactors, log, extra):
    """A ready server and the ports it and its metrics have."""
    port, admin = measure.free_port(), measure.free_port()
    command = [
        *[str(measure.release("myriapod")), "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"],
        *["--reactors", str(reactors), "--idle-timeout", IDLE_TIMEOUT, *extra],
    ]
    with open(log, "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    try:
        measure.wait_until_ready(measure.Server("myriapod", port, process), log)
        yield port, admin, " ".join(["myriapod", *command[1:]])
    finally:
        measure.stop(process)


def hold(port, admin, connections, options):
    """Runs the generator; what it found, and whether all expectations held."""
    measure.OUT.mkdir(exist_ok=True)
    page, data = measure.OUT / f"{options.name}.html", measure.OUT / f"{options.name}.json"
    command = [
        *[str(measure.release("myriapod-load")), "hold", "--connections", str(connections), "--steps", options.steps],
        *["--json", str(data), "--html", str(page), "--expect", ",".join(expected(connections, options))],
        *["--scrape", f"http://127.0.0.1:{admin}/metrics#myriapod_connections_open", *options.load_args.split()],
        f"http://127.0.0.1:{port}/plaintext",
    ]
    say("$ " + " ".join(["myriapod-load", *command[1:]]))
    data.unlink(missing_ok=True)
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    # 1 says that something expected did not hold: that is told below.
    if done.returncode not in (0, 1) or not data.exists():
        raise Failure(f"the load generator failed with status {done.returncode}")
    return json.loads(data.read_text()), page, data


def expected(connections, options):
    bars = [bar for bar, _ in BARS if connections >= MILLION or bar in ALWAYS]
    return [f"connections={connections}", *bars, *filter(None, options.expect.split(","))]


# --- the summary -------------------------------------------------------------------------------------------------


def summary(found, reactors, page, data):
    """Ten lines."""
    facts = {name: fact["value"] for name, fact in found["facts"].items()}
    last = found["steps"][-1]
    loads = {load["name"]: load for load in found["loads"]}
    probes = [loads[name] for name in loads if name.startswith("probe beside")]
    slope = found["slopes"]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    open_now = last["scraped"][0]
    return "\n".join([
        f"{measure.machine()}; commit {measure.commit()}",
        f"{tune.grouped(int(facts['connections']))} connections held by one process, {reactors} reactors, at most {limit} "
        f"descriptors each; {int(facts['connection_errors'])} failed",
        f"opened in {facts['open_seconds']:.1f} s, {facts['open_rate']:.0f} a second, each answered once",
        f"an idle connection takes {slope['server']['bytes_per_connection']:.1f} B of the server, "
        f"{slope['kernel']['bytes_per_connection'] / 1024:.2f} KiB of the kernel (both ends)",
        f"server CPU with all of them idle: {100 * last['server_idle_share']:.3f} % of one CPU",
        f"each asked once more in {facts['sweep_seconds']:.1f} s, {loads['sweep']['errors_total']} errors",
        f"probe, p99: {' -> '.join(milliseconds(probe) for probe in probes[1:])} ms beside "
        f"{' -> '.join(tune.grouped(step['connections']) for step in found['steps'][1:])}",
        f"connections of a reactor: least {open_now['least']:.0f}, most {open_now['most']:.0f}",
        f"all closed in {facts['close_seconds']:.1f} s; 1 000 new ones opened in {facts['return_seconds']:.2f} s; "
        f"server below 64 MiB after {told(facts['release_seconds'])} s, then {facts['server_bytes_after'] / 2**20:.1f} MiB",
        f"report: {page.relative_to(measure.ROOT)}, {data.relative_to(measure.ROOT)}",
    ])


def told(seconds):
    return "more than 30" if seconds is None else f"{seconds:.1f}"


def milliseconds(load):
    return f"{load['latency_ns']['p99'] / 1e6:.2f}"


def bars(found):
    """A row for every expectation: what, asked, measured."""
    names = dict(BARS)
    rows = []
    for judged in found["expectations"]:
        verdict = "held" if judged["held"] else "MISSED"
        label = next((name for bar, name in names.items() if same(bar, judged["expectation"])), "")
        rows.append((label, judged["expectation"], judged["told"], verdict))
    last = found["steps"][-1]["scraped"][0]
    difference = last["most"] - last["least"]
    verdict = "held" if difference <= IMBALANCE_MAX else "MISSED"
    rows.append(("most loaded reactor less least loaded", f"<= {IMBALANCE_MAX}", f"{difference:.0f}", verdict))
    return rows


def same(bar, expectation):
    """Expectations come back in their own spelling; their names do not change."""
    return expectation.split(" ")[0] == bar[: next(at for at, letter in enumerate(bar) if letter in "<=>")]


def flags():
    parser = argparse.ArgumentParser(
        prog="million.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--connections", type=int, default=MILLION, help="default a million")
    add("--steps", default="0,1k,10%,25%,50%,100%", help="where to stop and measure (default 0, 1000 and four shares)")
    add("--name", default="million", help="of the files under out/ (default million)")
    add("--load-args", default="", help="further flags for myriapod-load hold, in one string")
    add("--myriapod-args", default="", help="further flags for myriapod, in one string")
    add("--expect", default="", help="further expectations: 'probe_p99<2ms'")
    add("--reactors", type=int, help="default: as many as the limit on descriptors asks for")
    add("--no-tune", action="store_true", help="leave the kernel's settings as they are")
    add("--no-build", action="store_true", help="measure what is built already")
    add("--write-readme", action="store_true", help="put the summary between the million markers of README.md")
    return parser.parse_args()


def main():
    options = flags()
    if not options.no_build:
        measure.build(["myriapod", "myriapod-load"])
    report = examine(options)
    with tuned(report, options):
        report = examine(options)
        connections = choose(options, report)
        reactors = options.reactors or report["reactors"]
        with measure.scratch() as directory:
            log = directory / "server.log"
            with serving(reactors, log, options.myriapod_args.split()) as (port, admin, command):
                say("$ " + command)
                found, page, data = hold(port, admin, connections, options)
    rows = bars(found)
    text = "\n\n".join([
        measure.heading("million"),
        "```text\n" + summary(found, reactors, page, data) + "\n```",
        measure.table(["", "asked", "measured", ""], rows),
    ])
    measure.publish(options.name, text, options.write_readme)
    if any(row[-1] == "MISSED" for row in rows) or not found["valid"]:
        raise Failure("something that was expected did not hold; see the table")


if __name__ == "__main__":
    measure.run(main)
