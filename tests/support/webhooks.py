"""A webhook on loopback that keeps what it receives."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0K3N-of-the-channel"  # noqa: S105  # made up


@dataclass
class Hook:
    """A server that gives its answers in order and then repeats the last one; 0 means no answer."""

    address: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.paths.append(self.path)
            assert self.headers["Content-Type"] == "application/json"
            hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
            if not answer:
                hook.released.wait(60)
                return
            self.send_response(answer)
            if answer == 302:
                self.send_header("Location", f"{hook.address}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.address = f"http://127.0.0.1:{server.server_port}/{SECRET}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hook
        finally:
            hook.released.set()
            server.shutdown()
