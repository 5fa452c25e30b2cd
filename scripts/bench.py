"""Measures the server beside a raw epoll ceiling and whatever of nginx, haproxy and h2o is installed.

All in one run, one server at a time, in random order, over several rounds with fresh processes: absolute figures
wobble, the ratio to the ceiling of the same round wobbles less. The cost is CPU time of the server per request, user
and system. Then what does not wobble: system calls and heap allocations per request. Last, connections that are not
kept alive.

Not here: latency under a fixed rate, and memory (idle.py).
"""

import argparse
import contextlib
import os
import random
import re
import statistics
import subprocess

import counters
import handoff
import measure
from load import AB_CONNECTIONS, ab, block, spread, wrk
from measure import Failure, say

OURS = ("ceiling", "myriapod")
DEPTHS = (1, 16)
BARS = {1: 1.08, 16: 1.20, "calls": 2.1, "ab": 0.80}
CALL_COLUMNS = ("server the slower side (`strace -c -f`)", "at full speed (`perf stat`)")


# --- rounds ------------------------------------------------------------------------------------------------------


def rounds(names, directory, options, chance):
    """Blocks by depth, a dictionary by server for each round."""
    results = {depth: [] for depth in DEPTHS}
    for number in range(options.rounds):
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(serving(name, directory, options)) for name in names]
            for server in servers:
                wrk(server, DEPTHS[-1], 1, options)
            for depth in DEPTHS:
                results[depth].append(one_round(servers, depth, options, chance))
                say(f"round {number + 1} of {options.rounds}, depth {depth}: {summary(results[depth][-1])}")
    return results


def one_round(servers, depth, options, chance):
    order = chance.sample(servers, len(servers))
    return {server.name: block(server, lambda: wrk(server, depth, options.seconds, options)) for server in order}


def ab_rounds(directory, options, chance):
    """Without keep-alive, beside nginx only: the ceiling never closes, and ab waits for that."""
    results = []
    for number in range(options.rounds):
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(serving(name, directory, options)) for name in ("myriapod", "nginx")]
            order = chance.sample(servers, len(servers))
            results.append({server.name: block(server, lambda: ab(server, options)) for server in order})
            say(f"ab round {number + 1} of {options.rounds}: {summary(results[-1])}")
    return results


def serving(name, directory, options):
    extra = options.myriapod_args.split() if name == "myriapod" else ()
    return measure.serving(name, directory, options.server_cpu, extra)


def summary(blocks):
    return ", ".join(f"{name} {each.cost_us:.3f}" for name, each in blocks.items()) + " us per request"


# --- figures that do not wobble ----------------------------------------------------------------------------------


def calls_of(name, directory, options):
    """System calls per request, counted twice: with the server as the slower side, and with the client."""
    with serving(name, directory, options) as server:
        wrk(server, 1, 1, options)
        saturated = calls_in_window(counters.calls_saturated, server, directory, options)
        if not counters.perf_can_count():
            return saturated, "not counted: tracepoints are closed to this user"
        return saturated, calls_in_window(counters.calls_at_full_speed, server, directory, options)


def calls_in_window(counter, server, directory, options):
    """System calls by name over the requests of exactly the same window, at depth 1 under load."""
    with counter(server, directory) as counts:
        requests, _ = wrk(server, 1, 2, options)
    total = sum(counts.values()) / requests
    each = {call: count / requests for call, count in counts.most_common()}
    shown = [f"{call} {value:.3f}" for call, value in each.items() if value >= 0.0005 and call != "epoll_ctl"]
    return f"{total:.3f}: {', '.join(shown)}, epoll_ctl {counts['epoll_ctl'] / options.connections:.1f} per connection"


def allocations_of(name, directory, options):
    """Heap allocations of the running server, over all requests of a window that also opens the connections."""
    with counters.allocation_probes(measure.release(name)) as events:
        if not events:
            return None
        with serving(name, directory, options) as server:
            wrk(server, DEPTHS[-1], 1, options)
            with counters.perf_stat(server, events, directory) as counts:
                requests, _ = wrk(server, 1, 2, options)
    total = sum(counts.values())
    return f"{total / requests:.4f} ({total} in {requests} requests on {options.connections} new connections)"


def allocations_line():
    """What the test that counts heap allocations says of itself; None where there is no such test."""
    if not (measure.ROOT / "tests" / "allocations.rs").exists():
        return None
    command = ["cargo", "test", "--release", "--test", "allocations", "--", "--nocapture"]
    result = subprocess.run(command, cwd=measure.ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"{' '.join(command)}: {(result.stdout + result.stderr).strip()}")
    lines = [line.strip() for line in (result.stdout + result.stderr).splitlines()]
    telling = [line for line in lines if re.search(r"allocations?\b.*\d", line) and not line.startswith("Running")]
    return telling[-1] if telling else next(line for line in lines if line.startswith("test result"))


# --- the report --------------------------------------------------------------------------------------------------


def ratios(blocks, name, base):
    return [each[name].cost_us / each[base].cost_us for each in blocks]


def server_rows(names, results):
    for name in names:
        row = [name]
        for depth in DEPTHS:
            blocks = results[depth]
            row.append(f"{statistics.median(each[name].cost_us for each in blocks):.{2 if depth == 1 else 3}f}")
            row.append(spread(ratios(blocks, name, "ceiling")))
            row.append(rate_text([each[name] for each in blocks]))
        yield row


def rate_text(blocks):
    """Requests per second, and how much of its CPU the server used: below 100 % the client was the slower side."""
    rate = f"{statistics.median(each.rate for each in blocks):,.0f}".replace(",", " ")
    return f"{rate} ({statistics.median(each.busy for each in blocks):.0%})"


