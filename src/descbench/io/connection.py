"""The connections of downloads: watched for slowness, redirects taken one by one, hosts that are away asked once.

Connections, proxies, cookies and certificates are those of requests. Redirects are followed here because requests and
urllib3 read the body of each to its end, which need not come, and go from https to http. Slowness is watched here
because timeouts of urllib3, the total one too, bound each read and not their sum.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from descbench import __version__
from descbench.io.run_notes import unreachable
from descbench.io.webpages import printable

MOST_REDIRECTS = 10


class MirrorError(Exception):
    """This address does not give the file; the next one may."""


class PassingError(Exception):
    """Bad luck (a timeout, a cut connection, a busy server): worth another attempt.

    ``wait`` is a pause in seconds that the server asked for. Where the host could not be reached at all, ``host``
    names it and ``most`` says how many attempts after the first that is worth.
    """

    def __init__(self, reason: str, wait: float = 0.0, most: int | None = None, host: str | None = None) -> None:
        super().__init__(reason)
        self.wait, self.most, self.host = wait, most, host


class Watch:
    """Ends the connection of a server that is too slow.

    The timeout of a read is no bound: a server that sends one byte now and then never meets it, neither in the
    body nor in the headers. So a thread counts what arrives, and closes the connection from outside when it was
    too little in the last ``window`` seconds.
    """

    def __init__(self) -> None:
        self.too_slow = False
        self._window, self._needed = 0.0, 0.0
        self._heard, self._total, self._until = 0, 0, 0.0
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def over(self, window: float, slowest: float) -> Iterator[None]:
        """Watch the connections opened inside; at least ``slowest`` bytes a second, over ``window`` seconds each."""
        self.too_slow, self._window, self._needed, self._total = False, window, slowest * window, 0
        self._begin_window()
        done = threading.Event()
        thread = threading.Thread(target=self._look, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            while self._sockets:
                self._sockets.pop().close()

    def opened(self, connection: socket.socket) -> None:
        """A connection exists; its handle is duplicated because TLS takes the first one over."""
        with self._lock:
            self._sockets.append(connection.dup())
        self._begin_window()

    def heard(self, count: int) -> None:
        """So many bytes have arrived."""
        with self._lock:
            self._heard += count
            self._total += count

    def check(self) -> None:
        """Raise where the watch has closed the connection, which can look like the end of a file.

        Raises:
            PassingError: the server was too slow.
        """
        if self.too_slow and not self._total:
            raise PassingError(f"no answer within {self._window:g} s")
        if self.too_slow:
            raise PassingError(f"fewer than {max(1.0, self._needed):.0f} bytes came in {self._window:g} s")

    def _begin_window(self) -> None:
        with self._lock:
            self._heard, self._until = 0, time.monotonic() + self._window

    def _look(self, done: threading.Event) -> None:
        while not done.wait(max(0.01, self._until - time.monotonic())):
            if time.monotonic() < self._until:
                continue
            if self._heard >= max(1.0, self._needed) or not self._sockets:
                self._begin_window()
                continue
            self.too_slow = True
            with self._lock:
                for connection in self._sockets:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
            return


class _WatchedAdapter(HTTPAdapter):
    """Connections of requests that tell a watch when they are opened."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools()
        return manager

    def _pools(self) -> dict[str, type]:
        pools = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
        return {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._watched(pool.ConnectionCls)})
            for scheme, pool in pools.items()
        }

    def _watched(self, connection: type) -> type:
        watch = self._watch

        class Watched(connection):
            def _new_conn(self) -> socket.socket:
                opened = super()._new_conn()
                watch.opened(opened)
                return opened

        return Watched


