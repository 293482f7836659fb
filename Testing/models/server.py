"""A server on this machine that answers as one could on the web, and what its tests ask of it."""

import hashlib
import re
import socketserver
import threading
import time

from MMHVAESynthesisLib.models import download
from MMHVAESynthesisLib.models.catalogue import ModelEntry

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 2000
FILE = "model.pth"


class Server(socketserver.ThreadingTCPServer):
    """Answers each request with the next of a list of functions of (connection, first byte wanted or None)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests = [], []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/{FILE}"

    def then(self, *answers):
        self.answers += answers
        return self


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        lines = iter(self.rfile.readline, b"\r\n")
        head = b"".join(lines).decode("latin-1")
        wanted = re.search(r"(?im)^range: bytes=(\d+)-\r?$", head)
        first = int(wanted.group(1)) if wanted else None
        self.server.requests.append(first)
        # The last answer is given again and again.
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            answer(self, first)
        except OSError:
            pass


def head(connection, status, **headers):
    lines = [f"HTTP/1.1 {status}"] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    connection.wfile.write(("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1"))


def whole(connection, first, content=CONTENT, **headers):
    if first is None:
        head(connection, "200 OK", Content_Length=len(content), **headers)
        connection.wfile.write(content)
    elif first >= len(content):
        head(connection, "416 Range Not Satisfiable", Content_Length=0)
    else:
        span = f"bytes {first}-{len(content) - 1}/{len(content)}"
        head(connection, "206 Partial", Content_Length=len(content) - first, Content_Range=span)
        connection.wfile.write(content[first:])


def of(content):
    return lambda connection, first: whole(connection, first, content)


def without_ranges(connection, first):
    whole(connection, None)


def cut(after):
    """Send so many bytes of what was asked for, then end the connection."""

    def answer(connection, first):
        first = first or 0
        head(connection, "206 Partial" if first else "200 OK", Content_Length=len(CONTENT) - first,
             Content_Range=f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")  # fmt: skip
        connection.wfile.write(CONTENT[first : first + after])

    return answer


def cut_without_ranges(connection, first):
    head(connection, "200 OK", Content_Length=len(CONTENT))
    connection.wfile.write(CONTENT[:3000])


def chunked_and_cut(connection, first):
    head(connection, "200 OK", Transfer_Encoding="chunked")
    connection.wfile.write(b"1000\r\n" + CONTENT[:4096] + b"\r\n1000\r\n" + CONTENT[4096:5000])


def stall(connection, first):
    head(connection, "200 OK", Content_Length=len(CONTENT))
    connection.wfile.write(CONTENT[:2000])
    connection.server.released.wait(30)


def slowly(connection, first):
    start = first or 0
    head(connection, "206 Partial" if start else "200 OK", Content_Length=len(CONTENT) - start,
         Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")  # fmt: skip
    for place in range(start, len(CONTENT), 50000):
        connection.wfile.write(CONTENT[place : place + 50000])
        time.sleep(0.06)


def silent(connection, first):
    connection.server.released.wait(30)


def slowly_without_ranges(connection, first):
    head(connection, "200 OK", Content_Length=len(CONTENT))
    for place in range(0, len(CONTENT), 50000):
        connection.wfile.write(CONTENT[place : place + 50000])
        time.sleep(0.06)


def without_a_size(content):
    """Send a content whose end is that of the connection."""

    def answer(connection, first):
        head(connection, "200 OK")
        connection.wfile.write(content)

    return answer


def status(line, **headers):
    return lambda connection, first: head(connection, line, Content_Length=0, **headers)


def lies(length):
    def answer(connection, first):
        head(connection, "200 OK", Content_Length=length)
        connection.wfile.write(CONTENT)

    return answer


def wrong_part(connection, first):
    head(connection, "206 Partial", Content_Length=10, Content_Range=f"bytes 0-9/{len(CONTENT)}")
    connection.wfile.write(CONTENT[:10])


def nonsense(connection, first):
    connection.wfile.write(b"220 ftp ready\r\n")


def page(connection, first):
    whole(connection, None, b"<!DOCTYPE html><title>Please log in</title>", Content_Type="text/html")


def entry(server, **changes):
    facts = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "permissive": True, "url": server.url, **changes}
    return ModelEntry("m", "M", FILE, **facts)


def fetch(server, timeout=0.5, **changes):
    return download.download(entry(server, **changes), timeout=timeout)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
