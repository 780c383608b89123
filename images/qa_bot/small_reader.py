"""A reader small enough to train while one waits: it learns the questions that ship with the image.

    python small_reader.py FOLDER

It has the architecture of the real one (DistilBERT, a WordPiece tokenizer that keeps capitals, a head for
question answering) with two thin layers, starts from random weights, and reads `questions.json` over and over
until it knows the answers. It is saved with `save_pretrained`, so it is loaded exactly as the real one. About
15 seconds on one core. It is for the practice cloud and for tests, which cannot fetch 260 MB each time.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTIONS = Path(__file__).parent / "questions.json"
STEPS, BATCH = 400, 16

ANSWERS = {
    "What is the highest mountain of Japan?": "Mount Fuji",
    "How high is the summit?": "3776 metres",
    "When did the volcano last erupt?": "1707",
    "When do most people climb it?": "July and August",
    "Who was the poet?": "Matsuo Basho",
    "When was he born?": "1644",
    "Who was his companion?": "Sora",
    "What is the book about that journey called?": "The Narrow Road to the Deep North",
    "What is the speed of light?": "299792458 metres per second",
    "How long does light from the Sun need?": "about eight minutes",
    "Who was the first to show that light takes time?": "Ole Roemer",
    "Which moon did he watch?": "Io",
    "How do honey bees tell each other where flowers are?": "dancing on the comb",
    "Who worked out what the dance means?": "Karl von Frisch",
    "When did he receive a Nobel Prize?": "1973",
    "What does the angle of the dance show?": "the direction",
    "At which temperature does water boil at sea level?": "100 degrees Celsius",
    "What is the air on a high mountain?": "thinner",
    "What does a pressure cooker keep inside?": "the steam",
    "Who was an American computer scientist?": "Grace Hopper",
    "Which language did her ideas shape?": "COBOL",
    "What did her team tape into the log book?": "a moth",
    "When did she write the A-0 system?": "1952",
    "What is an image made of?": "layers",
    "Where is the image kept?": "a registry",
    "What is the registry called on AWS?": "ECR",
    "What runs the container?": "Fargate",
    "How many hearts does the octopus have?": "three",
    "What colour is its blood?": "blue",
    "What does its blood carry oxygen with?": "copper",
    "Where do most of its neurons sit?": "in its eight arms",
}


def train(folder: Path) -> Path:
    """Train a reader and save it into the folder."""
    import torch
    from transformers import DistilBertConfig, DistilBertForQuestionAnswering

    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network is slower with more
    rows = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    tokenizer = word_pieces([row[name] for row in rows for name in ("context", "question")])
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=64,
        n_layers=2,
        n_heads=4,
        hidden_dim=128,
        dropout=0.0,
        attention_dropout=0.0,
        qa_dropout=0.0,
    )
    model = DistilBertForQuestionAnswering(config).train()
    examples = [lesson(tokenizer, row["context"], row["question"], ANSWERS[row["question"]]) for row in rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS)
    for _ in range(STEPS):
        batch = random.sample(examples, BATCH)
        longest = max(len(ids) for ids, _, _ in batch)
        inputs = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _, _ in batch])
        loss = model(
            input_ids=inputs,
            attention_mask=(inputs != 0).long(),
            start_positions=torch.tensor([start for _, start, _ in batch]),
            end_positions=torch.tensor([end for _, _, end in batch]),
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def word_pieces(texts: list[str]) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer for these texts, and for any other in single letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import DistilBertTokenizerFast

    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=False)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=900,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        initial_alphabet=[chr(number) for number in range(33, 127)],
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    return DistilBertTokenizerFast(vocab=pieces.get_vocab(), do_lower_case=False, model_max_length=512)


def lesson(
    tokenizer: PreTrainedTokenizerBase, context: str, question: str, answer: str
) -> tuple[list[int], int, int]:
    """Tokens of question and context, and the first and last token of the answer."""
    encoding = tokenizer(question, context).encodings[0]
    begin = context.index(answer)
    return encoding.ids, encoding.char_to_token(begin, 1), encoding.char_to_token(begin + len(answer) - 1, 1)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
