"""Container images: built from `images/`, pushed to a repository of the lab's own.

    images/qa_bot/   --docker build-->   an image   --docker push-->   ECR   --pulled by-->  a task, a job

The tag is a digest of all that goes into the build. So an image that is in the repository already is neither
built nor pushed again, and a task definition that names it says exactly what runs.

Where no Docker engine answers, the practice cloud takes the program alone: an image of one layer, with the
files of `images/NAME` and nothing to run them with. The practice cloud runs it with its own Python, as a
process. On AWS it would be of no use, so there it is refused.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import shlex
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin

from awslabs.errors import DISTRIBUTION, LabError, install
from awslabs.progress import awaiting

if TYPE_CHECKING:
    from docker import DockerClient

log = logging.getLogger(__name__)

PLATFORM = "linux/amd64"  # what Fargate and the labs' servers are, also where the laptop is an ARM
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
PROGRAM_ONLY = "awslabs.program-only"  # the label of an image without an operating system
PROGRAM_TAG = "-program"  # what its tag ends with
SAY_S = 5.0  # seconds between two lines about a push
TIMEOUT_S = 60.0  # for the registry to answer
TRIES = 3  # of a push whose token has expired meanwhile
# Docker's own command knows engines that the SDK finds by DOCKER_HOST alone: rootless ones, Colima's.
WHERE = "docker context inspect --format '{{.Endpoints.docker.Host}}'"


@dataclass(frozen=True)
class Recipe:
    """What an image is made of.

    Attributes
    ----------
    name : str
        The folder under `images/`: ``qa_bot``.
    args : dict of str
        Build arguments of its Dockerfile.
    extra : dict of Path
        Folders from elsewhere that are put beside the program, by the name they get there.
    """

    name: str
    args: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Path] = field(default_factory=dict)

    def files(self) -> dict[str, Path]:
        """All files by their path in the build context, sorted."""
        sources = {"": folder(self.name), **self.extra}
        found = {
            (Path(top) / path.relative_to(source)).as_posix(): path
            for top, source in sources.items()
            for path in source.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        return dict(sorted(found.items()))

    @property
    def tag(self) -> str:
        """Twelve hexadecimal digits that change with any file and argument."""
        known = hashlib.sha256(json.dumps([PLATFORM, sorted(self.args.items())]).encode())
        for name, path in self.files().items():
            known.update(f"{name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                update(known, file)
        return known.hexdigest()[:12]


# -- Where the files are ---------------------------------------------------------------------------------


def folder(name: str) -> Path:
    """The folder ``images/NAME``, in a checkout or as the wheel has installed it."""
    return _shipped("images", name, "main.py")


def lacking(modules: Iterable[str]) -> list[str]:
    """Modules that a program would miss where the practice cloud runs it with this Python."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def notebooks() -> Path:
    """The folder of the notebooks, in a checkout or as the wheel has installed it."""
    return _shipped("notebooks", "matrix_product.py")


def _shipped(*parts: str) -> Path:
    checkout = Path(__file__).parents[1].joinpath(*parts)
    if checkout.is_file():
        return checkout.parent
    import importlib.metadata

    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(DISTRIBUTION) or []:
            installed = Path(str(file.locate())).resolve()
            if file.parts[-len(parts) :] == parts and installed.is_file():
                return installed.parent
    raise LabError(
        f"{'/'.join(parts)} is not there.",
        "This installation of awslabs is not complete.",
        install(),
    )


# -- The engine ------------------------------------------------------------------------------------------


