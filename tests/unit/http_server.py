"""A web server on this machine that does what a test tells it to, one step per request."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Step:
    """How one request is answered.

    Attributes:
        body: the whole file.
        status: sent instead of 200 or 206.
        headers: further headers.
        cut: the connection is closed after so many bytes of the body.
        ranges: whether ``Range`` is honoured (with ``If-Range``, if the ETag fits).
        etag: ETag of the file.
        length: whether the length is announced.
        modified: Last-Modified of the file.
        span: sent instead of the right Content-Range of a part.
        raw: everything that is sent, from the status line on, instead of all above.
        trickle: bytes of each piece of the body (or of ``raw``), and the pause in seconds before it.
        endless: the body is sent again and again.
        blind: a part is sent whatever If-Range says.
    """

    body: bytes = b""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True
    etag: str | None = '"one"'
    length: bool = True
    modified: str | None = None
    span: str | None = None
    raw: bytes | None = None
    trickle: tuple[int, float] | None = None
    endless: bool = False
    blind: bool = False


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    path: str
    headers: Mapping[str, str]


class Server:
    """Answers from ``script``: path -> steps, the last one for ever; other paths are 404."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._scheme = "http" if tls is None else "https"
        self.script: dict[str, list[Step]] = {}
        self.seen: list[Seen] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._stopped = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def root(self) -> str:
        """Beginning of every address."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def paths(self) -> list[str]:
        """Paths asked for, in order."""
        return [seen.path for seen in self.seen]

    def stop(self) -> None:
        """Close the port."""
        self._stopped = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.seen.append(Seen(request.path, dict(request.headers)))
        steps = self.script.get(request.path, [Step(status=404)])
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        request.close_connection = True
        with contextlib.suppress(OSError):
            if step.raw is not None:
                self._send(request, step, step.raw)
            else:
                self._send(request, step, _headed(request, step))

    def _send(self, request: BaseHTTPRequestHandler, step: Step, body: bytes) -> None:
        piece, pause = step.trickle or (len(body) or 1, 0.0)
        while True:
            for start in range(0, len(body), piece):
                time.sleep(pause)
                request.wfile.write(body[start : start + piece])
            if not step.endless or self._stopped:
                return


def _headed(request: BaseHTTPRequestHandler, step: Step) -> bytes:
    """Send status and headers; gives the body to send."""
    start = _range_start(step, request.headers)
    status = step.status or (200 if start is None else 416 if start >= len(step.body) else 206)
    body = b"" if status == 416 else step.body[start or 0 :]
    request.send_response(status)
    if step.etag and status in (200, 206, 416):
        request.send_header("ETag", step.etag)
    if step.modified:
        request.send_header("Last-Modified", step.modified)
    if status in (206, 416):
        span = "*" if status == 416 else f"{start or 0}-{len(step.body) - 1}"
        request.send_header("Content-Range", step.span or f"bytes {span}/{len(step.body)}")
    if step.length:
        request.send_header("Content-Length", str(len(body)))
    for name, value in step.headers.items():
        request.send_header(name, value)
    request.end_headers()
    return body if step.cut is None else body[: step.cut]


def _range_start(step: Step, headers: Mapping[str, str]) -> int | None:
    wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
    if wanted is None or not step.ranges or step.status is not None:
        return None
    asked = headers.get("If-Range")
    return int(wanted[1]) if step.blind or asked in (None, step.etag, step.modified) else None
