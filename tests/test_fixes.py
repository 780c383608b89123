"""Every command that a message prints can be pasted: it parses, and goes where the failed call went.

The commands are read from the code (all string parts of all messages), and from errors that are provoked.
"""

from __future__ import annotations

import ast
import contextlib
import http.server
import os
import re
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import click
import inprocess
import pytest
import test_errors
from botocore.exceptions import ClientError
from click.testing import Result
from test_docs import group_of
from test_errors import ACCOUNT, CASES, NOT_IN_ZONE, UP, Case, aws, run, told
from typed import typed
from wire import Call, Wire, refusal

from awslabs import cli, ec2, explain, journal, ledger_cli, sandbox
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LabError
from awslabs.explain import Place
from awslabs.labs import LABS
from awslabs.ledger import Ledger, ensure
from awslabs.sandbox.services.servicequotas import quotas
from awslabs.workload import parameters

assert aws  # a fixture
PACKAGE = Path(ec2.__file__).parent
OURS = re.compile(r"python -m awslabs[\w.]*(?: [^\s;&|#)`]+| \"[^\"]*\")*")
OF_AWS = re.compile(r"(?<![\w.])aws [a-z-]+ [^;&|#)`\n]+")
GIVEN = {"region": "us-east-1", "profile": "class", "owner": "ana b"}


def parsed(command: str) -> click.Context:
    """A command of ours as click reads it; an option or verb that is none of its is an error."""
    module, *arguments = shlex.split(command.removeprefix("python -m "))
    current, context = group_of(module), click.Context(group_of(module))
    while isinstance(current, click.Group):
        name = arguments.pop(0)
        assert name in current.commands, command
        current = current.commands[name]
        context = click.Context(current, parent=context)
    return current.make_context(current.name, arguments, parent=context)


# -- What stands in the code -------------------------------------------------------------------------------


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that are no docstrings, with a word in place of what is filled in."""
    code = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(code))) if "python -m" in code else []
    elsewhere = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    elsewhere |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "FILLED" for part in node.values
                ),
            )
        elif id(node) not in elsewhere and isinstance(getattr(node, "value", None), str):
            yield node.lineno, node.value  # type: ignore[attr-defined]


WRITTEN = [
    (path.relative_to(PACKAGE), line, command)
    for path in sorted(PACKAGE.rglob("*.py"))
    for line, text in texts(path)
    for command in OURS.findall(text)
]
# They mean the same whatever was asked: `list` and the console show all; a computer has one practice cloud.
ANYWHERE = re.compile(r"python -m awslabs(\.ledger list|\.(sandbox|console)( .*)?)?")
MAKERS = {
    "explain.py",
    "journal.py",
    "classroom.py",
    "script.py",
}  # where a place is at hand, and what a command needs is added
PROGRAM_NAMES = {"__main__.py", "ledger.py", "tour.py", *(f"{lab}.py" for lab in LABS)}


def test_commands_are_written_where_their_options_are_known() -> None:
    """Elsewhere they come from `Place.command` or `Ledger.command`; what is left says its own name."""
    stray = [
        f"{path}:{line}: {command}"
        for path, line, command in WRITTEN
        if not ANYWHERE.fullmatch(command)
        and str(path) not in MAKERS
        and not (path.name in PROGRAM_NAMES and re.fullmatch(r"python -m awslabs\.[\w]+", command))
        and not (path.name == "cli.py" and command == "python -m awslabs.FILLED up")  # with what was typed
        and not (path.name == "haiku.py" and command == "python -m awslabs.serverless {}")  # no lab is open
    ]
    assert stray == []
    assert len(WRITTEN) > 15


@pytest.mark.parametrize("command", sorted({one for _, _, one in WRITTEN if ".sandbox " in one}))
def test_the_practice_cloud_s_own_commands_parse(command: str) -> None:
    parsed(command.replace("FILLED", "8500"))


def verbs_named(method: str) -> list[tuple[str, str]]:
    """Lab and verb of each `ledger.command("up")` in the chapters and what belongs to them."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        lab = next((lab for lab in LABS if lab in (path.stem, path.parent.name)), None)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                lab
                and isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == method
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.append((lab, str(node.args[0].value)))
    return found


def test_each_verb_that_a_message_names_is_one_of_its_lab() -> None:
    named = set(verbs_named("command"))
    assert len(named) > 20
    for lab, verb in named:
        current = group_of(f"awslabs.{lab}")
        for word in verb.split():
            if not isinstance(current, click.Group):
                break  # an argument
            assert word in current.commands, (lab, verb)
            current = current.commands[word]


