"""Measures the way of a request through the workers' queues against the same answer given on the reactor.

Two servers that differ in `--dispatch` alone, with one reactor and one worker on one CPU, interleaved in random order:
the CPU that a request takes more, the time that it takes more when it comes alone, and the calls for waking that it
takes on the average. Part of bench.py: `bench.sh --dispatch queue`.
"""

import contextlib
import random
import statistics

import counters
import measure
from load import block, median_latency_us, spread, wrk
from measure import say

MODES = ("inline", "queue")
BARS = {"cpu_us": 1.5, "latency_us": 30, "calls": 0.2}
# futex: putting a worker to sleep and waking it; write: the eventfd that wakes a reactor.
WAKING = ("futex", "write")


def run(options):
    if not options.no_build:
        measure.build(["myriapod"])
    chance = random.Random(options.seed)
    with measure.scratch() as directory:
        rounds = [one_round(number, directory, options, chance) for number in range(options.rounds)]
        calls = {} if options.skip_calls else waking_calls(directory, options)
    measure.publish("handoff", report(rounds, calls, options), options.write_readme)


def serving(mode, directory, options):
    extra = ["--dispatch", mode, "--workers", "1", *options.myriapod_args.split()]
    return measure.serving("myriapod", directory, options.server_cpu, extra)


def one_round(number, directory, options, chance):
    costs, latencies = {}, {}
    with contextlib.ExitStack() as stack:
        servers = {mode: stack.enter_context(serving(mode, directory, options)) for mode in MODES}
        for server in servers.values():
            wrk(server, 1, 1, options)
        for mode in chance.sample(MODES, len(MODES)):
            load = lambda server=servers[mode]: wrk(server, 1, options.seconds, options)
            costs[mode] = block(servers[mode], load).cost_us
        for mode in chance.sample(MODES, len(MODES)):
            latencies[mode] = median_latency_us(servers[mode], options.seconds, options)
    shown = ", ".join(f"{mode} {costs[mode]:.2f} us of CPU, {latencies[mode]:.0f} us alone" for mode in MODES)
    say(f"round {number + 1} of {options.rounds}: {shown}")
    return costs, latencies


def waking_calls(directory, options):
    """Calls per request, counted with the server stopped at each call, and at full speed."""
    counted = {}
    with serving("queue", directory, options) as server:
        wrk(server, 1, 1, options)
        counted["the server the slower side"] = calls_in_window(counters.calls_saturated, server, directory, options)
        if counters.perf_can_count():
            counted["at full speed"] = calls_in_window(counters.calls_at_full_speed, server, directory, options)
    return counted


def calls_in_window(counter, server, directory, options):
    with counter(server, directory) as counts:
        requests, _ = wrk(server, 1, 2, options)
    return {name: counts[name] / requests for name in WAKING}


def report(rounds, calls, options):
    more = lambda part: [each[part]["queue"] - each[part]["inline"] for each in rounds]
    bare = lambda part, mode: statistics.median(each[part][mode] for each in rounds)
    rows = [
        ("CPU per request, more than inline", f"at most {BARS['cpu_us']} µs", f"{spread(more(0))} µs"),
        ("latency of one request at a time, more than inline", f"at most {BARS['latency_us']} µs median",
         f"{spread(more(1), 1)} µs"),
    ]
    for how, counts in calls.items():
        shown = ", ".join(f"{name} {count:.3f}" for name, count in counts.items())
        rows.append((f"calls for waking per request, {how}", f"each under {BARS['calls']}", shown))
    bases = ", ".join(f"{mode} {bare(0, mode):.2f} µs of CPU and {bare(1, mode):.0f} µs alone" for mode in MODES)
    return "\n\n".join([
        measure.heading("bench"),
        f"One reactor and one worker on CPU {options.server_cpu}, wrk on CPU {options.client_cpu}, "
        f"{options.connections} connections at depth 1, {options.rounds} rounds of {options.seconds} s in random order "
        f"(seed {options.seed}); medians, and (least..most). Medians of each: {bases}.",
        measure.table(["figure", "asked", "measured"], rows),
    ])
