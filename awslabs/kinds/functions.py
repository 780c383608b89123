"""Lambda functions, and who may call them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from awslabs.kinds.kind import Found, Kind, Reason, Step
from awslabs.kinds.named import OURS, listed_by_name, named, pages, tags_as, unless

MISSING = ("ResourceNotFoundException",)
TAKEN = ("ResourceConflictException already exist",)
UNDER_WAY = (
    "ResourceConflictException The operation cannot be performed at this time",
    "ResourceConflictException An update is in progress",
)
# "Changes that I make are not always immediately visible" (IAM user guide): a role made a moment ago.
NOT_YET = (
    *UNDER_WAY,
    "InvalidParameterValueException cannot be assumed by Lambda",
    "InvalidParameterValueException does not have permissions to call SendMessage on SQS",
    # A function with environment variables gets a grant on AWS's own key for its role (aws-facts, k).
    "InvalidParameterValueException KMS key is invalid for CreateGrant",
)


def packed(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip for Lambda. The same files give the same bytes, so `up` sees whether anything has changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, compression)
    return buffer.getvalue()


def show_function(client: Any, ids: dict[str, str]) -> Found | None:
    answer = unless(MISSING, client.get_function, FunctionName=ids["FunctionName"])
    if answer is None:
        return None
    state = "coming" if answer["Configuration"].get("State") == "Pending" else "standing"
    ids = {"FunctionName": answer["Configuration"]["FunctionName"]}
    # Without lambda:ListTags the answer has no tags, and says so ("TagsError", Lambda API, GetFunction).
    return Found(ids, state, answer.get("Tags", {}), unread=answer.get("TagsError", {}).get("Message", ""))


FUNCTION = named(
    "lambda:CreateFunction",
    "FunctionName",
    show_function,
    mark=tags_as("Tags"),
    listed=listed_by_name(
        show_function,
        lambda client: [
            {"FunctionName": one["FunctionName"]}
            for one in pages(client, "list_functions", "Functions")
            if one["FunctionName"].startswith(OURS)
        ],
        lambda overview, ids: Found(ids, tags=overview.tags("lambda", f"function:{ids['FunctionName']}")),
    ),
    delete=lambda client, found: client.delete_function(FunctionName=found.id),
    described_by=("MemorySize",),
    taken=TAKEN,
    not_yet=NOT_YET,
    busy=UNDER_WAY,
    absent=MISSING,
)


def look_for_permission(client: Any, row: Any) -> list[Found]:
    """The statement of that name in the function's own policy."""
    answer = unless(MISSING, client.get_policy, FunctionName=row.ids["FunctionName"])
    statements = json.loads(answer["Policy"])["Statement"] if answer else []
    names = {statement["Sid"] for statement in statements}
    return [Found(dict(row.ids))] if row.ids["StatementId"] in names else []


PERMISSION = Kind(
    call="lambda:AddPermission",
    known_by=("FunctionName", "StatementId"),
    ids=lambda request, answer: {name: request[name] for name in ("FunctionName", "StatementId")},
    # It takes no tags: its name carries the token.
    mark=lambda request, mark: {**request, "StatementId": f"{request['StatementId']}-{mark.token}"},
    look=look_for_permission,
    delete=lambda client, found: client.remove_permission(**found.ids),
    ends=("FunctionName",),
    taken=TAKEN,
    not_yet=(*MISSING, *UNDER_WAY),
    busy=UNDER_WAY,
    absent=MISSING,
)

KINDS = [FUNCTION, PERMISSION]


def configuration(client: Any, wanted: dict[str, Any]) -> Iterator[Step]:
    """UpdateFunctionConfiguration, where one of the wanted settings has another value."""
    standing = client.get_function_configuration(FunctionName=wanted["FunctionName"])
    if any(standing.get(name) != value for name, value in wanted.items() if name != "FunctionName"):
        yield client.update_function_configuration, wanted


ENSURES = {"lambda:UpdateFunctionConfiguration": configuration}


# -- What a reader is told ---------------------------------------------------------------------------------

REASONS = {
    "lambda:CreateFunction": Reason(
        "A function: code that AWS runs whenever it is called (Lambda).",
        "There is no server to look after, and nothing to pay while nobody calls.",
        "関数です。呼ばれるたびに AWS がコードを動かします（Lambda）。",
        "世話をするサーバーがなく、呼ばれない間は料金もかかりません。",
    ),
    "lambda:AddPermission": Reason(
        "Leave for another service to call the function.",
        "Without it the API's calls would be refused: only its own account may call a new function.",
        "ほかのサービスに、この関数を呼ぶ許可を与えます。",
        "新しい関数を呼べるのは持ち主のアカウントだけで、API からの呼び出しは拒まれます。",
    ),
    "lambda:UpdateFunctionConfiguration": Reason(
        "Settings of the function: its memory, its variables.",
        "Other verbs of the lab change them for a while; `up` puts them right.",
        "関数の設定です。メモリや変数を決めます。",
        "ほかのコマンドが一時的に変えるので、`up` が元に戻します。",
    ),
}
