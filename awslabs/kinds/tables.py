"""DynamoDB tables."""

from __future__ import annotations

from typing import Any

from awslabs.kinds.kind import Found, Mark, Reason
from awslabs.kinds.named import OURS, listed_by_name, named, pages, tags_as, tags_in, unless

MISSING = ("ResourceNotFoundException",)


def show_table(dynamodb: Any, ids: dict[str, str]) -> Found | None:
    answer = unless(MISSING, dynamodb.describe_table, TableName=ids["TableName"])
    if answer is None:
        return None
    table = answer["Table"]
    listed = unless(MISSING, dynamodb.list_tags_of_resource, ResourceArn=table["TableArn"]) or {"Tags": []}
    state = {"CREATING": "coming", "DELETING": "going"}.get(table["TableStatus"], "standing")
    return Found({"TableName": table["TableName"]}, state, tags_in(listed["Tags"]))


TABLE = named(
    "dynamodb:CreateTable",
    "TableName",
    show_table,
    mark=tags_as("Tags", Mark.tag_list),
    listed=listed_by_name(
        show_table,
        lambda dynamodb: [
            {"TableName": name}
            for name in pages(dynamodb, "list_tables", "TableNames")
            if name.startswith(OURS)
        ],
        lambda overview, ids: Found(ids, tags=overview.tags("dynamodb", f"table/{ids['TableName']}")),
    ),
    delete=lambda dynamodb, found: dynamodb.delete_table(TableName=found.id),
    taken=("ResourceInUseException",),
    busy=("ResourceInUseException",),
    absent=MISSING,
)

KINDS = [TABLE]


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "dynamodb:CreateTable": Reason(
        "A table of items that are found by their key (DynamoDB).",
        "Programs keep there what must not be forgotten; one pays per request, and looks after no server.",
        "キーで探せる項目の表です（DynamoDB のテーブル）。",
        "プログラムが忘れてはならないものを置きます。料金はリクエスト単位で、サーバーの世話は要りません。",
    ),
}
