"""A web server on this machine that does what a test tells it to, one step per request."""

from __future__ import annotations

import re
import threading
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
    """

    body: bytes = b""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True
    etag: str | None = '"one"'
    length: bool = True


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    path: str
    headers: Mapping[str, str]


class Server:
    """Answers from ``script``: path -> steps, the last one for ever; other paths are 404."""

    def __init__(self) -> None:
        self.script: dict[str, list[Step]] = {}
        self.seen: list[Seen] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def root(self) -> str:
        """Beginning of every address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def paths(self) -> list[str]:
        """Paths asked for, in order."""
        return [seen.path for seen in self.seen]

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.seen.append(Seen(request.path, dict(request.headers)))
        steps = self.script.get(request.path, [Step(status=404)])
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        start = _range_start(step, request.headers)
        status = step.status or (200 if start is None else 416 if start >= len(step.body) else 206)
        body = b"" if status == 416 else step.body[start or 0 :]
        request.send_response(status)
        if step.etag and status in (200, 206, 416):
            request.send_header("ETag", step.etag)
        if status in (206, 416):
            span = "*" if status == 416 else f"{start}-{len(step.body) - 1}"
            request.send_header("Content-Range", f"bytes {span}/{len(step.body)}")
        if step.length:
            request.send_header("Content-Length", str(len(body)))
        for name, value in step.headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body if step.cut is None else body[: step.cut])
        request.close_connection = True


def _range_start(step: Step, headers: Mapping[str, str]) -> int | None:
    wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
    if wanted is None or not step.ranges or step.status is not None:
        return None
    return int(wanted[1]) if headers.get("If-Range", step.etag) == step.etag else None
