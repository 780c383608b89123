"""A lab, explained step by step for who has read no book: `LAB explain`, `LAB up --dry-run`.

    lesson(plan, "en")      call-out, reason, boto3 call, `aws` command, price, what must go before: as text
    table(plan)             the plan in short
    as_dict(plan, "ja")     the same for a program
    in_shell(step, params)  one step as a command of a shell, whose answer goes into variables

Variables of a plan (`plan.variable`) become variables of Python and of the shell.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from awslabs import prices
from awslabs.calls import COMMANDS, Code, Dumped, Filed, as_boto3, as_cli, dashed, document
from awslabs.calls import filed as by_member
from awslabs.plan import TOKEN, VARIABLE, Ask, Plan, Step, Wait, mapped, texts
from awslabs.reasons import CALL_OUTS_JA, Reason, terms_in
from awslabs.reasons import REASONS as OF_CALLS

WIDTH = 80  # columns of commands and texts, however wide the terminal
BREAKS = re.compile(r"[^\s\u2e80-\u9fff\uff00-\uffef]+[。、，．）」：]*|\s+|.[。、，．）」：]*")

IMAGE = "docker:push"  # the step that is no call to AWS
REASONS = {
    **OF_CALLS,
    IMAGE: Reason(
        "The program with all that it needs, as an image of a container; it is built here and pushed to AWS.",
        "A task or a job starts from it. This takes minutes, so `up` does the next steps meanwhile.",
        "プログラムと必要なものすべてを入れたコンテナイメージです。ここで作り、AWS に送ります。",
        "タスクやジョブはこれから始まります。数分かかるので、`up` はその間に次へ進みます。",
    ),
}
SORTED = re.compile(r"sort\((.+)\[\]\.(.+)\)\[(\d+)\]")  # a JMESPath of the plan's own
SAID = {
    "en": {
        "head": "What `up` of {lab} would call on AWS in {region}, in this order. Nothing was called.",
        "unknown": "In place of what only AWS knows, or what is drawn for each lab, stands a name:",
        "free": "free",
        "unpriced": "price unknown",
        "hour": "{usd:.4f} USD per hour",
        "after": "after {rows}",
        "again": "As before: {what}",
        "total": "All of it: {price}.",
        "nothing": "nothing per hour, only what is used",
        "asked": "Asked first:",
        "waits": "Then `up` waits:",
        "switch": "The end by itself: when --ttl is over, AWS takes the lab down.",
        "do": "Build it: {command}",
        "prefix": "what the names of one lab begin with: {lab} and six characters, drawn when it is built",
        "account_id": "your account: aws sts get-caller-identity --query Account --output text",
        "my_ip": "this computer's address on the internet: curl https://checkip.amazonaws.com",
        "owner": "who builds it: your name in IAM, or --owner",
        "token": "the time and 16 random digits, drawn for each thing: the ledger finds it again by them",
        "more": "and what a call before has answered, under the name that it is given there",
    },
    "ja": {
        "head": "{lab} の `up` が AWS ({region}) で呼ぶものを順に示します。まだ何も呼んでいません。",
        "unknown": "AWS だけが知っているもの、ラボごとに決まるものは、名前で書いてあります。",
        "free": "無料",
        "unpriced": "価格不明",
        "hour": "1 時間 {usd:.4f} USD",
        "after": "先に必要: {rows}",
        "again": "前と同じ: {what}",
        "total": "合計: {price}。",
        "nothing": "時間あたりは無料。使った分だけかかります",
        "asked": "先に尋ねます:",
        "waits": "次を待ちます:",
        "switch": "自動で終わる仕組み: --ttl の時間が過ぎたら、AWS がラボを片付けます。",
        "do": "作るには: {command}",
        "prefix": "ラボの名前の先頭: {lab} と、作るときに決まる 6 文字",
        "account_id": "アカウント番号: aws sts get-caller-identity --query Account --output text",
        "my_ip": "このパソコンの、インターネットでのアドレス: curl https://checkip.amazonaws.com",
        "owner": "作る人: IAM での名前、または --owner",
        "token": "時刻と 16 桁の乱数。ものごとに決まり、台帳はこれで見つけ直します",
        "more": "ほかは、前の呼び出しが答えたもので、そこで付けた名前で書きます",
    },
}


def language(environment: Mapping[str, str] = os.environ) -> str:
    """``ja`` where the terminal speaks Japanese (LC_ALL, LC_MESSAGES, LANG), else ``en``."""
    told = next(
        (environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), ""
    )
    return "ja" if told.startswith("ja") else "en"


# -- Text ----------------------------------------------------------------------------------------------


def lesson(plan: Plan, lang: str, command: str) -> str:
    """All steps of a plan, with what a reader needs to know where it is first met.

    Parameters
    ----------
    lang : str
        ``en`` or ``ja``.
    command : str
        The command that builds the lab.
    """
    said, parts, met, number = SAID[lang], [head(plan, lang)], set[str](), ""
    for place, step in enumerate(plan.steps, 1):
        if step.number and step.number != number:
            number = step.number
            parts.append(wrapped(call_out(plan, number, lang)))
        parts.append(explained(step, place, len(plan.steps), lang, met, plan.region))
    total = price(plan.usd_per_hour, lang, plan.region, all_of_it=True)
    parts += [said["total"].format(price=total), said["do"].format(command=command)]
    return "\n\n".join(parts)


def head(plan: Plan, lang: str) -> str:
    """What it is, and the names in it."""
    said = SAID[lang]
    names = [name for name in fixed(plan) if name in said]
    width = max(map(len, names), default=0)
    lines = [wrapped(said["head"].format(lab=plan.lab, region=plan.region)), wrapped(said["unknown"])]
    lab = f"awslabs-{plan.lab.replace('_', '-')}-"
    lines += [wrapped(f"{name:{width}}  {said[name].format(lab=lab)}", width + 4, 2) for name in names]
    lines.append(wrapped(said["more"], 2, 2))
    return "\n".join(lines)


def fixed(plan: Plan) -> list[str]:
    """Names of variables that no step of the plan tells."""
    asked = [one.params for step in plan.steps for one in step.asks]
    awaited = [one.params for step in plan.steps for one in step.waits]
    return variables([*(step.params for step in plan.steps), *asked, *awaited])


def variables(requests: list[Any]) -> list[str]:
    """Names of variables in these requests; of the tokens' one for all."""
    found = VARIABLE.findall("".join(texts(requests)))
    return list(dict.fromkeys(short_name(name) for name in sorted(found)))


