"""Each thing that goes wrong for students, through the real command line: exit code, what, why and fix."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import inprocess
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
    WaiterError,
)
from click.testing import CliRunner, Result
from typed import typed
from wire import ALWAYS, Call, Wire

from awslabs import ec2, errors, journal, ledger_cli, tunnel
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LabError, LedgerError, StillStanding, TimedOut, TunnelError
from awslabs.explain import Place, explain
from awslabs.ledger import Ledger
from awslabs.sandbox.core import weather

ACCOUNT = "222233334444"
UP = ("up", "--allow-from", "192.0.2.1/32")
DENIED = "You are not authorized to perform this operation."
NOBODY_ALLOWS = (
    f"{DENIED} User: arn:aws:iam::{ACCOUNT}:user/ana is not authorized to perform: ec2:RunInstances on "
    f"resource: arn:aws:ec2:us-east-1:{ACCOUNT}:instance/* because no identity-based policy allows the "
    "ec2:RunInstances action. Encoded authorization failure message: 4VYRfhQ"
)
VCPUS = (
    "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance bucket "
    "that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request"
)
NOT_IN_ZONE = "Your requested instance type (t3.micro) is not supported in us-east-1e."
COMMAND = re.compile(r"python -m awslabs|aws |export |pip |chmod |df |AWS_CA_BUNDLE=|AWSLABS_HOME=")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """AWS, of which some calls fail, and go on failing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIAPRACTICE{ACCOUNT}")
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    with inprocess.cloud():
        yield Wire(monkeypatch, times=ALWAYS)


def run(*line: str, group: Callable[[], click.Group] = ec2.command_line) -> Result:
    """A command line as a student types it; a traceback would be a bug."""
    return typed(group(), line)


def told(result: Result) -> dict[str, str]:
    """What the error says under each of its labels."""
    return {
        label: re.search(rf"^{label}: +(.*?)(?=^(?:why|fix): |\Z)", result.stderr, re.M | re.S)[1].strip()  # type: ignore[index]
        for label in ("error", "why", "fix")
    }


# -- The table ---------------------------------------------------------------------------------------------


