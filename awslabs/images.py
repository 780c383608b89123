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
import os
import re
import shlex
import shutil
import subprocess
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
from awslabs.rehearsal import instead, note

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
TAIL = 12  # lines of a build that failed, in its explanation
# How a step begins: "Step 2/9 : RUN ..." of the engine's own builder, "#7 [build 2/8] RUN ..." of BuildKit.
STEP = re.compile(r"(?:Step \d+/\d+ : |#\d+ (?=\[.*\d+/\d+\] ))(?P<what>.*)")
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


@instead(lambda *_, **__: None)
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


def rehearsed(ledger: Any, repository: str, recipe: Recipe, client: None) -> str:
    """The address that an image will have, in place of the image."""
    (shown,) = ledger.client("ecr").describe_repositories(repositoryNames=[repository])["repositories"]
    note("image", recipe=recipe, uri=shown["repositoryUri"])
    return f"{shown['repositoryUri']}:{recipe.tag}"


@instead(rehearsed)
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
    require_platform(ledger, client, address)
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
    """Build for `PLATFORM`, telling each step as it begins: with BuildKit, where ``docker buildx`` is there.

    The engine's own builder, which the SDK speaks to, loses the platform where images are kept by containerd
    (the default since Engine 29; moby/moby#47823): on an ARM it builds for ARM. `require_platform` notices.
    """
    from docker.errors import DockerException

    said: list[str] = []
    with (
        awaiting(f"the image {recipe.name} is built"),
        tempfile.TemporaryFile() as context,
        _explained(f"The image {recipe.name} was not built."),
    ):
        pack(context, recipe.files())
        command = buildx()
        lines = (
            _by_buildx(command, client, recipe, address, context)
            if command
            else _by_the_engine(client, recipe, address, context)
        )
        try:
            for line in lines:
                said.append(line)
                if step := STEP.match(line):
                    log.info("%s: %s", recipe.name, step["what"])
        except DockerException as error:
            tail = "\n       ".join(line for line in said[-TAIL:] if line.strip())
            raise LabError(
                f"The image {recipe.name} was not built.",
                f"{error}\n       {tail}".rstrip(),
                f"docker --host {host_of(client)} build --platform {PLATFORM} "
                f"{shlex.join([*_args(recipe), str(folder(recipe.name))])}    # shows all of it",
            ) from error


def _args(recipe: Recipe) -> list[str]:
    """A recipe's build arguments, as Docker's command takes them."""
    return [part for name, text in recipe.args.items() for part in ("--build-arg", f"{name}={text}")]


def buildx() -> list[str]:
    """The command line that BuildKit is spoken to with; empty where Docker's command lacks it."""
    docker = shutil.which("docker")
    if docker is None:
        return []
    answered = subprocess.run([docker, "buildx", "version"], capture_output=True, check=False)
    return [docker, "buildx"] if answered.returncode == 0 else []


def host_of(client: DockerClient) -> str:
    """The engine that the SDK speaks to, as ``DOCKER_HOST`` names it.

    The command `docker` follows its context instead, and would build in another engine than we push from.
    """
    transport = client.api.adapters.get("http+docker://")  # of a socket the SDK's base_url says nothing
    if path := getattr(transport, "socket_path", ""):
        return f"unix://{path}"
    if host := getattr(transport, "ssh_host", ""):
        return f"ssh://{host}"
    return f"tcp://{client.api.base_url.partition('://')[2]}"


def _by_buildx(
    command: list[str], client: DockerClient, recipe: Recipe, address: str, context: IO[bytes]
) -> Iterator[str]:
    """Build as ``docker buildx`` does, and yield what it prints.

    Without the provenance, which would make a list of two manifests of the image: ECR would count two, and
    a push could not say which of them it means.
    """
    from docker.errors import DockerException

    settings = ["--builder", "default", "--platform", PLATFORM, "--provenance=false", "--load"]
    with subprocess.Popen(
        [*command, "build", *settings, "--progress", "plain", "--tag", address, *_args(recipe), "-"],
        stdin=context,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "DOCKER_HOST": host_of(client)},
    ) as running:
        assert running.stderr is not None
        try:
            yield from (line.rstrip() for line in running.stderr)
        except BaseException:
            running.terminate()
            raise
    if running.returncode:
        raise DockerException(f"docker buildx build ended with exit status {running.returncode}.")


def _by_the_engine(client: DockerClient, recipe: Recipe, address: str, context: IO[bytes]) -> Iterator[str]:
    """Build with the engine's own builder, and yield what it says."""
    from docker.errors import DockerException

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
        yield from (event.get("stream") or "").splitlines()
        if said := problem_in(event):
            raise DockerException(said)


def problem_in(event: Mapping[str, Any]) -> str:
    """What an event of Docker's streams says of a failure; empty: all is well.

    Every field may be missing. Source: Engine API, `BuildInfo`, `PushImageInfo`: ``error`` is deprecated for
    ``errorDetail``, and "will be omitted in a future API version".
    """
    detail = event.get("errorDetail") or {}
    return detail.get("message") or event.get("error") or (str(detail) if detail else "")


def require_platform(ledger: Any, client: DockerClient, address: str) -> None:
    """Refuse an image that AWS could not run: for ``exec format error`` a task would start there, and cost.

    Raises
    ------
    LabError
        With what builds it right.
    """
    with _explained(f"The image {address} cannot be looked at."):
        shown = client.api.inspect_image(address)
    built = f"{shown.get('Os') or 'linux'}/{shown.get('Architecture') or 'unknown'}"
    if built == PLATFORM:
        return
    cause = (
        "Its base image is none for this platform."
        if buildx()
        else "This engine's own builder heeds no platform; docker buildx does, and is not installed."
    )
    raise LabError(
        f"The image was built for {built}; AWS needs {PLATFORM}.",
        cause,
        f"docker buildx version && docker image rm {address} && {ledger.command('up')}"
        "    # buildx: part of Docker Desktop; Linux: docker-buildx-plugin; Homebrew: docker-buildx",
    )


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
            if not problem:
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


def _pushed(events: Iterator[dict[str, Any]]) -> str:
    """Follow a push to its end, saying how far it is; the problem that it tells, for nothing raises.

    Engines that keep images by containerd leave out ``current`` while it is 0.
    """
    sent: dict[str, tuple[int, int]] = {}
    said_at = time.monotonic()
    for event in events:
        if problem := problem_in(event):
            return problem
        detail = event.get("progressDetail") or {}
        if "total" in detail:
            sent[event.get("id", "")] = detail.get("current", 0), detail["total"]
        if time.monotonic() - said_at > SAY_S:
            said_at = time.monotonic()
            done, total = (sum(one[place] for one in sent.values()) / 1e6 for place in (0, 1))
            log.info("pushed %.0f of %.0f MB", done, total)
    return ""


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