# -- What is printed ---------------------------------------------------------------------------------------


@pytest.fixture
def profile(aws: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same credentials, from a profile that must be named."""
    file = tmp_path / "config"
    keys = f"aws_access_key_id = AKIAPRACTICE{ACCOUNT}\naws_secret_access_key = practice\n"
    file.write_text(f"[profile class]\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


def options(given: dict[str, str]) -> list[str]:
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def must_go_there(text: str, given: dict[str, str]) -> int:
    """Each command in the text takes what the call was given, as far as it knows such an option."""
    commands = OURS.findall(text)
    for command in commands:
        context = parsed(command)
        if ANYWHERE.fullmatch(command):
            continue
        asks_whose = context.info_name in ("up", "verify", "recover")
        for name in given.keys() & context.params.keys() - (set() if asks_whose else {"owner"}):
            assert context.params[name] == given[name], command
    for command in OF_AWS.findall(text):
        if "list-profiles" not in command:
            assert f"--profile {given['profile']}" in command, command
    return len(commands) + len(OF_AWS.findall(text))


PROVOKED = [
    case for case in CASES if "profile" not in case.name and case.name not in ("no Region", "half a key")
]


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize("case", PROVOKED, ids=lambda case: case.name)
def test_an_error_s_commands_carry_what_the_call_was_given(
    case: Case, aws: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "credentials" in case.name:
        path = Path(os.environ["AWS_CONFIG_FILE"])
        path.write_text("[profile class]\nregion = us-east-1\n")
    else:
        monkeypatch.setattr(test_errors, "UP", (*UP, *options(GIVEN)))
        case.prepare(aws, monkeypatch)
    result = run(*case.line, *options(GIVEN))
    assert result.exit_code == 1
    said = told(result)
    assert (
        must_go_there(said["fix"], GIVEN)
        or case.advice
        or re.search(r"same command|make room|git -C|AWS_CA", said["fix"])
    )


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize(
    "line", [("down", "ec2"), ("down", "--all"), ("verify",), ("recover", "ec2")], ids=" ".join
)
def test_the_ledgers_commands_carry_it_too(line: tuple[str, ...], aws: Wire) -> None:
    given = {name: GIVEN[name] for name in ("region", "profile")}
    ours = {**given, "owner": "ana"}
    assert run("up", "--allow-from", "192.0.2.1/32", *options(ours)).exit_code == 0
    path = journal.home() / f"ec2.default.{ACCOUNT}.us-east-1.json"
    if line[0] == "down":
        aws.refuse("DeleteSubnet", "UnauthorizedOperation", 403, "no")
    else:
        path.unlink()
    told_owner = {} if line[0] == "down" else {"owner": "ana"}
    more = ["--all-owners"] if line[0] == "recover" else []
    result = run(*line, *more, *options({**given, **told_owner}), group=ledger_cli.command_line)
    assert result.exit_code in (1, 3)
    fix = re.search(r"^fix: +(.*)", result.stderr, re.M | re.S)[1]  # type: ignore[index]
    assert must_go_there(fix, {**given, **told_owner})
    if line == ("down", "ec2"):
        assert "--all" not in fix


def test_with_sandbox_a_command_of_the_aws_cli_goes_to_the_practice_cloud() -> None:
    place = Place.asked("eu-west-1", None, sandbox=True, lab="ec2", name="second")
    fix = explain.ask_for_quota("ec2", "L-1216C47A", 8, place)
    assert fix.startswith('(eval "$(python -m awslabs.sandbox env)"; aws service-quotas ')
    assert parsed(place.command("up")).params["name"] == "second"
    assert parsed(place.of_ledgers("verify")).params["sandbox"] is True


def test_what_has_no_ledger_knows_its_place_by_its_client(aws: Wire) -> None:
    cloud = Cloud("us-east-1", environment=None)
    cloud.place = Place.asked("us-east-1", "class", sandbox=False)
    aws.refuse("CreateRoute", "InvalidRouteTableID.NotFound")
    refused = ClientError({"Error": {"Code": "Strange", "Message": "no"}}, "CreateRoute")
    aws.fail("DescribeRouteTables", refused)
    with pytest.raises(AwsError) as caught:
        ensure(cloud.client("ec2").create_route, RouteTableId="rtb-1", DestinationCidrBlock="0.0.0.0/0")
    assert "verify --region us-east-1 --profile class" in caught.value.fix


# -- What a fix changes --------------------------------------------------------------------------------------

# Of the errors of `test_errors`, those whose fix cannot be run here, and why.
NOT_RUN = {
    "an expired token": "its keys are fetched from elsewhere",
    "a token that expires in between": "its keys are fetched from elsewhere",
    "keys that nobody knows": "a person types other keys",
    "half a key": "a person types the other half",
    "an unknown profile": "it lists those that there are, for a person to choose",
    "a right that is missing, as AWS names it": "whoever runs the account must agree",
    "a right that is missing, not named by AWS": "whoever runs the account must agree",
    "a missing right to a route": "whoever runs the account must agree",
    "a missing right to read": "whoever runs the account must agree",
    "a false certificate": "a person knows where the proxy's certificate lies",
    "a ledger of a newer awslabs": "it installs a newer awslabs",
    "a full disk": "a person chooses what to delete",
    "a vCPU quota that is used up": "the quota of a new account is, below",
    "too many VPCs": "five of them are made, below",
}
# What passes: the same command again, once it has.
PASSES = {
    "no capacity",
    "throttling that outlasts our patience",
    "a fault within AWS",
    "no network",
    "a network that is lost in between",
    "no answers",
    "a Region that is none",
}


class Practice:
    """Stands for the practice cloud that runs: the one in this process."""

    def environment(self, region: str | None = None) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": f"AKIAPRACTICE{sandbox.ACCOUNT}", "AWS_SECRET_ACCESS_KEY": "none"}
        return keys | {"AWS_REGION": region or "us-east-1"}


def by_the_aws_cli(command: str) -> None:
    """An ``aws`` command as the same call of boto3; what asks for a quota is granted at once."""
    _, service, verb, *words = shlex.split(command)
    given = dict(zip(words[::2], words[1::2], strict=True))
    region = given.pop("--region", None)
    names = {name: "".join(part.title() for part in name.strip("-").split("-")) for name in given}
    request: dict[str, Any] = {names[name]: value for name, value in given.items()}
    if "DesiredValue" in request:
        request["DesiredValue"] = float(request["DesiredValue"])
    getattr(boto3.client(service, region_name=region), verb.replace("-", "_"))(**request)
    if verb == "request-service-quota-increase":
        assert region
        quotas.granted[ACCOUNT, region, request["QuotaCode"]] = request["DesiredValue"]


def obey(fix: str, line: tuple[str, ...], patch: pytest.MonkeyPatch) -> tuple[Result, tuple[str, ...]]:
    """Do what the first line of a fix says; its result, and the line that failed as it is to be run again."""
    first = fix.splitlines()[0]
    command, _, remark = first.partition("    #")
    if "same command with --sandbox" in remark:  # `aws configure` asks a person
        line = (*line, "--sandbox")
        return run(*line), line
    if other := re.search(r"with another type, such as (--instance-type [\w.]+)", first):
        line = (*line, *other[1].split())
        return run(*line), line
    if "AWSLABS_HOME to another" in first:
        patch.setenv("AWSLABS_HOME", f"{journal.home()}-other")
    elif export := re.match(r"export (\w+)=(\S+)", command):
        patch.setenv(export[1], export[2])
    elif evaluated := re.match(r'eval "\$\((python -m .*)\)"', command):
        return of_ours(evaluated[1]), line
    elif command.startswith("python -m "):
        result = of_ours(command)
        if "up" in shlex.split(command):
            return result, line
    elif command.startswith("aws "):
        by_the_aws_cli(command)
    else:
        assert "same command again" in first, first
    return run(*line), line


def of_ours(command: str) -> Result:
    """A command of ours in this process; who is asked says yes."""
    module, *arguments = shlex.split(command.removeprefix("python -m "))
    if arguments[0] == "up":
        arguments += UP[1:]
    return typed(group_of(module), arguments, "y\n" * 3)


def outcome(result: Result) -> tuple[int, str]:
    """What tells one error from another: the exit code and the error's first line."""
    found = re.search(r"^error: (.*)", result.stderr, re.M)
    return result.exit_code, found[1] if found else ""


def unsupported(call: Call) -> Any:
    """A zone has no t3.micro, and other types."""
    if call.request["InstanceType"] == "t3.micro":
        raise refusal(call.operation, "Unsupported", message=NOT_IN_ZONE)
    return call.send()


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in NOT_RUN], ids=lambda case: case.name
)
def test_what_a_fix_says_changes_the_outcome(case: Case, aws: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "current", Practice)
    case.prepare(aws, monkeypatch)
    failed = run(*case.line)
    if "Unsupported" in failed.stderr:
        aws.mend()
        aws.fail("RunInstances", unsupported)
    if case.name in PASSES:
        aws.mend()
    result, _ = obey(told(failed)["fix"], case.line, monkeypatch)
    assert outcome(result) != outcome(failed)
    assert result.exit_code == 0, result.stderr


