"""Measures what overload of the workers costs those who do not need them, and how soon the others are turned away.

A crowd on `/work` asks for many times what the workers can do, while wrk asks for `/plaintext` on connections of its
own: the 99th percentile of that alone and beside the crowd, in turns; how long a 503 takes; and whether every request
of the crowd had one answer. Who is refused asks again after a moment, on the same connection.
"""

import argparse
import heapq
import random
import re
import selectors
import socket
import statistics
import subprocess
import time

import measure
from load import UNITS, spread
from measure import Failure, say

BARS = {"ratio": 2, "refusal_ms": 5}
AGAIN_SECONDS = 0.1
LAST_SECONDS_MAX = 10


class Crowd:
    """Connections that ask for work, one request at a time each, and count what they get."""

    def __init__(self, port, count, path):
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.poll = selectors.DefaultSelector()
        self.chance = random.Random(1)
        self.asked, self.answered, self.refusal_seconds = 0, {}, []
        self.later, self.members = [], []
        for _ in range(count):
            member = socket.create_connection(("127.0.0.1", port))
            member.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            member.setblocking(False)
            self.poll.register(member, selectors.EVENT_READ)
            self.members.append(member)

    def work(self, seconds):
        """Asks for so long, then waits until the last one is answered."""
        began = time.monotonic()
        self.later.clear()
        self.sent_at = {}
        for number, member in enumerate(self.members):
            heapq.heappush(self.later, (self.again_at(began), -number, member))
        while (now := time.monotonic()) < began + seconds:
            while self.later and self.later[0][0] <= now:
                member = heapq.heappop(self.later)[2]
                self.sent_at[member] = self.ask(member)
            self.hear(0.005, True)
        while sum(self.answered.values()) < self.asked and time.monotonic() < began + seconds + LAST_SECONDS_MAX:
            self.hear(0.1, False)
        self.hear(0.2, False)

    def again_at(self, now):
        """Spread out: who asks in step with all others waits for this script to speak and listen to them."""
        return now + AGAIN_SECONDS * (0.5 + self.chance.random())

    def take_refusal_ms(self):
        """The 99th percentile since the last look."""
        waits, self.refusal_seconds = sorted(self.refusal_seconds), []
        if not waits:
            raise Failure("nobody was refused: that was no overload")
        return 1000 * waits[min(len(waits) - 1, int(0.99 * len(waits)))]

    def ask(self, member):
        self.asked += 1
        sent_at = time.monotonic()
        member.send(self.request)
        return sent_at

    def hear(self, patience, goes_on):
        for key, _ in self.poll.select(patience):
            member, now = key.fileobj, time.monotonic()
            status = status_of(member.recv(65536))
            self.answered[status] = self.answered.get(status, 0) + 1
            if status == 503:
                self.refusal_seconds.append(now - self.sent_at[member])
                heapq.heappush(self.later, (self.again_at(now), self.asked, member))
            elif goes_on:
                self.sent_at[member] = self.ask(member)

    def close(self):
        for member in self.members:
            member.close()


def status_of(answer):
    """Of an answer that came in one piece, as these short ones do; anything else is a failure."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    status = int(head[9:12] or 0)
    if not length or int(length[1]) != len(body) or status not in (200, 503):
        raise Failure(f"not one answer: {answer!r}")
    if status == 503 and b"\r\nRetry-After: " not in head:
        raise Failure(f"a refusal that does not say when to come again: {head!r}")
    return status


def main():
    options = parse()
    if not options.no_build:
        measure.build(["myriapod"])
    with measure.scratch() as directory:
        rounds = [one_round(number, directory, options) for number in range(options.rounds)]
    measure.publish("overload", report(rounds, options), options.write_readme)


def one_round(number, directory, options):
    extra = ["--demo", "--workers", str(options.workers), "--queue-depth", str(options.depth)]
    with measure.serving("myriapod", directory, options.server_cpu, extra + options.myriapod_args.split()) as server:
        plaintext(server, 1, options).communicate()
        alone = p99_ms(plaintext(server, options.seconds, options))
        crowd = Crowd(server.port, options.crowd, options.path)
        crowd.work(options.seconds)
        calm_ms = crowd.take_refusal_ms()
        beside = plaintext(server, options.seconds, options)
        crowd.work(options.seconds)
        beside = p99_ms(beside)
        busy_ms = crowd.take_refusal_ms()
        crowd.close()
    answered = sum(crowd.answered.values())
    if answered != crowd.asked:
        raise Failure(f"{crowd.asked} requests and {answered} answers")
    had, refused = (crowd.answered.get(status, 0) for status in (200, 503))
    say(f"round {number + 1} of {options.rounds}: p99 {alone:.2f} ms alone, {beside:.2f} ms beside; {crowd.asked} asked "
        f"for work, {had} had it, {refused} were refused, p99 {calm_ms:.2f} ms alone, {busy_ms:.2f} ms beside")
    return alone, beside, calm_ms, busy_ms, crowd.asked, crowd.answered


def plaintext(server, seconds, options):
    command = ["taskset", "-c", str(options.client_cpu), "wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s"]
    return subprocess.Popen([*command, "--latency", server.url()], stdout=subprocess.PIPE, text=True)


def p99_ms(client):
    text, _ = client.communicate()
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if not found or re.search(r"Socket errors|Non-2xx", text):
        raise Failure(f"wrk is not content:\n{text}")
    return float(found[1]) * UNITS[found[2]] * 1000


def report(rounds, options):
    alone, beside, calm, busy = ([each[at] for each in rounds] for at in range(4))
    ratios = [one[1] / one[0] for one in rounds]
    asked = sum(each[4] for each in rounds)
    got = [sum(each[5].get(status, 0) for each in rounds) for status in (200, 503)]
    rows = [
        ("p99 of /plaintext alone", "", f"{spread(alone)} ms"),
        (f"p99 of /plaintext beside {options.crowd} on {options.path}", "", f"{spread(beside)} ms"),
        ("ratio", f"at most {BARS['ratio']}", spread(ratios)),
        ("p99 of the time to a 503", f"at most {BARS['refusal_ms']} ms", f"{spread(calm)} ms"),
        ("the same while wrk takes all the server has to give", "", f"{spread(busy)} ms"),
        ("answers to requests for work", f"{asked}", f"{sum(got)}: {got[0]} of 200, {got[1]} of 503"),
    ]
    return "\n\n".join([
        measure.heading("overload"),
        f"One reactor and {options.workers} workers on CPU {options.server_cpu}, {options.depth} may wait; wrk with "
        f"{options.connections} connections and the crowd on CPU {options.client_cpu}; {options.rounds} rounds of "
        f"{options.seconds} s each; medians, and (least..most).",
        measure.table(["figure", "asked", "measured"], rows),
    ])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each block of load")
    parser.add_argument("--crowd", type=int, default=200, help="connections that ask for work")
    parser.add_argument("--path", default="/work?ms=50", help="the work that is asked for")
    parser.add_argument("--connections", type=int, default=64, help="connections that ask for /plaintext")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--depth", type=int, default=64, help="how many requests may wait")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--myriapod-args", default="", help="further flags of the server")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--write-readme", action="store_true", help="put the report between its markers of README.md")
    return parser.parse_args()


if __name__ == "__main__":
    measure.run(main)
