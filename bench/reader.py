"""The reader: questions per CPU second of `--file`, beside one process, and one pass, per question.

    python bench/reader.py --model FOLDER                  a model made by save_pretrained
    python bench/reader.py                                 random weights in the size of the default model

The weights do not matter to the time, their number does. All run on one core: CPU seconds are counted, of all
processes together, so other load on the machine does not count.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import click

QA_BOT = Path(__file__).parents[1] / "images" / "qa_bot"
ONE_BY_ONE = 5  # processes that stand for all: each costs the same


def default_size(folder: Path) -> Path:
    """A model of 66 million random weights, as distilbert-base has, with the small reader's tokenizer."""
    sys.path.insert(0, str(QA_BOT))
    import small_reader
    import torch
    from transformers import DistilBertConfig, DistilBertForQuestionAnswering

    torch.manual_seed(0)
    rows = json.loads((QA_BOT / "questions.json").read_text(encoding="utf-8"))
    small_reader.word_pieces([row["context"] for row in rows]).save_pretrained(folder)
    model = DistilBertForQuestionAnswering(DistilBertConfig(vocab_size=28996))
    # As sure of itself as a trained one: where all spans are about equal, the reader reads everything twice.
    torch.nn.init.normal_(model.qa_outputs.weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def ask(model: Path, *arguments: str) -> float:
    """CPU seconds that one run of the program takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(QA_BOT / "main.py"), "--no-save", "--model", str(model), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def batches(model: Path, rows: list[dict]) -> tuple[float, float]:
    """CPU seconds that the loaded model takes: a pass per question, and in batches."""
    sys.path.insert(0, str(QA_BOT))
    from reader import Reader

    reader = Reader(str(model), threads=1)
    pairs = [(row["context"], row["question"]) for row in rows]
    list(reader.read(pairs[:4]))  # what is made at the first pass is not counted
    alone, together = [], []
    for _ in range(3):
        since = time.process_time()
        for pair in pairs:
            list(reader.read([pair]))
        alone.append(time.process_time() - since)
        since = time.process_time()
        list(reader.read(pairs))
        together.append(time.process_time() - since)
    return min(alone), min(together)


@click.command()
@click.option(
    "--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of a model."
)
@click.option("--questions", default=50, show_default=True, help="How many; the shipped ones, over and over.")
def main(model: Path | None, questions: int) -> None:
    """Print questions per CPU second and the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = model or default_size(Path(name) / "model")
        rows = json.loads((QA_BOT / "questions.json").read_text(encoding="utf-8"))
        rows = list(islice(cycle(rows), questions))
        file = Path(name) / "questions.json"
        file.write_text(json.dumps(rows), encoding="utf-8")
        many = ask(folder, "--file", str(file)) / questions
        single = sum(ask(folder, row["context"], row["question"]) for row in rows[:ONE_BY_ONE]) / ONE_BY_ONE
        alone, together = batches(folder, rows)
        print(f"model: {model or 'random, of the size of distilbert-base'}; {questions} questions, one core")
        print(f"a process per question: {1 / single:.2f} questions per CPU second")
        print(f"--file:                 {1 / many:.2f}: {single / many:.1f} times as many")
        print(f"of that, batches alone: {alone / together:.2f} times as many as one pass per question")


if __name__ == "__main__":
    main()
