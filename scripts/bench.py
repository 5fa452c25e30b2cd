"""Measures the server beside a raw epoll ceiling and whatever of nginx, haproxy and h2o is installed.

All in one run, one server at a time, in random order, over several rounds with fresh processes: absolute figures wobble,
the ratio to the ceiling of the same round wobbles less. The cost is CPU time of the server per request, user and system.
Then what does not wobble: system calls and heap allocations per request. Last, connections that are not kept alive.

Not here: latency under a fixed rate, and memory (idle.py).
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import time

import measure
from measure import Failure, say

OURS = ("ceiling", "myriapod")
DEPTHS = (1, 16)
AB_CONNECTIONS = 100
BARS = {1: 1.08, 16: 1.20, "calls": 2.1, "ab": 0.80}
CALL_COLUMNS = ("server the slower side (`strace -c -f`)", "at full speed (`perf stat`)")
CALLS = """recvfrom recvmsg read readv sendto sendmsg write writev epoll_wait epoll_pwait epoll_ctl
           accept4 close shutdown futex""".split()


@dataclasses.dataclass
class Block:
    """One server under load for a few seconds."""

    server: str
    requests: int
    seconds: float
    cpu_ns: int
    others_ns: int

    @property
    def cost_us(self):
        return self.cpu_ns / self.requests / 1000

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def busy(self):
        return self.cpu_ns / 1e9 / self.seconds

    @property
    def others(self):
        """How many CPUs' worth of time neither server nor client used."""
        return max(0.0, self.others_ns / 1e9 / self.seconds)


# --- load --------------------------------------------------------------------------------------------------------


