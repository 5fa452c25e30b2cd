"""Measures what proxying costs, beside nginx and haproxy before the same upstream.

CPU time of the proxy's process for a proxied answer of 1 KiB, connections kept alive on both sides, one thread each; what
a proxy adds to latency at 30 % of our peak rate, by a schedule (`myriapod-load open`); what a connection with a slow
answer in flight adds to memory (proxy_memory.py); and what reloads of 1 000 routes do to those who are served meanwhile
(proxy_reload.py). Interleaved, one proxy at a time, in random order, over rounds with fresh processes; ours is measured
twice, and how far the second is from the first is the error of the method.

The proxy has a CPU of its own; upstream and load share the other. On loopback the kernel charges the receiver's work to
the sender, so half of what the proxy's connections cost is in these figures and half is not; it is so for all of them.
"""

import argparse
import contextlib
import json
import random
import shutil
import statistics
import subprocess

import counters
import load
import measure
import proxies
import proxy_memory
import proxy_reload
from load import block, spread
from measure import Failure, say

PARTS = ("cpu", "latency", "memory", "reload")
AGAIN = f"{proxies.OURS} again"
BARS = {"cpu": 0.80, "latency_us": 150, "memory_bytes": 12 * 1024, "reload": 2.0}
SHARE = 0.3


# --- CPU per request ---------------------------------------------------------------------------------------------


def cost_rounds(names, directory, options, chance):
    """Blocks by concurrency, a dictionary by proxy for each round."""
    results = {count: [] for count in options.concurrency}
    for number in range(options.rounds):
        with contextlib.ExitStack() as stack:
            servers = all_of(names, directory, options, stack)
            for server in servers:
                closed(server, options.concurrency[-1], 1, options)
            for count in options.concurrency:
                order = chance.sample(servers, len(servers))
                results[count].append({
                    each.name: block(each, lambda: closed(each, count, options.seconds, options)) for each in order
                })
                say(f"round {number + 1} of {options.rounds}, {count} at once: {summary(results[count][-1])}")
    return results


def all_of(names, directory, options, stack):
    """Every proxy before one upstream."""
    upstream = stack.enter_context(proxies.upstream(directory, options.client_cpu))
    return [stack.enter_context(front(name, upstream, directory, options)) for name in names]


def front(name, upstream, directory, options):
    extra = options.myriapod_args.split() if name.startswith(proxies.OURS) else ()
    return proxies.proxy(name, [upstream.port], directory, options.server_cpu, extra=extra)


def closed(server, connections, seconds, options):
    """Requests answered and seconds taken; every answer is checked by the generator."""
    how = argparse.Namespace(connections=connections, client_cpu=options.client_cpu)
    return twice(lambda: load.wrk(server, 1, seconds, how))


def twice(measurement):
    """Once more where it did not come about, as on a machine that others use: said, and the second time final."""
    try:
        return measurement()
    except Failure as error:
        say(f"again, since {error}")
        return measurement()


def summary(blocks):
    return ", ".join(f"{name} {each.cost_us:.2f}" for name, each in blocks.items()) + " us per request"


def better_of(blocks, names):
    """Who of the others costs less, by medians."""
    others = [name for name in names if name in proxies.OTHERS]
    return min(others, key=lambda name: statistics.median(each[name].cost_us for each in blocks), default=None)


def cost_rows(names, results):
    for name in names:
        row = [name]
        for blocks in results.values():
            base = better_of(blocks, names)
            cells = [f"{statistics.median(each[name].cost_us for each in blocks):.2f}"]
            if base and name != base:
                cells.append(spread([each[name].cost_us / each[base].cost_us for each in blocks]))
            cells.append(f"{statistics.median(each[name].rate for each in blocks):.0f}/s")
            row.append(" · ".join(cells))
        yield row


