"""A web server on this machine, for tests, that can be told to misbehave."""

import contextlib
import http.server
import re
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
ALWAYS = 10**9


@dataclass
class Request:
    """What was asked, and what came of it."""

    path: str
    headers: dict
    status: int = 0
    sent: int = 0  # bytes of content given to the network

    @property
    def range(self):
        """The part asked for, "" for the whole."""
        return self.headers.get("Range", "")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves what `Server.files` holds; an entry may be bytes or a function of the handler."""

    def do_GET(self):
        self.request_made = Request(self.path, dict(self.headers))
        self.server.requests.append(self.request_made)
        status = self.server.failure(self.path)
        content = self.server.content(self.path)
        if status or content is None:
            self.send_error(status or 404)
        elif callable(content):
            content(self)
        else:
            self.answer(content)

    def answer(self, content):
        """Give the whole, or the part asked for, as the server's settings say."""
        begin, headers = self.part(content)
        if begin is None:
            self.send_error(416)
            return
        rest = content[begin:]
        self.send_response(206 if begin or "Content-Range" in headers else 200)
        length = len(rest) if self.server.length == "right" else self.server.length
        headers |= {} if length is None else {"Content-Length": str(length)}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.send(rest)

    def part(self, content):
        """First byte to send (None: there is no such part), and the headers that belong to it."""
        headers = {"ETag": f'"{zlib.crc32(content):x}"'} if self.server.etag is True else {}
        headers |= {"ETag": self.server.etag} if isinstance(self.server.etag, str) else {}
        headers |= {"Last-Modified": self.server.modified} if self.server.modified else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        known = {*headers.values(), None}
        if not (self.server.ranges and asked) or self.headers.get("If-Range") not in known:
            return 0, headers
        begin = int(asked[1])
        if begin >= len(content):
            return None, headers
        return begin, headers | {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}

    def give(self, content, declared):
        """Give this and nothing else with status 200, under a declared length (None: without one)."""
        self.send_response(200)
        if declared is not None:
            self.send_header("Content-Length", str(declared))
        self.end_headers()
        self.send(content)

    def send(self, content):
        """Send content, up to where the server is to break off or to pause."""
        breaks, pauses = self.server.next_break(), self.server.next_pause()
        with contextlib.suppress(ConnectionError):  # the other side was killed
            if pauses is not None:
                self.write(content[:pauses])
                self.server.paused.set()
                self.server.released.wait(60)
                content = content[pauses:]
            self.write(content if breaks is None else content[:breaks])

    def write(self, content):
        """Hand content to the network in pieces, and count."""
        for first in range(0, len(content), 1 << 16):
            piece = content[first : first + (1 << 16)]
            self.request_made.sent += len(piece)  # before: the other side may be done before the next line
            try:
                self.wfile.write(piece)
            except ConnectionError:
                self.request_made.sent -= len(piece)
                raise
        self.wfile.flush()

    def send_response(self, code, message=None):
        self.request_made.status = int(code)
        super().send_response(code, message)

    def log_message(self, *_):
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """See `serving`; all settings may be changed while it runs."""

    daemon_threads = False

    def __init__(self, files, *, ranges=True, etag=True, modified=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.ranges, self.etag, self.modified, self.length = ranges, etag, modified, "right"
        self.requests, self.failures, self.breaks, self.pauses = [], {}, [0, 0], []
        self.paused, self.released, self.lock = threading.Event(), threading.Event(), threading.Lock()

    @property
    def paths(self):
        """Paths that were asked for, in order."""
        return [request.path for request in self.requests]

    @property
    def sent(self):
        """Bytes of content given to the network in all."""
        return sum(request.sent for request in self.requests)

    def break_after(self, count, times=1):
        """End the next `times` (or `ALWAYS`) answers after `count` bytes of content."""
        self.breaks = [count, times]

    def pause_after(self, count):
        """In the next answer, set `paused` after `count` bytes and send the rest when `released` is set."""
        self.pauses.append(count)

    def fail(self, path, status, times=ALWAYS):
        """Answer the next requests of a path with a status such as 404 or 503."""
        self.failures[path] = [status, times]

    def content(self, path):
        """What lies at a path: bytes, a function of the handler, or None."""
        if not isinstance(self.files, Path):
            return self.files.get(path)
        place = self.files.joinpath(*unquote(urlsplit(path).path).split("/")).resolve()
        return place.read_bytes() if place.is_relative_to(self.files) and place.is_file() else None

    def failure(self, path):
        """Status of the failure that is due, 0 if none is."""
        with self.lock:
            status, times = self.failures.get(path, (0, 0))
            if not times:
                return 0
            self.failures[path] = [status, times - 1]
            return status

    def next_break(self):
        """Bytes after which this answer is to end, None for all."""
        with self.lock:
            count, times = self.breaks
            self.breaks[1] = max(times - 1, 0)
            return count if times else None

    def next_pause(self):
        """Bytes after which this answer is to pause, None for never."""
        with self.lock:
            return self.pauses.pop(0) if self.pauses else None


@contextlib.contextmanager
def serving(files, **settings):
    """Serve files at `http://127.0.0.1:<port>`.

    Parameters
    ----------
    files : dict or pathlib.Path
        Content (bytes, or a function of the handler) by path (with its leading slash and its query, percent-
        encoded as asked), or a folder.
    **settings
        ranges : bool, whether parts are given; etag : bool or str, whether versions are named by content, or
        the name; modified : str, the Last-Modified header. `server.length` may be set to None or to a wrong
        Content-Length later.

    Yields
    ------
    Server
        With `url`, `requests` (list of `Request`), `paths`, `sent`, `break_after`, `pause_after`, `fail`.
    """
    files = files.resolve() if isinstance(files, Path) else files
    with Server(files, **settings) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
