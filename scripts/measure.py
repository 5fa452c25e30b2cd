"""What bench.py and idle.py share: starting servers, reading what they cost, describing the machine.

Servers are this process's own children, bound to loopback, and end with it: every one is a context manager, and
SIGTERM unwinds like an exception. CPU time is the scheduler's own count of nanoseconds, not of clock ticks, so a block
of a second is already precise.
"""

import contextlib
import dataclasses
import datetime
import http.client
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "scripts" / "peers"
OUT = ROOT / "out"
# The ceiling once more, as if it were another server: how far its ratio is from one is the error of the method.
CONTROL = "ceiling again"
PEER_COMMANDS = {
    "nginx": ["nginx", "-e", "stderr", "-p", "{dir}", "-c", "{conf}"],
    "haproxy": ["haproxy", "-db", "-f", "{conf}"],
    "h2o": ["h2o", "-c", "{conf}"],
}
# Servers live in sbin, which is not on everybody's path.
SEARCH_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
READY_SECONDS_MAX = 10
STOP_SECONDS_MAX = 10


class Failure(Exception):
    """Something the reader has to know; printed as one line."""


# --- building and finding programs -------------------------------------------------------------------------------


def release(name):
    """Where cargo puts a release binary of this workspace."""
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return pathlib.Path(target) / "release" / name


def build(names):
    packages = {
        "ceiling": ["-p", "myriapod-load"],
        "myriapod": ["-p", "myriapod"],
        "myriapod-load": ["-p", "myriapod-load"],
    }
    for name in names:
        if name in packages:
            command = ["cargo", "build", "--release", "--quiet", *packages[name], "--bin", name]
            subprocess.run(command, cwd=ROOT, check=True)


def installed():
    """The servers that can be measured here, ours first."""
    return ["ceiling", "myriapod"] + [name for name in PEER_COMMANDS if shutil.which(name, path=SEARCH_PATH)]


# --- servers -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Server:
    name: str
    port: int
    process: subprocess.Popen

    @property
    def pid(self):
        return self.process.pid

    def url(self, path="/plaintext"):
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def scratch():
    """A directory for one run; open to read, as some servers leave root before they read theirs."""
    with tempfile.TemporaryDirectory(prefix="myriapod-bench-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        (directory / "root").mkdir(mode=0o755)
        (directory / "root" / "plaintext").write_text("Hello, World!")
        yield directory


@contextlib.contextmanager
def serving(name, directory, cpu, extra=()):
    """A ready server, pinned to one CPU, for the length of a `with`."""
    port = free_port()
    log = directory / f"{port}.log"
    command = ["taskset", "-c", str(cpu), *command_of(name, port, directory, cpu), *extra]
    environment = os.environ | {"PATH": SEARCH_PATH}
    with open(log, "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=environment)
    server = Server(name, port, process)
    try:
        wait_until_ready(server, log)
        yield server
    finally:
        stop(process)


def command_of(name, port, directory, cpu):
    if name in ("ceiling", CONTROL):
        return [str(release("ceiling")), "--cpu", str(cpu), "--port", str(port)]
    if name == "myriapod":
        return [str(release(name)), "--reactors", "1", "--pin", str(cpu), "--listen", f"127.0.0.1:{port}"]
    template = (PEERS / f"{name}.conf").read_text()
    conf = directory / f"{port}.conf"
    conf.write_text(filled(template, port, directory))
    return [part.format(conf=conf, dir=directory) for part in PEER_COMMANDS[name]]


def filled(template, port, directory):
    """As peers/fill.sh does it for compare.sh."""
    text = template.replace("@PORT@", str(port)).replace("@DIR@", str(directory))
    return text.replace("@ROOT@", str(directory / "root"))


def wait_until_ready(server, log):
    """Returns once the server gives the answer that is to be measured."""
    give_up = time.monotonic() + READY_SECONDS_MAX
    seen = "nothing"
    while time.monotonic() < give_up and server.process.poll() is None:
        try:
            seen = answer_of(server.port)
            if seen == (200, b"Hello, World!", "text/plain"):
                return
        except (OSError, http.client.HTTPException) as error:
            seen = repr(error)
        time.sleep(0.02)
    ended = server.process.poll()
    state = "runs but does not answer as it should" if ended is None else f"ended with status {ended}"
    raise Failure(f"{server.name} {state} (/plaintext: {seen}); it said:\n{log.read_text().strip() or 'nothing'}")


def answer_of(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        connection.request("GET", "/plaintext")
        response = connection.getresponse()
        kind = response.getheader("Content-Type", "").split(";")[0]
        return response.status, response.read(), kind


def stop(process):
    """Ends one child, first politely."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- what a process costs ----------------------------------------------------------------------------------------


def family(pid):
    """A process and its descendants."""
    pids = [pid]
    for parent in pids:
        for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
            with contextlib.suppress(OSError):
                pids += map(int, (task / "children").read_text().split())
    return pids


def cpu_ns(pid):
    """CPU time of a process and its descendants, user and system, threads that ended included."""
    return sum(time.clock_gettime_ns(cpu_clock(member)) for member in family(pid))


def cpu_clock(pid):
    """What clock_getcpuclockid(3) makes of a pid: the scheduler's own count for the whole process, in nanoseconds."""
    whole_process_by_scheduler = 2
    return ~pid << 3 | whole_process_by_scheduler


def pss_bytes(pid):
    """Proportional set size of a process and its descendants: all of it, and what is anonymous in it.

    The rest is files mapped by others too (libc above all), whose share changes as other programs come and go.
    """
    total = anonymous = 0
    for member in family(pid):
        rollup = pathlib.Path(f"/proc/{member}/smaps_rollup").read_text()
        kib = {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", rollup, re.MULTILINE)}
        total += kib["Pss"] * 1024
        anonymous += kib["Pss_Anon"] * 1024
    return total, anonymous


def machine_busy_ns():
    """Time all CPUs together were not idle since boot, to a clock tick; what the hypervisor stole counts too."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


# --- the report --------------------------------------------------------------------------------------------------


def machine():
    found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = found[1] if found else platform.machine()
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} CPUs, {gib:.0f} GiB, Linux {platform.release()}"


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + changed


def heading(script):
    """The line that says where figures come from."""
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    command = " ".join([f"scripts/{script}.sh", *sys.argv[1:]])
    return f"`{command}`, {date}, commit {commit()}.\n{machine()}."


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def publish(name, text, in_readme):
    """Prints a report, keeps it under out/, and puts it between the README's markers if asked to."""
    print(text)
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.md").write_text(text + "\n")
    if in_readme:
        replace_block(ROOT / "README.md", name, text)


def replace_block(path, name, text):
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    old = path.read_text() if path.exists() else ""
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise Failure(f"{path.name} needs one line {begin} and after it one line {end}")
    path.write_text(old[: old.index(begin)] + f"{begin}\n{text}\n" + old[old.index(end) :])


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(main):
    """Calls `main` so that children end whatever ends us, and errors are one line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except (Failure, subprocess.CalledProcessError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
