"""What bench.py and handoff.py put on a server: blocks of load by wrk and ab, and what each cost."""

import dataclasses
import re
import resource
import statistics
import subprocess
import time

import measure
from measure import Failure

AB_CONNECTIONS = 100
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}


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
    return int(found[1]), float(found[2]) * UNITS[found[3]]


def median_latency_us(server, seconds, options):
    """Of requests one at a time: a connection that waits for each answer before it asks again."""
    command = ["taskset", "-c", str(options.client_cpu), "wrk", "-t1", "-c1", f"-d{seconds}s", "--latency", server.url()]
    text = output_of(command)
    found = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    if not found or re.search(r"Socket errors|Non-2xx", text):
        raise Failure(f"wrk is not content with {server.name}:\n{text}")
    return float(found[1]) * UNITS[found[2]] * 1e6


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


def spread(values, digits=2):
    """Median, and in brackets the least and the most."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"
