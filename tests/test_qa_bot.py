"""The reader of images/qa_bot: the same answers as transformers 4's pipeline, bad input, and the table.

The equality test needs transformers 4.57.6 in a virtualenv of its own, since the reader needs version 5:

    python -m venv tf4 && tf4/bin/pip install torch transformers==4.57.6
    AWSLABS_TEST_TF4=tf4/bin/python python -m pytest tests/test_qa_bot.py
"""

from __future__ import annotations

import gc
import http.server
import importlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import boto3
import pytest
import small_reader
from extras import needed
from moto import mock_aws

pytestmark = pytest.mark.ml

needed("torch", "transformers")

FOLDER = Path(__file__).parents[1] / "images" / "qa_bot"
ROWS = json.loads((FOLDER / "questions.json").read_text(encoding="utf-8"))
CONTEXTS = sorted({row["context"] for row in ROWS})
FUJI = next(context for context in CONTEXTS if "Fuji" in context)
ODD = [
    "[CLS]",
    "[PAD] [CLS] x [SEP]",
    "日本の一番高い山は富士山です。",
    "naïve café — “quoted”",
    "😀😀 emoji 👩‍👩‍👧",
    "\u200b",
    "مرحبا بالعالم",
    "x\x00y",
    "a\u0301b\u0302",
    "ﬁ ligature Ⅷ",
    "\u202eevil",
    "١٢٣",
    "𝒜𝓁𝑔",
    "supercalifragilistic" * 8,
]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small reader, trained once."""
    return small_reader.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def program() -> Iterator[ModuleType]:
    """main.py, imported as it runs: its folder comes first. Other images have a main.py too."""
    names = [path.stem for path in FOLDER.glob("*.py")]
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("main")
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def run(program: ModuleType, model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line, with the small reader as model."""
    monkeypatch.setenv("QA_MODEL", str(model))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return lambda *arguments: program.main(list(map(str, arguments)))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """An empty table of answers in moto, named by TABLE_NAME."""
    monkeypatch.setenv("TABLE_NAME", "answers")
    with mock_aws():
        yield boto3.resource("dynamodb").create_table(
            TableName="answers",
            KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )


def printed(capsys: pytest.CaptureFixture) -> tuple[list[dict], str]:
    """The answers on stdout and the text on stderr."""
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def written(path: Path, rows: object) -> Path:
    """A JSON file."""
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


# The questions that ship


def test_the_shipped_questions_are_answered(run: Callable, capsys: pytest.CaptureFixture) -> None:
    assert len(ROWS) >= 24
    assert len(CONTEXTS) == 8
    assert run("--file", FOLDER / "questions.json", "--no-save") == 0
    answers, _ = printed(capsys)
    right = 0
    for row, answer in zip(ROWS, answers, strict=True):
        assert row["context"][answer["start"] : answer["end"]] == answer["answer"]
        right += answer["answer"] == small_reader.ANSWERS[row["question"]]
    assert right >= len(ROWS) * 3 // 4


def test_one_question_on_the_command_line(run: Callable, capsys: pytest.CaptureFixture) -> None:
    assert run(FUJI, "What is the highest mountain of Japan?", "--no-save") == 0
    (answer,), err = printed(capsys)
    assert err == ""
    assert {name: answer[name] for name in ("answer", "start", "end")} == {
        "answer": "Mount Fuji",
        "start": 0,
        "end": 10,
    }
    assert list(answer) == ["answer", "score", "start", "end"]
    assert 0.5 < answer["score"] <= 1


# The same answers as the pipeline


