"""What the scripts about proxying share: upstreams, and proxies before them, ours and others', on free ports.

Every server is this process's own child and a context manager, as in measure.py; what a proxy is told stands in peers/
or, for ours, here. Nothing is measured here.
"""

import contextlib
import dataclasses
import http.client
import os
import subprocess
import time

import measure
from measure import Failure

OURS = "myriapod"
OTHERS = ("nginx", "haproxy")
BODY = "x" * 1024
READY_SECONDS_MAX = 10
READ_TIMEOUT_SECONDS = 3600


@dataclasses.dataclass
class Proxy(measure.Server):
    """A proxy, or an upstream asked directly: what wrk and others ask for is the upstream's one answer."""

    def url(self, path="/1k"):
        return super().url(path)


@contextlib.contextmanager
def child(name, port, command, directory, cpu=None, kind=Proxy):
    """A process that ends with the `with`; not waited for. Its words are in a file that bears its port."""
    pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
    environment = os.environ | {"PATH": measure.SEARCH_PATH}
    with open(directory / f"{port}.log", "ab") as log:
        process = subprocess.Popen([*pinned, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    server = kind(name, port, process)
    try:
        yield server
    finally:
        measure.stop(process)


@contextlib.contextmanager
def upstream(directory, cpu=None, port=None):
    """nginx that gives one answer of 1 KiB to whatever it is asked."""
    port = port or measure.free_port()
    conf = directory / f"upstream-{port}.conf"
    conf.write_text(filled("nginx-upstream.conf", PORT=port, DIR=directory, BODY=BODY))
    command = ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(conf)]
    with child("upstream", port, command, directory, cpu) as server:
        wait_until(server, directory, gives_the_answer)
        yield server


@contextlib.contextmanager
def proxy(name, upstream_ports, directory, cpu=None, threads=1, ready=None, **more):
    """A proxy before these upstreams; `ready` tells of a port whether it serves."""
    port = measure.free_port()
    command = command_of(name, port, upstream_ports, directory, cpu, threads, **more)
    with child(name, port, command, directory, cpu if threads == 1 else None) as server:
        wait_until(server, directory, ready or gives_the_answer)
        yield server


def command_of(name, port, upstream_ports, directory, cpu, threads, extra=(), read_timeout=READ_TIMEOUT_SECONDS):
    kind = name.removesuffix(" again")
    if kind == OURS:
        return ours(port, upstream_ports, directory, cpu, threads, extra)
    conf = directory / f"{kind}-{port}.conf"
    words = {
        "nginx": "        server 127.0.0.1:{port} max_fails=0;",
        "haproxy": "    server s{port} 127.0.0.1:{port}",
    }[kind]
    conf.write_text(filled(
        f"{kind}-proxy.conf", PORT=port, DIR=directory, THREADS=threads, MASTER="off" if threads == 1 else "on",
        SERVERS="\n".join(words.format(port=each) for each in upstream_ports), READ_TIMEOUT=f"{read_timeout}s",
    ))
    return [part.format(conf=conf, dir=directory) for part in measure.PEER_COMMANDS[kind]]


def ours(port, upstream_ports, directory, cpu, threads, extra=()):
    """By a file, as that can say how many idle connections are kept, which the others are told too."""
    path = directory / f"myriapod-{port}.toml"
    path.write_text(site({"pool": upstream_ports}, [proxy_route("/*", "pool")], "keep-alive = 128\n"))
    pin = [] if cpu is None or threads > 1 else ["--pin", str(cpu)]
    listen = ["--listen", f"127.0.0.1:{port}", "--reactors", str(threads), *pin]
    return [str(measure.release(OURS)), "--config", str(path), *listen, *extra]


def filled(name, **holes):
    text = (measure.PEERS / name).read_text()
    for hole, value in holes.items():
        text = text.replace(f"@{hole}@", str(value))
    return text


# --- whether it serves -------------------------------------------------------------------------------------------


def gives_the_answer(port):
    return ask(port, "/1k") == (200, BODY.encode())


def ask(port, path, method="GET", body=None, seconds=2):
    """Status and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()


def wait_until(server, directory, serves):
    give_up = time.monotonic() + READY_SECONDS_MAX
    seen = "nothing"
    while time.monotonic() < give_up and server.process.poll() is None:
        try:
            seen = "another answer"
            if serves(server.port):
                return
        except (OSError, http.client.HTTPException) as error:
            seen = repr(error)
        time.sleep(0.02)
    said = (directory / f"{server.port}.log").read_text().strip() or "nothing"
    raise Failure(f"{server.name} does not serve ({seen}); it said:\n{said}")


# --- a configuration file of ours --------------------------------------------------------------------------------


@contextlib.contextmanager
def configured(site, directory, cpu=None, extra=(), ready=None):
    """Ours with a file, one reactor."""
    port = measure.free_port()
    pin = [] if cpu is None else ["--pin", str(cpu)]
    command = [str(measure.release(OURS)), "--config", str(site), "--listen", f"127.0.0.1:{port}", "--reactors", "1"]
    with child(OURS, port, [*command, *pin, *extra], directory, cpu) as server:
        wait_until(server, directory, ready or gives_the_answer)
        yield server


def site(upstreams, routes, more=""):
    """The text of a file: ports by upstream, routes as made below, and whatever else each upstream is to be told."""
    parts = []
    for name, ports in upstreams.items():
        servers = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
        parts.append(f"[upstream.{name}]\nservers = [{servers}]\n{more}")
    return "\n".join(parts + routes)


def proxy_route(path, upstream):
    return f'[[route]]\npath = "{path}"\nproxy = "{upstream}"\nupgrades = true\n'


def respond_route(path, body):
    return f'[[route]]\npath = "{path}"\nrespond = "{body}"\n'
