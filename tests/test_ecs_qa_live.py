"""Chapter 3 with its own reader: as processes, and as containers where a Docker engine answers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import docker_engine
import docker_images
import pytest
import small_reader
from extras import needed

from awslabs import ecs_qa, sandbox
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.workload.ecs_qa import questions

pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("answers_fit")]

needed("torch", "transformers")


README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_reader.trained(tmp_path_factory)


def opened(run: sandbox.Run) -> Iterator[Ledger]:
    ledger = Ledger(Cloud(environment=run.environment()), "ecs_qa")
    yield ledger
    ledger.down()
    assert not ledger.journal.open_rows()
    run.stop()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    yield from opened(sandbox.start(slow_states=0.02))


def right(asked: questions.Outcome) -> float:
    """The share of answers that are what the reader has learned."""
    expected = [small_reader.ANSWERS[answer.question] for answer in asked.answers]
    return sum(answer.answer == text for answer, text in zip(asked.answers, expected, strict=True)) / len(
        expected
    )


def test_nine_questions_in_three_tasks_are_all_answered(ledger: Ledger, model: Path) -> None:
    ecs_qa.up(ledger, model=str(model), without_docker=True)
    asked = questions.ask_many(ledger, questions.shipped()[:9], tasks=3)
    assert not asked.failed
    assert (len(asked.answers), asked.tasks) == (9, 3)
    assert right(asked) >= 0.75
    for answer in asked.answers:
        assert answer.context[answer.start : answer.end] == answer.answer
        assert answer.model == model.name
        assert 0 < answer.score <= 1.5
        assert answer.seconds > 0
    printed = [json.loads(line) for line in questions.logs(ledger) if line.startswith("{")]
    assert {line["answer"] for line in printed} <= {answer.answer for answer in asked.answers}
    (line,) = re.findall(r"ecs_qa ask (.*) --sandbox", README.read_text(encoding="utf-8"))
    assert questions.ask(ledger, *shlex.split(line)).answers[0].answer == "three"
    many = questions.ask_many(ledger, tasks=1)  # one load of the model for all of them
    assert not many.failed
    assert right(many) >= 0.75


def test_a_client_of_your_own_asks_one_task_per_question_and_waits_for_its_item(
    ledger: Ledger, model: Path
) -> None:
    """As a textbook's script does: only boto3, and names and ids that one has been given."""
    lab = ecs_qa.up(ledger, model=str(model), without_docker=True)
    ecs, table = ledger.client("ecs"), ledger.client("dynamodb")

    def ask(item_id: str, context: str, question: str, definition: str) -> dict:
        place = {"subnets": [lab.subnet_id], "assignPublicIp": "ENABLED"}
        started = ecs.run_task(
            cluster=lab.cluster_name,
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": place},
            overrides={
                "containerOverrides": [{"name": lab.container_name, "command": [context, question, item_id]}]
            },
        )
        arns = [task["taskArn"] for task in started["tasks"]]
        waiter = ecs.get_waiter("tasks_stopped")
        waiter.wait(cluster=lab.cluster_name, tasks=arns, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
        return table.get_item(TableName=lab.table_name, Key={"item_id": {"S": item_id}})["Item"]

    (line,) = re.findall(r"ecs_qa ask (.*) --sandbox", README.read_text(encoding="utf-8"))
    context, question = shlex.split(line)
    item = ask("1", context, question, lab.task_definition_arn)
    assert (item["context"]["S"], item["question"]["S"]) == (context, question)
    assert item["answer"]["S"] == "three"
    assert float(item["score"]["N"]) > 0
    # A definition of one's own has no variable TABLE_NAME: then the parameter of that name says it.
    own = ecs.describe_task_definition(taskDefinition=lab.task_definition_arn)["taskDefinition"]
    (container,) = own["containerDefinitions"]
    variables = [one for one in container["environment"] if one["name"] != "TABLE_NAME"]
    registered = ecs.register_task_definition(
        family="own",
        containerDefinitions=[{**container, "environment": variables}],
        **{
            name: own[name]
            for name in (
                *("requiresCompatibilities", "networkMode", "cpu", "memory", "executionRoleArn"),
                "taskRoleArn",
            )
        },
    )
    definition = registered["taskDefinition"]["taskDefinitionArn"]
    ledger.client("ssm").put_parameter(Name="TABLE_NAME", Type="String", Value=lab.table_name)
    assert ask("2", context, question, definition)["answer"]["S"] == "three"
    # The lab's own verb shows both.
    assert {one.item_id for one in questions.answers(ledger)} == {"1", "2"}
    ecs.deregister_task_definition(taskDefinition=definition)


@pytest.fixture
def docker_ledger(tmp_path: Path) -> Iterator[Ledger]:
    docker_engine.needed()
    with docker_engine.in_use():
        run = sandbox.start(slow_states=0.02)
        run.weather(faults=["registry:UploadBlob=ExpiredToken:1:1"])  # in the middle of the push
        yield from opened(run)


def test_the_image_is_built_pushed_pulled_and_answers_from_a_container(
    docker_ledger: Ledger,
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The project's own Dockerfile on a base of Debian packages; pip takes wheels out of the context."""
    client = docker_engine.needed()
    recipe = docker_images.qa_bot(client, tmp_path_factory, model)
    docker_images.build(client, tmp_path_factory, recipe)  # so that the lab's own build takes seconds
    monkeypatch.setattr(ecs_qa, "recipe_with", lambda ledger, model: recipe)
    reader = ecs_qa.up(docker_ledger, model=str(model))
    try:
        assert reader.image.endswith(f":{recipe.tag}")
        ecr, repository = docker_ledger.client("ecr"), docker_ledger.resources["repository"]
        (shown,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
        assert shown["imageTags"] == [recipe.tag]
        client.images.remove(reader.image, force=True)  # a task must pull it
        asked = questions.ask_many(docker_ledger, questions.shipped()[:4], tasks=2)
        assert not asked.failed
        assert right(asked) >= 0.75
        assert {answer.model for answer in asked.answers} == {model.name}
        assert ecs_qa.up(docker_ledger, model=str(model)) == reader  # nothing is built, nothing pushed
    finally:
        docker_images.untag(client, reader.image.rpartition(":")[0])