def test_each_case_s_fix_is_run_or_it_is_said_why_not() -> None:
    assert NOT_RUN.keys() | PASSES <= {case.name for case in CASES}


def test_the_fixes_of_a_full_quota_name_what_fills_it_and_the_right_quota(aws: Wire) -> None:
    """An account that may have two VPCs, and has a default one."""
    quotas.granted[ACCOUNT, "us-east-1", "L-F678F1CE"] = 2
    lines = [(*UP, "--name", f"s{number}") for number in range(3)]
    failed, line = next((result, line) for line in lines if (result := run(*line)).exit_code)
    said = told(failed)
    assert "VpcLimitExceeded" in said["error"]
    listed, _, more = said["fix"].partition("or ask for more: ")
    assert "ec2" in of_ours(listed.partition("    #")[0]).stdout
    by_the_aws_cli(more)
    assert run(*line).exit_code == 0


def test_of_two_labs_that_export_one_name_the_second_is_told_what_to_do(aws: Wire) -> None:
    """Chapters 3 and 5 both have a TABLE_NAME."""
    answers, haiku = (Ledger(cli.open_cloud(), lab) for lab in ("ecs_qa", "serverless"))
    parameters.put(answers, {"TABLE_NAME": "answers"})
    with pytest.raises(AwsError) as refused:
        parameters.put(haiku, {"TABLE_NAME": "haiku"})
    assert "TABLE_NAME stands in this account and Region already, and not as this lab's." in refused.value.why
    here, _, first = refused.value.fix.partition("    # for this terminal alone; or first: ")
    assert parsed(re.findall(r"\$\((.*)\)", here)[0]).params["export"] == "shell"
    by_the_aws_cli(first)
    parameters.put(haiku, {"TABLE_NAME": "haiku"})
    assert haiku.client("ssm").get_parameter(Name="TABLE_NAME")["Parameter"]["Value"] == "haiku"


