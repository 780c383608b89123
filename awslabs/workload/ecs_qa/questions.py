"""Ask the reader of chapter 3: one question or hundreds, each task of the cluster with its share of them.

    questions --> an item of the table for each task, 16 questions in it
              --> RunTask for each, its command names the item
              --> followed from PROVISIONING to STOPPED
              --> answers, read from the table

The questions travel through the table, for a task's command takes 8192 characters at most ("RunTask", ECS
API reference), and one long context has more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awslabs import images
from awslabs.errors import AwsError, LabError, TimedOut, install
from awslabs.explain import THROTTLED
from awslabs.kinds.named import pages, parts
from awslabs.ledger import Ledger
from awslabs.preflight import quota_value
from awslabs.progress import awaiting, poll
from awslabs.show import Shown
from awslabs.workload import Tail, standing, tables

log = logging.getLogger(__name__)

CONTAINER = "reader"  # the name of a task's one container
READER_NEEDS = ("torch", "transformers")  # modules; in an image that Docker has built they are anyway
FARGATE_VCPUS = "L-3032A538"  # the quota "Fargate On-Demand vCPU resource count"
PER_TASK = 16  # questions: with one model load for all of them, fewer would mostly pay for loading
MOST_TASKS = 100  # where the quota cannot be read
ITEM_BYTES = 390_000  # of the 400 KB that DynamoDB takes as one item, names included
AT_ONCE = 16  # RunTask calls under way
PLACED_S = 600.0  # seconds to go on while there is no room for a task
ROOM_S = 20.0  # at most, between two tries to find room
ENDED_S = 3600.0  # seconds until all tasks must have stopped
LOG_LINES = 12  # of a failed task, in its explanation
# What ECS says where it only has no room just now.
NO_ROOM = ("Capacity", "RESOURCE:", "limit on the number of")
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
BROKEN_ROW = re.compile(r"^row (\d+): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class FoundAnswer(Shown):
    """What the reader found.

    Attributes
    ----------
    item_id : str
        Its key in the table.
    context, question, answer : str
        The answer stands in the context, from character `start` to before `end`.
    score : float
        The reader's own opinion of it, 0 to 1; more where a long context has it in several places.
    start, end : int
        Characters, from 0.
    seconds : float
        What the model took.
    model : str
        Its name or folder.
    context_start : int
        Of a context too large for an item of the table only a part is kept: it begins at this character.

    Another program's answer may lack all but the first four, and its score; that is None then, or empty.
    """

    item_id: str
    context: str
    question: str
    answer: str
    score: float | None
    start: int | None
    end: int | None
    seconds: float | None
    model: str
    context_start: int | None = 0


FIELDS = tuple(FoundAnswer.__dataclass_fields__)
TEXTS = ("item_id", "context", "question", "answer", "model")


@dataclass(frozen=True)
class Failed(Shown):
    """A question without an answer: its number in the input, from 1, and why."""

    number: int
    question: str
    why: str
    fix: str


@dataclass(frozen=True)
class Outcome(Shown):
    """What came of one or many questions.

    Attributes
    ----------
    answers : list of FoundAnswer
        In the order of the questions.
    failed : list of Failed
    tasks : int
        How many tasks worked on them.
    seconds : float
        From the first call to the last answer.
    parts : dict of float
        The same seconds for the task that took longest: ``queued`` until ECS began to pull the image,
        ``pulled``, ``started``, ``worked``, ``stopped``.
    """

    answers: list[FoundAnswer]
    failed: list[Failed]
    tasks: int
    seconds: float
    parts: dict[str, float]


@dataclass(frozen=True)
class Question:
    """A question on its way: its number in the input, its key in the table, and the texts."""

    number: int
    item_id: str
    context: str
    question: str


# -- What is asked ---------------------------------------------------------------------------------------


def shipped() -> list[dict[str, str]]:
    """The lab's own questions and contexts."""
    return read(images.folder("qa_bot") / "questions.json")