def call_out(plan: Plan, number: str, lang: str) -> str:
    """The chapter's own words at a number."""
    if number == "switch":
        return SAID[lang]["switch"]
    words = plan.call_outs[number]
    return f"<{number}> {CALL_OUTS_JA.get(words, words) if lang == 'ja' else words}"


def explained(step: Step, place: int, many: int, lang: str, met: set[str], region: str) -> str:
    """One step: what and why, price, what goes before, and the call twice."""
    said = SAID[lang]
    title = marked_text(step.row) or step.operation
    facts = [price(step.usd_per_hour, lang, region)]
    if step.needs:
        facts.append(said["after"].format(rows=", ".join(map(marked_text, step.needs))))
    lines = [wrapped(f"[{place}/{many}] {title}: {'; '.join(facts)}", 4)]
    reason = REASONS[step.call]
    again = step.call in met
    met.add(step.call)
    lines.append(
        wrapped(said["again"].format(what=reason.what(lang)))
        if again
        else wrapped(reason.what(lang) + ("" if lang == "ja" else " ") + reason.why(lang))
    )
    if step.call == IMAGE:
        return "\n".join([*lines, "", in_docker(step)])
    calls: list[Step | Ask] = [*step.asks, step]
    python, shell = "\n".join(map(in_python, calls)), "\n".join(map(in_shell, calls))
    for term in terms_in(python + reason.what_en):
        if term.en not in met:
            met.add(term.en)
            lines.append(wrapped(f"* {term.said(lang)}", 2))
    waits = [waited_in_shell(wait) for wait in step.waits]
    return "\n".join([*lines, "", python, "", shell, *(["", said["waits"], *waits] if waits else [])])


