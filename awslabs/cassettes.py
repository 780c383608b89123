"""Cassettes: what a lab asked AWS and what the answers were like, as lines of JSON that may be handed out.

    {"schema": 1, "date": "2026-11-29", "region": "us-east-1", "botocore": "1.44.5", "lab": "ec2"}
    {"n": 1, "at_s": 0.8, "service": "ec2", "operation": "CreateVpc", "params": {"CidrBlock": "10.10.0.0/23"},
     "status": 200, "code": "", "members": {"Vpc.VpcId": "string=<vpc-1>", "Vpc.State": "string=pending"}}

Of an answer its members are kept: each one's path and type; where it is a state, its value, too; and where it
may be named by a later call, a stand-in. Of a refusal it is the same, without any values; its message is one
of its members, and its sentence is not kept. A read that is answered as before is no line of its own: the one
before has ``times`` and ``until_s``.

What is kept of a text is what we put into it ourselves: words that stand in our own programs or in AWS's
model of the call, and the addresses of the labs' own networks. All else is a stand-in (`pseudonyms`),
whatever it is: no list of what secrets look like can be complete. `awslabs.sandbox.replay` plays a cassette.
"""

from __future__ import annotations

import ast
import datetime
import functools
import hashlib
import ipaddress
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from awslabs import journal
from awslabs.calls import READING
from awslabs.errors import LabError
from awslabs.pseudonyms import FORMS, NOBODYS, Pseudonyms

SCHEMA = 1
LARGEST = 1_000_000  # bytes of a cassette; what comes after is counted
VALUES = 20  # of one member, in an answer that holds a list
LARGEST_NUMBER = 9_999_999  # a larger one may be a number of an account or of a phone
STAND_IN = re.compile(r"<([a-z0-9]+(?:-[a-z0-9]+)*)-(\d+)>")
WORD = re.compile(rf"{STAND_IN.pattern}|[^\W_]+")
REGION = r"(?:af|ap|ca|cn|eu|il|me|mx|sa|us)(?:-(?:gov|iso[a-z]?))?-[a-z]{4,9}-\d"
# What is looked for by form before the words are; the parts of an ARN, a URL or a host name are words.
LOOKED_FOR = {kind: form for kind, form in FORMS.items() if kind not in ("arn", "url", "host", "path")}
LOOKED_FOR["address"] = r"\b(?:ip|ec2)(?:-\d{1,3}){4}\b"  # within a host name, whose other parts are words
SECRETS = re.compile(
    "|".join(f"(?P<{kind.replace('-', '_') or 'done'}>{form})" for kind, form in LOOKED_FOR.items())
)
PLACE = re.compile(rf"\b{REGION}[a-z]?\b|\b10\.1[0-3]\.\d{{1,3}}\.0/\d\d\b")
CODE = re.compile(r"[A-Za-z][A-Za-z.]{2,80}")  # as AWS writes its errors' codes
STATES = ("state", "status", "state.name")  # how paths end whose values are kept


# -- Words that are ours ---------------------------------------------------------------------------------


@functools.cache
def words() -> frozenset[str]:
    """The words of the texts in our own programs; docstrings and comments are none, and numbers are short.

    Sizes are ours, too: memory is told in MiB, and as text.
    """
    package, found = Path(__file__).parent, set()
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] == "sandbox":
            continue
        for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            found |= {word[0] for word in WORD.finditer(text)}
    for path in package.rglob("*.yaml"):
        found |= {word[0] for word in WORD.finditer(path.read_text(encoding="utf-8"))}
    sizes = {str(size) for size in range(0, 65_536, 256)}
    return frozenset(word for word in found if not (word.isdigit() and len(word) > 5)) | sizes


