"""The registry of ECR, with plain HTTP and with a real Docker engine."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import docker_engine
import practice
import pytest
from moto import mock_aws
from registry_client import LIST, MANIFEST, Registry, code_of, digest_of, password, program

from awslabs import policies, sandbox
from awslabs.sandbox.core import answers, engine
from awslabs.sandbox.services.ecr import registry as running


class Account(practice.Account):
    """An account with one repository."""

    def __init__(self, run: sandbox.Run) -> None:
        super().__init__(run)
        self.name = "lab/reader"
        self.uri = self.ecr.create_repository(repositoryName=self.name)["repository"]["repositoryUri"]

    def token(self) -> str:
        return self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]

    @property
    def registry(self) -> Registry:
        return Registry(self.run.endpoint_url, self.token())

    def images(self) -> list[dict[str, Any]]:
        return self.ecr.describe_images(repositoryName=self.name)["imageDetails"]

    def blobs(self) -> set[str]:
        """The blobs of this account on the disk."""
        found = (self.run.directory / "registry" / self.id).rglob("*")
        return {f"sha256:{path.name}" for path in found if path.is_file()}


@pytest.fixture
def aws(run: sandbox.Run) -> Iterator[Account]:
    account = Account(run)
    yield account
    run.weather(account=account.id, faults=[])
    run.reset(account.id)


# --- who may come in ----------------------------------------------------------------------------------


def test_the_repository_and_the_token_lead_to_this_computer(aws: Account) -> None:
    assert aws.uri == f"{aws.run.endpoint_url.removeprefix('http://')}/lab/reader"
    (data,) = aws.ecr.get_authorization_token()["authorizationData"]
    assert data["proxyEndpoint"] == aws.run.endpoint_url
    assert base64.b64decode(data["authorizationToken"]).startswith(b"AWS:")


def test_only_who_has_a_token_comes_in(aws: Account) -> None:
    good = aws.token()
    forged = base64.b64encode(b"AWS:" + base64.b64encode(b'{"account": "1", "region": "x"}')).decode()
    other_user = base64.b64encode(f"me:{password(good)}".encode()).decode()
    for token in ("", "no base64", forged, other_user, base64.b64encode(b"AWS:wrong").decode()):
        status, headers, body = Registry(aws.run.endpoint_url, token).ask("GET", "/v2/")
        assert status == 401, token
        assert headers["www-authenticate"].startswith("Basic realm=")
        assert code_of(body) in ("UNAUTHORIZED", "DENIED")
    status, headers, _ = Registry(aws.run.endpoint_url, good).ask("GET", "/v2/")
    assert (status, headers["docker-distribution-api-version"]) == (200, "registry/2.0")


def test_a_token_opens_the_registry_of_its_own_account_alone(aws: Account) -> None:
    other = Account(aws.run)
    aws.registry.push(aws.name, program("print('mine')"))
    assert other.images() == []
    assert other.registry.ask("GET", f"/v2/{aws.name}/manifests/latest")[0] == 404
    aws.run.reset(other.id)


def test_a_token_that_expires_in_the_middle_of_a_push_is_refused_and_a_fresh_one_goes_on(
    aws: Account,
) -> None:
    image, registry = program("print(1)"), aws.registry
    registry.put_blob(aws.name, image.layer)
    aws.run.weather(account=aws.id, faults=["registry:StartUpload=ExpiredToken:1:1"])
    status, headers, body = registry.ask("POST", f"/v2/{aws.name}/blobs/uploads/")
    assert (status, code_of(body)) == (401, "DENIED")
    assert b"Your authorization token has expired. Reauthenticate and try again." in body
    assert registry.ask("GET", "/v2/")[0] == 401, "it stays expired"
    aws.registry.push(aws.name, image)
    assert len(aws.images()) == 1


def test_roles_count_in_the_registry_too(aws: Account) -> None:
    trust = {"Effect": "Allow", "Principal": {"AWS": aws.id}, "Action": "sts:AssumeRole"}
    arn = f"arn:aws:ecr:us-east-1:{aws.id}:repository/lab/*"
    may = [
        {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "Resource": arn},
    ]
    document = policies.document(trust)
    role = aws.iam.create_role(RoleName="puller", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    aws.iam.put_role_policy(RoleName="puller", PolicyName="pull", PolicyDocument=policies.document(*may))
    image = program("print(1)")
    digest = aws.registry.push(aws.name, image)
    keys = aws.sts.assume_role(RoleArn=role, RoleSessionName="lab")["Credentials"]
    session = practice.client_of(
        aws.run, aws.id, "ecr", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]
    )
    token = session.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    puller = Registry(aws.run.endpoint_url, token)
    assert puller.ask("GET", f"/v2/{aws.name}/manifests/{digest}")[0] == 200
    status, _, body = puller.ask("POST", f"/v2/{aws.name}/blobs/uploads/")
    assert (status, code_of(body)) == (403, "DENIED")
    assert b"ecr:InitiateLayerUpload" in body


# --- pushing and pulling ------------------------------------------------------------------------------


def test_what_was_pushed_is_pulled_and_seen_by_the_api(aws: Account) -> None:
    image, registry = program("print('hello')"), aws.registry
    digest = registry.push(aws.name, image, "v1")
    registry.push(aws.name, image, "v2")
    (shown,) = aws.images()
    assert shown["imageDigest"] == digest
    assert sorted(shown["imageTags"]) == ["v1", "v2"]
    assert shown["imageSizeInBytes"] == len(image.layer) + len(image.config)
    assert shown["imageManifestMediaType"] == MANIFEST
    for reference in ("v1", digest):
        status, headers, body = registry.ask("GET", f"/v2/{aws.name}/manifests/{reference}")
        assert (status, body, headers["content-type"]) == (200, image.manifest, MANIFEST)
        status, headers, body = registry.ask("HEAD", f"/v2/{aws.name}/manifests/{reference}")
        assert (status, headers["docker-content-digest"], body) == (200, digest, b"")
        assert headers["content-length"] == str(len(image.manifest))
    for blob in (image.layer, image.config):
        status, headers, _ = registry.ask("HEAD", f"/v2/{aws.name}/blobs/{digest_of(blob)}")
        assert (status, headers["content-length"]) == (200, str(len(blob)))
        assert registry.ask("GET", f"/v2/{aws.name}/blobs/{digest_of(blob)}")[::2] == (200, blob)
    status, _, body = registry.ask("GET", f"/v2/{aws.name}/tags/list")
    assert json.loads(body) == {"name": aws.name, "tags": ["v1", "v2"]}
    answer = aws.ecr.batch_get_image(repositoryName=aws.name, imageIds=[{"imageTag": "v1"}])
    assert answer["images"][0]["imageManifest"].encode() == image.manifest


def test_a_blob_comes_in_pieces_in_their_order_and_at_once(aws: Account) -> None:
    registry, data = aws.registry, os.urandom(300_000)
    _, headers, _ = registry.ask("POST", f"/v2/{aws.name}/blobs/uploads/")
    where = headers["location"]
    status, headers, _ = registry.ask("PATCH", where, data[:100_000], Content_Range="0-99999")
    assert (status, headers["range"]) == (202, "0-99999")
    status, _, body = registry.ask("PATCH", where, data[:10], Content_Range="5-14")
    assert (status, code_of(body)) == (416, "BLOB_UPLOAD_INVALID")
    pieces = iter([data[100_000:200_000]])  # of no length that is said before: chunked
    assert registry.ask("PATCH", where, pieces, chunked=True, Transfer_Encoding="chunked")[0] == 202
    status, headers, _ = registry.ask("GET", where)
    assert (status, headers["range"]) == (204, "0-199999")
    status, headers, _ = registry.ask("PUT", f"{where}?digest={digest_of(data)}", data[200_000:])
    assert (status, headers["docker-content-digest"]) == (201, digest_of(data))
    assert registry.ask("GET", headers["location"])[::2] == (200, data)
    assert registry.ask("PATCH", where, b"more")[0] == 404

    other = os.urandom(1000)
    path = f"/v2/{aws.name}/blobs/uploads/?digest={digest_of(other)}"
    assert registry.ask("POST", path, other)[0] == 201
    assert aws.blobs() == {digest_of(data), digest_of(other)}


def test_a_blob_of_another_digest_is_refused_and_leaves_nothing(aws: Account) -> None:
    registry = aws.registry
    _, headers, _ = registry.ask("POST", f"/v2/{aws.name}/blobs/uploads/")
    status, _, body = registry.ask("PUT", f"{headers['location']}?digest={digest_of(b'good')}", b"bad")
    assert (status, code_of(body)) == (400, "DIGEST_INVALID")
    _, headers, _ = registry.ask("POST", f"/v2/{aws.name}/blobs/uploads/")
    registry.ask("PATCH", headers["location"], b"a part")
    assert registry.ask("DELETE", headers["location"])[0] == 204
    assert aws.blobs() == set()
    for digest, expected in (
        (digest_of(b"good"), (404, "BLOB_UNKNOWN")),
        ("sha256:x", (400, "DIGEST_INVALID")),
    ):
        status, _, body = registry.ask("GET", f"/v2/{aws.name}/blobs/{digest}")
        assert (status, code_of(body)) == expected


def test_a_repository_must_exist(aws: Account) -> None:
    registry = aws.registry
    for method, path in (
        ("POST", "blobs/uploads/"),
        ("GET", "manifests/latest"),
        ("PUT", "manifests/latest"),
        ("GET", "tags/list"),
        ("HEAD", f"blobs/{digest_of(b'')}"),
    ):
        status, _, body = registry.ask(method, f"/v2/unknown/{path}")
        assert status == 404
        assert method == "HEAD" or code_of(body) == "NAME_UNKNOWN"
    status, _, body = registry.ask("DELETE", f"/v2/{aws.name}/manifests/latest")
    assert (status, code_of(body)) == (405, "UNSUPPORTED")


def test_a_blob_is_mounted_from_another_repository(aws: Account) -> None:
    registry, data = aws.registry, os.urandom(5000)
    aws.ecr.create_repository(repositoryName="second")
    digest = registry.put_blob(aws.name, data)
    path = f"/v2/second/blobs/uploads/?mount={digest}&from="
    assert registry.ask("POST", f"{path}{aws.name}")[0] == 201
    assert registry.ask("GET", f"/v2/second/blobs/{digest}")[::2] == (200, data)
    assert registry.ask("POST", f"{path}unknown")[0] == 202, "else it is uploaded as usual"
    absent = f"/v2/second/blobs/uploads/?mount={digest_of(b'absent')}&from={aws.name}"
    assert registry.ask("POST", absent)[0] == 202


def test_a_manifest_needs_its_blobs_and_must_be_one(aws: Account) -> None:
    registry, image = aws.registry, program("print(1)")
    where = f"/v2/{aws.name}/manifests/latest"
    registry.put_blob(aws.name, image.layer)

    def said(data: bytes, path: str = where, kind: str = MANIFEST) -> tuple[int, str]:
        status, _, body = registry.ask("PUT", path, data, Content_Type=kind)
        return status, code_of(body)

    assert said(image.manifest) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert said(b"{") == (400, "MANIFEST_INVALID")
    assert said(b"[]") == (400, "MANIFEST_INVALID")
    assert said(b"{}", kind="text/plain") == (415, "MANIFEST_INVALID")
    assert said(b" " * (4 << 20) + b"{}") == (413, "SIZE_INVALID")
    registry.put_blob(aws.name, image.config)
    assert said(image.manifest, f"/v2/{aws.name}/manifests/{digest_of(b'')}") == (400, "DIGEST_INVALID")
    assert said(image.manifest, f"/v2/{aws.name}/manifests/-x") == (400, "TAG_INVALID")
    assert aws.images() == []
    by_digest = f"/v2/{aws.name}/manifests/{digest_of(image.manifest)}"
    assert registry.ask("PUT", by_digest, image.manifest, Content_Type=MANIFEST)[0] == 201
    (shown,) = aws.images()
    assert "imageTags" not in shown


def test_a_list_needs_its_images_and_is_as_large_as_the_largest(aws: Account) -> None:
    registry = aws.registry
    one, two = program("print(1)"), program("print(2)", files={"app/more": os.urandom(9000)})

    def entry(image: Any, architecture: str) -> dict[str, Any]:
        text = image.manifest
        platform = {"os": "linux", "architecture": architecture}
        return {"mediaType": MANIFEST, "size": len(text), "digest": digest_of(text), "platform": platform}

    listed = {"schemaVersion": 2, "mediaType": LIST, "manifests": [entry(one, "amd64"), entry(two, "arm64")]}
    text = json.dumps(listed).encode()
    path = f"/v2/{aws.name}/manifests/both"
    assert code_of(registry.ask("PUT", path, text, Content_Type=LIST)[2]) == "MANIFEST_BLOB_UNKNOWN"
    registry.push(aws.name, one, "one")
    registry.push(aws.name, two, "two")
    assert registry.ask("PUT", path, text, Content_Type=LIST)[0] == 201
    shown = {tag: each["imageSizeInBytes"] for each in aws.images() for tag in each["imageTags"]}
    assert shown["both"] == shown["two"] > shown["one"]


def test_a_tag_moves_and_the_old_image_stays_unless_tags_are_immutable(aws: Account) -> None:
    registry, first, second = aws.registry, program("print(1)"), program("print(2)")
    old, new = registry.push(aws.name, first), registry.push(aws.name, second)
    shown = {each["imageDigest"]: each.get("imageTags", []) for each in aws.images()}
    assert shown == {old: [], new: ["latest"]}

    aws.ecr.put_image_tag_mutability(repositoryName=aws.name, imageTagMutability="IMMUTABLE")
    path = f"/v2/{aws.name}/manifests/latest"
    status, _, body = registry.ask("PUT", path, first.manifest, Content_Type=MANIFEST)
    assert (status, code_of(body)) == (400, "TAG_INVALID")
    assert registry.ask("PUT", path, second.manifest, Content_Type=MANIFEST)[0] == 201, (
        "the same again is fine"
    )
    assert registry.ask("GET", path)[2] == second.manifest


def test_layers_may_come_by_the_api_as_well(aws: Account) -> None:
    image, ecr = program("print(1)"), aws.ecr
    for blob in (image.layer, image.config):
        upload = ecr.initiate_layer_upload(repositoryName=aws.name)["uploadId"]
        ecr.upload_layer_part(
            repositoryName=aws.name,
            uploadId=upload,
            partFirstByte=0,
            partLastByte=len(blob) - 1,
            layerPartBlob=blob,
        )
        ecr.complete_layer_upload(repositoryName=aws.name, uploadId=upload, layerDigests=[digest_of(blob)])
    ecr.put_image(
        repositoryName=aws.name,
        imageManifest=image.manifest.decode(),
        imageTag="api",
        imageManifestMediaType=MANIFEST,
    )
    registry = aws.registry
    assert registry.ask("GET", f"/v2/{aws.name}/manifests/api")[2] == image.manifest
    assert registry.ask("GET", f"/v2/{aws.name}/blobs/{digest_of(image.layer)}")[2] == image.layer


NO_DIGESTS = [
    "sha256:" + "0" * 63,
    "sha256:" + "A" * 64,
    f"sha256:{'0' * 64}\n",
    "sha256:../../../../secret.tgz",
    "../../../../secret.tgz",
    "/secret.tgz",  # below this test's own folder
    "",
    None,
    7,
    ["sha256"],
]


def test_what_is_no_digest_names_no_file_of_the_host(aws: Account, tmp_path: Path) -> None:
    """A manifest names parts by digest, and those are files here: a path would be read, run and deleted."""
    registry, image = aws.registry, program("print(1)")
    registry.put_blob(aws.name, image.layer)
    registry.put_blob(aws.name, image.config)
    secret = aws.run.directory.parent / "secret.tgz"
    secret.write_bytes(image.layer)
    whole = json.loads(image.manifest)
    foreign = {"urls": ["https://example.com/layer"]}
    for asked in NO_DIGESTS:
        digest = str(secret) if asked == "/secret.tgz" else asked
        layer, config = ({**part, "digest": digest} for part in (whole["layers"][0], whole["config"]))
        wrong = [
            {**whole, "layers": [layer]},
            {**whole, "layers": [{**layer, **foreign}]},
            {**whole, "config": config},
            {**whole, "config": {**config, **foreign}},
        ]
        for number, manifest in enumerate(wrong):
            text = json.dumps(manifest)
            path = f"/v2/{aws.name}/manifests/tag{number}"
            status, _, body = registry.ask("PUT", path, text.encode(), Content_Type=MANIFEST)
            assert (status, code_of(body)) == (400, "MANIFEST_INVALID"), (digest, number)
            request = {"repositoryName": aws.name, "imageManifest": text, "imageTag": f"tag{number}"}
            with pytest.raises(aws.ecr.exceptions.InvalidParameterException, match="imageManifest"):
                aws.ecr.put_image(**request, imageManifestMediaType=MANIFEST)
        listed = {"schemaVersion": 2, "mediaType": LIST, "manifests": [{"digest": digest, "size": 1}]}
        path = f"/v2/{aws.name}/manifests/list"
        status, _, body = registry.ask("PUT", path, json.dumps(listed).encode(), Content_Type=LIST)
        assert (status, code_of(body)) == (400, "MANIFEST_INVALID"), digest
        if isinstance(digest, str):
            upload = aws.ecr.initiate_layer_upload(repositoryName=aws.name)["uploadId"]
            sent = {"repositoryName": aws.name, "uploadId": upload}
            aws.ecr.upload_layer_part(partFirstByte=0, partLastByte=0, layerPartBlob=b"x", **sent)
            with pytest.raises(aws.ecr.exceptions.InvalidParameterException, match="layerDigests"):
                aws.ecr.complete_layer_upload(layerDigests=[digest], **sent)
            quoted = urllib.parse.quote(digest, safe="")
            for method, place in (
                ("GET", f"blobs/{quoted}"),
                ("HEAD", f"blobs/{quoted}"),
                ("GET", f"manifests/{quoted}"),
                ("PUT", f"manifests/{quoted}"),
                ("POST", f"blobs/uploads/?mount={quoted}&from={aws.name}&digest={quoted}"),
                ("PATCH", f"blobs/uploads/{quoted}"),
                ("PUT", f"blobs/uploads/{quoted}?digest={quoted}"),
            ):
                status, _, body = registry.ask(method, f"/v2/{aws.name}/{place}", image.manifest)
                assert 400 <= status < 500, (method, place)
                assert image.layer not in body
    assert aws.images() == []
    with pytest.raises(aws.ecr.exceptions.InvalidLayerException):  # a digest, and of something else
        aws.ecr.complete_layer_upload(layerDigests=[digest_of(b"y")], **sent)
    assert secret.read_bytes() == image.layer
    assert aws.blobs() == {digest_of(image.layer), digest_of(image.config)}


def test_a_path_in_the_place_of_a_name_leads_nowhere(aws: Account) -> None:
    registry, image = aws.registry, program("print(1)")
    registry.push(aws.name, image)
    here = f"{aws.name}/../{aws.name}"
    for name in (here, "..", "../../registry", "%2e%2e/lab", "lab%2f..%2flab%2freader", "/etc", "lab/%00"):
        for place in ("manifests/latest", "tags/list", f"blobs/{digest_of(image.layer)}", "blobs/uploads/"):
            method = "POST" if place.endswith("/") else "GET"
            status, _, body = registry.ask(method, f"/v2/{name}/{place}")
            assert status in (404, 405), (name, place, body)


# --- what goes ----------------------------------------------------------------------------------------


def test_blobs_go_with_the_last_image_that_needs_them_and_with_the_repository(aws: Account) -> None:
    registry = aws.registry
    one = program("print(1)")
    two = program("print(1)", architecture="arm64")  # the same layer, another config
    registry.push(aws.name, one, "one")
    registry.push(aws.name, two, "two")
    assert aws.blobs() == {digest_of(each) for each in (one.layer, one.config, two.config)}
    aws.ecr.batch_delete_image(repositoryName=aws.name, imageIds=[{"imageTag": "one"}])
    assert aws.blobs() == {digest_of(each) for each in (one.layer, two.config)}
    with pytest.raises(aws.ecr.exceptions.RepositoryNotEmptyException):
        aws.ecr.delete_repository(repositoryName=aws.name)
    assert len(aws.blobs()) == 2
    aws.ecr.delete_repository(repositoryName=aws.name, force=True)
    assert aws.blobs() == set()
    aws.ecr.create_repository(repositoryName=aws.name)
    assert registry.ask("GET", f"/v2/{aws.name}/blobs/{digest_of(one.layer)}")[0] == 404


def test_reset_forgets_what_an_account_has_pushed(aws: Account) -> None:
    other = Account(aws.run)
    for each in (aws, other):
        each.registry.push(each.name, program("print(1)"))
    old = aws.registry
    aws.run.reset(aws.id)
    assert aws.blobs() == set()
    assert old.ask("GET", "/v2/")[0] == 401
    assert len(other.blobs()) == 2
    aws.run.reset(other.id)


def test_a_deletion_ends_well_while_the_practice_cloud_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(_request: Any) -> answers.Answer:
        monkeypatch.setattr(running, "current", None)  # as `close` does, meanwhile
        return answers.Answer(200, {}, b"{}")

    cloud = SimpleNamespace(
        moto=SimpleNamespace(call=call),
        run=SimpleNamespace(directory=tmp_path, endpoint_url="http://127.0.0.1:12345"),
    )
    monkeypatch.setattr(running, "current", running.Registry(cloud))
    monkeypatch.setattr(running.permissions, "region_of", lambda _request: "us-east-1")
    with mock_aws():
        boto3.client("ecr", "us-east-1").create_repository(repositoryName="lab")
        request = SimpleNamespace(environ={"HTTP_X_MOTO_ACCOUNT_ID": "123456789012"})
        delete = engine.served("ecr:BatchDeleteImage")
        assert delete is not None
        assert delete(None, request, b'{"repositoryName": "lab"}').status == 200


# --- size and weather -----------------------------------------------------------------------------------


def test_a_large_layer_never_lies_in_the_memory_of_the_cloud(aws: Account) -> None:
    size, piece = 200 << 20, bytes(1 << 20)
    known = hashlib.sha256()
    for _ in range(size >> 20):
        known.update(piece)
    digest = f"sha256:{known.hexdigest()}"
    registry = aws.registry
    registry.put_blob(aws.name, b"warm")
    before = _resident_peak(aws.run.pid)
    _, headers, _ = registry.ask("POST", f"/v2/{aws.name}/blobs/uploads/")
    pieces = (piece for _ in range(size >> 20))
    status, _, _ = registry.ask(
        "PUT", f"{headers['location']}?digest={digest}", pieces, Content_Length=str(size)
    )
    assert status == 201
    connection = http.client.HTTPConnection(registry.address, timeout=120)
    connection.request(
        "GET", f"/v2/{aws.name}/blobs/{digest}", headers={"Authorization": f"Basic {registry.token}"}
    )
    answer, got = connection.getresponse(), 0
    while data := answer.read(1 << 20):
        got += len(data)
    connection.close()
    assert got == size
    assert _resident_peak(aws.run.pid) - before < 50 << 20


def _resident_peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        pytest.skip("only Linux says how much memory another process held at the most")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_weather_strikes_the_registry_too(aws: Account) -> None:
    image, registry = program("print(1)"), aws.registry
    registry.put_blob(aws.name, image.layer)
    registry.put_blob(aws.name, image.config)
    path = f"/v2/{aws.name}/manifests/latest"
    for fault, status in {"ThrottlingException": 429, "InternalError": 500, "AccessDenied": 403}.items():
        aws.run.weather(account=aws.id, faults=[f"registry:PutManifest={fault}:1:1"])
        assert registry.ask("PUT", path, image.manifest, Content_Type=MANIFEST)[0] == status
    for fault, made in (("cut-before", 0), ("cut", 1)):
        aws.run.weather(account=aws.id, faults=[f"registry:PutManifest={fault}:1:1"])
        with pytest.raises(http.client.RemoteDisconnected):
            registry.ask("PUT", path, image.manifest, Content_Type=MANIFEST)
        assert len(aws.images()) == made


def test_calls_to_aws_that_begin_alike_go_to_aws(aws: Account) -> None:
    assert aws.apigatewayv2.get_apis()["Items"] == []  # GET /v2/apis, signed


# --- a real engine --------------------------------------------------------------------------------------


@pytest.mark.docker
def test_a_docker_engine_pushes_and_pulls(aws: Account) -> None:
    engine = docker_engine.needed()
    api = engine.api
    api.import_image_from_data(docker_engine.root_files(), repository=aws.uri, tag="v1")
    login = {"username": "AWS", "password": password(aws.token())}
    try:
        lines = list(api.push(aws.uri, tag="v1", stream=True, decode=True, auth_config=login))
        assert not [line["error"] for line in lines if "error" in line]
        digest = next(line["aux"]["Digest"] for line in lines if "aux" in line)
        (shown,) = aws.images()
        assert (shown["imageDigest"], shown["imageTags"]) == (digest, ["v1"])
        assert shown["imageSizeInBytes"] > 500_000
        engine.images.remove(f"{aws.uri}:v1")
        pulled = engine.images.pull(aws.uri, tag="v1", auth_config=login)
        assert f"{aws.uri}@{digest}" in pulled.attrs["RepoDigests"]
        bad = {"username": "AWS", "password": "wrong"}
        lines = list(api.push(aws.uri, tag="v1", stream=True, decode=True, auth_config=bad))
        assert [line for line in lines if "error" in line], "a wrong token pushes nothing"
    finally:
        engine.images.remove(f"{aws.uri}:v1", force=True)


@pytest.fixture
def docker(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Docker's own command line, with settings of its own: of somebody who never logged in anywhere."""
    docker_engine.needed()
    if not shutil.which("docker"):
        pytest.skip("there is no docker command here: apt-get install docker.io")

    def run(*words: str, said: str = "", config: str = "mine") -> subprocess.CompletedProcess[str]:
        host = os.environ["AWSLABS_TEST_DOCKER_HOST"]
        line = ["docker", "--config", str(tmp_path / config), "--host", host, *words]
        return subprocess.run(line, input=said, capture_output=True, text=True, timeout=120)

    return run


