"""Chapter 3 on the practice cloud, with small programs in the place of the reader; the reader itself is real
in `test_ecs_qa_live.py`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from practice import everything_ours
from test_services_support import client, cloud

from awslabs import cli, ecs_qa, images, recovery, sandbox, workload
from awslabs.cloud import Cloud
from awslabs.errors import AwsError, LabError, LedgerError, install
from awslabs.kinds.named import as_kept
from awslabs.ledger import Ledger
from awslabs.workload import tables
from awslabs.workload.ecs_qa import questions, verbs

# Answers each question of an item with the first word of its context, and fails as it is told.
SLOW_STATES = 0.02
PARROT = """
import decimal, json, os, sys
import boto3

rows = json.loads(boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"]).get_item(
    Key={"item_id": sys.argv[sys.argv.index("--from-table") + 1]})["Item"]["questions"])
broken = 0
with boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"]).batch_writer() as table:
    for number, row in enumerate(rows, 1):
        if row["question"].startswith("eat"):
            hoard = bytearray(8 << 30)
        if row["question"].startswith("die"):
            print("the parrot is dead")
            sys.exit(3)
        if row["question"].startswith("refuse"):
            broken += 1
            print(f"row {number}: it does not want to.", file=sys.stderr)
            continue
        word = row["context"].split()[0]
        table.put_item(Item={**row, "answer": word, "score": decimal.Decimal("0.5"), "start": 0,
                             "end": len(word), "seconds": decimal.Decimal("0.1"), "model": "parrot"})
sys.exit(1 if broken else 0)
"""


@pytest.fixture
def parrot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "parrot"
    folder.mkdir()
    (folder / "main.py").write_text(PARROT)
    monkeypatch.setattr(images, "folder", lambda name: folder)
    return folder


@pytest.fixture
def ledger(run: sandbox.Run, parrot: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(Ledger, "settle_s", 1.0)
    ledger = Ledger(Cloud(environment=run.environment()), "ecs_qa")
    yield ledger
    ledger.down()


@pytest.fixture
def lab(ledger: Ledger) -> Ledger:
    ecs_qa.up(ledger, model="parrot", without_docker=True)
    return ledger


def rows(many: int, question: str = "which word?") -> list[dict[str, str]]:
    return [{"context": f"word{number} is the first", "question": question} for number in range(many)]


def test_logs_without_a_task_are_those_of_the_one_that_began_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS shows 50 streams at a time, and tells late which of them was written to last."""
    for module in (workload, questions):
        monkeypatch.setattr(module, "standing", lambda ledger, row: "group")
    with cloud(every=True, slow_states=1.0):
        logs, here = client("logs"), SimpleNamespace(client=client)
        logs.create_log_group(logGroupName="group")
        assert questions.logs(here) == []  # type: ignore[arg-type]
        for name in [*(f"{number:02}" for number in range(60)), "00-the-latest"]:
            stream = {"logGroupName": "group", "logStreamName": f"task/{questions.CONTAINER}/{name}"}
            logs.create_log_stream(**stream)
            event = {"timestamp": int(time.time() * 1000), "message": name}
            logs.put_log_events(**stream, logEvents=[event])
            time.sleep(0.002)  # creation is told in milliseconds
        assert questions.logs(here) == ["00-the-latest"]  # type: ignore[arg-type]


# -- What is asked ----------------------------------------------------------------------------------------


def test_broken_rows_are_named_by_their_number_and_the_others_are_kept() -> None:
    broken = [
        {"context": "", "question": "q"},
        {"context": "c"},
        "text",
        {"context": "c\ud800", "question": "q"},
    ]
    good, bad = questions.sorted_out([rows(1)[0], *broken, rows(1)[0]])
    assert [one.number for one in good] == [1, 6]
    assert [one.number for one in bad] == [2, 3, 4, 5]
    assert "Row 3 has no text as its question" in bad[1].why
    assert "half of a character" in bad[3].why


def test_a_context_that_no_item_can_carry_is_refused_and_a_long_one_is_not() -> None:
    good, bad = questions.sorted_out(
        [{"context": letter * 100_000, "question": "how long?"} for letter in ("a", "あ", "😀")]
    )
    assert [one.number for one in good] == [1, 2]
    assert "390000 bytes" in bad[0].why