def read(path: Path) -> list[Any]:
    """The rows of a file of questions: a JSON list of objects with ``context`` and ``question``.

    Raises
    ------
    LabError
        When it cannot be read, or is no such list. A broken row does no harm to the others: `ask_many` tells.
    """
    example = '[{"context": "Lisbon is the capital of Portugal.", "question": "What is the capital?"}]'
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise LabError(f"{path} could not be read.", f"{error.strerror}.", f"ls -l {path}") from error
    except ValueError as error:
        raise LabError(f"{path} is not JSON in UTF-8.", f"{error}.", f"write it as {example}") from error
    if not isinstance(rows, list):
        kind = type(rows).__name__
        raise LabError(f"{path} holds no list of questions.", f"It is one {kind}.", f"write it as {example}")
    return rows


def sorted_out(rows: Sequence[Any]) -> tuple[list[Question], list[Failed]]:
    """The rows as questions, and those that are none."""
    good, bad = [], []
    for number, row in enumerate(rows, 1):
        texts = {name: row.get(name) if isinstance(row, dict) else "" for name in ("context", "question")}
        empty = [name for name, text in texts.items() if not isinstance(text, str) or not text.strip()]
        halves = [name for name, text in texts.items() if HALF_A_CHARACTER.search(str(text))]
        question = Question(number, uuid.uuid4().hex, **{name: str(text) for name, text in texts.items()})
        if empty:
            why = f"Row {number} has no text as its {empty[0]}."
        elif halves:
            why = f"Row {number} holds half of a character (a lone surrogate) in its {halves[0]}."
        elif size_of([question]) > ITEM_BYTES:
            why = f"Row {number} has more than the {ITEM_BYTES} bytes that an item of the table can carry."
        else:
            good.append(question)
            continue
        fix = 'write it as {"context": "...", "question": "..."}, a longer text as several rows'
        bad.append(Failed(number, question.question[:80], why, fix))
    return good, bad


def as_item(questions: Sequence[Question]) -> str:
    """The input of one task, as the program reads it."""
    rows = [{name: getattr(one, name) for name in ("context", "question", "item_id")} for one in questions]
    return json.dumps(rows, ensure_ascii=False)


def size_of(questions: Sequence[Question]) -> int:
    """Bytes of the input of one task."""
    return len(as_item(questions).encode())


def shares(questions: Sequence[Question], tasks: int) -> Iterator[list[Question]]:
    """One list per task, as equal as can be; one that is too large for an item is halved."""
    size, larger = divmod(len(questions), tasks)
    first = 0
    for task in range(tasks):
        following = first + size + (task < larger)
        waiting = [list(questions[first:following])] if following > first else []
        first = following
        while waiting:
            share = waiting.pop()
            if size_of(share) <= ITEM_BYTES:
                yield share
            else:
                middle = len(share) // 2
                waiting += [share[middle:], share[:middle]]


def most_tasks(ledger: Ledger) -> int:
    """How many tasks the account's quota lets run at once. AWS calls: ``servicequotas:GetServiceQuota``."""
    quota = quota_value(ledger.client("service-quotas"), "fargate", FARGATE_VCPUS)
    return MOST_TASKS if quota == math.inf else max(1, int(quota))


# -- Asking ------------------------------------------------------------------------------------------------


def ask(ledger: Ledger, context: str, question: str) -> Outcome:
    """One question, by one task.

    Raises
    ------
    LabError
        When there is no answer; it says what became of the task.
    """
    row = {"context": context, "question": question}
    for failed in sorted_out([row])[1]:
        example = '"Lisbon is the capital of Portugal." "What is the capital?"    # a longer text in parts'
        why = failed.why.replace("Row 1", "It", 1)
        raise LabError("This cannot be asked.", why, f"{ledger.command('ask')} {example}")
    asked = ask_many(ledger, [row], tasks=1)
    for failed in asked.failed:
        raise LabError("There is no answer.", failed.why, failed.fix)
    return asked