def cost_text(names, results, options):
    header = ["proxy, one thread"] + [
        f"{count} at once" for count in options.concurrency
    ]
    others = max(each.others for blocks in results.values() for one in blocks for each in one.values())
    return "\n\n".join([
        f"CPU µs of the proxy for a proxied answer of 1 KiB · how many times the better of the others that is (asked of "
        f"ours: at most {BARS['cpu']:.2f}) · answers per second. {options.rounds} rounds of {options.seconds} s; medians, "
        f"and (least..most). Upstream and others' programs used up to {others:.2f} CPUs beside.",
        measure.table(header, cost_rows(names, results)),
    ])


def calls_text(names, directory, options):
    """System calls per request, by stopping the proxy at each, so that it is the slower side."""
    if not shutil.which("strace"):
        return "System calls are not counted: there is no strace."
    rows = []
    for name in names:
        with contextlib.ExitStack() as stack:
            [server] = all_of([name], directory, options, stack)
            closed(server, 32, 1, options)
            with counters.calls_saturated(server, directory) as counts:
                requests, _ = closed(server, 32, 2, options)
        shown = [f"{call} {count / requests:.2f}" for call, count in counts.most_common() if count >= requests / 200]
        rows.append((name, f"{sum(counts.values()) / requests:.2f}: {', '.join(shown)}"))
    return measure.table(["proxy", "system calls per request, 32 at once (`strace -c -f`)"], rows)


# --- latency -----------------------------------------------------------------------------------------------------


def latency_rounds(names, directory, options, chance):
    """Percentiles in µs by round and by who is asked; `direct` is the upstream itself."""
    results, rate = [], None
    for number in range(options.rounds):
        with contextlib.ExitStack() as stack:
            # Beside the proxy: who shares a CPU with the load is late by the scheduler's slices, and looks slow.
            upstream = stack.enter_context(proxies.upstream(directory, options.server_cpu))
            servers = [stack.enter_context(front(name, upstream, directory, options)) for name in names]
            rate = rate or round(SHARE * peak(servers[0], options))
            for server in servers:
                closed(server, 64, 1, options)
            direct = proxies.Proxy("direct", upstream.port, upstream.process)
            order = chance.sample([direct, *servers], len(servers) + 1)
            results.append({each.name: twice(lambda: opened(each, rate, options)) for each in order})
        told = ", ".join(f"{name} {p50:.0f}/{p99:.0f}" for name, (p50, p99) in results[-1].items())
        say(f"round {number + 1} of {options.rounds}, {rate}/s, p50/p99 in us: {told}")
    return results, rate


def peak(server, options):
    requests, seconds = closed(server, 64, max(2, options.seconds), options)
    return requests / seconds