def pairs() -> list[dict]:
    """Pairs of context and question: short and long, odd and repeated; always the same ones."""
    chance = random.Random(7)
    sentences = [text.strip() + "." for context in CONTEXTS for text in context.split(".") if text.strip()]
    words = " ".join(CONTEXTS).split()
    questions = [row["question"] for row in ROWS]
    made = [*ROWS]
    for _ in range(25):
        word, sentence = chance.choice(words), chance.choice(sentences)
        contexts = [
            " ".join(chance.sample(sentences, chance.randint(1, 8))),
            " ".join(chance.choices(sentences, k=chance.randint(40, 120))),  # several windows
            " ".join(chance.choices(words, k=chance.randint(1, 6))),  # fewer spans than candidates
            " ".join([sentence] * chance.randint(2, 50)),
            " ".join(chance.choices(words + ODD, k=chance.randint(1, 60))),
            "\n\n".join(chance.sample(CONTEXTS, chance.randint(2, 8))),
            chance.choice(ODD) + chance.choice(["", " ", "."]) + word,
            " ".join(chance.choices([word.lower(), word.upper(), word], k=chance.randint(1, 500))),
        ]
        made += [{"context": context, "question": chance.choice(questions)} for context in contexts]
    for odd in ODD:
        made.append({"context": odd, "question": chance.choice(questions)})
        made.append({"context": chance.choice(CONTEXTS), "question": odd})
    made.append({"context": (" ".join(CONTEXTS) * 50)[:100_000], "question": questions[0]})
    # A question longer than a window shares with the last: fine where all fits into one, else refused.
    made.append({"context": "It is " + "very " * 20 + "long.", "question": "a " * 300})
    made.append({"context": "It is " + "very " * 200 + "long.", "question": "a " * 250})
    made.append({"context": "It is " + "very " * 200 + "long.", "question": "a " * 300})
    made.append({"context": "It is " + "very " * 200 + "long.", "question": "a " * 500})
    return made


def variant(model: Path, folder: Path, change: Callable) -> Path:
    """A copy of a model with other weights."""
    from transformers import AutoModelForQuestionAnswering

    shutil.copytree(model, folder)
    copy = AutoModelForQuestionAnswering.from_pretrained(folder)
    for parameter in copy.parameters():
        parameter.requires_grad_(False)
    change(copy)
    copy.save_pretrained(folder)
    return folder


