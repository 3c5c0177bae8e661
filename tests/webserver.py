"""A web server on loopback whose answers are bytes, right or wrong to the letter."""

import socket
import threading
from typing import Any

HTML = b"Content-Type: text/html; charset=utf-8\r\n"


def page(body: bytes, head: bytes = HTML, status: bytes = b"200 OK") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, head, len(body), body)


def links(*targets: str) -> bytes:
    """A page that links to the targets."""
    return page("".join(f'<p><a class=x href="{target}">to {target}</a>' for target in targets).encode())


def redirect(target: str) -> bytes:
    """A redirect."""
    return page(b"", b"Location: %s\r\n" % target.encode(), b"302 Found")


class Server(socket.socket):
    """Answers every path with what the site has for it, and closes.

    The site has bytes, a list that gives its items in turn (the last for ever), or a function that is given the
    connection. `asked` are the paths of all requests, `requests` their bytes.
    """

    def __init__(self, site: dict[str, Any]) -> None:
        super().__init__()
        self.site = {path: list(item) if isinstance(item, list) else item for path, item in site.items()}
        self.asked: list[str] = []
        self.requests: list[bytes] = []
        self.bind(("127.0.0.1", 0))
        self.listen(64)
        self.root = f"http://127.0.0.1:{self.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            path = request.split()[1].decode()
            self.asked.append(path)
            self.requests.append(request)
            try:
                connection.sendall(self.answer(path, request, connection) or b"")
            except OSError:
                pass  # the client has heard enough

    def answer(self, path: str, request: bytes, connection: socket.socket) -> bytes | None:
        """What is sent for a path; None where the site's function has sent it."""
        answer = self.site.get(path, page(b"nothing here", status=b"404 Not Found"))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        found: bytes | None = answer(connection) if callable(answer) else answer
        return found