def test_the_fix_of_a_thing_that_lost_its_mark_deletes_it(aws: Wire) -> None:
    assert run(*UP).exit_code == 0
    find, ours = boto3.client("ec2").describe_internet_gateways, [{"Name": "tag-key", "Values": ["Name"]}]
    (gateway,) = find(Filters=ours)["InternetGateways"]  # the default network has one, too
    keys = [{"Key": tag["Key"]} for tag in gateway["Tags"]]
    boto3.client("ec2").delete_tags(Resources=[gateway["InternetGatewayId"]], Tags=keys)
    failed = run("down")
    assert failed.exit_code == 3
    for line in told(failed)["fix"].splitlines():
        of_ours(line.strip().partition("    #")[0])
    assert outcome(run("down")) == (0, "")
    assert gateway["InternetGatewayId"] not in [
        one["InternetGatewayId"] for one in find()["InternetGateways"]
    ]


# -- What the user has configured ----------------------------------------------------------------------------


def configure(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "my config"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return path


CONFIGURED = {
    "a mark of Windows before the first line": ("\ufeff[default]\nregion = x\n", "cannot be read", "EDITOR"),
    "a section twice": ("[default]\n[default]\n", "cannot be read", "EDITOR"),
    "a program that is not there": (
        "[default]\ncredential_process = /no/such/program\n",
        "could not be fetched",
        "aws configure list",
    ),
    "a program that prints no JSON": (
        "[default]\ncredential_process = /bin/echo hello\n",
        "could not be fetched",
        "aws configure list",
    ),
    "a program that fails": (
        "[default]\ncredential_process = /bin/false\n",
        "could not be fetched",
        "aws configure list",
    ),
    "an endpoint without its scheme": (
        "[default]\nendpoint_url = localhost:4566\n",
        "is no address",
        "export AWS_ENDPOINT_URL=http://localhost:4566",
    ),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_what_is_wrong_in_the_configuration_is_told_as_that(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, what, fix = CONFIGURED[name]
    path = configure(text, monkeypatch, tmp_path)
    if "program" in name:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = run("status")
    assert result.exit_code == 1
    assert what in told(result)["error"]
    assert fix in told(result)["fix"]
    if fix == "EDITOR":
        assert f"'{path}'" in told(result)["fix"]


def test_a_region_that_is_none_is_told_as_that() -> None:
    result = run("status", "--region", "us east")
    assert "no such AWS Region" in told(result)["error"]
    assert "--region us-east-1" in told(result)["fix"]


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_practice_cloud_reads_nothing_of_the_user_s_aws(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, _, _ = CONFIGURED[name]
    path = configure(text, monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for variable in ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"):
        monkeypatch.setenv(variable, "true")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    cloud = Cloud(environment=practice("http://127.0.0.1:9").environment())
    assert cloud.client("ec2").meta.endpoint_url == "http://127.0.0.1:9"
    assert cloud.session.get_credentials().access_key == f"AKIAPRACTICE{sandbox.ACCOUNT}"


# -- What answers there --------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    """An endpoint that says the same to everybody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PAGE = b"<!DOCTYPE html><html><body>Log in<br></body></html>"
ANSWERS = {
    "a page": (200, PAGE, {"Content-Type": "text/html"}),
    "a page that is XML": (200, b"<html><body/></html>", {"Content-Type": "text/html"}),
    "another address": (302, b"", {"Location": "http://127.0.0.1:9/login"}),
    "another address, on a page": (301, PAGE, {"Location": "http://127.0.0.1:9/login"}),
    "no such page": (404, PAGE, {"Content-Type": "text/html"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_endpoint_that_is_no_cloud_is_told_as_that(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(*ANSWERS[name]) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        result = run("status")
    assert result.exit_code == 1
    assert "not AWS's" in told(result)["error"]
    assert "AWS_ENDPOINT_URL" in told(result)["fix"]


def test_a_call_that_an_emulator_does_not_know_is_not_tried_again(aws: Wire) -> None:
    aws.refuse("CreateVpc", "InternalFailure", 501, "API action 'CreateVpc' for service 'ec2' not supported")
    result = run("up", "--allow-from", "192.0.2.1/32")
    assert "does not know this call" in told(result)["why"]
    assert "--sandbox" in told(result)["fix"]
    assert aws.asked.count("CreateVpc") == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is large.",
        ),
        ("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than 20260102T000000Z"),
        ("InvalidSignatureException", "Signature not yet current: 20260102T000000Z is still later than"),
    ],
)
def test_a_clock_that_is_off_is_told_as_that(code: str, message: str, aws: Wire) -> None:
    aws.refuse("GetCallerIdentity", code, 403, message)
    said = told(run("status"))
    assert "clock is off" in said["why"]
    assert "aws configure" not in said["fix"]


# -- A practice cloud that is gone ---------------------------------------------------------------------------


def practice(endpoint: str) -> sandbox.Run:
    return sandbox.Run(endpoint, 2, journal.home() / "gone", "token", "never", sandbox.Host.here())


def test_a_practice_cloud_that_is_gone_is_named_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(time, "sleep", rests.append)  # what botocore does between two tries
    with socket.socket() as nobody:  # who has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        there = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setattr(sandbox, "current", lambda: practice(there))
        said = told(run("status", "--sandbox"))
    assert sum(rests) < 5
    assert "the practice cloud is gone" in said["error"]
    assert "python -m awslabs.sandbox start" in said["fix"]


def test_so_it_is_when_it_goes_in_the_middle_of_up(aws: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = explain_gone()
    aws.fail("CreateSubnet", gone)
    ledger = Ledger(cli.open_cloud(), "ec2", "second")
    ledger.cloud.place = Place.asked(None, None, sandbox=True)
    with pytest.raises(LabError) as caught:
        ec2.up(ledger, allow_from="192.0.2.1/32")
    assert caught.value.fix == (
        "python -m awslabs.sandbox start && python -m awslabs.ec2 up --name second --sandbox"
    )
    assert inprocess.rules.clock.offset_s < 5


def explain_gone() -> Exception:
    from botocore.exceptions import EndpointConnectionError

    return EndpointConnectionError(endpoint_url="http://127.0.0.1:8500/")
