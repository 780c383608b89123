"""Play a cassette against the practice cloud, and say where it answers otherwise than whoever was recorded.

    python -m awslabs.sandbox replay FILE          0: the same, 1: it differs, 2: no cassette

Each call is made again, with what the practice cloud has answered so far in the place of the stand-ins.
Graded are status, error code, the paths and types of the members, and the order of states. It goes by a clock
that jumps: to the second of the recording, and on from there for as long as something is still to come (a
server that boots). When something came is not graded, only that it came, and after what.

It is played in this process, to moto with the strict rules, of which `without` leaves some out. No program
runs behind it, so what programs say (`NOT_PLAYED`) is left out and counted.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from awslabs.calls import READING
from awslabs.cassettes import STAND_IN, Text, gathered, is_state, read, refusal
from awslabs.sandbox import rules
from awslabs.sandbox.core import weather

ACCOUNT = "123456789012"  # moto's
SHORT_S = 3.0  # by so much a refusal may outlast that of the recording
PATIENCE_S = 900.0  # of the clock that jumps, for a state to come
# What hangs on programs that run behind the calls, or is not of this cloud.
NOT_PLAYED = {
    "batch:DescribeJobs": "jobs run nowhere here",
    "batch:ListJobs": "jobs run nowhere here",
    "ec2:GetConsoleOutput": "no server prints anything here",
    "ecr:BatchCheckLayerAvailability": "layers are pushed to the server alone",
    "ecr:CompleteLayerUpload": "layers are pushed to the server alone",
    "ecr:GetAuthorizationToken": "it opens the server's registry",
    "ecr:InitiateLayerUpload": "layers are pushed to the server alone",
    "ecr:PutImage": "layers are pushed to the server alone",
    "ecr:UploadLayerPart": "layers are pushed to the server alone",
    "ecs:DescribeTasks": "tasks run nowhere here",
    "freetier:GetAccountPlanState": "it is the account's, and moto has no accounts' plans",
    "lambda:GetAccountSettings": "the server answers it",
    "lambda:Invoke": "functions run nowhere here",
    "logs:DescribeLogStreams": "no program prints anything here",
    "logs:GetLogEvents": "no program prints anything here",
}

Members = dict[str, tuple[str, list[Text]]]  # path to type and texts


@dataclass(frozen=True)
class Difference:
    """One call, and what is otherwise."""

    n: int
    call: str
    what: str

    def __str__(self) -> str:
        return f"{self.n:>4}  {self.call}: {self.what}"


@dataclass
class Outcome:
    """What came of a cassette: how many calls were the same, what differed, what was not played."""

    same: int = 0
    differences: list[Difference] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def played(self) -> int:
        return self.same + len({difference.n for difference in self.differences})


def replay(path: Path, *, without: Collection[str] = (), to_the_first: bool = False) -> Outcome:
    """Play a cassette.

    Parameters
    ----------
    path : Path
        The file.
    without : collection of str
        Names of strict rules that are left out.
    to_the_first : bool
        No further than the first difference.

    Raises
    ------
    Unreadable
        When the file is no cassette.
    """
    head, entries = read(path)
    with stage(without):
        return Player(head).play(entries, to_the_first)


@contextlib.contextmanager
def stage(without: Collection[str] = ()) -> Iterator[None]:
    """An empty practice cloud in this process, at AWS's own pace, with a clock of its own."""
    from moto import mock_aws

    from awslabs.sandbox import services

    services.load()
    only = [name for name, rule in rules.RULES.items() if not rule.runs and name not in without]
    with (
        mock.patch.object(weather, "current", weather.Weather(slow_states=1.0, stale=0.0)),
        mock.patch.object(rules.clock, "offset_s", 0.0),
        rules.clock.stopped(),  # else it would hang on how busy this computer is
        rules.installed(only=only),
        mock_aws(),
    ):
        yield