def ask_many(ledger: Ledger, rows: Sequence[Any] | None = None, *, tasks: int | None = None) -> Outcome:
    """Many questions, spread over tasks that run at the same time.

    Parameters
    ----------
    rows : list of dict, optional
        Objects with ``context`` and ``question``; the lab's own, unless given. A broken one is told, by its
        number, and the others are answered.
    tasks : int, optional
        How many; one per 16 questions unless given, and at most what the account's quota allows.

    Returns
    -------
    Outcome

    Raises
    ------
    LabError
        When the lab does not stand or has no reader, or no task could be started.

    AWS calls: ``dynamodb:PutItem``, ``ecs:RunTask``, ``ecs:DescribeTasks``, ``dynamodb:BatchGetItem``,
    ``dynamodb:BatchWriteItem``; for what failed ``logs:GetLogEvents``.
    """
    began = time.monotonic()
    questions, failed = sorted_out(shipped() if rows is None else rows)
    if not questions:
        return Outcome([], failed, 0, 0.0, {})
    wanted = tasks or math.ceil(len(questions) / PER_TASK)
    work = {
        f"questions-{uuid.uuid4().hex}": share
        for share in shares(questions, max(1, min(wanted, len(questions), most_tasks(ledger))))
    }
    runs = Runs(ledger, len(work))
    require_reader(ledger)
    try:
        store_questions(ledger, work)
        runs.start_all(list(work))
        shown = runs.follow()
    finally:
        remove_questions(ledger, work)  # after Ctrl-C, too: a task that has not read them yet gives up then
    ledger.close_ended()
    found = fetch(ledger, [one.item_id for one in questions])
    for input_id, share in work.items():
        failed += unanswered(ledger, share, found, shown.get(input_id), runs.refused.get(input_id))
    answers = [found[one.item_id] for one in questions if one.item_id in found]
    longest = max(
        (seconds_of(task) for task in shown.values()), key=lambda parts: sum(parts.values()), default={}
    )
    seconds = round(time.monotonic() - began, 3)
    return Outcome(answers, sorted(failed, key=lambda one: one.number), len(shown), seconds, longest)


def require_reader(ledger: Ledger) -> None:
    """Stop before tasks start in a practice cloud that got the program alone, without a model.

    AWS calls: ``ecs:DescribeTaskDefinition``, in the practice cloud only.
    """
    if ledger.cloud.is_aws:
        return
    shown = ledger.client("ecs").describe_task_definition(taskDefinition=standing(ledger, "task-definition"))
    (container,) = shown["taskDefinition"]["containerDefinitions"]
    named = {variable["name"] for variable in container["environment"]}
    if not container["image"].endswith(images.PROGRAM_TAG) or "QA_MODEL" in named:
        return
    lacks = images.lacking(READER_NEEDS)
    first = f"{install('ml')} && " if lacks else ""
    raise LabError(
        "There is no reader in the lab's image.",
        "It was built without Docker, by a Python that could not make one"
        + (f": it has no {' and no '.join(lacks)}." if lacks else "; by now it could."),
        f"{first}{ledger.command('down')} && {ledger.command('up')} --no-docker",
    )


def store_questions(ledger: Ledger, work: dict[str, list[Question]]) -> None:
    """Put the questions of each task into the table. AWS calls: ``dynamodb:PutItem``."""
    client, table = ledger.client("dynamodb"), standing(ledger, "table")
    for input_id, share in work.items():
        item = {"item_id": {"S": input_id}, "questions": {"S": as_item(share)}}
        client.put_item(TableName=table, Item=item)


def remove_questions(ledger: Ledger, work: Iterable[str]) -> None:
    """Remove them again, once no task is to read them any more. AWS calls: ``dynamodb:BatchWriteItem``."""
    keys = [{"DeleteRequest": {"Key": {"item_id": {"S": input_id}}}} for input_id in work]
    tables.send(ledger.client("dynamodb"), standing(ledger, "table"), keys, len(keys))


