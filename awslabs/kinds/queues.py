"""SQS queues."""

from __future__ import annotations

from typing import Any

from awslabs.kinds.kind import Found, Reason
from awslabs.kinds.named import OURS, listed_by_name, named, pages, tags_as, unless

MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def show_queue(sqs: Any, ids: dict[str, str]) -> Found | None:
    """For up to 60 s after its deletion a queue may still be shown: what stands is what shows its tags."""
    answer = unless(MISSING, sqs.get_queue_url, QueueName=ids["QueueName"])
    if answer is None:
        return None
    tagged = unless(MISSING, sqs.list_queue_tags, QueueUrl=answer["QueueUrl"])
    found = {"QueueUrl": answer["QueueUrl"], "QueueName": ids["QueueName"]}
    return None if tagged is None else Found(found, tags=tagged.get("Tags", {}))


QUEUE = named(
    "sqs:CreateQueue",
    "QueueName",
    show_queue,
    # The URL, which calls use and which is not known before the answer, and the name.
    ids=lambda request, answer: {
        "QueueUrl": answer.get("QueueUrl", ""),
        "QueueName": request["QueueName"],
    },
    mark=tags_as("tags"),
    listed=listed_by_name(
        show_queue,
        lambda sqs: [
            {"QueueUrl": url, "QueueName": url.rpartition("/")[2]}
            for url in pages(sqs, "list_queues", "QueueUrls", QueueNamePrefix=OURS)
        ],
        lambda overview, ids: Found(ids, tags=overview.tags("sqs", ids["QueueName"])),
    ),
    listed_when_gone=True,
    delete=lambda sqs, found: sqs.delete_queue(QueueUrl=found.id),
    taken=("QueueAlreadyExists", "QueueNameExists"),
    # A name is free again 60 s after its queue was deleted.
    not_yet=("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"),
    absent=MISSING,
)

KINDS = [QUEUE]


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "sqs:CreateQueue": Reason(
        "A queue, in which messages wait until somebody takes them (SQS).",
        "What a function could not handle ends here, so that nothing is lost unseen.",
        "メッセージが、誰かに取り出されるまで待つ列です（SQS のキュー）。",
        "関数が処理できなかったものがここに残り、知らないうちに失われません。",
    ),
}
