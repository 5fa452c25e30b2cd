"""Counts what a server does while a `with` lasts: system calls by name, heap allocations.

Counts do not wobble as times do. Every counter is on for exactly the length of its `with`, and yields a Counter that is
filled when it ends. What the user may not count (closed tracepoints, no probes) is None, never zero.
"""

import collections
import contextlib
import os
import re
import signal
import subprocess
import time

import measure
from measure import Failure

CALLS = """recvfrom recvmsg read readv sendto sendmsg write writev epoll_wait epoll_pwait epoll_ctl
           accept4 close shutdown futex""".split()
CALL_PREFIX, ALL_CALLS = "syscalls:sys_enter_", "raw_syscalls:sys_enter"
ALLOCATORS = re.compile(r"^mi_(malloc|zalloc|calloc|realloc)(_aligned)?$")


# --- system calls ------------------------------------------------------------------------------------------------


def perf_can_count():
    try:
        command = ["perf", "stat", "-e", f"{CALL_PREFIX}read", "--", "true"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def calls_at_full_speed(server, directory):
    """By tracepoint, which hardly slows the server: where the client is the slower side, the server sleeps between
    requests and waits more often than once a batch."""
    counts = collections.Counter()
    with perf_stat(server, [ALL_CALLS] + [CALL_PREFIX + call for call in CALLS], directory) as raw:
        yield counts
    counts.update({event.removeprefix(CALL_PREFIX): count for event, count in raw.items() if event != ALL_CALLS})
    counts["other"] = raw[ALL_CALLS] - sum(counts.values())


@contextlib.contextmanager
def calls_saturated(server, directory):
    """By stopping the server at every call, so that it is the slower side and always has work."""
    report = directory / "strace.txt"
    command = ["strace", "-c", "-f", "-U", "name,calls", "-o", str(report), "-p", str(server.pid)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    counts = collections.Counter()
    try:
        wait_until_traced(server, process)
        yield counts
        process.send_signal(signal.SIGINT)
        process.wait(measure.STOP_SECONDS_MAX)
    finally:
        measure.stop(process)
    for name, count in re.findall(r"^(\w+)\s+(\d+)$", report.read_text(), re.MULTILINE):
        if name != "total":
            counts[name] += int(count)


def wait_until_traced(server, process):
    """Every thread, as one that is not traced is not counted."""
    give_up = time.monotonic() + measure.READY_SECONDS_MAX
    while time.monotonic() < give_up and process.poll() is None:
        if all(is_traced(server.pid, task) for task in os.listdir(f"/proc/{server.pid}/task")):
            return
        time.sleep(0.02)
    raise Failure("strace could not attach to the server")


def is_traced(pid, task):
    with open(f"/proc/{pid}/task/{task}/status") as status:
        return not re.search(r"^TracerPid:\s+0$", status.read(), re.MULTILINE)


# --- heap allocations --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def allocation_probes(binary):
    """Events that fire at each call of mimalloc's entrances in `binary`; none where that cannot be.

    Probes are the machine's, not ours, so their group carries our pid, and they are taken away at the end.
    """
    group = f"myriapod_{os.getpid()}"
    names = allocator_functions(binary)
    try:
        added = [name for name in names if perf_probe("-x", str(binary), f"{group}:{name}={name}")]
        events = [f"{group}:{name}" for name in added]
        yield events if names and added == names and fire_at_start(events, binary) else []
    finally:
        if names:
            perf_probe("--del", f"{group}:*")


def allocator_functions(binary):
    try:
        listed = subprocess.run(["perf", "probe", "-x", str(binary), "-F"], capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return [name for name in listed.stdout.split() if ALLOCATORS.match(name)]


def perf_probe(*words):
    return subprocess.run(["perf", "probe", "-q", *words], capture_output=True).returncode == 0


def fire_at_start(events, binary):
    """A probe that has never fired proves nothing by staying silent."""
    command = ["perf", "stat", "-x", ",", "-e", ",".join(events), "--", str(binary), "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    return sum(perf_counts(result.stderr).values()) > 0


# --- perf --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def perf_stat(server, events, directory):
    """Counts events in all threads of a server; perf says when it begins and ends, so nobody guesses by sleeping."""
    control_in, control_out = os.pipe()
    ack_in, ack_out = os.pipe()
    report = directory / "perf.csv"
    command = ["perf", "stat", "-x", ",", "-o", str(report), "-D", "-1", f"--control=fd:{control_in},{ack_out}"]
    command += ["-e", ",".join(events), "-p", str(server.pid)]
    process = subprocess.Popen(command, pass_fds=(control_in, ack_out), stderr=subprocess.DEVNULL)
    # Ours alone to read: if perf dies, the read ends instead of waiting for ever.
    os.close(control_in)
    os.close(ack_out)

    def tell(word):
        with contextlib.suppress(BrokenPipeError):
            os.write(control_out, word + b"\n")
        if not os.read(ack_in, 16):
            raise Failure("perf stat ended before it had counted")

    counts = collections.Counter()
    try:
        tell(b"enable")
        yield counts
        tell(b"disable")
        process.send_signal(signal.SIGINT)
        process.wait(measure.STOP_SECONDS_MAX)
    finally:
        measure.stop(process)
        os.close(control_out)
        os.close(ack_in)
    counts.update(perf_counts(report.read_text()))


def perf_counts(text):
    """Counts by event out of `perf stat -x ,`."""
    fields = (line.split(",") for line in text.splitlines())
    return {line[2]: int(line[0]) for line in fields if len(line) > 2 and line[0].isdigit()}
