"""A local S3 server (moto) for tests, which can refuse requests."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import s3fs
from moto.server import ThreadedMotoServer


class S3Server:
    """A server at `url` with one empty bucket. Requests whose path contains one of `failing_paths` are refused."""

    def __init__(self) -> None:
        self.failing_paths: set[str] = set()
        self.bucket = f"bucket-{uuid4().hex}"  # all servers of a process have the same buckets
        self.requests: list[str] = []
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)

    def start(self) -> None:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self._application = self._server._server.app  # type: ignore[union-attr]
        self._server._server.app = self._answer  # type: ignore[union-attr]
        self.files().mkdir(self.bucket)

    def files(self) -> Any:
        """A client without caches."""
        return s3fs.S3FileSystem(endpoint_url=self.url, skip_instance_cache=True, use_listings_cache=False)

    def stop(self) -> None:
        self._server.stop()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.requests.append(f"{environ['REQUEST_METHOD']} {path}")
        if any(part in path for part in self.failing_paths):
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"Slow down"]
        return self._application(environ, start_response)


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "made-up-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