class Player:
    """Plays one cassette after the other's head.

    Attributes
    ----------
    bound : dict of str
        Stand-ins, and what they are here.
    """

    def __init__(self, head: dict[str, Any]) -> None:
        import boto3

        self.session = boto3.Session(
            aws_access_key_id="AKIAREPLAY", aws_secret_access_key="replay", region_name=head["region"]
        )
        self.clients: dict[str, Any] = {}
        self.bound = {"<account-1>": ACCOUNT}
        self.refusals: dict[str, set[str]] = {}
        self.began = rules.clock.now()
        self.outcome = Outcome()

    def play(self, entries: list[dict[str, Any]], to_the_first: bool) -> Outcome:
        """All calls in their order, or those up to the first difference."""
        for entry in entries:
            call = f"{entry['service']}:{entry['operation']}"
            if call in NOT_PLAYED:
                self.outcome.left_out[call] = self.outcome.left_out.get(call, 0) + 1
                continue
            found = self.differing(entry)
            self.outcome.differences += [Difference(entry["n"], call, what) for what in found]
            self.outcome.same += not found
            if found and to_the_first:
                break
        return self.outcome

    def differing(self, entry: dict[str, Any]) -> list[str]:
        """What is otherwise in the answer to one call; empty if nothing is."""
        reading = entry["operation"].startswith(READING)
        key = json.dumps([entry["service"], entry["operation"], entry["params"]], sort_keys=True)
        refused = self.refusals.setdefault(key, set())
        if entry["status"] >= 300:
            refused.add(entry["code"])
        elif not reading:
            self.come_to(entry["at_s"])
        waited, step = 0.0, 0.5
        while True:
            status, code, here = self.send(entry)
            found = otherwise(entry, status, code, here)
            if not found.all:
                break
            passing = found.in_time if reading else status >= 300 > entry["status"]
            longest = PATIENCE_S if reading or code in refused else SHORT_S
            if not passing or waited >= longest:
                break
            waited += step
            rules.clock.offset_s += step
            step = min(step * 1.5, 60.0)
        if status < 300:
            self.bind(entry["members"], here)
        return found.all

    def come_to(self, at_s: float) -> None:
        """Let the clock stand where it stood when the recording came here, unless it is later already."""
        rules.clock.offset_s += max(0.0, self.began + at_s - rules.clock.now())

    # -- One call ------------------------------------------------------------------------------------------

    def send(self, entry: dict[str, Any]) -> tuple[int, str, Members]:
        """The answer of the practice cloud: status, error code, members."""
        from botocore.exceptions import ClientError

        client = self.client(entry["service"])
        names = {api: method for method, api in client.meta.method_to_api_mapping.items()}
        if entry["operation"] not in names:
            return 0, "there is no such operation", {}
        model = client.meta.service_model
        try:
            answer = getattr(client, names[entry["operation"]])(**self.filled(entry["params"]))
        except ClientError as error:
            said = error.response
            members = {path: (kind, list[Text]()) for path, kind in refusal(dict(said), model).items()}
            return said["ResponseMetadata"]["HTTPStatusCode"], said["Error"]["Code"], members
        except Exception as error:  # moto's own, or a call that botocore's model does not take
            return 0, f"{type(error).__name__}: {error}".partition("\n")[0], {}
        status = answer.pop("ResponseMetadata")["HTTPStatusCode"]
        return status, "", gathered(answer, model.operation_model(entry["operation"]).output_shape)

    def client(self, service: str) -> Any:
        """A client whose calls never leave this process: what moto does not know is a 501."""
        if service not in self.clients:
            from botocore.awsrequest import AWSResponse
            from botocore.config import Config

            once = Config(
                retries={"total_max_attempts": 1, "mode": "standard"},
                s3={"addressing_style": "path"},
                ignore_configured_endpoint_urls=True,  # moto answers at AWS's own addresses
            )
            client = self.session.client(service, config=once)

            def nowhere(request: Any, **_: Any) -> Any:
                return AWSResponse(request.url, 501, {}, io.BytesIO(b"nobody answers this here"))

            client.meta.events.register_last("before-send", nowhere)
            self.clients[service] = client
        return self.clients[service]

    # -- Stand-ins -----------------------------------------------------------------------------------------

    def filled(self, value: Any) -> Any:
        """Parameters with this cloud's own names in the place of the stand-ins."""
        if isinstance(value, dict):
            if value.keys() == {"bytes"}:
                return self.bytes_of(value["bytes"])
            if value.keys() == {"time"}:
                return rules.clock.now()
            return {self.filled(key): self.filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        if isinstance(value, str):
            if (whole := STAND_IN.fullmatch(value)) and whole[1] == "number":
                return int(whole[2])
            return STAND_IN.sub(lambda found: self.name(found[0], found[1], int(found[2])), value)
        return value

    def bytes_of(self, text: str) -> bytes:
        whole = STAND_IN.fullmatch(text)
        if whole and whole[1] == "public-key":
            return public_key()
        if whole and whole[1] in ("blob", "word"):
            return program()
        return str(self.filled(text)).encode()

    def name(self, stand_in: str, kind: str, number: int) -> str:
        """What a stand-in is here; what no answer has named yet is made up, and stays so."""
        if stand_in not in self.bound:
            self.bound[stand_in] = made_up(kind, number)
        return self.bound[stand_in]

    def bind(self, recorded: dict[str, str], here: Members) -> None:
        """Learn what the recording's stand-ins are called here."""
        for path, told in recorded.items():
            stand_ins = told.partition("=")[2].split(",") if "=" in told else []
            _, values = here.get(path, ("", []))
            for stand_in, value in zip(stand_ins, values, strict=False):
                if STAND_IN.fullmatch(stand_in):
                    self.bound.setdefault(stand_in, value.text)


@dataclass
class Otherwise:
    """What differs in an answer; and of that what time alone might mend."""

    all: list[str] = field(default_factory=list)
    in_time: bool = False


def otherwise(entry: dict[str, Any], status: int, code: str, here: Members) -> Otherwise:
    """Compare an answer with the recorded one."""
    found = Otherwise()
    if (status, code) != (entry["status"], entry["code"]):
        found.all.append(f"{answered(status, code)}, recorded is {answered(entry['status'], entry['code'])}")
        found.in_time = True
        return found
    recorded = entry["members"]
    lacks, more = sorted(recorded.keys() - here.keys()), sorted(here.keys() - recorded.keys())
    if lacks:
        found.all.append(f"lacks {', '.join(lacks)}")
    if more:
        found.all.append(f"has {', '.join(more)} besides")
    found.in_time |= any("[]" in path for path in (*lacks, *more))
    for path in sorted(recorded.keys() & here.keys()):
        kind, _, values = recorded[path].partition("=")
        if kind != here[path][0]:
            found.all.append(f"{path} is a {here[path][0]}, recorded is a {kind}")
        elif is_state(path) and values:
            states = [one.text for one in here[path][1]]
            if sorted(set(states)) != sorted(set(values.split(",")) - {"*"}):
                found.all.append(f"{path} is {', '.join(states)}, recorded is {values.replace(',', ', ')}")
                found.in_time = True
    return found


def answered(status: int, code: str) -> str:
    return f"{status} {code}".strip()


# -- What takes the place of what was not recorded -------------------------------------------------------


def made_up(kind: str, number: int) -> str:
    """Something of that kind which nobody has."""
    forms = {
        "account": f"{number:012d}",
        "ledger": f"awslabs-ec2-{number:06d}",
        "token": f"20260101000000-{number:016x}",
        "ipv4": f"198.51.100.{number % 250 + 1}",
        "ipv6": f"2001:db8::{number:x}",
        "uuid": f"00000000-0000-4000-8000-{number:012x}",
        "hex": f"{number:016x}",
        "home": f"{number:016x}",
        "public-key": public_key().decode(),
        "email": f"nobody{number}@example.com",
        "number": str(number),
        "time": "0",
    }
    if kind in forms:
        return forms[kind]
    short = re.fullmatch(r"[a-z]{1,8}", kind)
    known = ("i", "vpc", "subnet", "sg", "igw", "rtb", "eni", "vol", "ami", "eigw", "acl", "key", "sgr", "r")
    return f"{kind}-{number:017x}" if short and kind in known else f"{kind}{number}"


def public_key() -> bytes:
    """The public half of a key that opens nothing: its private half is made and forgotten."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    half = Ed25519PrivateKey.generate().public_key()
    return half.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def program() -> bytes:
    """An archive with a program in it, which nobody runs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return None\n")
    return packed.getvalue()


def told(path: Path, outcome: Outcome) -> tuple[str, list[str]]:
    """The outcome in a sentence, and its differences a line each."""
    left_out = sum(outcome.left_out.values())
    words = f"{outcome.same} of {outcome.played} calls of {path.name} are answered as they were recorded"
    words += f"; {left_out} were not played, since nothing runs here." if left_out else "."
    lines = [str(difference) for difference in outcome.differences]
    lines += [
        f"   -  {call}: not played ({many}): {NOT_PLAYED[call]}" for call, many in outcome.left_out.items()
    ]
    return words, lines
