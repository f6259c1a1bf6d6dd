"""A loopback web server that misbehaves on purpose, and remembers what it was asked."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HostileServer:
    """Serves one content, or several by path; a context manager.

    Attributes:
        content: What is sent at every path, unless ``files`` is set.
        files: Contents by path; other paths are answered 404.
        etag: Version of the content; empty for none.
        ranges: Whether ranges are served.
        honours_if_range: Whether a range is refused if the version is another.
        status: Answer to every request instead of the content, e.g. 503.
        statuses: Such answers to the next requests, in their order.
        cut_after: For each of the next requests: break off after so many bytes.
        stall_after: Send so many bytes of the content, then nothing more.
        gate: If set, an event to wait for in the middle of each content.
        seen_ranges: Range header of each request, None where there was none.
        seen_paths: Path of each request.
        bytes_sent: Bytes of content sent in all.
        address: ``http://127.0.0.1:PORT``.
    """

    def __init__(self, content: bytes = b''):
        self.content = content
        self.files = None
        self.etag = '"one"'
        self.ranges = True
        self.honours_if_range = True
        self.status = None
        self.statuses = []
        self.cut_after = []
        self.stall_after = None
        self.gate = None
        self.seen_ranges = []
        self.seen_paths = []
        self.bytes_sent = 0
        self.released = threading.Event()

    def __enter__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                server.answer(self)

        self._http_server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self._http_server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f'http://127.0.0.1:{self._http_server.server_port}'
        return self

    def __exit__(self, *error):
        self.released.set()
        self._http_server.shutdown()
        self._http_server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        requested = request.headers.get('Range')
        self.seen_ranges.append(requested)
        self.seen_paths.append(request.path)
        content = self.content if self.files is None else self.files.get(request.path)
        status = self.statuses.pop(0) if self.statuses else self.status
        if status or content is None:
            request.send_error(status or 404)
            return
        start, stop = 0, len(content)
        fresh = request.headers.get('If-Range', self.etag) == self.etag or not self.honours_if_range
        is_part = bool(requested and self.ranges and fresh)
        if is_part:
            first, last = re.fullmatch(r'bytes=(\d+)-(\d*)', requested).groups()
            start, stop = int(first), min(int(last) + 1, stop) if last else stop
        if start >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if is_part else 200)
        if is_part:
            request.send_header('Content-Range', f'bytes {start}-{stop - 1}/{len(content)}')
        body = content[start:stop]
        request.send_header('Content-Length', str(len(body)))
        if self.etag:
            request.send_header('ETag', self.etag)
        request.end_headers()
        if self.stall_after is not None:
            self._send(request, body[:self.stall_after])
            self.released.wait(20)
            return
        body = body[:self.cut_after.pop(0)] if self.cut_after else body
        if self.gate is not None:
            self._send(request, body[:1000])
            self.gate.wait(60)
            body = body[1000:]
        self._send(request, body)

    def _send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.bytes_sent += len(body)                         # before the client can have it all and ask
        request.wfile.write(body)
        request.wfile.flush()
