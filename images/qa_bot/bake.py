"""Runs once, while the image is built: puts a model into a folder of the image.

    python bake.py NAME_OR_FOLDER /model [REVISION]

It also leaves compiled what the reader will import, and nothing else: pip would compile all of torch, 200 MB
more to send, while a container without any compiled module takes 3 seconds longer to start.
"""

import sys

import boto3
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

# What a name on the hub stands for can change at any time; this commit does not.
REVISIONS = {"distilbert-base-cased-distilled-squad": "564e9b582944a57a3e586bbb98fd6f0a4118db7f"}

for service in ("dynamodb", "s3"):
    boto3.client(service, region_name="us-east-1")

name, folder, revision = [*sys.argv[1:], ""][:3]
if name:
    revision = revision or REVISIONS.get(name, "main")
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    model = AutoModelForQuestionAnswering.from_pretrained(name, revision=revision, dtype=torch.float32)
    model(**tokenizer("What is it?", "It is a trial.", return_tensors="pt"))
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
