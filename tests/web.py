"""A local web server that misbehaves on request and records its requests."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Page:
    """The response for a path.

    Attributes:
        body: The whole body.
        status: The HTTP status.
        headers: Headers besides Content-Length, which is the length of the whole body.
        cuts: For each of the first requests, the number of bytes after which the connection ends.
        failures: For each of the first requests, the status that is sent instead.
        seconds: The delay before the response.
        raw: Yields the whole response piece by piece, including status line and headers. It may be
            endless.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    seconds: float = 0.0
    raw: Callable[[], Iterator[bytes]] | None = None


class Web:
    """A running server.

    Attributes:
        url: Its address.
        pages: The responses, by path without the query.
        asked: The path of every request with the query, in order.
        ranges: The Range header of every request.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.ranges: list[str | None] = []


@contextmanager
def serve() -> Iterator[Web]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *message: object) -> None:
            return

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client is gone
                super().handle()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            web.asked.append(self.path)
            web.ranges.append(self.headers.get("Range"))
            page = web.pages.get(self.path.partition("?")[0], Page(b"no such page", 404))
            time.sleep(page.seconds)
            if page.raw is not None:
                for piece in page.raw():
                    self.wfile.write(piece)
                return
            status = page.failures.pop(0) if page.failures else page.status
            body, start = page.body, 0
            tag = page.headers.get("ETag")
            if self.headers.get("Range") and tag and self.headers.get("If-Range") == tag:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                status, body = 206, body[start:]
            self.send_response(status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/*")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: page.cuts.pop(0)] if page.cuts else body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        web = Web(f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield web
        finally:
            running.shutdown()
            thread.join()