def price(usd: float | None, lang: str, region: str, *, all_of_it: bool = False) -> str:
    """An hourly price in words."""
    said = SAID[lang]
    if usd is None:
        return said["unpriced"]
    if usd == 0:
        return said["nothing" if all_of_it else "free"]
    return said["hour"].format(usd=usd) + prices.note(region)


def table(plan: Plan, lang: str, command: str) -> str:
    """The plan in short: a step on two lines, or more where its parameters need them."""
    lines = [head(plan, lang), ""]
    for place, step in enumerate(plan.steps, 1):
        facts = [*filter(None, [marked_text(step.row)]), step.call]
        if step.usd_per_hour:
            facts.append(price(step.usd_per_hour, lang, plan.region))
        if step.needs:
            facts.append(SAID[lang]["after"].format(rows=", ".join(map(marked_text, step.needs))))
        lines.append(wrapped(f"{place:3d}  {', '.join(facts)}", 5))
        if told := [f"{key} {in_short(value)}" for key, value in step.params.items()]:
            lines.append(wrapped(f"     {', '.join(told)}", 5))
    total = price(plan.usd_per_hour, lang, plan.region, all_of_it=True)
    return "\n".join(
        [*lines, "", SAID[lang]["total"].format(price=total), SAID[lang]["do"].format(command=command)]
    )


def in_short(value: Any) -> str:
    """A parameter for a list: what only AWS knows as ``<vpc_id>``, bytes and many lines by their number."""
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {in_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(in_short, value)) + "]"
    lines = str(value).splitlines()
    return f"({len(lines)} lines)" if len(lines) > 1 else marked_text(str(value))


def marked_text(text: str) -> str:
    """A text with what only AWS knows as ``<vpc_id>``; in the name of a row that may be a zone."""
    return VARIABLE.sub(lambda found: f"<{short_name(found[1])}>", text)


def short_name(name: str) -> str:
    """Of a token's variable: which one it is does not matter to a reader."""
    return "token" if name.startswith(TOKEN) else name


def as_dict(plan: Plan, lang: str) -> dict[str, Any]:
    """The plan for a program: marks as ``<vpc_id>``, bytes by their number, both calls as texts."""
    steps = [
        {
            "call": step.call,
            "row": marked_text(step.row),
            "call_out": step.number,
            "what": REASONS[step.call].what(lang),
            "why": REASONS[step.call].why(lang),
            "usd_per_hour": step.usd_per_hour,
            "needs": list(map(marked_text, step.needs)),
            "params": {} if step.call == IMAGE else mapped(step.params, as_json),
            "asks": [ask.call for ask in step.asks],
            "boto3": "" if step.call == IMAGE else in_python(step),
            "aws": in_docker(step) if step.call == IMAGE else in_shell(step),
        }
        for step in plan.steps
    ]
    outs = {number: call_out(plan, number, lang).partition("> ")[2] for number in plan.call_outs}
    return {
        "lab": plan.lab,
        "region": plan.region,
        "usd_per_hour": plan.usd_per_hour,
        "only_aws_knows": fixed(plan),
        "call_outs": outs,
        "steps": steps,
    }


def as_json(value: Any) -> Any:
    """A part of a request as JSON can hold it."""
    if isinstance(value, str):
        return marked_text(value)
    return value if isinstance(value, (int, float, bool)) or value is None else in_short(value)


