"""Images made in a test, and a plain HTTP client that pushes and pulls them; nothing of awslabs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import tarfile
import textwrap
from dataclasses import dataclass
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_of(files: dict[str, bytes | str]) -> bytes:
    """A layer with these files, by path."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            data = textwrap.dedent(content).encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), mtime=0)


@dataclass(frozen=True)
class Image:
    """An image as it travels."""

    layer: bytes
    config: bytes

    @property
    def manifest(self) -> bytes:
        def entry(kind: str, data: bytes) -> dict[str, Any]:
            return {"mediaType": kind, "size": len(data), "digest": digest_of(data)}

        parts = {"config": entry(CONFIG, self.config), "layers": [entry(LAYER, self.layer)]}
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **parts}).encode()


def program(code: str = "", *, program_only: bool = True, files: dict | None = None, **config: Any) -> Image:
    """An image whose /app/main.py is this code."""
    layer = layer_of({"app/main.py": code, **(files or {})})
    own = {"Entrypoint": ["python", "main.py"], "WorkingDir": "/app", "Env": ["PATH=/nowhere", "GREETING=hi"]}
    own |= {"Labels": {"awslabs.program-only": "true"}} if program_only else {}
    whole = {"architecture": "amd64", "os": "linux", "config": own, **config}
    unpacked = digest_of(gzip.decompress(layer))
    whole["rootfs"] = {"type": "layers", "diff_ids": [unpacked]}
    return Image(layer, json.dumps(whole).encode())


class Registry:
    """A client of one registry, with one token.

    Parameters
    ----------
    endpoint_url : str
        ``http://127.0.0.1:PORT``.
    token : str
        The authorizationToken of ecr:GetAuthorizationToken; empty: none.
    """

    def __init__(self, endpoint_url: str, token: str = "") -> None:
        self.address, self.token = endpoint_url.removeprefix("http://"), token

    def ask(
        self, method: str, path: str, body: Any = None, chunked: bool = False, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in small letters, and body of one request."""
        own = {"Authorization": f"Basic {self.token}"} if self.token else {}
        sent = own | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            connection.request(method, path, body, sent, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def put_blob(self, name: str, data: bytes) -> str:
        """Upload a blob in two requests."""
        digest = digest_of(data)
        status, headers, body = self.ask("POST", f"/v2/{name}/blobs/uploads/")
        assert status == 202, body
        status, _, body = self.ask("PUT", f"{headers['location']}?digest={digest}", data)
        assert status == 201, body
        return digest

    def push(self, name: str, image: Image, tag: str = "latest") -> str:
        """Push an image; its digest."""
        self.put_blob(name, image.layer)
        self.put_blob(name, image.config)
        status, headers, body = self.ask(
            "PUT", f"/v2/{name}/manifests/{tag}", image.manifest, Content_Type=MANIFEST
        )
        assert status == 201, body
        assert headers["docker-content-digest"] == digest_of(image.manifest)
        return headers["docker-content-digest"]


def code_of(body: bytes) -> str:
    """The error code in an answer of the registry."""
    return json.loads(body)["errors"][0]["code"]


def password(token: str) -> str:
    """The password in an authorization token."""
    return base64.b64decode(token).decode().partition(":")[2]