def texts(tree: ast.Module) -> Iterator[str]:
    """Every text, keyword and whole number of a program, without its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield str(int(node.value))
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


class Names(Pseudonyms):
    """Stand-ins for all that is no word of ours."""

    def strict(self, text: str) -> str:
        """The text, of which nothing is kept but our own words."""
        parts = PLACE.split(text)
        places = [place if is_ours(place) else self.know(place, "place") for place in PLACE.findall(text)]
        said = [self._strict(parts[0])]
        for place, part in zip(places, parts[1:], strict=True):
            said += [place, self._strict(part)]
        return "".join(said)

    def _strict(self, text: str) -> str:
        text = SECRETS.sub(self._stand_in, self.without_known(text))
        return WORD.sub(self._word, text)

    def _word(self, found: re.Match[str]) -> str:
        word = found[0]
        if word.startswith("<") or word in words() or word in NOBODYS:
            return word
        return self.alone(word)

    def count(self) -> int:
        """How many stand-ins there are."""
        return len(self.known()) + len(self._alone)

    def alone(self, word: str) -> str:
        """What stands for a word, where it stands alone."""
        return self._alone.setdefault(word, f"<word-{len(self._alone) + 1}>")

    @functools.cached_property
    def _alone(self) -> dict[str, str]:
        return {}


def is_ours(place: str) -> bool:
    """Whether a range of addresses is one of the labs' networks; the name of a Region or zone is AWS's."""
    if "/" not in place:
        return True
    try:
        return bool(ipaddress.ip_network(place))
    except ValueError:
        return False


# -- What is kept of a call ------------------------------------------------------------------------------


def kept(value: Any, shape: Any, names: Names) -> Any:
    """A parameter as a cassette holds it, by botocore's model of it."""
    kind = shape.type_name if shape is not None else ""
    if isinstance(value, dict):
        inside = shape.members if kind == "structure" else {}
        each = shape.value if kind == "map" else None
        return {
            (key if key in inside else names.strict(str(key))): kept(one, inside.get(key, each), names)
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [kept(one, shape.member if kind == "list" else None, names) for one in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if abs(value) <= LARGEST_NUMBER else names.know(repr(value), "number")
    if isinstance(value, str):
        return value if value in (getattr(shape, "enum", None) or ()) else names.strict(value)
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": kept_bytes(bytes(value), names)}
    if isinstance(value, datetime.datetime):
        return {"time": "<now-1>"}
    return {"bytes": names.alone(f"a stream of {type(value).__name__}")}  # its bytes are read by others


def kept_bytes(value: bytes, names: Names) -> str:
    """Bytes that are a text of ours, or a stand-in."""
    try:
        return names.strict(value.decode())
    except UnicodeDecodeError:
        return names.know(hashlib.sha256(value).hexdigest(), "blob")


class Text(NamedTuple):
    """A text, and whether AWS's model lists it."""

    text: str
    of_model: bool


def leaves(value: Any, shape: Any, path: str = "") -> Iterator[tuple[str, str, Text | None]]:
    """Each member of an answer: its path, its type, and the text that it is, if it is one.

    The type is that of what came: what the model says of it, botocore's parser does not see to.
    """
    if isinstance(value, dict):
        if path:
            yield path, "map" if shape is not None and shape.type_name == "map" else "structure", None
        inside = shape.members if shape is not None and shape.type_name == "structure" else {}
        for key, one in value.items():
            if key in inside:
                yield from leaves(one, inside[key], f"{path}.{key}" if path else key)
            elif shape is not None and shape.type_name == "map":
                yield from leaves(one, shape.value, f"{path}{{}}")
    elif isinstance(value, list):
        yield path, "list", None
        member = shape.member if shape is not None and shape.type_name == "list" else None
        for one in value:
            yield from leaves(one, member, f"{path}[]")
    elif isinstance(value, bool):
        yield path, "boolean", None
    elif isinstance(value, (int, float)):
        yield path, "number", None
    elif isinstance(value, str):
        yield path, "string", Text(value, value in (getattr(shape, "enum", None) or ()))
    elif isinstance(value, datetime.datetime):
        yield path, "timestamp", None
    else:
        yield path, "null" if value is None else "blob", None


def gathered(value: Any, shape: Any) -> dict[str, tuple[str, list[Text]]]:
    """Of each path its types, and its texts in their order: of a list only so many."""
    found: dict[str, tuple[set[str], list[Text]]] = {}
    for path, kind, text in leaves(value, shape):
        kinds, values = found.setdefault(path, (set(), []))
        kinds.add(kind)
        if text is not None and len(values) < VALUES:
            values.append(text)
    return {path: ("|".join(sorted(kinds)), values) for path, (kinds, values) in found.items()}


def is_state(path: str) -> bool:
    """Whether a member tells in which state a thing is."""
    return path.lower().endswith(STATES)


def members(answer: dict[str, Any], shape: Any, names: Names) -> dict[str, str]:
    """The members of an answer as a cassette holds them: ``string``, ``string=running``, ``string=<vpc-1>``.

    Of several one after the other: ``string=<vpc-1>,*``. A star is a text that names nothing.
    """

    def shown(path: str, said: Text) -> str:
        many = names.count()
        text, strict = said.text, said.text if said.of_model else names.strict(said.text)
        if strict == text:
            return text if text and is_state(path) and "," not in text else "*"
        if STAND_IN.fullmatch(strict):
            return strict
        # What is made of nothing but names that are known, a later call can make again.
        return "*" if is_state(path) or names.count() == many else named(path, text)

    def named(path: str, text: str) -> str:
        form = SECRETS.fullmatch(text)
        kind = str(form.lastgroup).replace("_", "-") if form else ""
        if kind == "id":
            return names.know(text, text.rpartition("-")[0])
        last = re.sub(
            r"(?<=[a-z0-9])(?=[A-Z])", "-", re.split(r"[.\[\]{}]+", path.rstrip("[]{}"))[-1]
        ).lower()
        return names.know(text, kind or re.sub(r"[^a-z0-9]+", "-", last).strip("-"))

    told = {}
    for path, (kinds, values) in gathered(answer, shape).items():
        said = [shown(path, text) for text in values]
        while said and said[-1] == "*":
            said.pop()
        told[path] = kinds + (f"={','.join(said)}" if said else "")
    return told


def refusal(parsed: dict[str, Any], service: Any) -> dict[str, str]:
    """The members of a refusal that botocore's model has, or our own programs know, and their types.

    Whatever else a service may write there is nobody's name for sure.
    """
    error = parsed.get("Error", {})
    told = {f"Error.{key}": "string" for key in error if key != "Code" and key in words()}
    shape = service.shape_for_error_code(error.get("Code", ""))
    return told | {path: kinds for path, (kinds, _) in gathered(parsed, shape).items() if shape is not None}


# -- The recorder ----------------------------------------------------------------------------------------


class Recorder:
    """Keeps the calls of one cloud.

    Parameters
    ----------
    lab, region : str
        For the head.
    known : dict of str
        What tells whose cloud it is, as `Pseudonyms` takes it.
    clock : callable
        Seconds; a test moves it.
    """

    def __init__(
        self,
        lab: str,
        region: str,
        known: dict[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import botocore

        self.head = {
            "schema": SCHEMA,
            "date": datetime.date.today().isoformat(),
            "region": region,
            "botocore": botocore.__version__,
            "lab": lab,
        }
        self.names, self.clock, self.began = Names(known), clock, clock()
        self.entries: list[dict[str, Any]] = []
        self.size, self.left_out = 200, 0
        self.mutex = threading.Lock()

    def listen(self, cloud: Any) -> Recorder:
        """Hear of all calls of a `Cloud` from now on."""
        cloud.listen("provide-client-params", self._asked)
        cloud.listen("after-call", self._answered)
        return self

    def _asked(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["awslabs-recorded"] = {**params}  # botocore changes what it was given, as it goes on

    def _answered(
        self, model: Any, parsed: dict[str, Any], context: dict[str, Any], http_response: Any, **_: Any
    ) -> None:
        if "awslabs-recorded" in context:
            self.saw(model, context["awslabs-recorded"], parsed, http_response.status_code)

    def saw(self, model: Any, params: dict[str, Any], parsed: dict[str, Any], status: int) -> None:
        """Keep one call, by botocore's model of its operation."""
        with self.mutex:
            at_s = round(self.clock() - self.began, 3)
            answer = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
            code = str(parsed.get("Error", {}).get("Code", "")) if status >= 300 else ""
            entry = {
                "n": len(self.entries) + 1,
                "at_s": at_s,
                "service": model.service_model.service_name,
                "operation": model.name,
                "params": kept(params, model.input_shape, self.names),
                "status": status,
                "code": code if CODE.fullmatch(code) or len(code) <= 3 else self.names.strict(code),
                "members": refusal(parsed, model.service_model)
                if status >= 300
                else members(answer, model.output_shape, self.names),
            }
            if (before := self._same(entry)) is not None:
                before["times"], before["until_s"] = before.get("times", 1) + 1, at_s
                return
            self.size += len(json.dumps(entry)) + 40
            if self.size > LARGEST:
                self.left_out += 1
            else:
                self.entries.append(entry)

    def _same(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """The same question with the same answer, if nothing came in between that may have changed it."""
        repeats = entry["operation"].startswith(READING) or entry["status"] >= 300
        for before in reversed(self.entries) if repeats else ():
            same = all(before[key] == entry[key] for key in ("service", "operation", "params"))
            if same:
                alike = all(before[key] == entry[key] for key in ("status", "code", "members"))
                return before if alike else None
            if not before["operation"].startswith(READING) and before["status"] < 300:
                return None
        return None

    def text(self) -> str:
        """The cassette."""
        with self.mutex:
            lines = [self.head, *self.entries]
            if self.left_out:
                lines.append({"left_out": self.left_out})
            return "".join(json.dumps(line) + "\n" for line in lines)

    def write(self, path: Path) -> None:
        """Write it so that it is there whole, or as it was, and for this user alone."""
        journal.write(path, self.text())


# -- Reading one -----------------------------------------------------------------------------------------

HEAD = {"schema": int, "date": str, "region": str, "botocore": str, "lab": str}
ENTRY = {
    "n": int,
    "at_s": (int, float),
    "service": str,
    "operation": str,
    "params": dict,
    "status": int,
    "code": str,
    "members": dict,
}


class Unreadable(LabError):
    """A file that is no cassette, or one of a newer version."""

    exit_code = 2


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head and the calls of a cassette.

    Raises
    ------
    Unreadable
        When it is none.
    """

    def refuse(why: str) -> Unreadable:
        return Unreadable(f"{path} is no cassette.", why, "record one: awslabs aws-check --record FILE")

    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise refuse(str(error)) from error
    if not lines:
        raise refuse("It is empty.")
    for number, (line, forms) in enumerate(zip(lines, [HEAD] + [ENTRY] * (len(lines) - 1), strict=True), 1):
        if number == len(lines) > 1 and isinstance(line, dict) and isinstance(line.get("left_out"), int):
            break
        for key, form in forms.items():
            if not isinstance(line, dict) or not isinstance(line.get(key), form):  # type: ignore[arg-type]
                raise refuse(f"Line {number} has no {key}.")
        if number > 1 and not all(isinstance(each, str) for each in line["members"].values()):
            raise refuse(f"The members of line {number} are no texts.")
    if lines[0]["schema"] != SCHEMA:
        raise refuse(f"Its schema is {lines[0]['schema']}; this version knows {SCHEMA}.")
    return lines[0], [line for line in lines[1:] if "left_out" not in line]