class Runs:
    """Tasks from their start to their end.

    Attributes
    ----------
    arns : dict of str
        The task of each input.
    refused : dict of LabError
        Why there is none.
    """

    def __init__(self, ledger: Ledger, many: int) -> None:
        self.ledger, self.many = ledger, many
        self.ecs = ledger.client("ecs")
        self.cluster = standing(ledger, "cluster")
        self.arns: dict[str, str] = {}
        self.refused: dict[str, LabError] = {}
        self.told = ""
        self.began = time.monotonic()
        self.over = threading.Event()  # no more tasks are to start
        self.room, self.waits, self.mutex = contextlib.ExitStack(), False, threading.Lock()

    def start_all(self, inputs: list[str]) -> None:
        """One task for each; raises the refusal if there is not one that started.

        Ctrl-C ends it at once: what waits for room is not started any more.
        """
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            for input_id, result in zip(inputs, pool.map(self.start, inputs), strict=True):
                if isinstance(result, LabError):
                    self.refused[input_id] = result
                else:
                    self.arns[input_id] = result
        finally:
            self.over.set()
            pool.shutdown(cancel_futures=True)
            self.room.close()
        if not self.arns:
            raise next(iter(self.refused.values()))

    def start(self, input_id: str) -> str | LabError:
        """A task that answers the questions of one item; waits where there is no room for it yet."""
        until, pause_s = time.monotonic() + PLACED_S, 2.0
        while True:
            try:
                return self.run(input_id)
            except LabError as error:
                code = error.code if isinstance(error, AwsError) else ""
                passing = code in THROTTLED or any(words in f"{code} {error.why}" for words in NO_ROOM)
                if not passing or time.monotonic() > until:
                    return error
                self.crowded()
                if self.over.wait(pause_s):
                    return error
                pause_s = min(1.5 * pause_s, ROOM_S)

    def crowded(self) -> None:
        """Show that room is waited for, once for all tasks."""
        with self.mutex:
            if not self.waits:
                self.waits = True
                self.room.enter_context(awaiting("Fargate has room for all tasks"))

    def run(self, input_id: str) -> str:
        """RunTask; the size stands in it once more, so that the ledger knows what the task costs."""
        place = {
            "subnets": [standing(self.ledger, "subnet")],
            "securityGroups": [standing(self.ledger, "security-group")],
            "assignPublicIp": "ENABLED",  # without it the task could not reach ECR to pull its image
        }
        definition = standing(self.ledger, "task-definition")
        row = self.ledger.journal.last("task-definition")
        known = row.telling if row else {}  # of a recovered row nothing, and then no price
        return self.ledger.start(
            "task",
            self.ecs.run_task,
            cluster=self.cluster,
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": place},
            overrides={
                **{name: known[name] for name in ("cpu", "memory") if name in known},
                "containerOverrides": [{"name": CONTAINER, "command": ["--from-table", input_id]}],
            },
        )

    def follow(self) -> dict[str, dict[str, Any]]:
        """Wait until all have stopped, telling what changes; the tasks as ECS shows them then, by input.

        A task that is not shown (any more) is not waited for: ECS forgets the stopped ones in time.
        """
        inputs, since = {arn: input_id for input_id, arn in self.arns.items()}, time.monotonic()
        shown: dict[str, dict[str, Any]] = {}

        def all_stopped() -> bool:
            shown.clear()
            shown.update({inputs[task["taskArn"]]: task for task in self.shown(list(inputs))})
            self.tell(shown.values())
            stopped = [task for task in shown.values() if task["lastStatus"] == "STOPPED"]
            visible = time.monotonic() - since > self.ledger.settle_s
            return len(stopped) == (len(shown) if visible else len(inputs))

        what = "the task has stopped" if self.many == 1 else f"all {len(inputs)} tasks have stopped"
        poll(what, all_stopped, timeout_s=ENDED_S, fix=self.ledger.command("down"))
        return shown

    def shown(self, arns: list[str]) -> Iterator[dict[str, Any]]:
        """Tasks as ECS shows them. AWS calls: ``ecs:DescribeTasks``, for 100 at a time."""
        for some in parts(arns):
            yield from self.ecs.describe_tasks(cluster=self.cluster, tasks=some)["tasks"]

    def tell(self, tasks: Iterable[dict[str, Any]]) -> None:
        """A line whenever a task has come a state further."""
        states = Counter(task["lastStatus"] for task in tasks)
        text = ", ".join(state if self.many == 1 else f"{many} {state}" for state, many in states.items())
        if text and text != self.told:
            self.told = text
            log.info("%5.1f s  %s", time.monotonic() - self.began, text)