def no_keys(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.delenv("AWS_SECRET_ACCESS_KEY")


def half_a_key(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("AWS_SECRET_ACCESS_KEY")


def no_region(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("AWS_REGION")
    patch.delenv("AWS_DEFAULT_REGION")


def new_account(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    weather.current.change({"account": "new"})


def no_network(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    aws.fail("*", EndpointConnectionError(endpoint_url="https://sts.us-east-1.amazonaws.com/"))


def network_lost_in_between(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    aws.fail("CreateSubnet", EndpointConnectionError(endpoint_url="https://ec2.us-east-1.amazonaws.com/"))


def no_answers(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    aws.fail("CreateSubnet", ReadTimeoutError(endpoint_url="https://ec2.us-east-1.amazonaws.com/"))


def false_certificate(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    url = "https://sts.us-east-1.amazonaws.com/"
    aws.fail("*", SSLError(endpoint_url=url, error="CERTIFICATE_VERIFY_FAILED"))


def refuses(operation: str, code: str, status: int = 400, message: str = "no") -> Callable:
    return lambda aws, patch: aws.refuse(operation, code, status, message)


def ledger_file() -> Path:
    return journal.home() / f"ec2.default.{ACCOUNT}.us-east-1.json"


def ledger_of_another_account(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    run(*UP)
    text = ledger_file().read_text().replace(ACCOUNT, "999988887777")
    ledger_file().write_text(text)


def damaged_ledger(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    run(*UP)
    ledger_file().write_text(ledger_file().read_text()[:500])


def ledger_of_the_future(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    run(*UP)
    ledger_file().write_text(ledger_file().read_text().replace('"schema": 1', '"schema": 2'))


def full_disk(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    def write(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(journal, "write", write)


def home_that_is_no_folder(aws: Wire, patch: pytest.MonkeyPatch) -> None:
    journal.home().write_text("")


@pytest.mark.live
@dataclass(frozen=True)
class Case:
    """What is wrong, and the words that must come under ``error``, ``why`` and ``fix``."""

    name: str
    prepare: Callable[[Wire, pytest.MonkeyPatch], None]
    error: str
    why: str
    fix: str
    line: tuple[str, ...] = field(default=UP)
    advice: bool = False  # no command helps


CASES = [
    Case("no credentials", no_keys, "no AWS credentials", "on this computer", "aws configure"),
    Case("no credentials, the way without", no_keys, "no AWS credentials", "on this computer", "--sandbox"),
    Case("half a key", half_a_key, "no AWS credentials", "on this computer", "aws configure"),
    Case(
        "an expired token",
        refuses(
            "GetCallerIdentity", "ExpiredToken", 403, "The security token included in the request is expired"
        ),
        "credentials have expired",
        "Nothing was lost",
        "aws sso login",
    ),
    Case(
        "a token that expires in between",
        refuses("CreateVpc", "RequestExpired", 400, "Request has expired."),
        "credentials have expired",
        "Nothing was lost",
        "aws sso login",
    ),
    Case(
        "keys that nobody knows",
        refuses("GetCallerIdentity", "InvalidClientTokenId", 403, "The security token is invalid."),
        "sts:GetCallerIdentity was refused",
        "AWS does not know these credentials",
        "aws configure",
    ),
    Case(
        "a Region that is none",
        refuses(
            "GetCallerIdentity",
            "SignatureDoesNotMatch",
            403,
            "Credential should be scoped to a valid region, not 'us-esat-1'.",
        ),
        "There is no such AWS Region",
        "is no name of one",
        "--region us-east-1",
    ),
    Case("no Region", no_region, "No AWS Region", "AWS_REGION", "export AWS_REGION=us-east-1"),
    Case(
        "an unknown profile",
        lambda aws, patch: None,
        "profile does not exist",
        "nobody",
        "aws configure list-profiles",
        line=(*UP, "--profile", "nobody"),
    ),
    Case(
        "a right that is missing, as AWS names it",
        refuses("RunInstances", "UnauthorizedOperation", 403, NOBODY_ALLOWS),
        "ec2:RunInstances was refused (UnauthorizedOperation)",
        f"arn:aws:iam::{ACCOUNT}:user/ana may not do ec2:RunInstances",
        "ec2:RunInstances",
    ),
    Case(
        "a right that is missing, not named by AWS",
        refuses("CreateVpc", "UnauthorizedOperation", 403, DENIED),
        "ec2:CreateVpc was refused (UnauthorizedOperation)",
        "may not do ec2:CreateVpc",
        "ec2:CreateVpc",
    ),
    Case(
        "a missing right to a route",
        refuses("CreateRoute", "UnauthorizedOperation", 403, DENIED),
        "ec2:CreateRoute was refused (UnauthorizedOperation)",
        "may not do ec2:CreateRoute",
        "ec2:CreateRoute",
    ),
    Case(
        "a missing right to read",
        refuses("DescribeInstanceTypeOfferings", "UnauthorizedOperation", 403, DENIED),
        "DescribeInstanceTypeOfferings was refused (UnauthorizedOperation)",
        "may not do",
        "DescribeInstanceTypeOfferings",
    ),
    Case(
        "a vCPU quota that is used up",
        refuses("RunInstances", "VcpuLimitExceeded", 400, VCPUS),
        "ec2:RunInstances was refused (VcpuLimitExceeded)",
        "L-1216C47A",
        "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A "
        "--desired-value 40 --region us-east-1",
    ),
    Case(
        "a new account without servers with a GPU",
        new_account,
        "may not run a g4dn.xlarge in us-east-1",
        "needs 4 vCPUs",
        "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-DB2E81BA",
        line=(*UP, "--instance-type", "g4dn.xlarge"),
    ),
    Case(
        "too many VPCs",
        refuses("CreateVpc", "VpcLimitExceeded", 400, "The maximum number of VPCs has been reached."),
        "ec2:CreateVpc was refused (VpcLimitExceeded)",
        "quota of VPCs in this Region (L-F678F1CE)",
        "aws service-quotas request-service-quota-increase --service-code vpc --quota-code L-F678F1CE",
    ),
    Case(
        "a type that does not exist",
        lambda aws, patch: None,
        "t3.mikro is not offered in us-east-1",
        "No zone of the Region lists it",
        "--instance-type t3.micro",
        line=(*UP, "--instance-type", "t3.mikro"),
        advice=True,
    ),
    Case(
        "a type that the zone does not offer",
        refuses("RunInstances", "Unsupported", 400, NOT_IN_ZONE),
        "ec2:RunInstances was refused (Unsupported)",
        "t3.micro is not offered here",
        "--instance-type",
    ),
    Case(
        "no capacity",
        refuses(
            "RunInstances",
            "InsufficientInstanceCapacity",
            500,
            "We currently do not have sufficient capacity",
        ),
        "ec2:RunInstances was refused (InsufficientInstanceCapacity)",
        "AWS has no free t3.micro",
        "python -m awslabs.ec2 up",
    ),
    Case(
        "throttling that outlasts our patience",
        refuses("CreateVpc", "RequestLimitExceeded", 503, "Request limit exceeded."),
        "ec2:CreateVpc was refused (RequestLimitExceeded)",
        "fewer calls per second",
        "same command again",
    ),
    Case(
        "a fault within AWS",
        refuses("CreateVpc", "InternalError", 500, "An internal error has occurred"),
        "ec2:CreateVpc was refused (InternalError)",
        "AWS had a fault of its own",
        "same command again",
    ),
    Case("no network", no_network, "AWS could not be reached", "sts.us-east-1", "same command again"),
    Case(
        "a network that is lost in between",
        network_lost_in_between,
        "ec2:CreateSubnet: AWS could not be reached",
        "ec2.us-east-1",
        "same command again",
    ),
    Case(
        "no answers", no_answers, "ec2:CreateSubnet: no answer came", "connection broke", "same command again"
    ),
    Case(
        "a false certificate",
        false_certificate,
        "could not be reached",
        "CERTIFICATE_VERIFY_FAILED",
        "AWS_CA_BUNDLE",
    ),
    Case(
        "a ledger of another account",
        ledger_of_another_account,
        "is damaged",
        f"Its header says account 999988887777, its file name {ACCOUNT}",
        "python -m awslabs.ledger recover",
    ),
    Case(
        "a damaged ledger",
        damaged_ledger,
        "is damaged",
        "`up` and `down` refuse",
        "python -m awslabs.ledger recover",
    ),
    Case(
        "a damaged ledger at down",
        damaged_ledger,
        "is damaged",
        "`up` and `down` refuse",
        "python -m awslabs.ledger recover",
        line=("down",),
    ),
    Case(
        "a ledger of a newer awslabs",
        ledger_of_the_future,
        "has schema 2",
        "another version",
        "pull && ",
    ),
    Case("a full disk", full_disk, "could not be written", "No space left", "make room on the disk"),
    Case(
        "a home that is no folder",
        home_that_is_no_folder,
        "could not be opened",
        "File exists",
        "AWSLABS_HOME",
        advice=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_error_says_what_and_why_and_gives_a_command(
    case: Case, aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.prepare(aws, monkeypatch)
    result = run(*case.line)
    said = told(result)
    assert (result.exit_code, result.stdout) == (1, "")
    assert case.error in said["error"]
    assert case.why in said["why"]
    assert case.fix in said["fix"]
    assert case.advice or COMMAND.search(said["fix"]) or "same command again" in said["fix"], said["fix"]


# -- What the same errors must not do ----------------------------------------------------------------------


def test_a_command_to_paste_means_the_same_copy_region_and_cloud() -> None:
    cloud = Cloud(region="eu-west-1", environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert cloud.place.options == " --region eu-west-1 --sandbox"
    place = dataclasses.replace(cloud.place, lab="ec2", name="second")
    refused = ClientError({"Error": {"Code": "InvalidVpcID.NotFound", "Message": "gone"}}, "CreateSubnet")
    fix = explain(refused, "ec2:CreateSubnet", place).fix
    assert fix.startswith("python -m awslabs.ledger verify --region eu-west-1 --sandbox ")
    assert "python -m awslabs.ec2 up --name second --region eu-west-1 --sandbox" in fix


def test_a_locked_ledger_names_its_holder_and_nothing_is_called(aws: Wire) -> None:
    holder = Ledger(inprocess.open_cloud(ACCOUNT, "moto"), "ec2")
    for verb in (UP, ("down",)):
        with holder.locked("up"):
            aws.asked.clear()
            result = run(*verb)
        said = told(result)
        assert result.exit_code == 1
        assert "ec2 (default) is in use" in said["error"]
        assert f"`up`, process {os.getpid()}, since 20" in said["why"]
        assert "run the same command again" in said["fix"]
        assert set(aws.asked) == {"GetCallerIdentity"}


@pytest.mark.live
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "ledger" in case.name or "credentials" in case.name or "disk" in case.name],
    ids=lambda case: case.name,
)
def test_what_is_wrong_on_this_computer_changes_nothing_on_aws(
    case: Case, aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.prepare(aws, monkeypatch)
    aws.calls.clear()
    run(*case.line)
    assert aws.calls == []


@pytest.mark.live
@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "VcpuLimitExceeded", "Unsupported"])
def test_after_a_refused_server_the_next_up_goes_on(code: str, aws: Wire) -> None:
    aws.refuse("RunInstances", code, 500 if code.startswith("Insuff") else 400)
    assert run(*UP).exit_code == 1
    assert aws.asked.count("RunInstances") == 1  # asking again would not help
    aws.mend()
    made = aws.asked.count("CreateVpc")
    result = run(*UP, "--json")
    assert result.exit_code == 0
    assert aws.asked.count("CreateVpc") == made == 1
    assert json.loads(result.stdout)["instance_id"].startswith("i-")


@pytest.mark.live
def test_throttling_is_waited_out_before_it_is_an_error(aws: Wire) -> None:
    aws.refuse("CreateVpc", "RequestLimitExceeded", 503)
    run(*UP)
    assert inprocess.rules.clock.offset_s >= 120
    assert aws.asked.count("CreateVpc") > 3


def test_a_refused_deletion_exits_3_and_names_what_stands(aws: Wire) -> None:
    run(*UP)
    aws.refuse("DeleteSubnet", "UnauthorizedOperation", 403, DENIED)
    result = run("down")
    said = told(result)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "resources still stand" in said["error"]
    assert re.search(r"subnet subnet-\w+: ec2:DeleteSubnet was refused", said["why"])
    assert said["fix"].startswith("python -m awslabs.ec2 down")


def test_down_goes_on_without_a_file_on_a_full_disk(aws: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*UP)
    full_disk(aws, monkeypatch)
    result = run("down")
    assert result.exit_code == 0
    assert result.stderr.count("could not be written") == 1
    assert aws.asked.count("TerminateInstances") == 1


def test_ctrl_c_says_that_nothing_is_lost_and_exits_130(
    aws: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Exited(BaseException):
        pass

    def leave(code: int) -> None:
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", leave)
    aws.fail("CreateSubnet", KeyboardInterrupt())
    with pytest.raises(Exited, match="130"):
        ec2.command_line().main(UP)
    assert "Nothing is lost" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        ("down", "--nonsense"),
        ("sideways",),
        ("up", "--ttl", "soon"),
        ("up", "--ttl", "9m"),
        ("up", "--ttl", "169h"),
        ("up", "--allow-from", "0.0.0.0/0"),
        ("up", "--allow-from", "300.1.1.1/32"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_asks_aws_nothing(line: tuple[str, ...], aws: Wire) -> None:
    result = run(*line)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    assert aws.asked == []


def test_a_name_that_cannot_be_one_is_an_error_with_an_example(aws: Wire) -> None:
    result = run(*UP, "--name", "../etc")
    assert result.exit_code == 1
    assert "--name second" in told(result)["fix"]


def test_a_bug_shows_its_traceback_and_is_no_error_of_ours(aws: Wire) -> None:
    aws.fail("CreateSubnet", ZeroDivisionError("a bug"))
    result = CliRunner().invoke(ec2.command_line(), UP)
    assert isinstance(result.exception, ZeroDivisionError)
    assert "error: " not in result.stderr


@pytest.mark.parametrize("line", [("verify",), ("recover", "--yes")], ids=" ".join)
def test_the_ledgers_own_command_line_reports_the_same_way(
    line: tuple[str, ...], aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_keys(aws, monkeypatch)
    result = run(*line, group=ledger_cli.command_line)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "aws configure" in told(result)["fix"]


def test_each_error_is_told_in_at_most_three_labelled_parts() -> None:
    error = AwsError("What.", "Why.", "fix it", code="Code", operation="ec2:CreateVpc")
    assert str(error) == "What.\nwhy:   Why.\nfix:   fix it"
    assert str(LedgerError("What.")) == "What."
    family: dict[type[LabError], int] = {
        LedgerError: 1,
        AwsError: 1,
        TimedOut: 1,
        TunnelError: 1,
        StillStanding: 3,
    }
    assert {kind: kind.exit_code for kind in family} == family
    assert all(issubclass(kind, LabError) for kind in family)


def test_a_server_that_ends_while_it_starts_says_why(aws: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended_at_once(call: Call) -> Any:
        answer = call.send()
        call.client.terminate_instances(InstanceIds=[answer["Instances"][0]["InstanceId"]])
        return answer

    aws.fail("RunInstances", ended_at_once)
    with pytest.raises(AwsError, match="InstanceRunning did not come") as caught:
        ec2.up(Ledger(inprocess.open_cloud(ACCOUNT, "ana"), "ec2"), allow_from="192.0.2.1/32")
    assert "User initiated" in caught.value.why
    assert caught.value.fix.startswith("python -m awslabs.ec2 up")


def test_what_a_waiter_is_refused_is_told_as_any_refusal() -> None:
    refused = {"Error": {"Code": "ExpiredToken", "Message": "no"}}
    told = explain(WaiterError("TableExists", "no", refused), "waiting", Place("ecs_qa", "us-east-1"))
    assert (told.code, told.what) == ("ExpiredToken", "The AWS credentials have expired.")
    failed = {"StateReason": "The role cannot be assumed.", "State": "Failed"}
    told = explain(WaiterError("FunctionActiveV2", "no", failed), "waiting", Place("serverless", "us-east-1"))
    assert (told.what, told.why) == ("FunctionActiveV2 did not come.", "The role cannot be assumed.")


ORIGINS = {
    "from PyPI": ("", "awslabs-course[ml]"),
    "from a folder": ('{"url": "file:///a/b", "dir_info": {}}', "awslabs-course[ml] @ file:///a/b"),
    "from git": (
        '{"url": "https://example.com/a", "vcs_info": {"vcs": "git", "commit_id": "1"}}',
        "awslabs-course[ml] @ git+https://example.com/a",
    ),
    "not by pip": (None, "awslabs-course[ml]"),
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_what_is_to_be_installed_comes_from_where_this_came(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, wanted = ORIGINS[origin]
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "awslabs" / "errors.py"))
    if said is not None:
        about = tmp_path / "awslabs_course-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Name: awslabs-course\nVersion: 0.1.0\n")
        (about / "direct_url.json").write_text(said)
        monkeypatch.syspath_prepend(tmp_path)
    pip = [sys.executable, "-m", "pip", "install"]
    assert shlex.split(errors.install("ml")) == [*pip, wanted]
    assert shlex.split(errors.install("ml", newer=True)) == [*pip, "--upgrade", wanted]


def test_in_a_checkout_the_fix_names_the_checkout() -> None:
    root = str(Path(__file__).parents[1])
    pip = [sys.executable, "-m", "pip", "install", "--editable"]
    assert shlex.split(errors.install("sandbox")) == [*pip, f"{root}[sandbox]"]
    assert shlex.split(errors.install(newer=True)) == ["git", "-C", root, "pull", "&&", *pip, root]