class Session(requests.Session):
    """What one download asks with.

    Args:
        run: folder in which the jobs of a run note hosts that are away; None to remember nothing.
    """

    def __init__(self, run: Path | None = None) -> None:
        super().__init__()
        self.run = run
        self.watch = Watch()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _WatchedAdapter(self.watch))
        self.headers["User-Agent"] = f"descbench/{__version__}"
        # What a server sends beyond the length it stated must not be read as its next answer.
        self.headers["Connection"] = "close"

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: requests would read the whole body of a redirect, however long, before it goes on."""
        return None

    def open(self, url: str, headers: dict[str, str], timeout: float) -> requests.Response:
        """The answer to a GET, headers read and body not; redirects are followed, but never from https to http.

        Raises:
            MirrorError: no address worth asking again.
            PassingError: the connection failed.
        """
        for _ in range(MOST_REDIRECTS + 1):
            response = self._open_one(url, headers, timeout)
            location = super().get_redirect_target(response)
            if location is None:
                return response
            response.close()
            url = _redirected(url, location)
        raise MirrorError(f"more than {MOST_REDIRECTS} redirects")

    def _open_one(self, url: str, headers: dict[str, str], timeout: float) -> requests.Response:
        host = _host(url)
        if known := unreachable(self.run, host):
            raise MirrorError(known)
        try:
            return self.get(url, headers=headers, stream=True, timeout=timeout, allow_redirects=False)
        except (requests.exceptions.RequestException, ValueError, urllib3.exceptions.HTTPError) as error:
            self.watch.check()
            raise self._explained(error, host, timeout) from error

    def _explained(self, error: Exception, host: str, timeout: float) -> MirrorError | PassingError:
        """What a failed request means: whether asking again can help, and whom else it concerns."""
        cause = _innermost(error)
        if isinstance(error, requests.exceptions.SSLError):
            return MirrorError(f"no trusted connection ({_readable(cause)})")
        # Neither a name nor a route appears within seconds; a server that starts again may.
        away = {NameResolutionError: 0, NewConnectionError: 1, ConnectTimeoutError: 1}
        for kind, most in away.items():
            if isinstance(cause, kind):
                reason = _readable(cause)
                most = 0 if "unreachable" in reason or "No route" in reason else most
                return PassingError(f"no connection ({reason})", most=most, host=host)
        if isinstance(error, requests.exceptions.Timeout):
            return PassingError(f"no answer within {timeout:g} s")
        broken = isinstance(cause, http.client.HTTPException) and not isinstance(
            cause, http.client.RemoteDisconnected | http.client.IncompleteRead
        )
        if broken:
            return MirrorError(f"no proper answer of a web server ({type(cause).__name__}: {printable(str(cause))})")
        if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
            return PassingError(f"no connection ({_readable(cause)})")
        return MirrorError(f"{type(error).__name__}: {printable(str(error), 200)}")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}:{parts.hostname}:{parts.port}"
    except ValueError:
        return ""


def _redirected(url: str, location: str) -> str:
    try:
        following = urljoin(url, location)
        before, after = urlsplit(url).scheme.lower(), urlsplit(following).scheme.lower()
    except ValueError:
        raise MirrorError(f"redirects to {printable(location)!r}, which is not an address") from None
    if after not in ("http", "https") or (before == "https" and after == "http"):
        raise MirrorError(f"redirects from {before} to {printable(following, 200)}, which is not followed")
    return following


def _innermost(error: BaseException) -> BaseException:
    """The error that requests and urllib3 wrapped in theirs."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in reversed(error.args) if isinstance(arg, BaseException)), None)
        if inner is None or isinstance(error, NameResolutionError | NewConnectionError | ConnectTimeoutError):
            return error
        error = inner


def _readable(error: BaseException) -> str:
    """The readable core of the long messages of requests."""
    if isinstance(error, NameResolutionError):
        return "host name not found"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return "no answer to the connection"
    text = str(error)
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(Remote end closed[^'\")]*)|\[SSL[^\]]*\] ([^'\")(]+)", text)
    return next(filter(None, found.groups())).strip() if found else type(error).__name__