def wrapped(text: str, hanging: int = 0, first: int = 0) -> str:
    """A text over lines of at most `WIDTH` columns; a Japanese character takes two of them.

    Japanese is broken anywhere, but not before a full stop, a comma or a closing bracket.
    """
    from rich.cells import cell_len

    lines, line = [], " " * first
    begins = True
    for piece in BREAKS.findall(text):
        if not begins and cell_len(line.rstrip() if piece.isspace() else line + piece) > WIDTH:
            lines.append(line.rstrip())
            line, begins = " " * hanging, True
        if begins and piece.isspace() and lines:
            continue
        line, begins = line + piece, False
    return "\n".join([*lines, line.rstrip()])


# -- Python --------------------------------------------------------------------------------------------


def python_value(value: Any) -> Any:
    """A part of a request, with the plan's variables as Python's."""
    if isinstance(value, str):
        held = document(value)
        if held is not None and len(value) > 40:
            return Dumped(mapped(held, python_value))
        if whole := VARIABLE.fullmatch(value):
            return Code(short_name(whole[1]))
        if VARIABLE.search(value):
            text = json.dumps(value, ensure_ascii=False).replace("{", "{{").replace("}", "}}")
            return Code("f" + VARIABLE.sub(lambda found: f"{{{short_name(found[1])}}}", text))
    return value


def in_python(one: Step | Ask) -> str:
    """A call; its answer goes into variables: ``vpc_id = ec2.create_vpc(...)["Vpc"]["VpcId"]``."""
    service, _, operation = one.call.partition(":")
    gives, before, behind, after = one.gives, "", "", []
    if found := sorted_list(gives):
        before = "answer = "
        inner = f"one{subscripts(found[1])} for one in answer{subscripts(found[0])}"
        after.append(f"{', '.join(gives)} = sorted(\n    {inner}\n)[:{len(gives)}]")
    elif len(gives) == 1 and not next(iter(gives.values())).startswith("sort("):
        ((name, query),) = gives.items()
        before, behind = f"{name} = ", subscripts(query)
    elif gives:
        before = "answer = "
    for name, query in gives.items() if not behind and not after else ():
        if place := SORTED.fullmatch(query):
            inner = f"one{subscripts(place[2])} for one in answer{subscripts(place[1])}"
            whole = f"{name} = sorted({inner})[{place[3]}]"
            after.append(whole if len(whole) <= WIDTH else f"{name} = sorted(\n    {inner}\n)[{place[3]}]")
        else:
            after.append(f"{name} = answer{subscripts(query)}")
    lead = len(before) + len(behind)
    params = mapped(one.params, python_value)
    call = as_boto3(service, operation, params, width=WIDTH, filed=files_of(one), lead=lead)
    return "\n".join([f"{before}{call}{behind}", *after])


def sorted_list(gives: Mapping[str, str]) -> tuple[str, str] | None:
    """Of variables that are the first of one sorted list: the list, and what is taken of each of it."""
    found = [SORTED.fullmatch(query) for query in gives.values()]
    lists = {(one[1], one[2]) if one else None for one in found}
    places = [one[3] if one else "" for one in found]
    if len(gives) < 2 or len(lists) != 1 or places != [str(place) for place in range(len(gives))]:
        return None
    return lists.pop()


def subscripts(query: str) -> str:
    """``["Vpc"]["VpcId"]`` of ``Vpc.VpcId``."""
    return "".join(f"[{part}]" if part.isdigit() else f'["{part}"]' for part in re.findall(r"\w+", query))


# -- The shell -----------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """A word of a shell, in which the plan's variables are the shell's."""
    if not VARIABLE.search(text):
        return shlex.quote(text)
    if "\n" in text or '"' in text:
        return f'"$(cat <<JSON\n{here(text)}\nJSON\n)"'
    escaped = expanding(re.sub(r"([\\$`])", r"\\\1", text))
    return f'"{escaped}"'


