"""The reader: finds the words of a context that answer a question, many questions at a time.

A model for extractive question answering gives each token of the context two numbers (logits): how well an
answer starts here, and how well one ends here. What follows from them is defined by the `question-answering`
pipeline of transformers 4.57.6 (`pipelines/question_answering.py`; version 5.3 dropped it), and this module
gives the same answers:

1. A context that is too long is cut into windows of 384 tokens, question included, that share 128 tokens.
2. Per window, a softmax over the tokens of the context turns the logits into probabilities. The score of a
   span is P(start) * P(end), for spans of at most 15 tokens; the 12 best spans go on.
3. A span is widened to whole words. Spans with the same text, in whatever window, add up their scores.

The pipeline reads one window after the other. Here the windows of many questions are sorted by length and go
through the model in batches. That changes the last digits of the logits, so where an answer hangs on spans
too close to tell apart, its windows are read once more one by one, exactly as the pipeline would: ties end
the same way too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from problems import Unreadable
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
from transformers.utils import logging

WINDOW, SHARED = 384, 128  # tokens of a window, and those that it shares with the one before
LONGEST_ANSWER = 15  # tokens
CANDIDATES = 12  # spans per window, as the pipeline takes them to find one answer
CLOSE = 1e-3  # scores that differ by less, relative to their size, may change places in a batch
SMALLEST = 1e-37  # below, float32 runs out of digits
UNSURE = 1e-5  # by how much a score may differ from the pipeline's

BATCH_TOKENS = 1024  # tokens that go through the model at once, padding included
CHUNK = 64  # questions whose windows are sorted and batched together
CHUNK_CHARACTERS = 500_000  # of context in a chunk, unless one question alone has more
LONGEST_CONTEXT, LONGEST_QUESTION = 1_000_000, 10_000  # characters; what bounds the memory


class Place(NamedTuple):
    """Where a candidate stands, widened to whole words."""

    window: int
    start: int  # characters of the context
    end: int
    score: float


Span = tuple[int, int, float]  # first and last token, score
Texts = dict[str, list[Place]]  # window by window, the best places first


class NoReader(Exception):
    """A name or folder that does not hold a model for question answering; the text says why."""


@dataclass(frozen=True)
class Answer:
    """The words of the context that answer a question.

    Attributes
    ----------
    answer
        As it stands in the context.
    score
        Sum of the probabilities of the spans with this text; over several windows it may pass 1.
    start, end
        Characters of the context: ``context[start:end] == answer``.
    seconds
        Time this question took; of a batch, its share by windows.
    """

    answer: str
    score: float
    start: int
    end: int
    seconds: float


@dataclass
class Window:
    """One piece of a context, behind its question, and what the model said about it."""

    encoding: Any  # tokenizers.Encoding
    start: np.ndarray = field(init=False)  # logits, one per token
    end: np.ndarray = field(init=False)
    alone: bool = False  # read by itself, not in a batch with others

    def text(self, context: str) -> str:
        """Its piece of the context."""
        parts = zip(self.encoding.offsets, self.encoding.sequence_ids, strict=True)
        inside = [offsets for offsets, part in parts if part == 1]
        return context[inside[0][0] : inside[-1][1]]


class Reader:
    """A model and its tokenizer, loaded once.

    Parameters
    ----------
    model
        Folder made by ``save_pretrained``, or a name on the Hugging Face hub.
    threads
        Threads that the model computes with.

    Raises
    ------
    NoReader
        Nothing is there, or it has no weights for question answering.
    """

    def __init__(self, model: str, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        logging.set_verbosity_error()
        logging.disable_progress_bar()  # of no use in the log of a task
        if os.sep in model and not os.path.isdir(model) and (os.path.isabs(model) or model.startswith(".")):
            raise NoReader("there is no such folder")
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(model, use_fast=True, padding_side="right")
            self.model, loading = AutoModelForQuestionAnswering.from_pretrained(
                model, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise NoReader(str(error).strip().splitlines()[0]) from error
        if loading["missing_keys"]:  # transformers would fill them with random numbers, and answer at random
            raise NoReader(f"it has no weights for {', '.join(sorted(loading['missing_keys']))}")
        if not self.tokenizer.is_fast:
            raise NoReader("its tokenizer does not tell which characters a token stands for")
        self.model.eval()
        self.fields = {*self.tokenizer.model_input_names}
        config = self.model.config
        if getattr(config, "type_vocab_size", 0) > 1 and config.model_type != "big_bird":
            # Tokenizers of version 4 named them for all these (ALBERT); several of version 5 do not.
            self.fields.add("token_type_ids")
        self.window = min(self.tokenizer.model_max_length, WINDOW)
        self.shared = min(self.window // 2, SHARED)

    def read(self, questions: Iterable[tuple[str, str]]) -> Iterator[Answer | Unreadable]:
        """Answer pairs of context and question; results come in the same order, chunk by chunk.

        Parameters
        ----------
        questions
            Context (at most 1,000,000 characters) and question (at most 10,000) of each.

        Yields
        ------
        Answer or Unreadable
            One per pair; what is wrong with one does not touch the others.
        """
        for chunk in chunks(questions):
            problems = [problem(context, question) for context, question in chunk]
            answers = iter(
                self.read_chunk([pair for pair, bad in zip(chunk, problems, strict=True) if bad is None])
            )
            for bad in problems:
                yield next(answers) if bad is None else bad

    @torch.inference_mode()
    def read_chunk(self, pairs: list[tuple[str, str]]) -> list[Answer | Unreadable]:
        """Answer pairs that fit into memory together."""
        since = time.perf_counter()
        windows = self.cut(pairs)
        self.fill([window for of_one in windows for window in of_one])
        found = [self.best(context, of_one) for (context, _), of_one in zip(pairs, windows, strict=True)]
        per_window = (time.perf_counter() - since) / max(1, sum(map(len, windows)))
        return [
            span if isinstance(span, Unreadable) else Answer(**span, seconds=per_window * len(of_one))
            for span, of_one in zip(found, windows, strict=True)
        ]

    def cut(self, pairs: list[tuple[str, str]]) -> list[list[Window]]:
        """The windows of each pair; none where the question leaves too little room for the context."""
        fitting = [number for number, pair in enumerate(pairs) if self.fits(*pair)]
        windows: list[list[Window]] = [[] for _ in pairs]
        if not fitting:
            return windows
        encoded = self.tokenizer(
            [pairs[number][1] for number in fitting],
            [pairs[number][0] for number in fitting],
            truncation="only_second",
            max_length=self.window,
            stride=self.shared,
            return_overflowing_tokens=True,
        )
        for encoding, place in zip(encoded.encodings, encoded["overflow_to_sample_mapping"], strict=True):
            windows[fitting[place]].append(Window(encoding))
        return windows

    def fits(self, context: str, question: str) -> bool:
        """Whether windows can be cut: each must bring more of the context than it shares with the last."""
        length = len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
        room = self.window - self.tokenizer.num_special_tokens_to_add(pair=True) - length
        return room > self.shared or len(self.tokenizer(question, context)["input_ids"]) <= self.window

    def fill(self, windows: list[Window]) -> None:
        """Read all windows, those of about one length together."""
        batch: list[Window] = []
        for window in sorted(windows, key=lambda window: len(window.encoding.ids)):
            if batch and len(window.encoding.ids) * (len(batch) + 1) > BATCH_TOKENS:
                self.forward(batch)
                batch = []
            batch.append(window)
        if batch:
            self.forward(batch)

    def forward(self, batch: list[Window]) -> None:
        """One pass through the model; the logits of each window, without the padding, go into it."""
        longest = max(len(window.encoding.ids) for window in batch)
        fields = {
            "input_ids": ([window.encoding.ids for window in batch], self.tokenizer.pad_token_id),
            "attention_mask": ([window.encoding.attention_mask for window in batch], 0),
            "token_type_ids": ([window.encoding.type_ids for window in batch], 0),
        }
        inputs = {
            name: torch.tensor([row + [padding] * (longest - len(row)) for row in rows])
            for name, (rows, padding) in fields.items()
            if name in self.fields
        }
        output = self.model(**inputs)
        logits = zip(output.start_logits.numpy(), output.end_logits.numpy(), strict=True)
        for window, (start, end) in zip(batch, logits, strict=True):
            length = len(window.encoding.ids)
            window.start, window.end, window.alone = start[:length], end[:length], len(batch) == 1

    def best(self, context: str, windows: list[Window]) -> dict[str, Any] | Unreadable:
        """The answer with the highest score, as ``answer, score, start, end``."""
        if not windows:
            return Unreadable("the question is too long for this model")
        texts, loose = self.texts(windows, context)
        if in_doubt(windows, context, texts, loose):
            for window in windows:
                if not window.alone:
                    self.forward([window])
            texts, _ = self.texts(windows, context)
        if not texts:
            return Unreadable("this model sees no answer in the context")
        places = max(texts.values(), key=score)
        start, end = places[0].start, places[0].end
        return {"answer": context[start:end], "score": score(places), "start": start, "end": end}

    def texts(self, windows: list[Window], context: str) -> tuple[Texts, list[float | None]]:
        """The candidates of all windows by their text, in any case; and per window its loose end."""
        texts: Texts = {}
        loose: list[float | None] = []
        for number, window in enumerate(windows):
            spans, loose_end = self.spans(window)
            loose.append(loose_end)
            for first, last, share in spans:
                start, end = characters(window.encoding, first, last)
                texts.setdefault(context[start:end].lower(), []).append(Place(number, start, end, share))
        return texts, loose

    def spans(self, window: Window) -> tuple[list[Span], float | None]:
        """The best spans of a window, best first, and its loose end.

        That is the score around which logits within CLOSE might have let other spans in; None where no other.
        """
        ids = np.array(window.encoding.ids)
        context = np.array([part == 1 for part in window.encoding.sequence_ids])
        allowed = context | (ids == self.tokenizer.cls_token_id)
        start, end = probabilities(window.start, allowed), probabilities(window.end, allowed)
        scores = np.tril(np.triu(np.outer(start, end)), LONGEST_ANSWER - 1).ravel()
        loose = None
        # These very calls, on all length x length scores, decide which of many equal spans are kept.
        if len(scores) < CANDIDATES:
            order = np.argsort(-scores)
        else:
            parted = np.argpartition(-scores, CANDIDATES)
            order = parted[:CANDIDATES]
            order = order[np.argsort(-scores[order])]
            lowest, left_out = scores[order[-1]], scores[parted[CANDIDATES]]
            loose = float(lowest) if close(lowest, left_out) else None
        first, last = np.unravel_index(order, (len(ids), len(ids)))
        kept = allowed[first] & allowed[last]
        spans = zip(first[kept].tolist(), last[kept].tolist(), scores[order[kept]].tolist(), strict=True)
        return list(spans), loose


def in_doubt(windows: list[Window], context: str, texts: Texts, loose: list[float | None]) -> bool:
    """Whether scores that are off by CLOSE could give another answer, another place, or a worse score."""
    if not texts:
        return True
    scores = {text: score(places) for text, places in texts.items()}
    best, *others = sorted(scores, key=scores.__getitem__, reverse=True)
    unsure = CANDIDATES * sum(loose_end or 0 for loose_end in loose)  # what a text may gain or lose by them
    next_best = scores[others[0]] if others else 0
    if unsure > UNSURE or close(scores[best] - unsure, next_best + unsure):
        return True
    first = texts[best][0]  # the answer's place: its best one, in the first window that has any
    for window, loose_end in zip(windows[: first.window], loose, strict=False):
        if loose_end is not None and best in window.text(context).lower():
            return True
    rivals = [place.score for place in texts[best] if place[:2] != first[:2] and place.window == first.window]
    return any(close(first.score, rival) for rival in [*rivals, loose[first.window]] if rival is not None)


def chunks(questions: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Pieces of what may be a long list, small enough for the memory, large enough to fill batches."""
    chunk: list[tuple[str, str]] = []
    characters_so_far = 0
    for context, question in questions:
        if chunk and (len(chunk) == CHUNK or characters_so_far + len(context) > CHUNK_CHARACTERS):
            yield chunk
            chunk, characters_so_far = [], 0
        chunk.append((context, question))
        characters_so_far += len(context)
    if chunk:
        yield chunk