def server_table(names, results):
    header = ["server, one thread"]
    for depth in DEPTHS:
        header += [f"depth {depth}: CPU µs per request", "ratio to the ceiling", "requests/s (server busy)"]
    return measure.table(header, server_rows(names, results))


def bar_rows(figures):
    results = figures["rounds"]
    for depth in DEPTHS:
        name = f"CPU per request over the ceiling, {'depth 1' if depth == 1 else f'{depth} pipelined'}"
        yield name, f"at most {BARS[depth]:.2f}", spread(ratios(results[depth], "myriapod", "ceiling"), 3)
    if "calls" in figures:
        asked = f"at most {BARS['calls']}, no epoll_ctl"
        yield "system calls per request, depth 1 under load", asked, figures["calls"]["myriapod"][0]
    yield "heap allocations per request", "0", "; ".join(filter(None, figures["allocations"])) or "not counted"
    if "ab" in figures:
        name = f"CPU per request against nginx, `ab -c {AB_CONNECTIONS}` without `-k`"
        yield name, f"at most {BARS['ab']:.2f}", spread(ratios(figures["ab"], "myriapod", "nginx"), 3)


def report(names, figures, options):
    results = figures["rounds"]
    every = [each for depth in DEPTHS for blocks in results[depth] for each in blocks.values()]
    others = [100 * each.others for each in every]
    parts = [
        measure.heading("bench"),
        f"Server on CPU {options.server_cpu}, wrk on CPU {options.client_cpu}, {options.connections} connections, "
        f"{options.rounds} rounds of {options.seconds} s in random order (seed {options.seed}); "
        "medians, and (least..most). "
        f"Others used {statistics.median(others):.0f} % of a CPU meanwhile, at most {max(others):.0f} %.",
        server_table(names, results),
    ]
    if "myriapod" in names:
        parts.append(measure.table(["figure", "asked", "measured"], bar_rows(figures)))
    if "calls" in figures:
        parts.append(measure.table(["system calls per request", *CALL_COLUMNS], call_rows(figures["calls"])))
    if "ab" in figures:
        parts.append("Without keep-alive, CPU µs per request: " + ", ".join(ab_costs(figures["ab"])) + ".")
    return "\n\n".join(parts)


def call_rows(calls):
    for name, (saturated, free) in calls.items():
        yield name, saturated, free


def ab_costs(blocks):
    for name in ("myriapod", "nginx"):
        yield f"{name} {spread([each[name].cost_us for each in blocks])}"


# --- from flags to report ----------------------------------------------------------------------------------------


def flags():
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="bench.sh", description=__doc__, formatter_class=plain)
    add = parser.add_argument
    add("--rounds", type=int, help="how often everything is repeated (default 5)")
    add("--seconds", type=int, help="length of one block of load (default 4)")
    add("--quick", action="store_true", help="two rounds of one second: a look, not a measurement")
    add("--only", help="comma-separated servers, always beside the ceiling (default: all that are installed)")
    add("--control", action="store_true", help="measure the ceiling twice, to see how far the ratio of equals strays")
    add("--connections", type=int, default=64, help="of wrk (default 64)")
    add("--server-cpu", type=int, default=0, help="default 0")
    add("--client-cpu", type=int, default=1, help="default 1")
    add("--ab-requests", type=int, help="of one block of ab (default 100000)")
    add("--skip-ab", action="store_true", help="leave out connections without keep-alive")
    add("--skip-calls", action="store_true", help="leave out the count of system calls")
    add("--myriapod-args", default="", help="further flags for myriapod, in one string")
    add("--dispatch", choices=["queue"], help="measure the way through the workers' queues against inline instead")
    add("--seed", type=int, default=random.randrange(1_000_000), help="of the random order (printed in the report)")
    add("--no-build", action="store_true", help="measure what is built already")
    add("--write-readme", action="store_true", help="put the report between the bench markers of README.md")
    return with_defaults(parser.parse_args())


def with_defaults(options):
    plain = {"rounds": 5, "seconds": 4, "ab_requests": 100_000}
    quick = {"rounds": 2, "seconds": 1, "ab_requests": 10_000}
    for name, value in (quick if options.quick else plain).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def chosen(options):
    here = measure.installed()
    wanted = options.only.split(",") if options.only else here
    if missing := [name for name in wanted if name not in here]:
        raise Failure(f"not here: {', '.join(missing)}; there are {', '.join(here)}")
    control = [measure.CONTROL] if options.control else []
    return ["ceiling", *control] + [name for name in wanted if name != "ceiling"]


def main():
    options = flags()
    if options.dispatch:
        return handoff.run(options)
    names = chosen(options)
    if not {options.server_cpu, options.client_cpu} <= os.sched_getaffinity(0):
        raise Failure("server and client need a CPU each; see --server-cpu and --client-cpu")
    if not options.no_build:
        measure.build(names)
    chance = random.Random(options.seed)
    figures = {}
    with measure.scratch() as directory:
        if "myriapod" in names:
            figures["allocations"] = [allocations_of("myriapod", directory, options), allocations_line()]
        if not options.skip_calls:
            figures["calls"] = {name: calls_of(name, directory, options) for name in OURS if name in names}
        figures["rounds"] = rounds(names, directory, options, chance)
        if not options.skip_ab and {"myriapod", "nginx"} <= set(names):
            figures["ab"] = ab_rounds(directory, options, chance)
    measure.publish("bench", report(names, figures, options), options.write_readme)


if __name__ == "__main__":
    measure.run(main)