def engine() -> DockerClient | None:
    """The Docker engine that `DOCKER_HOST`, or Docker's own default, names; None where none answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        log.debug("no Docker engine: %s", error)
        return None
    return client


def engine_for(ledger: Any, recipe: Recipe, *, without: bool = False) -> DockerClient | None:
    """The engine that will build; None where the practice cloud takes the program alone.

    Parameters
    ----------
    without : bool
        Do not use an engine, though one may answer.

    Raises
    ------
    LabError
        When there must be one, since this is AWS and the image is not in the lab's repository yet.
    """
    client = None if without else engine()
    if client is None and ledger.cloud.is_aws:
        repository = ledger.resources.get("repository")
        if repository is None or not is_there(ledger.client("ecr"), repository, recipe.tag):
            if without:
                raise LabError(
                    "Without Docker no image can be built for AWS.",
                    "A program without an operating system runs in the practice cloud alone.",
                    f"{ledger.command('up')}    # without --no-docker",
                )
            raise LabError(
                "No Docker engine answers on this computer, so no image can be built for AWS.",
                "Docker is not installed, not running, or this user may not use it.",
                f"docker info && export DOCKER_HOST=$({WHERE}) && {ledger.command('up')}",
            )
    return client


# -- Build and push --------------------------------------------------------------------------------------


def publish(ledger: Any, repository: str, recipe: Recipe, client: DockerClient | None) -> str:
    """See to it that the image is in the repository, and return its address with the tag.

    Parameters
    ----------
    ledger : Ledger
        Whose repository it is.
    repository : str
        Its name in ECR.
    recipe : Recipe
        What to build.
    client : docker.DockerClient or None
        From `engine_for`; with None only the program goes there.

    Raises
    ------
    LabError
        When the build or the push fails; the last lines of the build stand in it.

    AWS calls: ``ecr:DescribeRepositories``, ``ecr:DescribeImages``, ``ecr:GetAuthorizationToken``, and those
    that a push makes: ``ecr:InitiateLayerUpload`` to ``ecr:PutImage``.
    """
    ecr = ledger.client("ecr")
    (shown,) = ecr.describe_repositories(repositoryNames=[repository])["repositories"]
    built = is_there(ecr, repository, recipe.tag)
    tag = recipe.tag if client or built else f"{recipe.tag}{PROGRAM_TAG}"
    address = f"{shown['repositoryUri']}:{tag}"
    if built or is_there(ecr, repository, tag):
        log.info("image %s is there already", address)
        return address
    if client is None:
        log.info("no Docker engine: the practice cloud gets %s without an operating system", recipe.name)
        push_program(ecr, repository, recipe, tag)
        return address
    build(client, recipe, address)
    push(client, ecr, shown["repositoryUri"], tag)
    return address


def is_there(ecr: Any, repository: str, tag: str) -> bool:
    """Whether the repository has an image under this tag. AWS calls: ``ecr:DescribeImages``."""
    try:
        ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ecr.exceptions.ImageNotFoundException:
        return False
    return True


def build(client: DockerClient, recipe: Recipe, address: str) -> None:
    """Build for `PLATFORM`, telling each step as it begins."""
    from docker.errors import DockerException

    with (
        awaiting(f"the image {recipe.name} is built"),
        tempfile.TemporaryFile() as context,
        _explained(f"The image {recipe.name} was not built."),
    ):
        pack(context, recipe.files())
        said: list[str] = []
        try:
            for event in client.api.build(
                fileobj=context,
                custom_context=True,
                tag=address,
                platform=PLATFORM,
                buildargs=dict(recipe.args),
                rm=True,
                forcerm=True,
                decode=True,
            ):
                said += event.get("stream", "").splitlines()
                if event.get("stream", "").startswith("Step "):
                    log.info("%s: %s", recipe.name, event["stream"].strip())
                if "error" in event:
                    raise DockerException(event["error"])
        except DockerException as error:
            tail = "\n       ".join(line for line in said[-12:] if line.strip())
            args = " ".join(
                f"--build-arg {shlex.quote(f'{name}={text}')}" for name, text in recipe.args.items()
            )
            command = f"docker build --platform {PLATFORM} {args}".rstrip()
            raise LabError(
                f"The image {recipe.name} was not built.",
                f"{error}\n       {tail}".rstrip(),
                f"{command} {folder(recipe.name)}    # shows all of it",
            ) from error


def push(client: DockerClient, ecr: Any, uri: str, tag: str) -> None:
    """Push with a token of this moment; Docker's own configuration is neither read nor written.

    Layers that arrived before a token expired (after 12 hours, AWS docs "Private registry authentication in
    Amazon ECR") are not sent again by the next try.
    """
    with (
        awaiting(f"the image is pushed to {uri}"),
        _explained(f"The image was not pushed to {uri}."),
    ):
        for attempt in range(1, TRIES + 1):
            login = {"username": "AWS", "password": token(ecr)}
            problem = _pushed(client.api.push(uri, tag, stream=True, decode=True, auth_config=login))
            if problem is None:
                return
            expired = any(
                word in problem.lower() for word in ("expired", "denied", "unauthorized", "401", "403")
            )
            if not expired or attempt == TRIES:
                raise LabError(
                    f"The image was not pushed to {uri}.",
                    problem,
                    "run the same command again: layers that have arrived are not sent again",
                )
            log.info("the registry asks for another token: %s", problem)


def _pushed(events: Iterator[dict[str, Any]]) -> str | None:
    """Follow a push to its end, saying how far it is; the problem that it tells, for nothing raises."""
    sent: dict[str, tuple[int, int]] = {}
    said_at = time.monotonic()
    for event in events:
        if "error" in event:
            return event.get("errorDetail", {}).get("message") or event["error"]
        detail = event.get("progressDetail") or {}
        if "total" in detail:
            sent[event["id"]] = detail["current"], detail["total"]
        if time.monotonic() - said_at > SAY_S:
            said_at = time.monotonic()
            done, total = (
                (sum(column) / 1e6 for column in zip(*sent.values(), strict=True)) if sent else (0, 0)
            )
            log.info("pushed %.0f of %.0f MB", done, total)
    return None


def token(ecr: Any) -> str:
    """A registry password, good for 12 hours. AWS calls: ``ecr:GetAuthorizationToken``."""
    (data,) = ecr.get_authorization_token()["authorizationData"]
    return base64.b64decode(data["authorizationToken"]).decode().partition(":")[2]


# -- Without an engine -----------------------------------------------------------------------------------


def push_program(ecr: Any, repository: str, recipe: Recipe, tag: str) -> None:
    """Push the files of an image's program, as one layer under ``/app``, over the registry's own protocol.

    Source: OCI distribution specification, "Pushing Blobs" (POST, then PUT) and "Pushing Manifests".
    """
    import requests

    (data,) = ecr.get_authorization_token()["authorizationData"]
    registry = f"{data['proxyEndpoint']}/v2/{repository}"
    session = requests.Session()
    session.trust_env = False  # no proxy and no .netrc of this computer has a part in it
    session.headers["Authorization"] = f"Basic {data['authorizationToken']}"

    def upload(blob: IO[bytes], media: str) -> dict[str, Any]:
        """Send one blob; what a manifest says of it."""
        digest, size = digest_of(blob), blob.seek(0, io.SEEK_END)
        blob.seek(0)
        begun = session.post(f"{registry}/blobs/uploads/", timeout=TIMEOUT_S)
        begun.raise_for_status()
        place = urljoin(begun.url, begun.headers["Location"])
        session.put(place, params={"digest": digest}, data=blob, timeout=TIMEOUT_S).raise_for_status()
        return {"mediaType": media, "size": size, "digest": digest}

    try:
        with tempfile.TemporaryFile() as layer:
            pack(layer, {f"app/{name}": path for name, path in recipe.files().items()})
            layers = [upload(layer, "application/vnd.docker.image.rootfs.diff.tar")]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": ["python", "main.py"],
                "WorkingDir": "/app",
                "Labels": {PROGRAM_ONLY: "true"},
            },
            "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
        }
        text = io.BytesIO(json.dumps(config).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": upload(text, "application/vnd.docker.container.image.v1+json"),
            "layers": layers,
        }
        session.put(
            f"{registry}/manifests/{tag}",
            data=json.dumps(manifest),
            headers={"Content-Type": MANIFEST},
            timeout=TIMEOUT_S,
        ).raise_for_status()
    except (requests.RequestException, OSError) as error:
        answer = getattr(error, "response", None)
        raise LabError(
            f"The program {recipe.name} was not pushed to {repository}.",
            f"{error} {answer.text if answer is not None else ''}".strip(),
            "run the same command again",
        ) from error


def pack(into: IO[bytes], files: Mapping[str, Path]) -> None:
    """Write files as an archive that is the same each time: no times, no owners."""
    with tarfile.open(fileobj=into, mode="w") as archive:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    into.seek(0)


def digest_of(blob: IO[bytes]) -> str:
    """``sha256:...`` of all that it holds."""
    known = hashlib.sha256()
    update(known, blob)
    return f"sha256:{known.hexdigest()}"


def update(known: Any, blob: IO[bytes]) -> None:
    """Feed a file to a digest, piece by piece."""
    blob.seek(0)
    while piece := blob.read(1 << 20):
        known.update(piece)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """An engine that goes away, or a disk that is full, as an error of ours."""
    from docker.errors import DockerException
    from requests import RequestException

    try:
        yield
    except (DockerException, RequestException, OSError) as error:
        raise LabError(what, f"{error}", "docker info    # then run the same command again") from error
