"""Answers questions about a text, and writes the answers into a DynamoDB table.

    python main.py CONTEXT QUESTION          one question
    python main.py CONTEXT QUESTION ITEM_ID  the same; its answer becomes the item of that id
    python main.py --file questions.json     many: [{"context": ..., "question": ...[, "item_id": ...]}, ...]
    python main.py --file s3://bucket/key    the same, from S3
    python main.py --from-table ITEM_ID      the same, from the attribute `questions` of an item of the table

Each answer is printed as one JSON object on a line of its own, and put into the table that the environment
variable TABLE_NAME names, or else the SSM parameter TABLE_NAME; with --no-save (or --no_save)
it is only printed. A question that cannot be answered is named on stderr by its number, from 1; the others
are answered, and the exit status is 1.

AWS is reached through boto3's ordinary environment (AWS_REGION, role or keys, AWS_ENDPOINT_URL).

AWS calls: s3:GetObject (--file s3://...), dynamodb:GetItem (--from-table), dynamodb:BatchWriteItem,
ssm:GetParameter (without the variable TABLE_NAME).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vcpus
from problems import Failure, Unreadable

if TYPE_CHECKING:  # both take seconds to import: what is wrong with the input is said before
    import cloud
    from reader import Answer, Reader

BAKED = Path("/model")  # where the image holds its model
DEFAULT_MODEL = "distilbert-base-cased-distilled-squad"
LONGEST_ID = 2048  # bytes of a partition key of DynamoDB
A_LIST = 'write it as [{"context": "...", "question": "..."}, ...].'


@dataclass(frozen=True)
class Question:
    """One row of the input."""

    context: str
    question: str
    item_id: str | None  # None: it gets a fresh one when its answer is saved


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 all answered, 1 not all, 2 usage."""
    asked = parse(arguments)
    try:
        table = None if asked.no_save and not asked.from_table else open_table()
        rows = read_rows(asked, table)
        unanswered = answer(rows, asked.model, asked.model_name, None if asked.no_save else table)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    if unanswered:
        print(f"{unanswered} of {len(rows)} questions were not answered.", file=sys.stderr)
    return 1 if unanswered else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="main.py [options] [CONTEXT QUESTION [ITEM_ID]]",
    )
    parser.add_argument(
        "words", nargs="*", metavar="CONTEXT QUESTION ITEM_ID", help="a text, a question about it, a key"
    )
    parser.add_argument("--file", metavar="FILE", help="JSON file of questions, here or s3://bucket/key")
    parser.add_argument("--from-table", metavar="ITEM_ID", help="item of the table that holds the questions")
    parser.add_argument(
        "--model",
        metavar="NAME_OR_FOLDER",
        default=os.environ.get("QA_MODEL")
        or (str(BAKED) if (BAKED / "config.json").is_file() else DEFAULT_MODEL),
        help="the model (or environment variable QA_MODEL; default: %(default)s)",
    )
    parser.add_argument(
        "--no-save", "--no_save", action="store_true", help="print the answers only; no table is needed"
    )
    asked = parser.parse_args(arguments)
    own = asked.model == parser.get_default("model")
    asked.model_name = (own and os.environ.get("QA_MODEL_NAME")) or asked.model
    sources = [bool(asked.words), asked.file is not None, asked.from_table is not None]
    if sum(sources) != 1 or len(asked.words) not in (0, 2, 3):
        parser.error("give CONTEXT QUESTION [ITEM_ID], or --file, or --from-table")
    return asked


def open_table() -> cloud.Table:
    """The table that the variable TABLE_NAME names, or else the SSM parameter TABLE_NAME."""
    import cloud

    return cloud.Table(os.environ.get("TABLE_NAME") or cloud.parameter("TABLE_NAME"))


