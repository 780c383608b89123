"""The registry of ECR: `docker push`, `docker pull` and plain HTTP, on the practice cloud's own port.

    /v2/                       who are you? basic auth, AWS and a token of ecr:GetAuthorizationToken
    /v2/NAME/blobs/...         layers and configs come and go as streams, from and to the disk
    /v2/NAME/manifests/...     an image is there when its manifest is: in moto's ECR, so the API shows it
    /v2/NAME/tags/list

A token opens the registry of one account and Region, so the same NAME may be there in each. Blobs lie in
the run's folder, one folder for each repository, and go with it. Weather: the operations of the registry
are called ``registry:PutManifest`` and so on (`OPERATIONS`); ``registry:UploadBlob=ExpiredToken`` lets a
token expire in the middle of a push.

Source: OCI distribution specification 1.1; ECR user guide, "Private registry authentication".
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from moto.core.request import Request
from moto.ecr.exceptions import ImageAlreadyExistsException
from moto.ecr.models import Image, Repository, ecr_backends

from awslabs.sandbox import HOST
from awslabs.sandbox.core import engine, weather, wire
from awslabs.sandbox.core.answers import Answer
from awslabs.sandbox.core.engine import clock, memory, state
from awslabs.sandbox.services.ecr import repositories as strict
from awslabs.sandbox.services.iam import needs, permissions

log = logging.getLogger("awslabs.sandbox")

PIECE = 1 << 20  # bytes that are in memory at a time
MANIFEST_BYTES = 4 << 20  # or of a config. Source: OCI distribution specification, "Pushing Manifests"
LABEL = "awslabs.program-only"

NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

# Method and what follows /v2/NAME/ -> the operation, and the IAM action it needs.
# Source: ECR user guide, "Repository policy examples" and "IAM permissions for pushing an image".
OPERATIONS: tuple[tuple[str, str, str, str], ...] = (
    ("POST", r"blobs/uploads/?", "StartUpload", "InitiateLayerUpload"),
    ("PATCH", r"blobs/uploads/(?P<upload>[0-9a-f-]{36})", "UploadBlob", "UploadLayerPart"),
    ("PUT", r"blobs/uploads/(?P<upload>[0-9a-f-]{36})", "FinishUpload", "CompleteLayerUpload"),
    ("GET", r"blobs/uploads/(?P<upload>[0-9a-f-]{36})", "UploadStatus", "UploadLayerPart"),
    ("DELETE", r"blobs/uploads/(?P<upload>[0-9a-f-]{36})", "CancelUpload", "UploadLayerPart"),
    ("HEAD", r"blobs/(?P<digest>[^/]+)", "HeadBlob", "BatchCheckLayerAvailability"),
    ("GET", r"blobs/(?P<digest>[^/]+)", "GetBlob", "GetDownloadUrlForLayer"),
    ("PUT", r"manifests/(?P<reference>[^/]+)", "PutManifest", "PutImage"),
    ("HEAD", r"manifests/(?P<reference>[^/]+)", "HeadManifest", "BatchGetImage"),
    ("GET", r"manifests/(?P<reference>[^/]+)", "GetManifest", "BatchGetImage"),
    ("GET", r"tags/list", "ListTags", "ListImages"),
)


class Missing(Exception):
    """There is no such image; the text says it as the container agent does."""


class Said(Exception):
    """An error of the registry protocol."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Stored:
    """An image of the practice registry, as the runner needs it.

    Attributes
    ----------
    digest : str
        Of the manifest.
    entry_point, command : list of str
    working_directory : str
    environment : dict
        Without PATH.
    layers : list of Path
        The blobs, lowest first.
    program_only : bool
        It has no operating system: see `run.programs`.
    architecture : str
        Of the machines that it was built for: ``amd64``, ``arm64``.
    """

    digest: str
    entry_point: list[str]
    command: list[str]
    working_directory: str
    environment: dict[str, str]
    layers: list[Path]
    program_only: bool
    architecture: str = "amd64"