def by_boto3(aws: Account) -> str:
    return password(aws.token())


def by_aws_cli(aws: Account) -> str:
    """``aws ecr get-login-password``, as AWS's own guide has it."""
    if not shutil.which("aws"):
        pytest.skip("there is no AWS CLI here: pip install awscli")
    line = ["aws", "ecr", "get-login-password"]
    own = aws.run.surroundings(aws.id, "us-east-1")
    asked = subprocess.run(line, capture_output=True, text=True, timeout=120, env=own)
    if "command not found" in asked.stderr:
        pytest.skip(f"the AWS CLI here does not run: {asked.stderr.strip()}")
    assert asked.returncode == 0, asked.stderr
    return asked.stdout.strip()


@pytest.mark.docker
@pytest.mark.parametrize("login_password", [by_boto3, by_aws_cli], ids=["boto3", "aws cli"])
def test_who_logs_in_with_docker_pushes_and_pulls_and_nobody_else_does(
    login_password: Callable[[Account], str], aws: Account, docker: Any, tmp_path: Path
) -> None:
    image, address = f"{aws.uri}:v1", aws.uri.partition("/")[0]
    docker_engine.needed().api.import_image_from_data(
        docker_engine.root_files(), repository=aws.uri, tag="v1"
    )
    forged = base64.b64encode(b'{"account": "1", "region": "us-east-1"}').decode()
    try:
        refused = docker("push", image, config="nobody")
        assert (refused.returncode, "no basic auth credentials" in refused.stderr) == (1, True), (
            refused.stderr
        )
        for guess in ("wrong", "practice", forged):
            turned_away = docker(
                "login", "-u", "AWS", "--password-stdin", address, said=guess, config="other"
            )
            assert turned_away.returncode == 1
            assert "401 Unauthorized" in turned_away.stderr, turned_away.stderr
        # One who writes the made-up token into Docker's settings by himself, past `docker login`.
        made_up = {"auths": {address: {"auth": base64.b64encode(f"AWS:{forged}".encode()).decode()}}}
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "config.json").write_text(json.dumps(made_up))
        for verb in ("push", "pull"):
            assert docker(verb, image, config="other").returncode == 1
        assert aws.images() == []

        login = docker("login", "-u", "AWS", "--password-stdin", address, said=login_password(aws))
        assert login.returncode == 0, login.stderr
        pushed = docker("push", image)
        assert pushed.returncode == 0, pushed.stderr
        (shown,) = aws.images()
        assert shown["imageTags"] == ["v1"]
        assert shown["imageDigest"] in pushed.stdout
        assert docker("image", "rm", image).returncode == 0
        assert docker("pull", image, config="nobody").returncode == 1
        pulled = docker("pull", image)
        assert pulled.returncode == 0, pulled.stderr
        assert shown["imageDigest"] in pulled.stdout
    finally:
        docker("image", "rm", "--force", image)
