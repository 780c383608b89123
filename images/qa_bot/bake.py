"""Runs once, while the image is built: puts a model into a folder of the image.

    python bake.py NAME_OR_FOLDER /model

It also leaves compiled what the reader will import, and nothing else: pip would compile all of torch, 200 MB
more to send, while a container without any compiled module takes 3 seconds longer to start.
"""

import sys

import boto3
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

for service in ("dynamodb", "s3"):
    boto3.client(service, region_name="us-east-1")

if sys.argv[1]:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForQuestionAnswering.from_pretrained(sys.argv[1], dtype=torch.float32)
    model(**tokenizer("What is it?", "It is a trial.", return_tensors="pt"))
    tokenizer.save_pretrained(sys.argv[2])
    model.save_pretrained(sys.argv[2])
