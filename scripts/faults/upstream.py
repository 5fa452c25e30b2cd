"""An upstream for the fault scripts: upstream.py HOST:PORT. `/slow?ms=N` answers later, all else at once."""

import http.server
import re
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        wait = re.search(r"ms=(\d+)", self.path)
        time.sleep(int(wait[1]) / 1000 if wait else 0)
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b"Hello, World!")


if __name__ == "__main__":
    host, port = sys.argv[1].rsplit(":", 1)
    http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