def read_rows(asked: argparse.Namespace, table: cloud.Table | None) -> list[Any]:
    """The rows of the input, good and broken."""
    if asked.words:
        return [dict(zip(("context", "question", "item_id"), asked.words, strict=False))]
    if table and asked.from_table is not None:
        return rows_in(table.questions(asked.from_table), f"item {asked.from_table}")
    if asked.file.startswith("s3://"):
        import cloud

        return rows_in(cloud.read_object(asked.file), asked.file)
    try:
        return rows_in(Path(asked.file).read_bytes(), asked.file)
    except OSError as error:
        raise Failure(
            f"{asked.file} cannot be read.", f"{error.strerror}.", "give a file that is there."
        ) from error


def rows_in(data: bytes, source: str) -> list[Any]:
    """The list that a JSON text holds."""
    try:
        rows = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Failure(f"{source} is not JSON in UTF-8.", f"{error}.", A_LIST) from error
    if not isinstance(rows, list):
        raise Failure(f"{source} holds no list of questions.", f"it is one {type(rows).__name__}.", A_LIST)
    return rows


def answer(rows: list[Any], model: str, model_name: str, table: cloud.Table | None) -> int:
    """Print and save an answer per row, as they come; returns how many rows have none."""
    questions = [question_in(row) for row in rows]
    readable = [one for one in questions if isinstance(one, Question)]
    found: Iterator[Answer | Unreadable] = iter(())
    if readable:
        found = load(model).read((one.context, one.question) for one in readable)
    unanswered = 0
    with table or contextlib.nullcontext():
        for number, one in enumerate(questions, start=1):
            try:
                if isinstance(one, Unreadable):
                    raise one
                result = next(found)
                if isinstance(result, Unreadable):
                    raise result
                report(one, result, model_name, table)
            except Unreadable as reason:
                unanswered += 1
                print(f"row {number}: {reason}.", file=sys.stderr, flush=True)
    return unanswered


def question_in(row: Any) -> Question | Unreadable:
    """A row as a question, or what is wrong with its shape."""
    if not isinstance(row, dict):
        return Unreadable(f"it is one {type(row).__name__}, not an object with context and question")
    for name in ("context", "question"):
        if not isinstance(row.get(name), str):
            return Unreadable(f"it has no text as its {name}")
    item_id = row.get("item_id")
    if item_id is not None and not is_key(item_id):
        return Unreadable(f"its item_id is not a text of 1 to {LONGEST_ID} bytes")
    return Question(row["context"], row["question"], item_id)


def is_key(value: Any) -> bool:
    """Whether DynamoDB takes it as a partition key that is a text."""
    try:
        return isinstance(value, str) and 1 <= len(value.encode()) <= LONGEST_ID
    except UnicodeEncodeError:  # half a character
        return False


def load(model: str) -> Reader:
    """The model, in memory."""
    threads = vcpus.available()
    # The tokenizer starts a thread per core of the machine unless it is told otherwise before its first use.
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    with all_stays():
        from reader import NoReader, Reader

        try:
            return Reader(model, threads)
        except NoReader as error:
            raise Failure(
                f"the model {model} cannot be loaded.",
                f"{error}",
                f"--model FOLDER with a folder made by save_pretrained, or a name like {DEFAULT_MODEL} "
                "and a way to huggingface.co.",
            ) from error


@contextlib.contextmanager
def all_stays() -> Iterator[None]:
    """Look for no garbage meanwhile: what thousands of modules make stays, and each look takes longer."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()  # nor among that later


def report(asked: Question, found: Answer, model_name: str, table: cloud.Table | None) -> None:
    """Save and print one answer."""
    item_id = asked.item_id or (str(uuid.uuid4()) if table else None)
    line = {"answer": found.answer, "score": found.score, "start": found.start, "end": found.end}
    if item_id:
        line["item_id"] = item_id
    if table:
        texts = {"context": asked.context, "question": asked.question, "model": model_name}
        table.put(texts | line | {"seconds": found.seconds})
    print(json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    # As a container's first process Python would not even notice a SIGTERM, and be killed 30 s later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(main())
