"""Clients for the fault scripts, by the names of the functions: probe.py get ADDRESS PATH; standard library only."""

import socket
import sys
import time


def connect(address, seconds=1.0):
    if address.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(seconds)
        client.connect(address)
        return client
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), seconds)


def exchange(address, request, seconds=1.0, parts=1):
    """The whole answer, checked against its length. In parts, a request makes the server wait for its rest."""
    with connect(address, seconds) as client:
        length = -(-len(request) // parts)
        for at in range(0, len(request), length):
            if at:
                time.sleep(0.01)
            client.sendall(request[at : at + length])
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
    head, end, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next((int(line.split(": ")[1]) for line in lines if line.startswith("Content-Length: ")), None)
    if not end or length != len(body):
        raise OSError(f"cut: {lines[0] if lines else ''} {length} {len(body)}")
    return lines[0], body


def request(path, body=b""):
    method = b"POST" if body else b"GET"
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return method + b" " + path.encode() + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + length + b"\r\n" + body


def get(address, path):
    began = time.monotonic()
    status, body = exchange(address, request(path))
    if not status.startswith("HTTP/1.1 200") or time.monotonic() - began > 1:
        raise SystemExit(f"{path}: {status}")
    sys.stdout.buffer.write(body)


def status(address, path):
    print(exchange(address, request(path), 10)[0].split()[1])


def statuses(address, path, count, wanted):
    """So many in a row with that status; tells how many milliseconds the slowest took."""
    slowest = 0
    for _ in range(int(count)):
        began = time.monotonic()
        line, _ = exchange(address, request(path), 10)
        slowest = max(slowest, time.monotonic() - began)
        if line.split()[1] != wanted:
            raise SystemExit(line)
    print(round(1000 * slowest))


def hold(address, path, count, seconds):
    """So many requests under way at once, which take their time."""
    clients = [connect(address, float(seconds)) for _ in range(int(count))]
    for client in clients:
        client.sendall(request(path))
    for client in clients:
        client.recv(1 << 16)


def storm(address, count):
    """So many clients one after the other; tells how many got what they asked for. A wrong answer is an error."""
    served = 0
    kinds = [
        (request("/plaintext"), "200", b"Hello, World!"),
        (request("/echo", b"x" * 5000), "200", b"x" * 5000),
        (request("/large"), "200", None),
        (b"GET /plaintext HTTP/1.1\r\n\r\n", "400", None),
    ]
    for number in range(int(count)):
        sent, wanted, body = kinds[number % len(kinds)]
        try:
            status, answer = exchange(address, sent, 0.4, 1 + number % 2)
        except OSError:
            continue
        if not status.startswith("HTTP/1.1 " + wanted):
            continue
        if body is not None and answer != body:
            raise SystemExit(f"wrong answer: {status}")
        served += 1
    print(served)


def metric(socket_path, name):
    _, page = exchange(socket_path, request("/metrics"))
    samples = [line.rsplit(" ", 1) for line in page.decode().splitlines() if not line.startswith("#")]
    print(int(sum(float(value) for key, value in samples if key == name or key.startswith(name + "{"))))


def stick(address, count):
    """Leaves so many workers in a handler that does not return, and hears that nobody waits for it."""
    for _ in range(int(count)):
        status, _ = exchange(address, request("/work?ms=600000&deaf"))
        if not status.startswith("HTTP/1.1 504"):
            raise SystemExit(status)


def ask(address, count):
    """One request after the other on one connection; tells how long they took."""
    times = []
    with connect(address) as client:
        for _ in range(int(count)):
            began = time.monotonic()
            client.sendall(b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = client.recv(1 << 16)
            times.append(time.monotonic() - began)
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"Hello, World!"):
                raise SystemExit(repr(answer))
    times.sort()
    print(f"/plaintext p99.9 {1e3 * times[len(times) * 999 // 1000]:.2f} ms")


def turns(socket_path, mark=None):
    """How many turns there were, and how many of 2 ms and more; behind such a mark at most one in a thousand may."""
    _, page = exchange(socket_path, request("/metrics"))
    name = "myriapod_reactor_turn_duration_seconds_bucket{le="
    lines = [line for line in page.decode().splitlines() if line.startswith(name)]
    counts = {float(line.split('"')[1]): int(float(line.rsplit(" ", 1)[1])) for line in lines}
    whole, quick = counts[float("inf")], max(count for bound, count in counts.items() if bound <= 0.0022)
    if mark is None:
        return print(f"{whole}:{whole - quick}")
    whole_before, slow_before = map(int, mark.split(":"))
    slow, all_turns = whole - quick - slow_before, whole - whole_before
    print(f"{slow} of {all_turns} turns took 2 ms or more")
    if slow * 1000 > all_turns:
        raise SystemExit(1)


def greedy(address, seconds):
    """Clients that each try to make the server keep as much as it can for them."""
    kinds = [
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n" * 5000,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 200_000,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;a=b\r\nx\r\n" * 20_000,
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 1000,
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 16_000,
    ]
    clients = []
    for number in range(100):
        try:
            client = connect(address)
        except OSError:
            continue
        client.setblocking(False)
        clients.append((client, kinds[number % len(kinds)]))
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        for client, piece in clients:
            try:
                client.send(piece)
            except OSError:
                pass
        time.sleep(0.001)


def halfopen(address, count, ready, over):
    """Opens clients in every state, says so by a file, and holds them until another file is there."""
    parts = [
        b"",
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /plaintext HTTP/1.1\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
    ]
    clients = []
    for number in range(int(count)):
        client = connect(address)
        client.sendall(parts[number % len(parts)])
        clients.append(client)
    open(ready, "w").close()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            open(over).close()
            return
        except OSError:
            time.sleep(0.05)


if __name__ == "__main__":
    clients = [get, status, statuses, hold, storm, metric, greedy, halfopen, stick, ask, turns]
    {client.__name__: client for client in clients}[sys.argv[1]](*sys.argv[2:])
