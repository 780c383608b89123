"""One call to AWS as one would type it: in Python with boto3, or in a shell with the AWS CLI.

    as_boto3("ec2", "CreateVpc", {"CidrBlock": "10.10.0.0/23"})   ec2.create_vpc(CidrBlock="10.10.0.0/23")
    as_cli("ec2", "CreateVpc", {"CidrBlock": "10.10.0.0/23"})     aws ec2 create-vpc --cidr-block 10.10.0.0/23

Nothing is called here. Texts and numbers become options of the command, and so do lists of them; all that has
parts of its own goes into ``--cli-input-json``, which both versions of the AWS CLI read alike. Bytes are read
from files (``fileb://``), since the two versions take them differently otherwise: as they are, or as base64.
"""

from __future__ import annotations

import json
import keyword
import re
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

WIDTH = 88  # of a line of Python, as in the chapters' own calls; a longer one is broken
# The AWS CLI has S3's own operations under another name, since `aws s3` copies files.
COMMANDS = {"s3": "s3api"}
# Options of the AWS CLI alone: for bytes that lie deeper in a request, and one for two parameters.
FILES_WITHIN = {("lambda", "CreateFunction", "Code"): ("ZipFile", "--zip-file")}
INDENT = 24  # columns before the JSON of a command: four spaces, the option, quotes
# With such words begins the name of an operation that changes nothing.
READING = ("Describe", "Get", "List", "Head", "BatchGet", "Filter", "Scan", "Query", "Lookup")
COUNTS = ("MinCount", "MaxCount")  # of RunInstances: --count 1, or --count 1:3
# Files that the AWS CLI takes by their path alone, for it sends them piece by piece.
BY_PATH = {("s3", "PutObject", "Body")}
# A text that the AWS CLI would not take as it stands: an option, a file or an address to read.
TAKEN_OTHERWISE = re.compile(r"-|fileb?://|https?://")

Filed = Callable[[str, bytes], str]


def filed(member: str, content: bytes) -> str:
    """The name of a file for some bytes, unless somebody knows a better one: that of their parameter."""
    return dashed(member)


def as_boto3(
    service: str,
    operation: str,
    params: Mapping[str, Any],
    *,
    width: int = WIDTH,
    filed: Filed = filed,
    lead: int = 0,
) -> str:
    """The call in Python, with the client named as the service is.

    Parameters
    ----------
    service, operation : str
        boto3's name of the service, and AWS's of the operation: ``ec2``, ``CreateVpc``.
    params : mapping
        The arguments of the call.
    width : int
        Columns; what does not fit is broken into lines, as a formatter does.
    filed : callable
        (parameter, bytes) -> the file that holds them.
    lead : int
        Columns that something before it, or behind it, takes.
    """
    from botocore import xform_name

    params = in_files(params, filed)  # and so texts of `Code` and `Dumped` are written as what they are
    client = service.replace("-", "_") + ("_" if keyword.iskeyword(service) else "")
    head = f"{client}.{xform_name(operation)}("
    arguments = [f"{name}={literal(value)}" for name, value in params.items()]
    whole = f"{head}{', '.join(arguments)})"
    if lead + len(whole) <= width:
        return whole
    lines = [
        f"    {name}={broken(value, 4, width - 5 - len(name), width)}," for name, value in params.items()
    ]
    return "\n".join([head, *lines, ")"])


class Code(str):
    """A text that is Python already: the name of a variable, an expression."""


class Dumped:
    """What stands in a request as a text of JSON."""

    def __init__(self, value: Any) -> None:
        self.value = value


