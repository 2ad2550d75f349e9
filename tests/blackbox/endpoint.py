"""An HTTP server for what calls out: API destinations."""

import http.server
import threading
import time


class Endpoint:
    """A real HTTP server that keeps what it is asked and answers what it is told to, then 200."""

    def __init__(self):
        endpoint = self
        self.asked, self.answers = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                endpoint.asked.append((self.path, dict(self.headers.items()), body, time.monotonic()))
                status, headers, answer = endpoint.answers.pop(0) if endpoint.answers else (200, {}, b"")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