def test_answers_equal_those_of_the_pipeline(run: Callable, model: Path, tmp_path: Path, capsys) -> None:
    """Over more than 200 pairs and four models, three of them full of ties."""
    python = os.environ.get("AWSLABS_TEST_TF4")
    if not python:
        pytest.skip(
            "AWSLABS_TEST_TF4 does not name a Python with transformers 4.57.6; see the top of this file"
        )
    models = [
        model,
        # All spans of a window are equal: the order of the sort decides.
        variant(model, tmp_path / "flat", lambda copy: copy.qa_outputs.weight.zero_()),
        # The same words give the same numbers wherever they stand.
        variant(
            model,
            tmp_path / "anywhere",
            lambda copy: copy.distilbert.embeddings.position_embeddings.weight.zero_(),
        ),
        # All but a few spans have a score of exactly 0.
        variant(model, tmp_path / "sharp", lambda copy: copy.qa_outputs.weight.mul_(30)),
    ]
    rows = pairs()
    assert len(rows) >= 200
    file = written(tmp_path / "pairs.json", rows)
    command = [python, str(Path(__file__).with_name("qa_pipeline.py")), str(file), *map(str, models)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    peer = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert peer.returncode == 0, peer.stderr
    for folder, theirs in json.loads(peer.stdout).items():
        unanswered = {number for number, answer in enumerate(theirs, start=1) if not isinstance(answer, dict)}
        assert run("--file", file, "--no-save", "--model", folder) == 1
        ours, err = printed(capsys)
        named = {int(line.split(":")[0].removeprefix("row ")) for line in err.splitlines()[:-1]}
        assert named == unanswered
        answered = [answer for answer in theirs if isinstance(answer, dict)]
        for our, their in zip(ours, answered, strict=True):
            assert (our["answer"], our["start"], our["end"]) == (
                their["answer"],
                their["start"],
                their["end"],
            )
            assert our["score"] == pytest.approx(their["score"], abs=1e-4)


def test_an_answer_does_not_depend_on_what_else_is_asked(program: ModuleType, model: Path) -> None:
    """This needs no other Python: read alone, a question gets what it gets among two hundred others."""
    from reader import Reader

    reader = Reader(str(model))
    texts = [(row["context"], row["question"]) for row in pairs() if len(row["context"]) < 5000][::4]
    for pair, together in zip(texts, reader.read(texts), strict=True):
        (alone,) = reader.read([pair])
        assert (alone.answer, alone.start, alone.end) == (together.answer, together.start, together.end)
        assert alone.score == pytest.approx(together.score, abs=1e-5)


def test_what_a_batch_changes_in_the_last_digits_changes_no_answer(
    program: ModuleType, model: Path, tmp_path: Path, monkeypatch
) -> None:
    """Where the same words give the same numbers anywhere, the last digit alone would choose among them."""
    import numpy as np
    from reader import Reader

    place = "distilbert.embeddings.position_embeddings"
    folder = variant(model, tmp_path / "anywhere", lambda copy: copy.get_submodule(place).weight.zero_())
    reader, chance = Reader(str(folder)), np.random.default_rng(0)
    texts = [(" ".join([context] * 3), row["question"]) for context, row in zip(CONTEXTS, ROWS, strict=False)]
    alone = [next(reader.read([pair])) for pair in texts]
    forward = reader.forward

    def shaken(batch: list) -> None:
        forward(batch)
        for window in batch if len(batch) > 1 else ():
            window.start = window.start + chance.normal(0, 1e-5, len(window.start)).astype(np.float32)

    monkeypatch.setattr(reader, "forward", shaken)
    monkeypatch.setattr("reader.BATCH_TOKENS", 4096)
    for one, other in zip(alone, reader.read(texts), strict=True):
        assert (one.answer, one.start, one.end) == (other.answer, other.start, other.end)


def test_a_text_that_only_just_is_no_candidate_puts_an_answer_in_doubt(program: ModuleType) -> None:
    """All twelve candidates are one word; eleven of them might as well be another."""
    from reader import Place, in_doubt

    places = [Place(0, 0, 4, 1.5e-7), *[Place(0, 0, 4, 1e-7)] * 11]
    assert in_doubt([], "word words", {"word": places}, [1e-7])
    assert not in_doubt([], "word words", {"word": places}, [None])


def test_token_types_reach_a_model_that_has_them(program: ModuleType, model: Path, tmp_path: Path) -> None:
    """transformers 4 gave them to it, also where its tokenizer is of the general class."""
    from reader import Reader
    from transformers import BertConfig, BertForQuestionAnswering

    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertForQuestionAnswering(BertConfig(vocab_size=1000, **sizes)).save_pretrained(tmp_path)
    told = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    told["tokenizer_class"] = "PreTrainedTokenizerFast"
    told.pop("model_input_names", None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    reader = Reader(str(tmp_path))
    given: list[dict] = []
    reader.model.register_forward_pre_hook(lambda _, args, kwargs: given.append(kwargs), with_kwargs=True)
    assert next(reader.read([("Blue.", "What colour?")])).answer
    assert given[0]["token_type_ids"].unique().tolist() == [0, 1]


def test_many_questions_go_through_the_model_in_few_passes(
    program: ModuleType, model: Path, monkeypatch
) -> None:
    from reader import BATCH_TOKENS, Reader

    reader = Reader(str(model))
    passes = []
    forward = reader.forward
    monkeypatch.setattr(reader, "forward", lambda batch: (passes.append(batch), forward(batch)))
    assert len(list(reader.read((row["context"], row["question"]) for row in ROWS))) == len(ROWS)
    assert len(passes) < len(ROWS) / 2
    for batch in passes:
        assert len(batch) * max(len(window.encoding.ids) for window in batch) <= BATCH_TOKENS


# Bad input


def test_broken_rows_are_named_and_the_others_answered(run: Callable, tmp_path: Path, capsys) -> None:
    good = {"context": FUJI, "question": "How high is the summit?", "item_id": "kept"}
    broken = {
        2: ({"context": FUJI}, "it has no text as its question"),
        3: ({"context": FUJI, "question": ""}, "the question is empty"),
        4: ({"context": " \n\t", "question": "Why?"}, "the context is empty"),
        5: ("text", "it is one str, not an object with context and question"),
        6: (None, "it is one NoneType, not an object with context and question"),
        7: ({"context": FUJI, "question": 7}, "it has no text as its question"),
        8: (
            {"context": "half \ud83d", "question": "Why?"},
            r"character 5 of the context is half a character",
        ),
        9: ({**good, "item_id": ""}, "its item_id is not a text of 1 to 2048 bytes"),
        10: ({**good, "item_id": "\ud83d"}, "its item_id is not a text of 1 to 2048 bytes"),
        11: ({**good, "context": "x" * 1_000_001}, "the context has 1000001 characters"),
        12: ({**good, "question": "x" * 10_001}, "the question has 10001 characters"),
        13: ({"context": "word " * 400, "question": "why " * 260}, "the question is too long for this model"),
    }
    rows = [good, *(row for row, _ in broken.values()), good]
    assert run("--file", written(tmp_path / "rows.json", rows), "--no-save") == 1
    answers, err = printed(capsys)
    assert [(answer["answer"], answer["item_id"]) for answer in answers] == [("3776 metres", "kept")] * 2
    *lines, summary = err.splitlines()
    for line, (number, (_, reason)) in zip(lines, broken.items(), strict=True):
        assert line.startswith(f"row {number}: {reason}")
    assert summary == "12 of 14 questions were not answered."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"context": "a", "question": "b"}', "holds no list"),
        (b"[", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON in UTF-8"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_list_of_questions(run: Callable, tmp_path: Path, capsys, content, said) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    assert run("--file", file, "--no-save") == 1
    _, err = printed(capsys)
    assert said in err
    assert "\nwhy: " in err
    assert "\nfix: " in err


def test_an_empty_list_is_done_at_once(run: Callable, tmp_path: Path, capsys) -> None:
    assert run("--file", written(tmp_path / "none.json", []), "--no-save", "--model", "/nowhere") == 0
    assert printed(capsys) == ([], "")


def test_a_byte_order_mark_is_no_error(run: Callable, tmp_path: Path, capsys) -> None:
    file = tmp_path / "windows.json"
    file.write_text(json.dumps(ROWS[:1]), encoding="utf-8-sig")
    assert run("--file", file, "--no-save") == 0
    assert len(printed(capsys)[0]) == 1


def test_a_file_that_is_not_there(run: Callable, tmp_path: Path, capsys) -> None:
    assert run("--file", tmp_path / "none.json", "--no-save") == 1
    assert "cannot be read" in printed(capsys)[1]


@pytest.mark.parametrize(
    "arguments", [(), ("one",), ("a", "b", "c", "d"), ("a", "b", "--file", "c"), ("--nonsense",)]
)
def test_a_wrong_command_line_is_status_2(run: Callable, arguments) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2


def test_a_model_that_is_not_there(run: Callable, tmp_path: Path, capsys) -> None:
    assert run("a", "b?", "--no-save", "--model", tmp_path / "nothing") == 1
    _, err = printed(capsys)
    assert f"error: the model {tmp_path / 'nothing'} cannot be loaded." in err
    assert "there is no such folder" in err
    assert "--model" in err


def test_a_model_for_something_else_is_refused(run: Callable, model: Path, tmp_path: Path, capsys) -> None:
    """transformers would give it random numbers for a head, and random answers."""
    from transformers import AutoModel

    folder = tmp_path / "headless"
    shutil.copytree(model, folder)
    AutoModel.from_pretrained(model).save_pretrained(folder)
    assert run("a", "b?", "--no-save", "--model", folder) == 1
    assert "it has no weights for qa_outputs" in printed(capsys)[1]


def test_a_long_context_takes_little_memory(model: Path) -> None:
    """100,000 characters, peak memory of the process beside the one of a single sentence."""
    program = """
import resource, sys
from reader import Reader
reader, peaks = Reader(sys.argv[1]), []
for length in (1000, 100_000):
    (answer,) = reader.read([((sys.argv[2] * 1000)[:length], "How high is the summit?")])
    assert answer.answer
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(model), FUJI + " "],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    short, long = (int(peak) * (1 if sys.platform == "darwin" else 1024) for peak in done.stdout.split())
    assert long - short < 150_000_000


def test_a_stopped_task_ends_at_once_and_keeps_what_it_has(model: Path, tmp_path: Path) -> None:
    """ECS sends SIGTERM, and SIGKILL half a minute later."""
    rows = [{"context": FUJI, "question": "How high is the summit?"}] * 64
    rows += [{"context": (FUJI + " ") * 3000, "question": "How high is the summit?"}] * 200
    command = [
        sys.executable,
        FOLDER / "main.py",
        "--file",
        written(tmp_path / "rows.json", rows),
        "--no-save",
    ]
    environment = {**os.environ, "QA_MODEL": str(model), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert b"3776" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert err == b""


# The table


def test_answers_are_written_with_all_that_belongs_to_them(run: Callable, table, capsys) -> None:
    assert run(FUJI, "How high is the summit?") == 0
    (line,), _ = printed(capsys)
    (item,) = table.scan()["Items"]
    assert item.pop("seconds") > 0
    assert item.pop("model") == os.environ["QA_MODEL"]
    assert isinstance(item["score"], Decimal)
    assert float(item.pop("score")) == line.pop("score")
    assert len(line["item_id"]) == 36
    assert item == {**line, "context": FUJI, "question": "How high is the summit?"}


def test_answers_name_the_model_as_they_are_told(run: Callable, model: Path, table, monkeypatch) -> None:
    monkeypatch.setenv("QA_MODEL_NAME", "ours")
    assert run(FUJI, "How high is the summit?") == 0
    assert [item["model"] for item in table.scan()["Items"]] == ["ours"]
    assert run(FUJI, "How high is the summit?", "--model", f"{model}/") == 0  # another one
    assert {item["model"] for item in table.scan()["Items"]} == {"ours", f"{model}/"}


def test_a_second_run_of_the_same_ids_leaves_no_doubles(run: Callable, table, tmp_path: Path) -> None:
    rows = [{**row, "item_id": f"q{number}"} for number, row in enumerate(ROWS)]
    file = written(tmp_path / "rows.json", [*rows, rows[0]])
    assert run("--file", file) == 0
    assert run("--file", file) == 0
    assert sorted(item["item_id"] for item in table.scan()["Items"]) == sorted(row["item_id"] for row in rows)


def test_answers_arrive_while_others_are_read(program: ModuleType, table) -> None:
    import cloud

    answers = cloud.Table("answers")
    for number in range(30):
        answers.put({"item_id": str(number), "context": "c", "start": 0, "end": 0})
    assert table.scan()["Count"] == 25
    with pytest.raises(SystemExit), answers:
        raise SystemExit  # as SIGTERM does
    assert table.scan()["Count"] == 30


@pytest.mark.parametrize("letter", ["x", "é", "富", "😀"])
def test_a_context_too_large_for_an_item_is_cut_around_the_answer(program: ModuleType, table, letter) -> None:
    import cloud

    context = letter * 300_000 + " the answer " + letter * 150_000
    start = context.index("the")
    item = {"item_id": "1", "context": context, "question": "Which?", "start": start, "end": start + 10}
    with cloud.Table("answers") as answers:
        answers.put({**item, "answer": "the answer", "score": 0.5})
    kept = table.scan()["Items"][0]
    begin = int(kept["context_start"])
    assert kept["context"][start - begin : start + 10 - begin] == "the answer"
    assert context[begin:].startswith(kept["context"])
    assert 380_000 < len(kept["context"].encode()) < 400 * 1024


def test_a_small_item_is_not_touched(program: ModuleType) -> None:
    import cloud

    item = {"item_id": "1", "context": "x" * 1000, "start": 0, "end": 3}
    assert cloud.fit(item) == item


def test_an_answer_too_large_for_an_item_is_named(run: Callable, table, tmp_path: Path, capsys) -> None:
    rows = [
        {"context": "x" * 500_000, "question": "Which?"},
        ROWS[0],
    ]  # one word is one token, and the answer
    assert run("--file", written(tmp_path / "rows.json", rows)) == 1
    answers, err = printed(capsys)
    assert err.startswith("row 1: its answer of 500000 characters does not fit")
    assert [item["item_id"] for item in table.scan()["Items"]] == [answers[0]["item_id"]]


def test_what_dynamodb_leaves_out_is_sent_again(program: ModuleType, table, monkeypatch) -> None:
    import cloud

    waits: list[float] = []
    monkeypatch.setattr(cloud.time, "sleep", waits.append)
    answers = cloud.Table("answers")
    send, sent = answers.dynamodb.batch_write_item, []

    def half(RequestItems: dict) -> dict:  # noqa: N803
        requests = RequestItems["answers"]
        sent.append(len(requests))
        send(RequestItems={"answers": requests[: len(requests) // 2 + 1]})
        rest = requests[len(requests) // 2 + 1 :]
        return {"UnprocessedItems": {"answers": rest} if rest else {}}

    monkeypatch.setattr(answers.dynamodb, "batch_write_item", half)
    for number in range(25):
        answers.put({"item_id": str(number), "context": "c", "start": 0, "end": 0})
    assert table.scan()["Count"] == 25
    assert sent == [25, 12, 5, 2]
    assert len(waits) == 3
    assert waits[0] < waits[2]


def test_a_table_that_never_takes_anything_is_an_error(program: ModuleType, table, monkeypatch) -> None:
    import cloud
    from problems import Failure

    monkeypatch.setattr(cloud.time, "sleep", lambda seconds: None)
    answers = cloud.Table("answers")
    monkeypatch.setattr(
        answers.dynamodb, "batch_write_item", lambda RequestItems: {"UnprocessedItems": RequestItems}
    )
    with pytest.raises(Failure, match="1 answers were not written"), answers:
        answers.put({"item_id": "1", "context": "c", "start": 0, "end": 0})


def test_no_table_is_said_before_anything_is_read(run: Callable, table, monkeypatch, capsys) -> None:
    monkeypatch.delenv("TABLE_NAME")
    assert run("a", "b?", "--model", "/nowhere") == 1
    _, err = printed(capsys)
    assert "TABLE_NAME is not set, and the SSM parameter TABLE_NAME was not read" in err
    assert "ParameterNotFound" in err


def test_three_words_are_one_question_whose_answer_gets_that_key(run: Callable, table, capsys) -> None:
    assert run(FUJI, "How high is the summit?", "7") == 0
    (item,) = table.scan()["Items"]
    assert {"item_id", "context", "question", "answer", "score"} <= item.keys()
    assert (item["item_id"], item["context"], item["question"]) == ("7", FUJI, "How high is the summit?")
    assert run(FUJI, "How high is the summit?", "8", "--no_save") == 0
    assert table.scan()["Count"] == 1
    assert [answer["item_id"] for answer in printed(capsys)[0]] == ["7", "8"]
    assert run(FUJI, "How high is the summit?", "") == 1
    assert "its item_id is not a text" in printed(capsys)[1]


def test_the_table_is_that_of_the_parameter_where_no_variable_names_one(
    run: Callable, table, monkeypatch
) -> None:
    monkeypatch.delenv("TABLE_NAME")
    boto3.client("ssm").put_parameter(Name="TABLE_NAME", Type="String", Value="answers")
    assert run(FUJI, "How high is the summit?", "7") == 0
    assert table.scan()["Count"] == 1


def test_a_table_that_is_not_there(run: Callable, table, monkeypatch, capsys) -> None:
    monkeypatch.setenv("TABLE_NAME", "other")
    assert run(FUJI, "How high is the summit?") == 1
    _, err = printed(capsys)
    assert "error: BatchWriteItem for the table other was refused (ResourceNotFoundException)." in err
    assert "fix:   set TABLE_NAME" in err


def test_questions_out_of_the_table(run: Callable, table, capsys) -> None:
    table.put_item(Item={"item_id": "slice-0", "questions": json.dumps(ROWS[:3])})
    assert run("--from-table", "slice-0") == 0
    assert len(printed(capsys)[0]) == 3
    assert table.scan()["Count"] == 4
    table.put_item(Item={"item_id": "empty"})
    assert run("--from-table", "empty") == 1
    assert "no text attribute `questions`" in printed(capsys)[1]
    assert run("--from-table", "nobody", "--no-save") == 1
    assert "there is no such item" in printed(capsys)[1]


def test_questions_out_of_s3(run: Callable, table, capsys) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="questions")
    s3.put_object(Bucket="questions", Key="class/a.json", Body=json.dumps(ROWS[:2]).encode())
    assert run("--file", "s3://questions/class/a.json", "--no-save") == 0
    assert len(printed(capsys)[0]) == 2
    for url, said in [
        ("s3://questions/none.json", "(NoSuchKey)"),
        ("s3://nowhere/a.json", "(NoSuchBucket)"),
        ("s3://questions", "names no object"),
    ]:
        assert run("--file", url, "--no-save") == 1
        assert said in printed(capsys)[1]


# Loading


def test_python_looks_for_no_garbage_while_a_model_is_loaded(program: ModuleType, model: Path) -> None:
    looks: list[str] = []
    often, before = gc.get_threshold(), gc.get_freeze_count()
    gc.callbacks.append(lambda phase, _: looks.append(phase))
    gc.set_threshold(10)  # objects more than before: it would look hundreds of times
    try:
        program.load(str(model))
        while_it_was_loaded = len(looks)
        with pytest.raises(program.Failure):
            program.load("/nowhere")
    finally:
        gc.set_threshold(*often)
        gc.callbacks.pop()
    assert while_it_was_loaded < 50
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


# The model of an image


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (["distilbert-base-cased-distilled-squad"], "564e9b582944a57a3e586bbb98fd6f0a4118db7f"),
        (["distilbert-base-cased-distilled-squad", "abc"], "abc"),
        (["deepset/other", ""], "main"),
    ],
)
def test_an_image_gets_the_same_model_next_year(monkeypatch, tmp_path: Path, asked, got) -> None:
    name, *revision = asked
    loaded = []

    class Auto:
        @classmethod
        def from_pretrained(cls, name: str, revision: str, **_: object) -> Auto:
            loaded.append((name, revision))
            return cls()

        def __call__(self, *_: object, **__: object) -> dict:
            return {}

        def save_pretrained(self, folder: str) -> None:
            assert folder == str(tmp_path)

    transformers = ModuleType("transformers")
    transformers.AutoTokenizer = transformers.AutoModelForQuestionAnswering = Auto  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setattr(sys, "argv", ["bake.py", name, str(tmp_path), *revision])
    runpy.run_path(str(FOLDER / "bake.py"))
    assert loaded == [(name, got)] * 2


# Threads


def test_threads_fit_what_the_task_may_use(program: ModuleType, tmp_path: Path, monkeypatch) -> None:
    import vcpus

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(vcpus, "of_the_system", lambda: 8)
    monkeypatch.setattr(vcpus, "CGROUP", tmp_path)
    assert vcpus.available() == 8
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert vcpus.available() == 3
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert vcpus.available() == 8
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert vcpus.available() == 8
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    assert vcpus.available() == 4
    with metadata({"Limits": {"CPU": 2, "Memory": 4096}}) as url:
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", url)
        assert vcpus.available() == 2
    with metadata({"Limits": {"CPU": 0.25}}) as url:
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", url)
        assert vcpus.available() == 1
    assert vcpus.available() == 4  # nobody answers there any more
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert vcpus.available() == 3


class metadata:
    """A task metadata endpoint on loopback."""

    def __init__(self, answer: dict) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/v4/task" else 404)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/v4"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_the_model_computes_with_that_many_threads(run: Callable, monkeypatch) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", str(before + 1))
        assert run(FUJI, "How high is the summit?", "--no-save") == 0
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
