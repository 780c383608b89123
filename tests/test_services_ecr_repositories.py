"""The rules of ECR: moto alone, then with the rule."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import pytest
from registry_client import MANIFEST, Image, digest_of, program
from test_services_support import Case, check, client, cloud, refused, said, table, wait

from awslabs.sandbox import rules
from awslabs.sandbox.services.ecr import repositories

ACCOUNT = "123456789012"


def repository(**more: Any) -> dict[str, Any]:
    return client("ecr").create_repository(repositoryName="lab", **more)["repository"]


def upload(image: Image) -> None:
    """Its blobs, by the API."""
    ecr = client("ecr")
    for blob in (image.layer, image.config):
        number = ecr.initiate_layer_upload(repositoryName="lab")["uploadId"]
        ecr.upload_layer_part(
            repositoryName="lab",
            uploadId=number,
            partFirstByte=0,
            partLastByte=len(blob) - 1,
            layerPartBlob=blob,
        )
        ecr.complete_layer_upload(repositoryName="lab", uploadId=number, layerDigests=[digest_of(blob)])


def put(image: Image, tag: str | None = "latest", **more: Any) -> str:
    """What PutImage says."""
    request: dict[str, Any] = {"repositoryName": "lab", "imageManifest": image.manifest.decode()}
    request |= {"imageTag": tag} if tag else {}
    return said(client("ecr").put_image, **request, imageManifestMediaType=MANIFEST, **more)


def shown() -> list[dict[str, Any]]:
    return client("ecr").describe_images(repositoryName="lab")["imageDetails"]


# --- images -------------------------------------------------------------------------------------------


def an_image_without_layers() -> list[Any]:
    repository()
    return [put(program("print(1)")), len(shown())]


def no_manifest() -> str:
    repository()
    return said(
        client("ecr").put_image,
        repositoryName="lab",
        imageManifest="[]",
        imageManifestMediaType=MANIFEST,
        imageTag="latest",
    )


def no_repository() -> str:
    return put(program("print(1)"))


def another_digest() -> str:
    repository()
    image = program("print(1)")
    upload(image)
    return put(image, imageDigest=digest_of(b"something else"))


def a_layer_by(digest: str) -> str:
    """What CompleteLayerUpload says to it."""
    repository()
    ecr = client("ecr")
    sent = {"repositoryName": "lab", "uploadId": ecr.initiate_layer_upload(repositoryName="lab")["uploadId"]}
    ecr.upload_layer_part(partFirstByte=0, partLastByte=0, layerPartBlob=b"x", **sent)
    return said(ecr.complete_layer_upload, layerDigests=[digest], **sent)


def a_layer_by_another_digest() -> str:
    return a_layer_by(digest_of(b"y"))


def a_layer_by_a_path() -> str:
    return a_layer_by("sha256:../../etc/passwd")


IMAGE = program("print(1)")


def digest_and_size() -> list[Any]:
    repository()
    upload(IMAGE)
    put(IMAGE)
    (image,) = shown()
    return [image["imageDigest"] == digest_of(IMAGE.manifest), image["imageSizeInBytes"]]


def a_tag_that_moves() -> list[list[str]]:
    repository()
    for code in ("print(1)", "print(2)"):
        image = program(code)
        upload(image)
        put(image)
    return sorted(each.get("imageTags", []) for each in shown())


def a_tag_that_may_not_move() -> list[Any]:
    repository(imageTagMutability="IMMUTABLE")
    answers = []
    for code in ("print(1)", "print(2)"):
        image = program(code)
        upload(image)
        answers.append(put(image))
    return [answers, [each.get("imageTags", []) for each in shown()]]


def a_scan() -> str:
    repository()
    upload(IMAGE)
    put(IMAGE)
    return said(client("ecr").start_image_scan, repositoryName="lab", imageId={"imageTag": "latest"})


def two_tokens() -> bool:
    ecr = client("ecr")
    first, second = (ecr.get_authorization_token()["authorizationData"][0] for _ in range(2))
    return first["authorizationToken"] != second["authorizationToken"]


@table(
    Case("layers_come_first", an_image_without_layers, ["ok", 1], ["LayersNotFoundException", 0]),
    Case("layers_come_first", no_manifest, "TypeError", "InvalidParameterException"),
    Case("layers_come_first", no_repository, "Exception", "RepositoryNotFoundException"),
    Case("layers_come_first", another_digest, "ok", "ImageDigestDoesNotMatchException"),
    Case("layers_are_what_they_are_called", a_layer_by_another_digest, "ok", "InvalidLayerException"),
    Case("layers_are_what_they_are_called", a_layer_by_a_path, "ok", "InvalidParameterException"),
    Case(
        "image_digests",
        digest_and_size,
        [False, len(IMAGE.config)],
        [True, len(IMAGE.config) + len(IMAGE.layer)],
    ),
    Case("tags_move", a_tag_that_moves, [["latest"]], [[], ["latest"]]),
    Case("authorization_tokens", two_tokens, False, True),
    Case("no_scans", a_scan, "ok", "NotImplemented"),
)
def test_ecr(case: Case) -> None:
    check(case)


def test_an_immutable_tag_stays_where_it_is() -> None:
    with cloud("tags_move"):
        assert a_tag_that_may_not_move() == [["ok", "ImageAlreadyExistsException"], [["latest"]]]


def test_a_missing_layer_is_named() -> None:
    with cloud("layers_come_first"):
        repository()
        request = {"repositoryName": "lab", "imageManifest": IMAGE.manifest.decode(), "imageTag": "latest"}
        code, message, status = refused(client("ecr").put_image, **request)
    assert (code, status) == ("LayersNotFoundException", 400)
    assert digest_of(IMAGE.layer) in message


# --- tokens -------------------------------------------------------------------------------------------


def test_a_token_is_good_for_twelve_hours() -> None:
    with cloud("authorization_tokens"):
        (data,) = client("ecr").get_authorization_token()["authorizationData"]
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        token = repositories.holder(password)
        assert token is not None
        assert (user, token.account, token.region) == ("AWS", ACCOUNT, "us-east-1")
        assert data["proxyEndpoint"] == f"https://{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
        left = data["expiresAt"].timestamp() - rules.clock.now()
        assert left == pytest.approx(12 * 3600, abs=1)
        assert isinstance(data["expiresAt"], datetime)
        wait(12 * 3600 - 1)
        assert token.expires > rules.clock.now()
        wait(2)
        assert token.expires < rules.clock.now()


@pytest.mark.parametrize(
    "password",
    [
        "",
        "no base64 ä",
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(b"[1]").decode(),
        base64.urlsafe_b64encode(json.dumps({"account": ACCOUNT, "region": "us-east-1"}).encode()).decode(),
        base64.urlsafe_b64encode(json.dumps({"account": "1", "region": "moon"}).encode()).decode(),
    ],
)
def test_what_is_no_token_opens_nothing(password: str) -> None:
    with cloud("authorization_tokens"):
        client("ecr").get_authorization_token()
        assert repositories.holder(password) is None


def test_another_account_s_token_is_refused() -> None:
    with cloud("authorization_tokens"):
        code, _, _ = refused(client("ecr").get_authorization_token, registryIds=["999999999999"])
    assert code == "InvalidParameterException"


def test_a_repository_of_the_practice_cloud_lies_on_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "address", "127.0.0.1:4711")
    with cloud("local_registry"):
        assert repository()["repositoryUri"] == "127.0.0.1:4711/lab"
    with cloud():
        assert repository()["repositoryUri"] == f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/lab"