def opened(server, rate, options):
    command = [
        *["taskset", "-c", str(options.client_cpu), str(measure.release("myriapod-load")), "open", "-q", "-t1", "-c64"],
        *["-R", str(rate), "-d", f"{options.seconds}s", "--warm-up", "500ms", "--arrivals", options.arrivals],
        *["--json", "-", server.url()],
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise Failure(f"myriapod-load is not content with {server.name}: {result.stderr.strip() or why(result.stdout)}")
    [only] = json.loads(result.stdout)["loads"]
    if only["errors_total"]:
        raise Failure(f"{server.name}: {only['errors']}")
    return tuple(only["latency_ns"][name] / 1000 for name in ("p50", "p99"))


def why(text):
    """What a report that is not valid says of itself."""
    return "; ".join(json.loads(text).get("invalid", [])) if text.startswith("{") else text[-300:]


def latency_text(names, results, rate, options):
    def over(name, place):
        return [each[name][place] - each["direct"][place] for each in results]

    rows = [("direct", *(spread([each["direct"][place] for each in results], 0) for place in (0, 1)), "", "")]
    for name in names:
        own = (spread([each[name][place] for each in results], 0) for place in (0, 1))
        rows.append((name, *own, *(spread(over(name, place), 0) for place in (0, 1))))
    return "\n\n".join([
        f"Latency in µs at {rate} requests per second, {SHARE:.0%} of the peak of {names[0]}, {options.arrivals} arrivals, 64 "
        f"connections, {options.rounds} rounds of {options.seconds} s; here the upstream shares the proxy's CPU and the load has "
        f"the other to itself; added is over direct in the same round (asked "
        f"of ours for p99: at most {BARS['latency_us']}).",
        measure.table(["asked", "p50", "p99", "added to p50", "added to p99"], rows),
    ])


# --- the rest of the report --------------------------------------------------------------------------------------


def memory_text(names, slopes, options):
    rows = [
        (name, *(f"{slopes[name][kind][0] / 1024:.2f} KiB ({slopes[name][kind][1] / 1024:.2f})" for kind in slopes[name]))
        for name in names
    ]
    return "\n\n".join([
        f"Memory added for each of {options.connections} proxied connections (haproxy 9 900: it has one table of "
        f"descriptors), (of it anonymous); asked of ours: at most {BARS['memory_bytes'] // 1024} KiB.",
        measure.table(["proxy", *proxy_memory.KINDS.values()], rows),
    ])


def reload_text(found, options):
    rows = [
        ("requests that failed", "0", found.failed),
        (f"p99 without reloads, µs, {found.rate}/s", "", spread(found.calm_us, 0)),
        (f"p99 with a reload each {proxy_reload.EVERY_SECONDS} s, µs", "", spread(found.busy_us, 0)),
        ("ratio", f"at most {BARS['reload']:.0f}", spread([b / c for b, c in zip(found.busy_us, found.calm_us)])),
        ("reloads that took effect", found.reloads_asked, found.reloads_done),
    ]
    return measure.table([f"{proxy_reload.ROUTES} routes with parameters, reloaded under load", "asked", "measured"], rows)


def flags():
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="proxy.sh", description=__doc__, formatter_class=plain)
    add = parser.add_argument
    add("--parts", default=",".join(PARTS), help="comma-separated (default: all of them)")
    add("--only", help="comma-separated proxies (default: ours, and all that are installed)")
    add("--rounds", type=int, default=7)
    add("--seconds", type=int, default=3, help="of each block of load")
    add("--concurrency", type=lambda text: [int(word) for word in text.split(",")], default=[1, 32, 128])
    add("--arrivals", choices=("constant", "poisson"), default="poisson")
    add("--connections", type=int, default=10_000, help="that hold a slow answer")
    add("--no-again", action="store_true", help="do not measure ours a second time")
    add("--server-cpu", type=int, default=0)
    add("--client-cpu", type=int, default=1)
    add("--myriapod-args", default="", help="further flags for myriapod, in one string")
    add("--no-build", action="store_true", help="measure what is built already")
    add("--write-readme", action="store_true", help="put the report between the proxy markers of README.md")
    return parser.parse_args()


def chosen(options):
    here = [proxies.OURS] + [name for name in proxies.OTHERS if shutil.which(name, path=measure.SEARCH_PATH)]
    return [name for name in here if not options.only or name in options.only.split(",")]


def sections(names, directory, options, chance):
    parts = options.parts.split(",")
    again = [AGAIN] if proxies.OURS in names and not options.no_again else []
    if "cpu" in parts:
        yield cost_text(names + again, cost_rounds(names + again, directory, options, chance), options)
        yield calls_text(names, directory, options)
    if "latency" in parts:
        yield latency_text(names + again, *latency_rounds(names + again, directory, options, chance), options)
    if "memory" in parts:
        yield memory_text(names, proxy_memory.memory(names, directory, options), options)
    if "reload" in parts and proxies.OURS in names:
        yield reload_text(proxy_reload.reloads(directory, options, chance), options)


def main():
    options = flags()
    if not options.no_build:
        measure.build(["myriapod", "myriapod-load"])
    names = chosen(options)
    proxy_memory.idle.allow_descriptors(options.connections)
    with measure.scratch() as directory:
        texts = list(sections(names, directory, options, random.Random()))
    intro = f"Proxy on CPU {options.server_cpu}, upstream (nginx) and load on CPU {options.client_cpu}."
    measure.publish("proxy", "\n\n".join([measure.heading("proxy"), intro, *texts]), options.write_readme)


if __name__ == "__main__":
    measure.run(main)