@state
class Shelf:
    """The folder of a repository's blobs; `memory` of moto's object."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex


@dataclass(frozen=True)
class Visit:
    """A request at a repository; `upload`, `digest` and `reference` are what its path says besides."""

    request: Request
    source: BinaryIO
    token: strict.Token
    name: str
    upload: str = ""
    digest: str = ""
    reference: str = ""

    @property
    def where(self) -> tuple[str, str, str]:
        """Account, Region and name of the repository."""
        return self.token.account, self.token.region, self.name


@dataclass
class Upload:
    """A blob on its way; `where` as a `Visit` has it."""

    where: tuple[str, str, str]
    path: Path
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)
    mutex: threading.Lock = field(default_factory=threading.Lock)


class Registry:
    """The registry of one practice cloud.

    Parameters
    ----------
    cloud : server.Cloud
        Whose port and folder it has.
    """

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        self.address = cloud.run.endpoint_url.removeprefix("http://")
        self.folder: Path = cloud.run.directory / "registry"
        self.uploads: dict[str, Upload] = {}

    # -- where things are -------------------------------------------------------------------------

    def repository(self, account: str, region: str, name: str) -> Repository:
        """moto's repository; the caller holds the lock.

        Raises
        ------
        Said
            NAME_UNKNOWN.
        """
        found = ecr_backends[account][region].repositories.get(name)
        if found is None:
            message = f"The repository with name '{name}' does not exist in the registry with id '{account}'"
            raise Said(404, "NAME_UNKNOWN", message)
        return found

    def shelf(self, account: str, region: str, name: str) -> Path:
        """The folder of a repository's blobs."""
        with engine.lock:
            own = memory(self.repository(account, region, name), Shelf)
        path = self.folder / account / region / own.name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, repository: Repository, reference: str) -> Image:
        """An image by tag or digest; the caller holds the lock.

        Raises
        ------
        Said
            MANIFEST_UNKNOWN.
        """
        for image in repository.images:
            if reference in image.image_tags or reference == image.get_image_digest():
                return image
        raise Said(404, "MANIFEST_UNKNOWN", "Requested image not found")

    # -- for the runner ---------------------------------------------------------------------------

    def look(self, account: str, region: str, image: str, architecture: str) -> Stored | None:
        """See the function `look` of this module."""
        host, _, rest = image.partition("/")
        if re.fullmatch(r"\d{12}\.dkr\.ecr\..*\.amazonaws\.com", host):
            raise Missing(f"{image} is in the real AWS; the registry of the practice cloud is {self.address}")
        if host not in (self.address, self.address.replace(HOST, "localhost")):
            return None
        name, at, reference = rest.partition("@")
        if not at:
            name, _, reference = rest.partition(":")
            reference = reference or "latest"
        try:
            with engine.lock:
                repository = self.repository(account, region, name)
                found = self.image(repository, reference)
                manifest = json.loads(found.image_manifest)
                if "manifests" in manifest:
                    found = self.image(repository, for_platform(manifest, architecture))
                    manifest = json.loads(found.image_manifest)
            shelf = self.shelf(account, region, name)
            layers = [shelf / plain(layer["digest"]) for layer in manifest["layers"]]
            with (shelf / plain(manifest["config"]["digest"])).open() as file:
                config = json.loads(file.read(MANIFEST_BYTES))
            own = config.get("config") or {}
            variables = dict(each.partition("=")[::2] for each in own.get("Env") or [])
        except Said as said:
            raise Missing(f"failed to resolve ref {image}: {image}: not found ({said.message})") from None
        except FileNotFoundError:
            raise Missing(f"{image} was put there without its layers") from None
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise Missing(f"failed to unpack image {image}: it is damaged ({problem!r})") from problem
        variables.pop("PATH", None)
        program_only = (own.get("Labels") or {}).get(LABEL) == "true"
        if config.get("os", "linux") != "linux":
            raise Missing(no_platform(architecture))
        return Stored(
            digest=found.get_image_digest(),
            entry_point=list(own.get("Entrypoint") or []),
            command=list(own.get("Cmd") or []),
            working_directory=own.get("WorkingDir") or "/",
            environment=variables,
            layers=layers,
            program_only=program_only,
            architecture=config.get("architecture", "amd64"),
        )

    # -- answering --------------------------------------------------------------------------------

    def answer(self, request: Request, source: BinaryIO) -> Answer | None:
        """One request below /v2/; None: the connection is cut."""
        began, status, operation, account = time.perf_counter(), 0, "-", "-"
        try:
            if weather.current.latency_ms:
                time.sleep(weather.current.latency_ms / 1000)
            token = self.let_in(request)
            account = token.account
            path = request.path.removeprefix("/v2/")
            name, operation, action, parts = self.understand(request.method, path)
            fault = weather.current.draw(f"registry:{operation}", account)
            if fault == weather.CUT_BEFORE:
                return None
            if fault and fault != weather.CUT:
                self.fail(fault, token)
            if name:
                with engine.lock:
                    repository = self.repository(account, token.region, name)
                    self.check_rights(token, action, repository.arn)
            answer = getattr(self, operation)(Visit(request, source, token, name, **parts))
            status = answer.status
            return None if fault == weather.CUT else answer
        except Said as said:
            status = said.status
            body = json.dumps({"errors": [{"code": said.code, "message": said.message}]}).encode()
            headers = {"Content-Type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}
            if status == 401:
                headers["Www-Authenticate"] = (
                    f'Basic realm="http://{self.address}/",service="ecr.amazonaws.com"'
                )
            return Answer(status, headers, body)
        finally:
            milliseconds = 1000 * (time.perf_counter() - began)
            log.info("%s registry:%s %s %.1f ms", account, operation, status or "-", milliseconds)

    def let_in(self, request: Request) -> strict.Token:
        """Who comes, by the token in the header."""
        kind, _, word = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            raise Said(401, "UNAUTHORIZED", "Not Authorized: no basic auth credentials")
        try:
            user, _, password = base64.b64decode(word).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, password = "", ""
        with engine.lock:
            token = strict.holder(password)
        if user != "AWS" or token is None:
            raise Said(401, "DENIED", "Your authorization token is not valid. Reauthenticate and try again.")
        if token.expires <= clock.now():
            raise Said(401, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        return token

    def understand(self, method: str, path: str) -> tuple[str, str, str, dict[str, str]]:
        """Name, operation, IAM action and the further parts of a request."""
        if not path and method in ("GET", "HEAD"):
            return "", "Ping", "", {}
        for known, pattern, operation, action in OPERATIONS:
            match = re.fullmatch(rf"(?P<name>{NAME})/{pattern}", path)
            if match and known == method:
                parts = match.groupdict()
                return parts.pop("name"), operation, action, parts
        raise Said(405, "UNSUPPORTED", f"The operation is unsupported: {method} /v2/{path}")

    def fail(self, fault: str, token: strict.Token) -> NoReturn:
        """An error that the weather wants."""
        if fault.startswith("ExpiredToken"):
            token.expires = clock.now()
            raise Said(401, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        if "Throttl" in fault or "TooMany" in fault or "RequestLimit" in fault:
            raise Said(429, "TOOMANYREQUESTS", f"Rate exceeded: the weather of the practice cloud ({fault})")
        if "Denied" in fault:
            raise Said(403, "DENIED", f"The weather of the practice cloud ({fault})")
        raise Said(500, "UNKNOWN", f"The weather of the practice cloud ({fault})")

    def check_rights(self, token: strict.Token, action: str, arn: str) -> None:
        """A role or a user may do what the policies allow; the caller holds the lock."""
        session = permissions.session_of(token.account, token.access_key)
        user = None if session else permissions.user_of(token.account, token.access_key)
        if user is not None:
            tags = needs.resource_tags(token.account, token.region, arn)
            facts = {**permissions.user_context(user, token.region), **tags}
            may = permissions.user_may(user, f"ecr:{action}", arn, facts)
            told = {key: value for key, value in tags.items() if not key.endswith("/")}
            decision = {"action": f"ecr:{action}", "resource": arn, "allowed": may, "facts": told}
            self.cloud.record_decision(token.account, token.access_key, decision)
            who = user.arn
        elif session is not None:
            may = permissions.allows(token.account, session.role_arn, f"ecr:{action}", arn, token.region)
            who = session.arn
        else:
            return
        if not may:
            raise Said(
                403,
                "DENIED",
                f"User: {who} is not authorized to perform: ecr:{action} on resource: {arn} because "
                f"no identity-based policy allows the ecr:{action} action",
            )

    def Ping(self, visit: Visit) -> Answer:
        """GET /v2/: yes, this is a registry, and you may come in."""
        return self.say(200, {}, b"{}")

    # -- blobs ------------------------------------------------------------------------------------

    def StartUpload(self, visit: Visit) -> Answer:
        """POST .../blobs/uploads/: begin, or (``digest``) all at once, or (``mount``) from a neighbour."""
        mount = visit.request.args.get("mount", "")
        if strict.DIGEST.fullmatch(mount) and self.mount(visit, mount):
            return self.made(visit.name, mount)
        number = str(uuid.uuid4())
        path = self.shelf(*visit.where) / f"upload-{number}"
        path.touch()
        upload = self.uploads[number] = Upload(visit.where, path)
        if "digest" in visit.request.args:
            return self.FinishUpload(replace(visit, upload=number))
        return self.going_on(visit.name, number, upload, 202)

    def mount(self, visit: Visit, digest: str) -> bool:
        """Take a blob from another repository of the account, if it is there."""
        account, region, _ = visit.where
        neighbour = visit.request.args.get("from", "")
        path = self.shelf(*visit.where) / plain(digest)
        try:
            with engine.lock:
                other = self.repository(account, region, neighbour)
                self.check_rights(visit.token, "GetDownloadUrlForLayer", other.arn)
            with contextlib.suppress(FileExistsError):
                os.link(self.shelf(account, region, neighbour) / plain(digest), path)
        except (Said, FileNotFoundError):
            return False
        self.note(visit, digest, path.stat().st_size)
        return True

    def UploadBlob(self, visit: Visit) -> Answer:
        """PATCH: the next piece."""
        going = self.upload(visit)
        with going.mutex:
            self.take(visit, going)
            return self.going_on(visit.name, visit.upload, going, 202)

    def FinishUpload(self, visit: Visit) -> Answer:
        """PUT: the last piece, and what the digest of all of it must be."""
        digest = visit.request.args.get("digest", "")
        going = self.upload(visit)
        with going.mutex:
            self.take(visit, going)
            found = f"sha256:{going.hash.hexdigest()}"
            self.uploads.pop(visit.upload, None)
            if digest != found:
                going.path.unlink()
                raise Said(
                    400, "DIGEST_INVALID", f"provided digest {digest} does not match uploaded content {found}"
                )
            going.path.replace(going.path.with_name(plain(digest)))
        self.note(visit, digest, going.size)
        return self.made(visit.name, digest)

    def UploadStatus(self, visit: Visit) -> Answer:
        """GET: how far it is."""
        return self.going_on(visit.name, visit.upload, self.upload(visit), 204)

    def CancelUpload(self, visit: Visit) -> Answer:
        """DELETE: never mind."""
        self.upload(visit).path.unlink()
        del self.uploads[visit.upload]
        return self.say(204, {})

    def HeadBlob(self, visit: Visit) -> Answer:
        """HEAD: whether it is there."""
        length = {"Content-Length": str(self.blob(visit).stat().st_size)}
        return self.say(200, self.blob_headers(visit) | length)

    def GetBlob(self, visit: Visit) -> Answer:
        """GET: the blob itself, from the disk."""
        return self.say(200, self.blob_headers(visit), self.blob(visit))

    def blob(self, visit: Visit) -> Path:
        """A blob's file."""
        path = self.shelf(*visit.where) / plain(visit.digest)
        if not path.exists():
            raise Said(404, "BLOB_UNKNOWN", f"blob unknown to registry: {visit.digest}")
        return path

    def blob_headers(self, visit: Visit) -> dict[str, str]:
        return {"Content-Type": "application/octet-stream", "Docker-Content-Digest": visit.digest}

    def upload(self, visit: Visit) -> Upload:
        """An upload that is under way."""
        going = self.uploads.get(visit.upload)
        if going is None or going.where != visit.where:
            raise Said(404, "BLOB_UPLOAD_UNKNOWN", f"blob upload unknown to registry: {visit.upload}")
        return going

    def take(self, visit: Visit, going: Upload) -> None:
        """Append the body of a request to an upload, piece by piece."""
        said = visit.request.headers.get("Content-Range", "")
        match = re.fullmatch(r"(?:bytes[ =])?(\d+)-(\d+)(?:/.*)?", said)
        if match and int(match[1]) != going.size:
            message = f"the next byte is {going.size}, not {match[1]}"
            raise Said(416, "BLOB_UPLOAD_INVALID", message)
        try:
            with going.path.open("ab") as file:
                while piece := visit.source.read(PIECE):
                    file.write(piece)
                    going.hash.update(piece)
                    going.size += len(piece)
        except FileNotFoundError:
            raise Said(404, "NAME_UNKNOWN", "The repository was deleted.") from None

    def note(self, visit: Visit, digest: str, size: int) -> None:
        """Tell moto of a blob, for ecr:BatchCheckLayerAvailability and ecr:PutImage."""
        with engine.lock:
            self.repository(*visit.where).layers[digest] = size

    def made(self, name: str, digest: str) -> Answer:
        where = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return self.say(201, where)

    def going_on(self, name: str, number: str, upload: Upload, status: int) -> Answer:
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{number}",
            "Range": f"0-{max(0, upload.size - 1)}",
            "Docker-Upload-UUID": number,
        }
        return self.say(status, headers)

    # -- manifests --------------------------------------------------------------------------------

    def PutManifest(self, visit: Visit) -> Answer:
        """PUT: from now on the image is there."""
        raw = visit.source.read(MANIFEST_BYTES + 1)
        if len(raw) > MANIFEST_BYTES:
            raise Said(413, "SIZE_INVALID", f"A manifest has at most {MANIFEST_BYTES} bytes.")
        kind = visit.request.headers.get("Content-Type", "").partition(";")[0].strip()
        try:
            text = raw.decode()
            manifest = strict.read(text)
            kind = kind if kind in strict.MANIFESTS + strict.LISTS else manifest.get("mediaType", kind)
            blobs = strict.references(manifest)
            needed = [each["digest"] for each in manifest.get("manifests") or []]
        except ValueError:
            raise Said(400, "MANIFEST_INVALID", "manifest invalid") from None
        if kind not in strict.MANIFESTS + strict.LISTS:
            raise Said(415, "MANIFEST_INVALID", f"Unsupported manifest media type: {kind}")
        reference, digest = visit.reference, strict.digest_of(text)
        if ":" in reference and reference != digest:
            raise Said(400, "DIGEST_INVALID", f"The manifest's digest is {digest}, not {reference}")
        if ":" not in reference and not TAG.fullmatch(reference):
            raise Said(400, "TAG_INVALID", f"Invalid tag: {reference}")
        shelf = self.shelf(*visit.where)
        with engine.lock:
            backend = ecr_backends[visit.token.account][visit.token.region]
            repository = self.repository(*visit.where)
            held = {image.get_image_digest() for image in repository.images}
            absent = [each for each in needed if each not in held]
            absent += [each for each in blobs if not (shelf / plain(each)).exists()]
            if absent:
                raise Said(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {', '.join(absent)}")
            tag = None if ":" in reference else reference
            try:
                backend.put_image(visit.name, text, tag, kind, digest)  # type: ignore[arg-type]
            except ImageAlreadyExistsException as exists:
                if not any(
                    each.image_manifest == text and tag in each.image_tags for each in repository.images
                ):
                    raise Said(400, "TAG_INVALID", exists.message) from None
        return self.say(
            201, {"Location": f"/v2/{visit.name}/manifests/{digest}", "Docker-Content-Digest": digest}
        )

    def HeadManifest(self, visit: Visit) -> Answer:
        """HEAD: whether it is there, and its digest."""
        answer = self.GetManifest(visit)
        assert isinstance(answer.body, bytes)
        length = {"Content-Length": str(len(answer.body))}
        return Answer(answer.status, answer.headers | length, b"")

    def GetManifest(self, visit: Visit) -> Answer:
        """GET: the manifest, as it came."""
        with engine.lock:
            image = self.image(self.repository(*visit.where), visit.reference)
            kind = image.image_manifest_media_type or strict.MANIFESTS[0]
            headers = {"Content-Type": kind, "Docker-Content-Digest": image.get_image_digest()}
            return self.say(200, headers, image.image_manifest.encode())

    def ListTags(self, visit: Visit) -> Answer:
        """GET: all tags."""
        with engine.lock:
            images = self.repository(*visit.where).images
            tags = sorted(tag for image in images for tag in image.image_tags)
        body = json.dumps({"name": visit.name, "tags": tags}).encode()
        return self.say(200, {"Content-Type": "application/json"}, body)

    def say(self, status: int, headers: dict[str, str], body: bytes | Path = b"") -> Answer:
        return Answer(status, {**headers, "Docker-Distribution-Api-Version": "registry/2.0"}, body)

    def used(self, repository: Repository | None) -> set[str]:
        """The blobs that a repository's images need."""
        images = repository.images if repository is not None else []
        return {digest for image in images for digest in strict.references(json.loads(image.image_manifest))}

    def reset(self, account: str) -> None:
        """Forget what an account has pushed."""
        for number in [number for number, each in self.uploads.items() if each.where[0] == account]:
            del self.uploads[number]
        shutil.rmtree(self.folder / account, ignore_errors=True)


def no_platform(architecture: str) -> str:
    """What a pull says of an image that has no variant for these machines."""
    return (
        "pull image manifest has been retried 1 time(s): image Manifest does not contain descriptor matching "
        f"platform 'linux/{architecture}'"
    )


def for_platform(manifest: dict[str, Any], architecture: str) -> str:
    """The digest in a list of manifests that is for these machines."""
    for each in manifest["manifests"]:
        platform = each.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
            return str(each["digest"])
    raise Missing(no_platform(architecture))


def plain(digest: str) -> str:
    """A digest as a file name: the one way from a word of a client to the disk.

    Raises
    ------
    Said
        DIGEST_INVALID: for what is none. A path would lead to any file of this computer.
    """
    if not strict.DIGEST.fullmatch(digest):
        raise Said(400, "DIGEST_INVALID", f"Invalid digest: {digest}")
    return digest.removeprefix("sha256:")


# --- the one of this process ----------------------------------------------------------------------------

current: Registry | None = None


def look(account: str, region: str, image: str, architecture: str = "amd64") -> Stored | None:
    """An image of the practice registry; None: the name leads elsewhere.

    Parameters
    ----------
    account, region : str
        Whose registry.
    image : str
        ``127.0.0.1:PORT/NAME``, with ``:TAG`` (default: latest) or ``@DIGEST``.
    architecture : str
        Which variant, where the name stands for a list of them.

    Raises
    ------
    Missing
        If it should be here and is not, or is a list without this variant.
    """
    return current.look(account, region, image, architecture) if current is not None else None


def login(account: str, region: str) -> dict[str, str]:
    """User name and password with which a Docker engine pulls for an account; good for 12 hours."""
    with engine.lock:
        password, _ = strict.issue(account, region, "")
    return {"username": "AWS", "password": password}


@engine.in_server("ecr:DeleteRepository", "ecr:BatchDeleteImage")
def _delete(call: wire.Call, request: Request, body: bytes) -> Answer:
    """What no image needs any more goes from the disk."""
    part = current  # which `close` takes away at any time
    assert part is not None
    account, region = request.environ["HTTP_X_MOTO_ACCOUNT_ID"], permissions.region_of(request)
    name = json.loads(body or b"{}").get("repositoryName", "")
    with engine.lock:
        repository = ecr_backends[account][region].repositories.get(name)
        before = part.used(repository)
        answer: Answer = part.cloud.moto.call(request)
        if repository is None or answer.status != 200:
            return answer
        shelf = part.folder / account / region / memory(repository, Shelf).name
        if ecr_backends[account][region].repositories.get(name) is not repository:
            doomed = [shelf]
        else:
            gone = before - part.used(repository)
            doomed = [shelf / plain(digest) for digest in gone]
            for digest in gone:
                repository.layers.pop(digest, None)
    for path in doomed:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return answer


@engine.in_server("ecr:CompleteLayerUpload")
def _complete(call: wire.Call, request: Request, body: bytes) -> Answer:
    """A layer that came through the API is a blob like any other."""
    part = current  # which `close` takes away at any time
    assert part is not None
    account, region = request.environ["HTTP_X_MOTO_ACCOUNT_ID"], permissions.region_of(request)
    asked = json.loads(body or b"{}")
    with engine.lock:
        repository = ecr_backends[account][region].repositories.get(asked.get("repositoryName", ""))
        upload = repository.uploads.get(asked.get("uploadId")) if repository is not None else None
        answer: Answer = part.cloud.moto.call(request)
        if answer.status == 200 and repository is not None and upload is not None:
            shelf = part.shelf(account, region, repository.name)
            digest = hashlib.sha256(upload.layer_parts).hexdigest()
            (shelf / digest).write_bytes(upload.layer_parts)
    return answer


def add_handlers(cloud: Any) -> None:
    """Add its handlers to a practice cloud (`server.Cloud`)."""
    global current
    current = Registry(cloud)
    strict.address = current.address
    cloud.streams["/v2/"] = current.answer


def reset(account: str) -> None:
    """Forget what an account has here."""
    if current is not None:
        current.reset(account)


def close() -> None:
    """Forget everything; the run's folder goes with the run."""
    global current
    current, strict.address = None, ""