def problem(context: str, question: str) -> Unreadable | None:
    """What makes a pair unreadable for any model."""
    for name, text, longest in (
        ("context", context, LONGEST_CONTEXT),
        ("question", question, LONGEST_QUESTION),
    ):
        if not text.strip():
            return Unreadable(f"the {name} is empty")
        if len(text) > longest:
            return Unreadable(f"the {name} has {len(text)} characters; at most {longest} are read")
        try:
            text.encode()
        except UnicodeEncodeError as error:  # JSON can spell half a character ("\\ud800"), UTF-8 cannot
            return Unreadable(
                f"character {error.start} of the {name} is half a character ({text[error.start]!a})"
            )
    return None


def probabilities(logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Softmax over the tokens of the context and [CLS], which takes part but is no answer."""
    logits = np.where(allowed, logits, np.float32(-10000))
    powers = np.exp(logits - logits.max())
    shares: np.ndarray[Any, Any] = powers / powers.sum()
    shares[0] = 0
    return shares


def score(places: list[Place]) -> float:
    """What the places of one text have together."""
    return sum(place.score for place in places)


def close(high: float, low: float) -> bool:
    """Whether two scores are too close to say which is higher."""
    return high - low <= CLOSE * high or high < SMALLEST


def characters(encoding: Any, first: int, last: int) -> tuple[int, int]:
    """Where the words begin and end that two tokens belong to; a token outside any word stands for itself."""
    words = [encoding.token_to_word(token) for token in (first, last)]
    ends = [None if word is None else encoding.word_to_chars(word, 1) for word in words]
    if ends[0] is None or ends[1] is None:
        return encoding.offsets[first][0], encoding.offsets[last][1]
    return ends[0][0], ends[1][1]
