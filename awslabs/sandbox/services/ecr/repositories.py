"""ECR: what an image is, who may come to the registry, and what moto makes up.

The registry itself, to which `docker push` goes, is `services.ecr.registry`, in the server.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.ecr.models import ECRBackend, Image, Repository, ecr_backends

from awslabs.sandbox.core.engine import (
    Call,
    Proceed,
    Refused,
    around,
    before,
    clock,
    memory,
    operation,
    patch,
    rule,
    state,
)

TOKEN_S = 12 * 3600.0
"""How long an authorization token is good. Source: aws-facts (g)."""

LISTS = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)

DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
"""A digest becomes the name of a file: nothing else is taken for one. Source: OCI image specification."""

address = ""
"""Where this practice cloud's registry listens, ``127.0.0.1:PORT``; empty: nowhere, as under `mock_aws`."""


# --- tokens -------------------------------------------------------------------------------------------


_invalid = functools.partial(Refused, "InvalidParameterException")


@dataclass
class Token:
    """Whoever comes with this acts as the holder of that access key, until it expires."""

    account: str
    region: str
    access_key: str
    expires: float


@state
class Tokens(dict[str, Token]):
    """Password -> what it opens; one of these for each account and Region."""


def issue(account: str, region: str, access_key: str) -> tuple[str, Token]:
    """A fresh password for the registry of an account. The caller holds the lock."""
    text = json.dumps({"account": account, "region": region, "secret": secrets.token_urlsafe(24)})
    password = base64.urlsafe_b64encode(text.encode()).decode()
    token = Token(account, region, access_key, clock.now() + TOKEN_S)
    held = memory(ecr_backends[account][region], Tokens)
    for old in [each for each, kept in held.items() if kept.expires < clock.now() - TOKEN_S]:
        del held[old]
    held[password] = token
    return password, token


def holder(password: str) -> Token | None:
    """What a password opens, also an expired one; None: it is none of ours. The caller holds the lock."""
    try:
        said = json.loads(base64.urlsafe_b64decode(password))
        account, region = said["account"], said["region"]
        if account not in ecr_backends or region not in ecr_backends[account]:
            return None
    except (ValueError, binascii.Error, KeyError, TypeError):
        return None
    return memory(ecr_backends[account][region], Tokens).get(password)


@operation("ecr:GetAuthorizationToken")
def authorization_tokens(call: Call) -> dict[str, Any]:
    """A token is good for 12 h, and another one each time; in the practice cloud proxyEndpoint is its own
    address. moto: always the same one, which expired in 2015. Source: aws-facts (g), (j).
    """
    data = []
    for registry_id in call.get("registryIds") or [call.account]:
        if registry_id != call.account:
            raise _invalid(
                f"The practice cloud gives tokens for the caller's own registry only, not for {registry_id}.",
            )
        password, token = issue(registry_id, call.region, call.response.access_key or "")
        at = f"http://{address}" if address else f"https://{registry_id}.dkr.ecr.{call.region}.amazonaws.com"
        data.append(
            {
                "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
                "expiresAt": datetime.fromtimestamp(token.expires, timezone.utc),
                "proxyEndpoint": at,
            }
        )
    return {"authorizationData": data}


@around("ecr:CreateRepository")
def local_registry(call: Call, proceed: Proceed) -> Any:
    """The repositoryUri of the practice cloud is 127.0.0.1:PORT/NAME. moto names AWS's own host, where a
    push would really go. Source: DESIGN section 4.
    """
    answer = proceed()
    repository = answer.result["repository"]
    if address:
        repository.uri = f"{address}/{repository.name}"
    return answer


@before("ecr:StartImageScan", "ecr:DescribeImageScanFindings")
def no_scans(call: Call) -> None:
    """Images are not searched for weaknesses, and the practice cloud says so: 501. moto finds some.

    Source: DESIGN section 4, "it never pretends".
    """
    raise Refused("NotImplemented", "The practice cloud does not scan images.")


# --- images -------------------------------------------------------------------------------------------

image_digests = rule(
    "image_digests",
    """An image's digest is the SHA-256 of its manifest, its size the sum of config and layers (of a list: the
    largest of its images). moto hashes the layers' names and takes the config's size alone.

    Source: OCI image specification, "Digests"; botocore, ecr ImageDetail.imageSizeInBytes.""",
)


@image_digests.patch(ECRBackend, "put_image")
def _digest(
    original: Any, backend: ECRBackend, name: str, manifest: str, tag: Any, media_type: Any, _: Any
) -> Any:
    return original(backend, name, manifest, tag, media_type, digest_of(manifest))