def in_files(value: Any, filed: Filed, name: str = "") -> Any:
    """The same request, with all bytes read from their files."""
    if isinstance(value, bytes):
        return Code(f"Path({literal(filed(name, value))}).read_bytes()")
    if isinstance(value, Mapping):
        return {key: in_files(item, filed, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [in_files(item, filed, name) for item in value]
    return value


def literal(value: Any) -> str:
    """A value as Python writes it, texts in double quotes."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Dumped):
        return f"json.dumps({literal(value.value)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f")
    return repr(value)


def broken(value: Any, indent: int, left: int, width: int) -> str:
    """The same over several lines, where it does not fit into what is left of the first."""
    text = literal(value)
    if isinstance(value, Dumped):
        return f"json.dumps({broken(value.value, indent, left - 12, width)})"
    if isinstance(value, str) and not isinstance(value, Code) and len(text) > left and "\n" in value[:-1]:
        lines = "".join(f"{' ' * (indent + 4)}{literal(line)}\n" for line in value.splitlines(keepends=True))
        return f"(\n{lines}{' ' * indent})"
    if len(text) + 1 <= left or not isinstance(value, (Mapping, list, tuple)):
        return text
    inner = indent + 4
    if isinstance(value, Mapping):
        heads = [f"{literal(key)}: " for key in value]
        parts = [
            head + broken(item, inner, width - inner - len(head), width)
            for head, item in zip(heads, value.values(), strict=True)
        ]
        opening, closing = "{}"
    else:
        parts = [broken(item, inner, width - inner, width) for item in value]
        opening, closing = "[]"
    lines = "".join(f"{' ' * inner}{part},\n" for part in parts)
    return f"{opening}\n{lines}{' ' * indent}{closing}"


def as_cli(
    service: str,
    operation: str,
    params: Mapping[str, Any],
    *,
    quote: Callable[[str], str] = shlex.quote,
    filed: Filed = filed,
    width: int | None = None,
    more: str = "",
    lead: int = 0,
) -> str:
    """The command line of the AWS CLI that makes the same call, quoted for a POSIX shell.

    Parameters
    ----------
    service, operation, params
        As for `as_boto3`.
    quote : callable
        Quotes a word; another one than the shell's own may leave variables in it.
    filed : callable
        (parameter, bytes) -> the file that holds them.
    width : int, optional
        Columns: a longer command goes on in the next line, and its JSON is spread over lines. Unless given
        all of it stands on one.
    more : str
        Options for the AWS CLI itself: ``--query Vpc.VpcId --output text``.
    lead : int
        Columns that something before it takes.
    """
    words = [f"aws {COMMANDS.get(service, service)} {dashed(operation)}"]
    rest: dict[str, Any] = {}
    for name, value in params.items():
        member, its_option = FILES_WITHIN.get((service, operation, name), ("", ""))
        option = f"--{dashed(name)}"
        if operation == "RunInstances" and name in COUNTS:
            if name == COUNTS[0]:
                counts = dict.fromkeys(str(params[each]) for each in COUNTS)
                words.append(f"--count {quote(':'.join(counts))}")
        elif isinstance(value, bytes):
            scheme = "" if (service, operation, name) in BY_PATH else "fileb://"
            words.append(f"{option} {quote(scheme + filed(name, value))}")
        elif member and isinstance(value.get(member), bytes):
            words.append(f"{its_option} {quote('fileb://' + filed(member, value[member]))}")
            if left := {key: item for key, item in value.items() if key != member}:
                words.append(f"{option} {quote(as_json(left, width))}")
        elif isinstance(value, (list, tuple)) and _are_plain(value):
            words.append(" ".join([option, *(quote(_plain(item)) for item in value)]))
        elif width is not None and isinstance(value, str) and (within := document(value)) is not None:
            words.append(f"{option} {quote(as_json(within, width))}")
        elif _is_plain(value):
            words.append(f"{option} {quote(_plain(value))}")
        else:
            rest[name] = value
    if rest:
        words.append(f"--cli-input-json {quote(as_json(rest, width))}")
    return in_lines([*words, more] if more else words, width, lead)


def in_lines(words: list[str], width: int | None, lead: int) -> str:
    """The parts of a command line, each quoted, in lines of so many columns."""
    line = ""
    for word in words:
        last = line.rpartition("\n")[2]
        last = last if "\n" in line else " " * lead + last
        if line and width is not None and len(f"{last} {word}".split("\n")[0]) > width - 2:
            line += f" \\\n    {word}"
        else:
            line += f" {word}" if line else word
    return line


def document(text: str) -> Any:
    """What a text of JSON holds, such as a policy; None for another text."""
    if not text.startswith("{"):
        return None
    try:
        held = json.loads(text)
    except ValueError:
        return None
    return held if text in (json.dumps(held), json.dumps(held, ensure_ascii=False)) else None


def as_json(value: Any, width: int | None = None) -> str:
    """A part of a request as the AWS CLI reads it; with a width, over several lines where it needs them.

    Raises
    ------
    ValueError
        For bytes deep within a request: the two versions of the AWS CLI read no text for them alike.
    """
    return _spread(value, 0, INDENT, width)


def _spread(value: Any, indent: int, taken: int, width: int | None) -> str:
    """A value from the column `taken` on; what it holds goes into lines of its own where it is too long."""

    def plain(other: Any) -> str:
        if isinstance(other, datetime):
            return other.isoformat()
        raise ValueError(f"The AWS CLI takes no {type(other).__name__} within a parameter.")

    text = json.dumps(value, ensure_ascii=False, default=plain)
    if width is None or taken + len(text) < width or not isinstance(value, (dict, list)) or not value:
        return text
    inner = indent + 2
    if isinstance(value, dict):
        heads = [f"{json.dumps(key, ensure_ascii=False)}: " for key in value]
        parts = [
            head + _spread(item, inner, inner + len(head), width)
            for head, item in zip(heads, value.values(), strict=True)
        ]
        opening, closing = "{}"
    else:
        parts = [_spread(item, inner, inner, width) for item in value]
        opening, closing = "[]"
    lines = ",\n".join(" " * inner + part for part in parts)
    return f"{opening}\n{lines}\n{' ' * indent}{closing}"


def _is_plain(value: Any) -> bool:
    """Whether the AWS CLI takes a value as it stands. True and False are flags there, each in its own way."""
    if isinstance(value, str):
        return bool(value) and not TAKEN_OTHERWISE.match(value)
    return isinstance(value, datetime) or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    )


def _are_plain(value: Any) -> bool:
    """The same of a list; where its first item looks like JSON the AWS CLI reads it as that."""
    return bool(value) and all(map(_is_plain, value)) and str(value[0]).lstrip()[:1] not in ("[", "{")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def dashed(name: str) -> str:
    """``create-vpc`` of ``CreateVpc``, as the AWS CLI names commands and options."""
    from botocore import xform_name

    return str(xform_name(name, "-"))
