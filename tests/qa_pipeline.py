"""The peer of the reader: the `question-answering` pipeline of transformers 4, in a Python of its own.

    PYTHON tests/qa_pipeline.py PAIRS.json MODEL...

prints, as one JSON object, per model folder the answers to a list of {"context", "question"}. It runs where
transformers 4.57.6 is installed and knows nothing of this project.
"""

import json
import sys
from pathlib import Path

from transformers import pipeline


def answers(model: str, pairs: list) -> list:
    """What the pipeline says to each pair: an answer, an empty list, or the text of an error."""
    ask = pipeline("question-answering", model=model, device=-1)
    given = []
    for pair in pairs:
        try:
            given.append(ask(question=pair["question"], context=pair["context"]))
        except BaseException as error:  # its tokenizer ends with a panic, which is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            given.append(f"{type(error).__name__}: {error}")
    return given


if __name__ == "__main__":
    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps({model: answers(model, rows) for model in sys.argv[2:]}))
