"""An upstream that thousands of requests wait for: slow_upstream.py PORT waiting|half.

`waiting` reads requests and says nothing. `half` says a head and the first 4 KiB of a MiB, then a byte each second.
GET /held tells at once how many requests are in its hands. One thread, standard library only.
"""

import select
import socket
import sys
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1048576\r\n\r\n"
# More than some proxies wait for before they send anything on.
FIRST = HEAD + b"x" * 4096
END = b"\r\n\r\n"


class Upstream:
    def __init__(self, port, kind):
        self.kind = kind
        self.listener = socket.create_server(("127.0.0.1", port), backlog=65535)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.members, self.heard, self.held = {}, {}, set()

    def serve(self):
        drip_at = time.monotonic() + 1
        while True:
            for descriptor, _ in self.poll.poll(0.2):
                if descriptor == self.listener.fileno():
                    self.accept()
                else:
                    self.hear(descriptor)
            if self.kind == "half" and time.monotonic() >= drip_at:
                drip_at += 1
                self.drip()

    def accept(self):
        for _ in range(256):
            try:
                member, _ = self.listener.accept()
            except BlockingIOError:
                return
            member.setblocking(False)
            self.members[member.fileno()], self.heard[member.fileno()] = member, b""
            self.poll.register(member, select.EPOLLIN)

    def hear(self, descriptor):
        try:
            piece = self.members[descriptor].recv(4096)
        except ConnectionError:
            piece = b""
        if not piece:
            return self.let_go(descriptor)
        self.heard[descriptor] += piece
        if self.heard[descriptor].endswith(END):
            self.answer(descriptor, self.heard[descriptor])
            self.heard[descriptor] = b""

    def answer(self, descriptor, request):
        if request.startswith(b"GET /held "):
            text = str(len(self.held)).encode()
            self.members[descriptor].send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            return
        self.held.add(descriptor)
        if self.kind == "half":
            self.members[descriptor].send(FIRST)

    def drip(self):
        for descriptor in list(self.held):
            try:
                self.members[descriptor].send(b"x")
            except BlockingIOError:
                pass
            except ConnectionError:
                self.let_go(descriptor)

    def let_go(self, descriptor):
        self.held.discard(descriptor)
        self.heard.pop(descriptor)
        self.poll.unregister(descriptor)
        self.members.pop(descriptor).close()


if __name__ == "__main__":
    Upstream(int(sys.argv[1]), sys.argv[2]).serve()