def fetch(ledger: Ledger, item_ids: Sequence[str]) -> dict[str, FoundAnswer]:
    """Those of these answers that are in the table. AWS calls: ``dynamodb:BatchGetItem``."""
    client, table = ledger.client("dynamodb"), standing(ledger, "table")
    found: dict[str, FoundAnswer] = {}
    for some in parts(item_ids):
        keys = [{"item_id": {"S": item_id}} for item_id in some]
        wanted = {table: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(12):
            answer = client.batch_get_item(RequestItems=wanted)
            for item in answer["Responses"].get(table, []):
                found[item["item_id"]["S"]] = as_answer(tables.plain(item))
            wanted = answer.get("UnprocessedKeys", {})
            if not wanted:
                break
            time.sleep(min(0.05 * 2**attempt, 5.0))
        else:
            raise TimedOut("DynamoDB did not give all answers.", "", f"{ledger.command('answers')}")
    return found


def as_answer(item: dict[str, Any]) -> FoundAnswer:
    """An item of the table as an answer; what is of another type than the reader writes is None, or empty."""
    values = {name: item.get(name, 0 if name == "context_start" else None) for name in FIELDS}
    texts = {name: values[name] if isinstance(values[name], str) else "" for name in TEXTS}
    numbers = {name: value if type(value) in (int, float) else None for name, value in values.items()}
    return FoundAnswer(**numbers | texts)


# -- What went wrong -----------------------------------------------------------------------------------------


def unanswered(
    ledger: Ledger,
    share: Sequence[Question],
    found: dict[str, FoundAnswer],
    task: dict[str, Any] | None,
    refused: LabError | None,
) -> list[Failed]:
    """The questions of one task that have no answer, each with the reason that fits it best."""
    missing = [(place, one) for place, one in enumerate(share, 1) if one.item_id not in found]
    if not missing:
        return []
    rows: dict[int, str] = {}
    why, fix = "ECS does not show its task any more.", f"{ledger.command('status')}    # what stands?"
    if refused is not None:
        why, fix = f"{refused.what} {refused.why}", refused.fix
    elif task is not None:
        why, fix = why_it_failed(ledger, task)
        text = "\n".join(lines_of(ledger, id_of(task["taskArn"])))
        rows = {int(place): reason for place, reason in BROKEN_ROW.findall(text)}
    return [
        Failed(
            one.number,
            one.question[:80],
            rows.get(place, why),
            "change this question and ask it again" if place in rows else fix,
        )
        for place, one in missing
    ]


def why_it_failed(ledger: Ledger, task: dict[str, Any]) -> tuple[str, str]:
    """What became of a stopped task, from its stop code, its container and its log; and what mends it."""
    ours = [one for one in task["containers"] if one["name"] == CONTAINER]  # GuardDuty may add one of its own
    container: dict[str, Any] = ours[0] if ours else {}
    reason = container.get("reason") or task.get("stoppedReason", "no reason given")
    exit_code = container.get("exitCode")
    again = f"{ledger.command('logs')} {id_of(task['taskArn'])}    # shows all it has printed"
    if "OutOfMemory" in reason:
        why = f"The task used more than its {int(task['memory']) // 1024} GB of memory."
        return why, "ask fewer or shorter questions per task: ask-many --tasks N with a larger N"
    if "CannotPull" in reason or "ResourceInitialization" in reason:
        return (
            f"The task could not begin: {reason}",
            f"{ledger.command('up')}    # with the options it was built with: mends image, roles, network",
        )
    if task.get("stopCode") == "UserInitiated":
        return f"The task was stopped by hand: {reason}.", "ask again"
    said = "\n       ".join(lines_of(ledger, id_of(task["taskArn"]))[-LOG_LINES:])
    code = "no exit code" if exit_code is None else f"exit code {exit_code}"
    return f"The task ended with {code} ({reason}).\n       {said}".rstrip(), again


def id_of(task_arn: str) -> str:
    """The last part of a task's ARN, which its log stream ends with too."""
    return task_arn.rpartition("/")[2]


def lines_of(ledger: Ledger, task_id: str) -> list[str]:
    """What a task has printed; nothing of one that ended before. AWS calls: ``logs:GetLogEvents``."""
    return list(Tail(ledger).lines(f"task/{CONTAINER}/{task_id}"))


def seconds_of(task: dict[str, Any]) -> dict[str, float]:
    """Where a stopped task's time went, from the moments that ECS keeps."""
    moments = ("createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "executionStoppedAt", "stoppedAt")
    names = ("queued", "pulled", "started", "worked", "stopped")
    if not all(moment in task for moment in moments):
        return {}
    times = [task[moment].timestamp() for moment in moments]
    return {
        name: round(after - before, 3) for name, before, after in zip(names, times, times[1:], strict=False)
    }


# -- What is there -------------------------------------------------------------------------------------------


def answers(ledger: Ledger, limit: int | None = None) -> list[FoundAnswer]:
    """The answers in the table, at most `limit`; DynamoDB keeps no order. AWS calls: ``dynamodb:Scan``.

    An item is one if it has a text as its ``answer``; what else others have put there is left out.
    """
    read = tables.scan_all(
        ledger.client("dynamodb"),
        standing(ledger, "table"),
        FilterExpression="attribute_type(answer, :text)",
        ExpressionAttributeValues={":text": {"S": "S"}},
    )
    return [as_answer(item) for item in read.items][:limit]


def logs(ledger: Ledger, task_id: str = "", *, lines: int = 50) -> list[str]:
    """The last lines of one task, or of the one that began last.

    Not of the one that printed last: AWS tells the time of a stream's last event up to an hour late.

    AWS calls: ``logs:DescribeLogStreams``, ``logs:GetLogEvents``.
    """
    if not task_id:
        group = standing(ledger, "log-group")
        streams = pages(ledger.client("logs"), "describe_log_streams", "logStreams", logGroupName=group)
        if not streams:
            return []
        task_id = max(streams, key=lambda stream: stream["creationTime"])["logStreamName"]
    return lines_of(ledger, id_of(task_id))[-lines:]


def bring_home(ledger: Ledger, folder: Path) -> str:
    """Save all answers as ``answers.json`` in a folder, beside those that it holds already; say how many.

    Raises
    ------
    LabError
        When this computer cannot take them.
    """
    if ledger.missing(["table"]):
        return ""
    client = ledger.client("dynamodb")
    try:
        found = answers(ledger)
    except client.exceptions.ResourceNotFoundException:
        return ""  # somebody has deleted it: there is nothing to save
    if not found:
        return ""
    file = folder / "answers.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = json.loads(file.read_text("utf-8")) if file.exists() else []
        kept = {one["item_id"]: one for one in [*earlier, *map(asdict, found)]}
        part = file.with_suffix(".part")
        part.write_text(json.dumps([*kept.values()], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(file)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabError(
            f"The answers could not be saved in {file}, so nothing was deleted.",
            str(error),
            f"make room or another {file.name} of it, or leave them: {ledger.command('down')} --discard",
        ) from error
    return f"{len(found)} answers"
