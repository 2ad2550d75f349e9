"""A small internet for tests: answers on every address and port it is given, writes down who came, and knows one name.

Run as a program inside a network namespace: `python world.py LOG`. It listens on port 8080 of all addresses, and as a name
server on port 53 of 203.0.113.53.
"""

import socket
import socketserver
import struct
import sys
import threading

ZONE = {b"public.example": {1: socket.inet_aton("203.0.113.80"), 28: socket.inet_pton(socket.AF_INET6, "2001:db8:80::80")},
        b"private.example": {1: socket.inet_aton("10.9.8.7")}}  # fmt: skip


def note(text):
    with open(sys.argv[1], "a") as log:
        log.write(text + "\n")


class Greeter(socketserver.BaseRequestHandler):
    """Says where it was called; echoes what it hears; sends many bytes when asked to."""

    def handle(self):
        where = self.request.getsockname()[0].removeprefix("::ffff:")
        note(f"tcp {where}")
        first = self.request.recv(65536)
        if first.startswith(b"send "):
            self.request.sendall(b"z" * int(first.split()[1]))
        elif first == b"hold":
            while self.request.recv(65536):
                pass
            note("closed")
        else:
            self.request.sendall(b"at " + where.encode() + b" heard " + first)


def answer(query):
    end, labels = 12, []
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]])
        end += 1 + query[end]
    kind = struct.unpack(">H", query[end + 1 : end + 3])[0]
    name = b".".join(labels).lower()
    note(f"dns {name.decode()} {kind}")
    records = ZONE.get(name)
    data = (records or {}).get(kind)
    head = query[:2] + struct.pack(">BBHHHH", 0x81, 0x80 | (0 if records else 3), 1, int(data is not None), 0, 0)
    body = query[12 : end + 5]
    if data is not None:
        body += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    return head + body


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        query, reply = self.request
        reply.sendto(answer(query), self.client_address)


class Streams(socketserver.BaseRequestHandler):
    def handle(self):
        length = struct.unpack(">H", self.request.recv(2))[0]
        reply = answer(self.request.recv(length))
        self.request.sendall(struct.pack(">H", len(reply)) + reply)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 1024


class Server6(Server):
    address_family = socket.AF_INET6


if __name__ == "__main__":
    servers = [Server6(("::", 8080), Greeter), Server(("203.0.113.53", 53), Streams),
               socketserver.ThreadingUDPServer(("203.0.113.53", 53), Datagrams)]  # fmt: skip
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    note("ready")
    servers[0].serve_forever()