def here(text: str) -> str:
    """A text as it stands in a here-document that expands variables."""
    return expanding(re.sub(r"([$`])|\\(?=[$`\\\n]|\Z)", lambda found: f"\\{found[0]}", text))


def expanding(text: str) -> str:
    """The plan's variables as ``$vpc_id``; of a token its own part stays, behind the time."""

    def variable(found: re.Match[str]) -> str:
        name = found[1]
        if name.startswith(TOKEN):
            return f"${{stamp}}-{name.removeprefix(TOKEN)}"
        follows = found.string[found.end() : found.end() + 1]
        return f"${{{name}}}" if follows.isalnum() or follows == "_" else f"${name}"

    return VARIABLE.sub(variable, text)


def file_of(step: Step, member: str) -> str:
    """A name for the file of a step's bytes: that of the thing they are for."""
    if key := step.params.get("Key"):
        return str(key)
    ending = {"PublicKeyMaterial": ".pub", "ZipFile": ".zip", "body": ".yaml"}.get(member, "")
    return f"{step.row or dashed(step.operation)}{ending}" if ending else by_member(member, b"")


def files_of(one: Step | Ask) -> Filed:
    """The same for all bytes of a call; what only asks sends none."""
    return (lambda member, content: file_of(one, member)) if isinstance(one, Step) else by_member


def in_shell(
    one: Step | Ask,
    params: Mapping[str, Any] | None = None,
    filed: Filed | None = None,
    again: bool = False,
) -> str:
    """A call as a command; its answer goes into variables: ``vpc_id=$(aws ec2 create-vpc ...)``.

    Parameters
    ----------
    params : mapping, optional
        Its own unless given: those with the ledger's marks.
    filed : callable, optional
        (parameter, bytes) -> the file that holds them.
    again : bool
        Begin with the shell function of that name.
    """
    service, _, operation = one.call.partition(":")
    gives, before, behind, query = one.gives, "", "", ""
    if len(gives) == 1:
        ((name, way),) = gives.items()
        before, behind, query = f"{name}=$(", ")", f"--query {shlex.quote(way)} --output text"
    elif gives:
        each = " ".join(f"{name}=${place}" for place, name in enumerate(gives, 1))
        listed = sorted_list(gives)
        ways = f"sort({listed[0]}[].{listed[1]})" if listed else f"[{', '.join(gives.values())}]"
        ways = shlex.quote(ways)
        before, behind, query = "set -- $(", f")\n{each}", f"--query {ways} --output text"
    before += "again " if again else ""
    command = as_cli(
        service,
        operation,
        one.params if params is None else params,
        quote=quoted,
        filed=filed or files_of(one),
        width=WIDTH - bool(behind),
        more=query,
        lead=len(before),
    )
    return f"{before}{command}{behind}"


def waited_in_shell(wait: Wait) -> str:
    """A waiter of boto3 as the AWS CLI has it."""
    command = as_cli(wait.service, wait.waiter, wait.params, quote=quoted, width=WIDTH)
    service = COMMANDS.get(wait.service, wait.service)
    return command.replace(f"aws {service} ", f"aws {service} wait ", 1)


def in_docker(step: Step) -> str:
    """An image, built and pushed."""
    recipe = step.params["recipe"]
    registry = quoted(step.params["uri"])
    if whole := VARIABLE.fullmatch(step.params["uri"]):
        registry = f'"${{{whole[1]}%%/*}}"'  # what stands before the repository's name
    address = quoted(f"{step.params['uri']}:{recipe.tag}")
    arguments = "".join(
        f" \\\n    --build-arg {shlex.quote(f'{name}={text}')}" for name, text in recipe.args.items()
    )
    return (
        f"aws ecr get-login-password |\n    docker login --username AWS --password-stdin {registry}\n"
        f"docker build --platform linux/amd64 --tag {address}{arguments} \\\n    images/{recipe.name}\n"
        f"docker push {address}"
    )