def test_shares_are_equal_in_order_and_small_enough_for_an_item() -> None:
    good, _ = questions.sorted_out(rows(33))
    shares = list(questions.shares(good, 3))
    assert [len(share) for share in shares] == [11, 11, 11]
    assert [one.number for share in shares for one in share] == list(range(1, 34))
    long, _ = questions.sorted_out([{"context": "x" * 150_000, "question": "q"}] * 5)
    halved = list(questions.shares(long, 1))
    assert [one.number for share in halved for one in share] == [1, 2, 3, 4, 5]
    assert all(questions.size_of(share) <= questions.ITEM_BYTES for share in halved)


def test_a_share_is_what_the_program_reads() -> None:
    good, _ = questions.sorted_out(rows(1))
    assert json.loads(questions.as_item(good)) == [
        {"context": "word0 is the first", "question": "which word?", "item_id": good[0].item_id}
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "could not be read"),
        ("{", "is not JSON"),
        ('{"a": 1}', "holds no list"),
        ("\xff", "is not JSON"),
    ],
)
def test_a_file_that_holds_no_questions_says_why(content: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "questions.json"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    with pytest.raises(LabError, match=says):
        questions.read(file)


def test_the_shipped_questions_are_all_good() -> None:
    good, bad = questions.sorted_out(questions.shipped())
    assert len(good) >= 24
    assert not bad


# -- The lab ----------------------------------------------------------------------------------------------


def test_up_prints_what_stands_and_a_second_up_changes_nothing(lab: Ledger, run: sandbox.Run) -> None:
    reader = ecs_qa.describe(lab)
    assert reader.cluster_name.startswith(lab.prefix)
    before = [call["operation"] for call in run.calls(lab.cloud.identity["account"])]
    assert ecs_qa.up(lab, model="parrot", without_docker=True) == reader
    after = [call["operation"] for call in run.calls(lab.cloud.identity["account"])][len(before) :]
    assert [
        name for name in after if not name.partition(":")[2].startswith(("Describe", "Get", "List"))
    ] == []


def test_other_options_on_a_standing_lab_are_refused_before_anything_is_made(
    lab: Ledger, run: sandbox.Run, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = len(run.calls(lab.cloud.identity["account"]))
    for other in ({"model": "some/body"}, {"model": str(tmp_path)}, {"image": "public.example/reader:1"}):
        with pytest.raises(LedgerError, match="The lab stands with 127"):
            ecs_qa.up(lab, without_docker=True, **other)  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match="stands with roles of its own"):
        ecs_qa.up(lab, model="parrot", without_docker=True, role_arn="arn:aws:iam::111122223333:role/other")
    asked = [call["operation"] for call in run.calls(lab.cloud.identity["account"])[before:]]
    assert {name.partition(":")[2] for name in asked} == {"GetServiceQuota", "DescribeTaskDefinition"}


def test_one_question_is_answered_and_its_time_is_split(lab: Ledger) -> None:
    asked = questions.ask(lab, "Lisbon is the capital.", "which word?")
    (answer,) = asked.answers
    assert (answer.answer, answer.start, answer.end) == ("Lisbon", 0, 6)
    assert list(asked.parts) == ["queued", "pulled", "started", "worked", "stopped"]
    assert questions.answers(lab) == [answer]
    (row,) = [row for row in lab.journal.rows if row.name == "task"]
    (task,) = lab.client("ecs").describe_tasks(cluster=row.ids["clusterArn"], tasks=[row.id])["tasks"]
    assert (row.state, row.ended) == ("gone", as_kept(task["stoppedAt"]))


def test_many_questions_are_spread_and_come_back_in_their_order(lab: Ledger) -> None:
    asked = questions.ask_many(lab, rows(20), tasks=9)
    assert asked.tasks == 9
    assert [answer.answer for answer in asked.answers] == [f"word{number}" for number in range(20)]
    assert not asked.failed


def test_each_failure_is_explained_and_the_others_are_answered(lab: Ledger) -> None:
    asked = questions.ask_many(
        lab, [rows(1)[0], rows(1, "refuse")[0], rows(1, "die")[0], rows(1, "eat")[0], 7], tasks=4
    )
    assert [answer.answer for answer in asked.answers] == ["word0"]
    why = {one.number: one.why for one in asked.failed}
    assert why[2] == "it does not want to."
    assert "exit code 3" in why[3]
    assert "the parrot is dead" in why[3]
    assert "more than its 4 GB" in why[4]
    assert "Row 5" in why[5]


def test_down_stops_a_task_that_runs(lab: Ledger, parrot: Path) -> None:
    runs = questions.Runs(lab, 1)
    questions.store_questions(lab, {"sleepers": []})
    (parrot / "main.py").write_text("import time; time.sleep(600)")
    runs.start_all(["sleepers"])
    lab.down()
    assert not lab.journal.open_rows()


def test_a_recovered_lab_answers_and_goes_down(lab: Ledger) -> None:
    lab.journal.path.unlink()
    (lost,) = recovery.lost(lab.cloud, everything_ours(lab.cloud))
    found = recovery.write_back(lab.cloud, lost)
    assert questions.ask(found, "Lisbon is the capital.", "which word?").answers
    found.down()
    assert recovery.lost(lab.cloud, everything_ours(lab.cloud)) == []
    lab.journal.reload()  # for the end of the test: nothing is open


def test_a_task_that_ecs_has_forgotten_is_not_waited_for(
    lab: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = questions.Runs.shown
    monkeypatch.setattr(questions.Runs, "shown", lambda runs, arns: shown(runs, arns[1:]))
    asked = questions.ask_many(lab, rows(4), tasks=2)
    assert len(asked.answers) + len(asked.failed) == 4
    assert asked.tasks == 1
    assert all("does not show its task" in one.why for one in asked.failed)


def test_answers_of_other_programs_are_shown_and_harm_nobody(
    lab: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    others: list[dict] = [
        {"answer": {"S": "four"}, "context": {"S": "c"}, "question": {"S": "q?"}, "score": {"N": "0.5"}},
        {"answer": {"S": "five"}, "score": {"S": "high"}, "start": {"NULL": True}, "model": {"N": "7"}},
        {"answer": {"M": {}}, "score": {"N": "1"}},
        {"questions": {"S": "[]"}},
    ]
    for number, item in enumerate(others):
        lab.client("dynamodb").put_item(
            TableName=lab.resources["table"], Item={"item_id": {"S": str(number)}, **item}
        )
    found = sorted(questions.answers(lab), key=lambda one: one.item_id)
    assert [(one.answer, one.question, one.score) for one in found] == [
        ("four", "q?", 0.5),
        ("five", "", None),
    ]
    cli.show([verbs.short(one) for one in found], as_json=False)
    assert capsys.readouterr().out.splitlines()[1:] == ["q?        four    0.500", "          five    ?"]
    cli.show([asdict(one) for one in found], as_json=True)
    assert json.loads(capsys.readouterr().out)["rows"][1]["score"] is None
    assert tables.clear(lab).count == 4


def test_down_brings_the_answers_home(lab: Ledger, tmp_path: Path) -> None:
    assert questions.bring_home(lab, tmp_path / "results") == ""
    questions.ask_many(lab, rows(3))
    assert questions.bring_home(lab, tmp_path / "results") == "3 answers"
    saved = json.loads((tmp_path / "results" / "answers.json").read_text())
    assert sorted(one["answer"] for one in saved) == ["word0", "word1", "word2"]
    tables.clear(lab)
    questions.ask_many(lab, rows(1))
    by_hand = {"item_id": {"S": "mine"}, "answer": {"N": "42"}}
    lab.client("dynamodb").put_item(TableName=lab.resources["table"], Item=by_hand)
    assert questions.bring_home(lab, tmp_path / "results") == "1 answers"
    saved = json.loads((tmp_path / "results" / "answers.json").read_text())
    assert len(saved) == 4  # with those of an earlier life
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="could not be saved") as stopped:
        questions.bring_home(lab, tmp_path / "file")
    assert "--discard" in stopped.value.fix
    lab.client("dynamodb").delete_table(TableName=lab.resources["table"])
    assert questions.bring_home(lab, tmp_path / "results") == ""


def test_down_saves_what_tasks_answer_until_it_stops_them(
    lab: Ledger, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    save, running = questions.bring_home, list[str]()

    def saved(ledger: Ledger, folder: Path) -> str:
        running.extend(row.name for row in ledger.journal.open_rows() if row.name == "task")
        return save(ledger, folder)

    monkeypatch.setattr(questions, "bring_home", saved)
    questions.store_questions(lab, {"sleepers": []})
    questions.Runs(lab, 1).start_all(["sleepers"])
    down = command("down", "--json")
    assert json.loads(down.stdout)["deleted"] > 10
    assert running == []


def test_a_task_without_room_waits_for_it(
    lab: Ledger, run: sandbox.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.weather(faults=["ecs:RunTask=ThrottlingException:1:3"])
    assert questions.ask_many(lab, rows(2)).answers
    run.weather(faults=["ecs:RunTask=ThrottlingException"])
    with monkeypatch.context() as hurry:
        hurry.setattr(Ledger, "patience", 0.0)
        hurry.setattr(questions, "PLACED_S", 0.0)
        with pytest.raises(LabError):
            questions.ask_many(lab, rows(2))
    run.weather(faults=[])
    assert len(questions.answers(lab)) == 2  # and no input lies about


def test_ctrl_c_ends_the_search_for_room(lab: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one of the many that wait may start a task afterwards, which nobody would follow."""
    waits: list[str] = []
    tried: list[str] = []

    @contextlib.contextmanager
    def awaiting(what: str) -> Iterator[None]:
        waits.append(what)
        yield

    def no_room(runs: questions.Runs, input_id: str) -> str:
        tried.append(input_id)
        if input_id == "input 15":
            os.kill(os.getpid(), signal.SIGINT)
        raise AwsError("ecs:RunTask was refused.", "No room.", "", code="Capacity", operation="ecs:RunTask")

    monkeypatch.setattr(questions, "awaiting", awaiting)
    monkeypatch.setattr(questions, "PLACED_S", 3.0)
    monkeypatch.setattr(questions.Runs, "run", no_room)
    with pytest.raises(KeyboardInterrupt):
        questions.Runs(lab, 60).start_all([f"input {number}" for number in range(60)])
    assert len(tried) <= 2 * questions.AT_ONCE
    assert waits == ["Fargate has room for all tasks"]


@pytest.mark.parametrize("at", ["store_questions", "start_all", "follow"])
def test_ctrl_c_leaves_no_question_in_the_table(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    taken: list[str] = []
    monkeypatch.setattr(questions, "standing", lambda ledger, row: row)
    monkeypatch.setattr(questions, "most_tasks", lambda ledger: 2)
    monkeypatch.setattr(questions, "require_reader", lambda ledger: None)
    monkeypatch.setattr(questions, "store_questions", lambda ledger, work: None)
    monkeypatch.setattr(questions, "remove_questions", lambda ledger, work: taken.extend(work))
    monkeypatch.setattr(questions.Runs, "start_all", lambda runs, inputs: None)
    monkeypatch.setattr(questions if at == "store_questions" else questions.Runs, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        questions.ask_many(SimpleNamespace(client=lambda _: None), rows(3), tasks=2)  # type: ignore[arg-type]
    assert len(taken) == 2


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (["ask", "-1 is less than 0.", "what?"], "ask [OPTIONS] -- '-1 is less than 0.' ..."),
        (["ask", "Dashes.", "-- or - ?"], "ask [OPTIONS] -- '-- or - ?' ..."),
        (["ask", "text", "what?", "--nonsense"], ""),
        (["status", "-x"], ""),
    ],
)
def test_a_text_with_a_dash_in_front_is_told_its_place(line: list[str], hint: str) -> None:
    done = CliRunner().invoke(ecs_qa.command_line(), line, prog_name="python -m awslabs.ecs_qa")
    assert done.exit_code == 2
    assert "No such option" in done.stderr
    assert hint in done.stderr
    assert ("begins with a dash" in done.stderr) == bool(hint)


def test_a_folder_that_is_no_model_is_refused_before_anything_is_built(
    ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (str(tmp_path / "empty"), str(tmp_path / "mistyped"), "./mistyped"):
        with pytest.raises(LabError, match="holds no model"):
            ecs_qa.up(ledger, model=folder, without_docker=True)
    with pytest.raises(LabError, match=r"cannot be put into public\.example/reader"):
        ecs_qa.up(ledger, model=str(tmp_path / "empty"), image="public.example/reader")
    assert not ledger.resources


def test_a_given_role_that_is_not_there_is_named(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"arn:aws:iam::{ledger.cloud.identity['account']}:role/nobody"
    with monkeypatch.context() as hurry:
        hurry.setattr(Ledger, "patience", 0.0)
        with pytest.raises(AwsError, match="Role is not valid") as refused:
            ecs_qa.up(ledger, model="parrot", without_docker=True, role_arn=nobody)
    assert "does not trust ecs-tasks.amazonaws.com" in refused.value.why
    assert "aws iam get-role --role-name nobody" in refused.value.fix


def variables(ledger: Ledger) -> dict[str, str]:
    """What tells the program of its model."""
    definition = ledger.resources["task-definition"]
    shown = ledger.client("ecs").describe_task_definition(taskDefinition=definition)
    (container,) = shown["taskDefinition"]["containerDefinitions"]
    return {one["name"]: one["value"] for one in container["environment"] if one["name"].startswith("QA_")}


def test_a_folder_gives_its_answers_its_name(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "my-reader"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    ecs_qa.up(ledger, model=str(folder), without_docker=True)
    assert variables(ledger) == {"QA_MODEL": "model", "QA_MODEL_NAME": "my-reader"}


@pytest.mark.parametrize("model", [None, "somebody/elses"])
def test_on_aws_a_second_up_needs_no_engine(
    ledger: Ledger, run: sandbox.Run, monkeypatch: pytest.MonkeyPatch, model: str | None
) -> None:
    """The image is in the repository, under the tag of this model."""

    def built(engine: object, recipe: images.Recipe, address: str) -> None:
        ecr = ledger.client("ecr")
        images.push_program(ecr, ledger.resources["repository"], recipe, address.rpartition(":")[2])

    monkeypatch.setattr(ledger.cloud, "is_aws", True)
    with monkeypatch.context() as engine:
        engine.setattr(images, "engine", object)
        engine.setattr(images, "build", built)
        engine.setattr(images, "push", lambda *_: None)
        engine.setattr(images, "require_platform", lambda *_: None)
        reader = ecs_qa.up(ledger, model=model)
    assert variables(ledger) == {"QA_MODEL_NAME": model or ecs_qa.MODEL}  # where it lies, the image knows
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    before = len(run.calls(ledger.cloud.identity["account"]))
    assert ecs_qa.up(ledger, model=model) == reader
    later = [call["operation"] for call in run.calls(ledger.cloud.identity["account"])[before:]]
    assert [
        name for name in later if not name.partition(":")[2].startswith(("Describe", "Get", "List"))
    ] == []
    with pytest.raises(LabError, match="No Docker engine answers"):
        ecs_qa.up(ledger, model="another/one")


def test_the_default_model_has_one_name() -> None:
    folder = images.folder("qa_bot")
    assert f"ARG MODEL={ecs_qa.MODEL}\n" in (folder / "Dockerfile").read_text(encoding="utf-8")
    assert f'DEFAULT_MODEL = "{ecs_qa.MODEL}"\n' in (folder / "main.py").read_text(encoding="utf-8")


# -- The command line -------------------------------------------------------------------------------------


@pytest.fixture
def command(run: sandbox.Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in run.environment().items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(ecs_qa.command_line(), list(arguments))

    return call


@pytest.mark.live
@pytest.mark.usefixtures("lab")
def test_the_verbs_print_answers_and_name_what_failed(command: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([rows(1)[0], {"context": "", "question": "q"}]))
    many = command("ask-many", str(file))
    assert many.exit_code == 1
    assert "word0" in many.stdout
    assert "1 of 2 questions have no answer" in many.output
    assert "Row 2 has no text" in many.output
    one = command("ask", "Lisbon is it.", "which word?", "--json")
    assert json.loads(one.stdout)["answer"] == "Lisbon"
    shown = command("answers", "--json")
    assert sorted(answer["answer"] for answer in json.loads(shown.stdout)["rows"]) == ["Lisbon", "word0"]
    assert json.loads(command("clear", "--json").stdout)["count"] == 2
    assert json.loads(command("answers", "--json").stdout) == {"rows": []}
    assert json.loads(command("status", "--json").stdout)["tasks_running"] == 0
    empty = command("ask", " ", "which word?")
    assert "why:   It has no text as its context." in empty.output
    assert 'ask "Lisbon is' in empty.output
    assert command("logs", "nobody").stdout == "Nothing was logged.\n"


def test_what_was_deleted_by_hand_is_named_and_up_makes_it_anew(
    command: Callable[..., Result], lab: Ledger
) -> None:
    lab.client("dynamodb").delete_table(TableName=lab.resources["table"])
    asked = command("ask", "Lisbon is it.", "which word?")
    assert asked.exit_code == 1
    assert "python -m awslabs.ecs_qa up makes anew what was deleted by hand" in asked.stderr
    ecs_qa.up(lab, model="parrot", without_docker=True)
    assert command("ask", "Lisbon is it.", "which word?").exit_code == 0


def test_work_on_a_lab_that_does_not_stand_says_up(command: Callable[..., Result]) -> None:
    asked = command("ask", "Lisbon is it.", "which word?", "--name", "other")
    assert asked.exit_code == 1
    assert "python -m awslabs.ecs_qa up --name other" in asked.output


def test_without_pytorch_the_lab_stands_and_only_questions_are_refused(
    command: Callable[..., Result],
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    find = importlib.util.find_spec
    with monkeypatch.context() as here:
        here.setattr(
            importlib.util,
            "find_spec",
            lambda name, *_: None if name in questions.READER_NEEDS else find(name),
        )
        ecs_qa.up(ledger, without_docker=True)
        lacks = "this Python has no torch and no transformers"
        assert f"no reader goes into the image: {lacks}\n" in caplog.text
        asked = command("ask", "Lisbon is it.", "which word?")
        assert asked.exit_code == 1
        assert "There is no reader in the lab's image." in asked.stderr
        again = "python -m awslabs.ecs_qa down && python -m awslabs.ecs_qa up --no-docker"
        assert f"fix:   {install('ml')} && {again}\n" in asked.stderr
    with monkeypatch.context() as here:  # by now it is installed
        here.setattr(
            importlib.util,
            "find_spec",
            lambda name, *_: object() if name in questions.READER_NEEDS else find(name),
        )
        installed = command("ask", "Lisbon is it.", "which word?")
    assert f"fix:   {again}\n" in installed.stderr
    with pytest.raises(LabError, match="There is no reader"):
        questions.ask_many(ledger, rows(2))
    assert ledger.journal.last("task") is None
    assert questions.answers(ledger) == []


UP = ("up", "--model", "parrot", "--no-docker")


@pytest.mark.live
def test_names_are_exported_for_a_shell_and_as_parameters_that_go_with_the_lab(
    lab: Ledger, command: Callable[..., Result]
) -> None:
    built = ecs_qa.describe(lab)
    names = [
        "ECS_CLUSTER_NAME",
        "ECS_TASK_DEFINITION_ARN",
        "CONTAINER_NAME",
        "ECS_TASK_VPC_SUBNET_1",
        "TABLE_NAME",
    ]
    printed = command(*UP, "--export")
    assert printed.stdout.splitlines()[-1] == f"export TABLE_NAME={built.table_name}"
    assert [line.split("=")[0] for line in printed.stdout.splitlines()] == [
        f"export {name}" for name in names
    ]
    ssm = lab.client("ssm")
    assert ssm.describe_parameters()["Parameters"] == []
    assert "TABLE_NAME" in command(*UP, "--export=ssm").stdout
    shown = {one["Name"]: one["Value"] for one in ssm.get_parameters(Names=names)["Parameters"]}
    assert shown == ecs_qa.exports(built)
    ssm.put_parameter(Name="CONTAINER_NAME", Value="changed", Overwrite=True)
    command(*UP, "--export=ssm")
    assert ssm.get_parameter(Name="CONTAINER_NAME")["Parameter"]["Value"] == built.container_name
    lab.journal.reload()
    assert "ssm:PutParameter" in {row.call for row in lab.journal.open_rows()}
    lab.down()
    assert ssm.describe_parameters()["Parameters"] == []


def test_a_parameter_of_somebody_else_is_never_overwritten(
    lab: Ledger, command: Callable[..., Result]
) -> None:
    ssm = lab.client("ssm")
    ssm.put_parameter(Name="TABLE_NAME", Value="theirs", Type="String")
    refused = command(*UP, "--export=ssm")
    assert refused.exit_code == 1
    assert "was refused (ParameterAlreadyExists)" in refused.stderr
    assert "TABLE_NAME stands in this account and Region already, and not as this lab's." in refused.stderr
    assert "up --export" in refused.stderr
    lab.journal.reload()
    lab.down()
    assert ssm.get_parameter(Name="TABLE_NAME")["Parameter"]["Value"] == "theirs"
    ssm.delete_parameter(Name="TABLE_NAME")