@image_digests.around("ecr:DescribeImages")
def _size(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    answer.result["imageDetails"] = [_shown(image) for image in answer.result["imageDetails"]]
    return answer


def _shown(image: Image) -> dict[str, Any]:
    shown = {
        "registryId": image.registry_id,
        "repositoryName": image.repository_name,
        "imageDigest": image.get_image_digest(),
        "imageSizeInBytes": size_of(image),
        "imagePushedAt": image.image_pushed_at,
        "imageManifestMediaType": image.image_manifest_media_type,
    }
    return shown | ({"imageTags": image.image_tags} if hasattr(image, "image_tags") else {})


def size_of(image: Image) -> int:
    """Bytes of an image: of its config and its layers, or of the largest one of a list."""
    manifest = json.loads(image.image_manifest)
    if "manifests" in manifest:
        listed = {each["digest"] for each in manifest["manifests"]}
        repository = _repository_of(image)
        held = repository.images if repository is not None else []
        return max((size_of(each) for each in held if each.get_image_digest() in listed), default=0)
    return sum(int(each.get("size", 0)) for each in [manifest.get("config", {}), *manifest.get("layers", [])])


def _repository_of(image: Image) -> Repository | None:
    """The repository that an image lies in; moto shows copies of it."""
    digest = image.get_image_digest()
    for backend in list(ecr_backends.get(image.registry_id, {}).values()):
        repository = backend.repositories.get(image.repository_name)
        if repository is not None and digest in {each.get_image_digest() for each in repository.images}:
            return repository
    return None


def digest_of(manifest: str) -> str:
    """The digest of a manifest, as its text stands."""
    return "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()


def read(text: str | bytes) -> dict[str, Any]:
    """A manifest, or a list of them, all of whose parts have digests.

    Raises
    ------
    ValueError
        It is none, or what it gives as a digest is none, be it of a layer that lies elsewhere (``urls``).
    """
    try:
        manifest: dict[str, Any] = json.loads(text)
        config = [manifest["config"]] if manifest.get("config") else []
        for part in [*config, *(manifest.get("layers") or []), *(manifest.get("manifests") or [])]:
            if not DIGEST.fullmatch(part["digest"]) or type(part.get("size", 0)) is not int:
                raise ValueError(f"no part of an image: {part}")
    except (TypeError, KeyError, AttributeError) as problem:
        raise ValueError("no manifest") from problem
    return manifest


def references(manifest: dict[str, Any]) -> list[str]:
    """The digests of config and layers that a manifest (`read`) names, without those that lie elsewhere."""
    parts = [manifest.get("config"), *(manifest.get("layers") or [])]
    return [part["digest"] for part in parts if part and not part.get("urls")]


@patch(ECRBackend, "put_image")
def tags_move(
    original: Any, backend: ECRBackend, name: str, manifest: str, tag: str | None, *more: Any
) -> Any:
    """A tag that goes to another image leaves the old one in the repository, without it; so does `image_tag`
    of an image that lost all its tags. moto deletes the old image.

    Source: ECR user guide, "Image tag mutability".
    """
    repository = backend._get_repository(name)
    if tag is None:
        for image in repository.images:
            if image.image_manifest == manifest:
                return image  # without a tag there is nothing to change
    else:
        backend._resolve_image_tag_mutability(repository, tag)
    for image in repository.images:
        if tag in image.image_tags and image.image_manifest != manifest:
            image.remove_tag(tag)
            if not image.image_tags:
                image.image_tag = None  # type: ignore[assignment]
    return original(backend, name, manifest, tag, *more)


@before("ecr:PutImage")
def layers_come_first(call: Call) -> None:
    """A manifest whose layers were not uploaded: LayersNotFoundException; of another digest than the request
    says: ImageDigestDoesNotMatchException; no repository: RepositoryNotFoundException. moto takes any.

    Source: aws-facts (j); botocore, ecr PutImage.
    """
    name, text = call.get("repositoryName", ""), call.get("imageManifest", "")
    repository = ecr_backends[call.account][call.region].repositories.get(name)
    if repository is None:
        raise Refused(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry with id '{call.account}'",
        )
    try:
        needed = references(read(text))
    except ValueError as problem:
        message = "Invalid parameter at 'imageManifest' failed to satisfy constraint: 'Invalid manifest'"
        raise _invalid(message) from problem
    if call.get("imageDigest") not in (None, digest_of(text)):
        raise Refused(
            "ImageDigestDoesNotMatchException",
            f"The provided image digest '{call.get('imageDigest')}' does not match the calculated digest "
            f"'{digest_of(text)}'",
        )
    missing = [digest for digest in needed if digest not in repository.layers]
    if missing:
        raise Refused(
            "LayersNotFoundException",
            f"Layers with digests '[{', '.join(missing)}]' required for pushing image into repository with "
            f"name '{name}' in the registry with id '{call.account}' do not exist",
        )


@before("ecr:CompleteLayerUpload")
def layers_are_what_they_are_called(call: Call) -> None:
    """What is no digest: InvalidParameterException; the digest of something else: InvalidLayerException. moto
    takes any.

    Source: botocore, ecr CompleteLayerUpload.
    """
    asked = call.get("layerDigests") or []
    if not all(DIGEST.fullmatch(each) for each in asked):
        message = f"'must satisfy regular expression '{DIGEST.pattern}''"
        raise _invalid(f"Invalid parameter at 'layerDigests' failed to satisfy constraint: {message}")
    repository = ecr_backends[call.account][call.region].repositories.get(call.get("repositoryName", ""))
    upload = repository.uploads.get(call.get("uploadId", "")) if repository is not None else None
    if upload is None:
        return  # moto says what is missing
    found = "sha256:" + hashlib.sha256(upload.layer_parts).hexdigest()
    if found not in asked:
        raise Refused(
            "InvalidLayerException",
            f"Layer digests '[{', '.join(asked)}]' do not match the digest of the upload '{found}'",
        )
