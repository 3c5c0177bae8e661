"""An S3 server for tests: a process of its own, and before it a proxy that breaks connections by a seeded schedule."""

import http.client
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BUCKET = "bucket"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
ENDED = {"Connection", "Transfer-Encoding", "Content-Length", "Server", "Date", "Keep-Alive"}


class Server:
    """A bucket of a moto server, on a port of its own. `faulty` puts a proxy before it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = open(folder / "s3.log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                link.request("PUT", f"/{BUCKET}")
                assert link.getresponse().status == 200
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, "the S3 server does not start"
                time.sleep(0.1)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What the storage library reads: where the server is, and who asks."""
        return {
            "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "FSSPEC_S3_KEY": "an-access-key",
            "FSSPEC_S3_SECRET": "a-secret-key",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",  # its own attempts have long pauses between them, and hide ours
        }

    def files(self) -> Any:
        """The server as a file system, for a test to look at it."""
        import s3fs

        return s3fs.S3FileSystem(
            key="an-access-key", secret="a-secret-key", endpoint_url=f"http://127.0.0.1:{self.port}",
            use_listings_cache=False, client_kwargs={"region_name": "us-east-1"}, skip_instance_cache=True,
        )  # fmt: skip

    @contextmanager
    def faulty(self, seed: int, rates: Mapping[str, float]) -> Iterator["Proxy"]:
        proxy = Proxy(self.port, seed, rates)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            proxy.server_close()


class Proxy(ThreadingHTTPServer):
    """Hands requests on, and does some of them wrong. `rates` are shares of requests, 0..1:

    busy: answers 503 and hands nothing on; refused: closes the connection without an answer; lost: hands the request
    on, and closes without an answer; cut: sends a part of the answer's body, then closes; slow: waits, then serves.
    """

    daemon_threads = True

    def __init__(self, behind: int, seed: int, rates: Mapping[str, float]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.rates = behind, dict(rates)
        self.random, self.guard = random.Random(seed), threading.Lock()
        self.done: Counter[str] = Counter()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def fault(self) -> str:
        with self.guard:
            point = self.random.random()
        for name, share in self.rates.items():
            if point < share:
                return name
            point -= share
        return ""

    def count(self, name: str) -> None:
        with self.guard:
            self.done[name] += 1

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: Any) -> None: ...

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault()
        if fault == "busy":
            self.server.count(fault)
            self._answer(503, {"Content-Type": "application/xml"}, b"" if self.command == "HEAD" else SLOW_DOWN)
            return
        if fault == "refused":
            self.server.count(fault)
            self._hang_up()
            return
        if fault == "slow":
            self.server.count(fault)
            time.sleep(0.2)
        status, headers, data = self._behind(body)
        self.server.count("passed on")
        if fault == "lost":
            self.server.count(fault)
            self._hang_up()
        elif fault == "cut" and len(data) > 1:
            self.server.count(fault)
            self._answer(status, headers, data, sent=data[: len(data) // 2])
            self._hang_up()
        else:
            self._answer(status, headers, data)

    def _behind(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        link = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        try:
            link.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k != "Expect"})
            answer = link.getresponse()
            headers = {k: v for k, v in answer.getheaders() if k.title() not in ENDED}
            if self.command == "HEAD":
                headers["Content-Length"] = answer.getheader("Content-Length") or "0"
            return answer.status, headers, answer.read()
        finally:
            link.close()

    def _answer(self, status: int, headers: dict[str, str], data: bytes, sent: bytes | None = None) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data if sent is None else sent)
            self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
