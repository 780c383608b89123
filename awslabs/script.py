"""A lab as one script of the AWS CLI: `LAB explain --script`.

It is complete by itself: whatever a call sends as bytes (a function's code, a page) stands in it as text.
What the AWS CLI alone cannot do is done with the plain tool: `ssh-keygen` makes a key, Python packs a zip,
Docker builds an image. Each thing carries the ledger's marks, so ``awslabs.ledger recover`` finds it and
`down` takes it down.
"""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Iterator

from awslabs import lesson
from awslabs.kinds import KINDS
from awslabs.plan import VARIABLE, Plan, Step

HEAD = """\
#!/bin/sh
{about}
set -eu
umask 022
export AWS_DEFAULT_REGION={region} AWS_REGION={region} AWS_PAGER=

# For SQS version 1 forgets AWS_ENDPOINT_URL, which leads to a practice cloud.
aws() {{
    command aws ${{AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}} "$@"
}}

# AWS knows not everywhere at once what was made: it is asked for two minutes.
again() {{
    tries=40
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep "${{pause:-3}}"
    done
}}
"""
ABOUT = (
    "What `python -m awslabs.{lab} up` calls, as commands of the AWS CLI, of its version 1 or 2, for any "
    "POSIX shell. It builds the lab in {region}: {price}. Each thing carries the ledger's marks, so this "
    "takes it all down again:"
)
DOWN = (
    "python -m awslabs.ledger recover --yes {lab} --region {region}{owner}",
    "python -m awslabs.{lab} down --region {region}",
)
FIXED = {
    "prefix": "prefix=${{prefix:-awslabs-{lab}-$(od -An -N3 -tx1 /dev/urandom | tr -d ' \\n')}}",
    "account_id": "account_id=$(aws sts get-caller-identity --query Account --output text)",
    "my_ip": "my_ip=${{my_ip:-$(curl -fsS https://checkip.amazonaws.com)}}",
    "owner": "owner=${{owner:-$(aws sts get-caller-identity --query Arn --output text | sed 's|.*[/:]||')}}",
    "token": "stamp=$(date -u +%Y%m%d%H%M%S)",
}
END = "END_OF_FILE"


def script(plan: Plan, price: str) -> str:
    """The whole script; `price` says what the lab costs, in words."""
    told = {"lab": plan.lab, "region": plan.region, "price": price}
    told["owner"] = "" if VARIABLE.search(plan.owner) else f" --owner {shlex.quote(plan.owner)}"
    about = [*remark(ABOUT.format(**told)), *(f"#     {line.format(**told)}" for line in DOWN)]
    lines = [HEAD.format(about="\n".join(about), region=shlex.quote(plan.region))]
    sent = lesson.variables([step.sent for step in plan.steps])  # those of the marks besides
    needed = dict.fromkeys(["prefix", "token", *lesson.fixed(plan), *sent])
    lines += [FIXED[name].format(lab=plan.lab.replace("_", "-")) for name in needed if name in FIXED]
    lines += ["checkout=$PWD # where images/ lies", 'mkdir "$prefix" && cd "$prefix" # for keys and packages']
    files, number = Files(), ""
    for step in plan.steps:
        if step.number and step.number != number:
            number = step.number
            lines += ["", *remark(lesson.call_out(plan, number, "en"))]
        lines += commands(step, files)
    return "\n".join([*lines, "", 'echo "$prefix stands"'])


def remark(text: str) -> list[str]:
    """A text as comments of a shell, no wider than a terminal."""
    return [f"#{line[1:]}" for line in lesson.wrapped(text, 2, 2).split("\n")]


def commands(step: Step, files: Files) -> Iterator[str]:
    """What a step comes to: what it asks first, its files, the call, and what is awaited."""
    for ask in step.asks:
        yield lesson.in_shell(ask)
    if step.call == lesson.IMAGE:
        yield lesson.in_docker(step).replace("    images/", '    "$checkout"/images/')
        return
    written: list[str] = []

    def filed(member: str, content: bytes) -> str:
        name, lines = files.of(lesson.file_of(step, member), member, content)
        written.extend(lines)
        return name

    command = lesson.in_shell(step, step.sent, filed, again=comes_late(step))
    yield from written
    yield command if step.gives else f"{command} > /dev/null"
    for wait in step.waits:
        yield lesson.waited_in_shell(wait)


def comes_late(step: Step) -> bool:
    """Whether AWS may refuse it for a while, since what it names was made a moment ago."""
    if step.row:
        kind = KINDS[step.call]
        return bool(kind.not_yet and (step.needs or not kind.not_idempotent))
    return any(kind.not_yet for kind in KINDS.values() if kind.service == step.service)


class Files:
    """The files that the script has written until now."""

    def __init__(self) -> None:
        self.names: dict[bytes, str] = {}

    def of(self, name: str, member: str, content: bytes) -> tuple[str, list[str]]:
        """The name of a file with this content, and the commands that write it, if none is there yet."""
        if content in self.names:
            return self.names[content], []
        self.names[content] = name
        if member == "PublicKeyMaterial":
            return name, [f"ssh-keygen -q -t ed25519 -N '' -C '' -f {shlex.quote(name.removesuffix('.pub'))}"]
        if zipfile.is_zipfile(io.BytesIO(content)):
            return name, list(packed(name, content))
        return name, written(name, content)


def packed(name: str, content: bytes) -> Iterator[str]:
    """The commands that write the files of a zip, and pack them."""
    folder = name.removesuffix(".zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.namelist():
            yield from written(f"{folder}/{member}", archive.read(member))
    yield f"(cd {shlex.quote(folder)} && python3 -m zipfile -c {shlex.quote(f'../{name}')} *)"


def written(name: str, content: bytes) -> list[str]:
    """The commands that write a file of text. One without a line break at its end is printed without."""
    text = content.decode()
    folder = name.rpartition("/")[0]
    lines = [f"mkdir -p {shlex.quote(folder)}"] if folder else []
    expands = bool(VARIABLE.search(text))
    mark, body = (END, lesson.here(text)) if expands else (f"'{END}'", text)
    if text.endswith("\n"):
        return [*lines, f"cat > {shlex.quote(name)} <<{mark}\n{body}{END}"]
    return [*lines, f'printf %s "$(cat <<{mark}\n{body}\n{END}\n)" > {shlex.quote(name)}']