def wrk(server, depth, seconds, options):
    """Requests answered and seconds taken, as wrk tells it."""
    command = ["taskset", "-c", str(options.client_cpu), "wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s"]
    if depth == 1:
        command += [server.url()]
    else:
        script = measure.ROOT / "scripts" / "pipeline.lua"
        command += ["-s", str(script), server.url(), "--", "/plaintext", str(depth)]
    text = output_of(command)
    found = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if not found or int(found[1]) == 0 or re.search(r"Socket errors|Non-2xx", text):
        raise Failure(f"wrk is not content with {server.name}:\n{text}")
    return int(found[1]), float(found[2]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[found[3]]


def ab(server, options):
    command = ["taskset", "-c", str(options.client_cpu), "ab", "-q", "-c", str(AB_CONNECTIONS)]
    text = output_of([*command, "-n", str(options.ab_requests), server.url()])
    done = re.search(r"Complete requests:\s+(\d+)", text)
    failed = re.search(r"Failed requests:\s+(\d+)", text)
    seconds = re.search(r"Time taken for tests:\s+([\d.]+)", text)
    if not (done and failed and seconds) or int(failed[1]) > 0 or "Non-2xx" in text:
        raise Failure(f"ab is not content with {server.name}:\n{text}")
    return int(done[1]), float(seconds[1])


def output_of(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def block(server, load):
    """Runs `load`, which returns requests and seconds, and reads the server's cost around it."""
    busy, cpu, client, began = measure.machine_busy_ns(), measure.cpu_ns(server.pid), children_ns(), time.monotonic_ns()
    requests, seconds = load()
    elapsed = time.monotonic_ns() - began
    cpu = measure.cpu_ns(server.pid) - cpu
    others = measure.machine_busy_ns() - busy - cpu - (children_ns() - client)
    # Scaled to the block's own seconds, as the client's start and end belong to nobody.
    return Block(server.name, requests, seconds, cpu, int(others * seconds * 1e9 / elapsed))


def children_ns():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)


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
        saturated = calls_in_window(strace_counter, server, directory, options)
        free = calls_in_window(perf_counter, server, directory, options) if perf_can_count(server) else None
    return saturated, free


def calls_in_window(counter, server, directory, options):
    """System calls by name over the requests of exactly the same window, at depth 1 under load."""
    with counter(server, directory) as counts:
        requests, _ = wrk(server, 1, 2, options)
    total = sum(counts.values()) / requests
    each = {call: count / requests for call, count in counts.most_common()}
    shown = [f"{call} {value:.3f}" for call, value in each.items() if value >= 0.0005 and call != "epoll_ctl"]
    return f"{total:.3f}: {', '.join(shown)}, epoll_ctl {counts['epoll_ctl'] / options.connections:.1f} per connection"


def perf_can_count(server):
    try:
        command = ["perf", "stat", "-e", "syscalls:sys_enter_read", "-p", str(server.pid), "--", "true"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def perf_counter(server, directory):
    """Counts by tracepoint, which hardly slows the server: where the client is the slower side, the server sleeps between
    requests and waits more often than once a batch. Counting is on for the length of the `with`, not longer."""
    events = [f"syscalls:sys_enter_{call}" for call in CALLS] + ["raw_syscalls:sys_enter"]
    control_in, control_out = os.pipe()
    ack_in, ack_out = os.pipe()
    report = directory / "perf.csv"
    command = ["perf", "stat", "-x", ",", "-o", str(report), "-D", "-1", f"--control=fd:{control_in},{ack_out}"]
    command += ["-e", ",".join(events), "-p", str(server.pid)]
    process = subprocess.Popen(command, pass_fds=(control_in, ack_out), stderr=subprocess.DEVNULL)

    def tell(word):
        os.write(control_out, word + b"\n")
        os.read(ack_in, 16)

    counts = collections.Counter()
    try:
        tell(b"enable")
        yield counts
        tell(b"disable")
        process.send_signal(signal.SIGINT)
        process.wait(measure.STOP_SECONDS_MAX)
    finally:
        measure.stop(process)
        for descriptor in (control_in, control_out, ack_in, ack_out):
            os.close(descriptor)
    for line in report.read_text().splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            counts[fields[2].removeprefix("syscalls:sys_enter_")] = int(fields[0])
    total = counts.pop("raw_syscalls:sys_enter")
    counts["other"] = total - sum(counts.values())


@contextlib.contextmanager
def strace_counter(server, directory):
    """Counts by stopping the server at every call, so that it is the slower side and always has work: saturation."""
    report = directory / "strace.txt"
    command = ["strace", "-c", "-f", "-U", "name,calls", "-o", str(report), "-p", str(server.pid)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    counts = collections.Counter()
    try:
        wait_until_traced(server)
        yield counts
        process.send_signal(signal.SIGINT)
        process.wait(measure.STOP_SECONDS_MAX)
    finally:
        measure.stop(process)
    for name, count in re.findall(r"^(\w+)\s+(\d+)$", report.read_text(), re.MULTILINE):
        if name != "total":
            counts[name] += int(count)


def wait_until_traced(server):
    give_up = time.monotonic() + measure.READY_SECONDS_MAX
    while time.monotonic() < give_up:
        if not re.search(r"TracerPid:\s+0$", open(f"/proc/{server.pid}/status").read(), re.MULTILINE):
            return
        time.sleep(0.02)
    raise Failure("strace could not attach to the server")


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


def spread(values, digits=2):
    """Median, and in brackets the least and the most."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


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
    allocations = figures["allocations"] or "not counted: there is no `tests/allocations.rs`"
    yield "heap allocations per request", "0", allocations
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
        f"{options.rounds} rounds of {options.seconds} s in random order (seed {options.seed}); medians, and (least..most). "
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
        yield name, saturated, free or "not counted: tracepoints are closed to this user"


def ab_costs(blocks):
    for name in ("myriapod", "nginx"):
        yield f"{name} {spread([each[name].cost_us for each in blocks])}"


# --- from flags to report ----------------------------------------------------------------------------------------


def flags():
    parser = argparse.ArgumentParser(prog="bench.sh", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--rounds", type=int, help="how often everything is repeated (default 5)")
    add("--seconds", type=int, help="length of one block of load (default 4)")
    add("--quick", action="store_true", help="two rounds of one second: a look, not a measurement")
    add("--only", help="comma-separated servers, always beside the ceiling (default: all that are installed)")
    add("--connections", type=int, default=64, help="of wrk (default 64)")
    add("--server-cpu", type=int, default=0, help="default 0")
    add("--client-cpu", type=int, default=1, help="default 1")
    add("--ab-requests", type=int, help="of one block of ab (default 100000)")
    add("--skip-ab", action="store_true", help="leave out connections without keep-alive")
    add("--skip-calls", action="store_true", help="leave out the count of system calls")
    add("--myriapod-args", default="", help="further flags for myriapod, in one string")
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
    if not options.only:
        return here
    wanted = ["ceiling"] + [name for name in options.only.split(",") if name != "ceiling"]
    if missing := [name for name in wanted if name not in here]:
        raise Failure(f"not here: {', '.join(missing)}; there are {', '.join(here)}")
    return wanted


def main():
    options = flags()
    names = chosen(options)
    if not {options.server_cpu, options.client_cpu} <= os.sched_getaffinity(0):
        raise Failure("server and client need a CPU each; see --server-cpu and --client-cpu")
    if not options.no_build:
        measure.build(names)
    chance = random.Random(options.seed)
    figures = {"allocations": allocations_line() if "myriapod" in names else None}
    with measure.scratch() as directory:
        if not options.skip_calls:
            figures["calls"] = {name: calls_of(name, directory, options) for name in OURS if name in names}
        figures["rounds"] = rounds(names, directory, options, chance)
        if not options.skip_ab and {"myriapod", "nginx"} <= set(names):
            figures["ab"] = ab_rounds(directory, options, chance)
    measure.publish("bench", report(names, figures, options), options.write_readme)


if __name__ == "__main__":
    measure.run(main)
