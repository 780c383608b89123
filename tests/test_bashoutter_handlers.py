"""Bashoutter's four handlers over moto's DynamoDB in this process."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest
from bashoutter_kit import FUNCTIONS, TABLE, event, handlers, openapi
from botocore.exceptions import ClientError
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from wire import ALWAYS, Wire

FROG = {"username": "芭蕉", "first": "古池や", "second": "蛙飛びこむ", "third": "水の音"}
NOBODY = "0" * 32

KINDS_OF_TEXT = [
    "𠮷野家にて",
    "👩‍👩‍👧‍👦 わかば",
    "e\u0301te\u0301",  # not composed: stays so
    "مطر الليل",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "\\u0000",
    "null",
    "𝄞" * 50,
]
NO_LINES = ["", " ", "\u3000", "\u200b", "a\nb", "a\x00b", "a\x85b", "a\u2028b", "\x7f", "\ud800", "x\udfffy"]
NO_LINES += [None, 7, 1.5, True, [], ["a"], {}]  # type: ignore[list-item]
NO_BODIES = [None, "", "{", "[]", "null", "3", '"haiku"', "古池や", "NaN", "[" * 100_000, "9" * 5000]
NO_LIMITS = ["0", "-1", "101", "", "1.0", "+5", "\uff11", "1_0", "5 ", "5\n", "05", "x"]
NO_PLACES = [
    "",
    "x",
    "0" * 14,
    "0" * 45,
    "0" * 47,
    "0" * 45 + "G",
    "0" * 46 + "\n",
    "é" * 46,
]
NO_PLACES += ["0" * 14 + "61" * 2049]


@pytest.fixture(scope="module")
def loaded() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "nobody")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with handlers() as module:
            yield module


@pytest.fixture
def haiku(loaded: ModuleType) -> Iterator[ModuleType]:
    yield loaded
    rows = loaded.dynamodb.scan(TableName=TABLE)["Items"]
    gone = [{"DeleteRequest": {"Key": {"item_id": row["item_id"]}}} for row in rows]
    for start in range(0, len(gone), 25):
        loaded.dynamodb.batch_write_item(RequestItems={TABLE: gone[start : start + 25]})


@contextlib.contextmanager
def calls_of(haiku: ModuleType) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Operation and request of each call to DynamoDB."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(model: Any, params: dict[str, Any], **_: Any) -> None:
        seen.append((model.name, json.loads(params["body"])))

    haiku.dynamodb.meta.events.register("before-call.dynamodb", note)
    try:
        yield seen
    finally:
        haiku.dynamodb.meta.events.unregister("before-call.dynamodb", note)


@pytest.fixture(params=["scan", "query"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, haiku: ModuleType) -> str:
    monkeypatch.setenv("READ", request.param)
    return request.param


def post(haiku: ModuleType, **changes: Any) -> dict[str, Any]:
    body = json.dumps(FROG | changes)
    return haiku.post_haiku(event("POST", body=body), None)


def get(haiku: ModuleType, **query: str) -> tuple[list[dict[str, Any]], str | None]:
    """A page, and the cursor of the next one."""
    answer = haiku.list_haiku(event(queryStringParameters=query or None), None)
    assert answer["statusCode"] == 200, answer
    match = re.fullmatch(r'<\?limit=\d+&after=(\w+)>; rel="next"', answer["headers"].get("Link", ""))
    assert bool(match) == ("Link" in answer["headers"])
    return json.loads(answer["body"]), match and match[1]


def on_one(handler: Any, item_id: str) -> dict[str, Any]:
    return handler(event("PATCH", f"/haiku/{item_id}", pathParameters={"item_id": item_id}), None)


def test_a_posted_haiku_comes_back_as_it_was(haiku: ModuleType, read: str) -> None:
    made = post(haiku)
    kept = json.loads(made["body"])
    assert made["statusCode"] == 201
    assert {name: kept[name] for name in FROG} == FROG
    assert kept["likes"] == 0
    assert get(haiku) == ([kept], None)


def test_text_of_any_kind_is_kept(haiku: ModuleType) -> None:
    for text in KINDS_OF_TEXT:
        made = post(haiku, second=text)
        assert made["statusCode"] == 201, made
        assert json.loads(made["body"])["second"] == text
        assert json.dumps(text, ensure_ascii=False) in made["body"]  # readable, and a third of the bytes
    assert [one["second"] for one in get(haiku)[0]] == KINDS_OF_TEXT[::-1]


def test_blanks_around_a_text_are_not_kept(haiku: ModuleType) -> None:
    made = json.loads(post(haiku, first=" \u3000古池や ", username=" b ")["body"])
    assert (made["first"], made["username"]) == ("古池や", "b")


@pytest.mark.parametrize(
    ("name", "longest"), [("username", 30), ("first", 50), ("second", 50), ("third", 50)]
)
def test_lengths_are_counted_in_characters(haiku: ModuleType, name: str, longest: int) -> None:
    assert post(haiku, **{name: "𠮷" * longest})["statusCode"] == 201
    refused = post(haiku, **{name: "𠮷" * (longest + 1)})
    assert refused["statusCode"] == 400
    assert json.loads(refused["body"])["message"] == f"{name}: a text of 1 to {longest} characters."


def test_what_is_no_line_of_text_is_refused(haiku: ModuleType) -> None:
    for name in FROG:
        for bad in NO_LINES:
            refused = post(haiku, **{name: bad})
            assert refused["statusCode"] == 400, (name, bad)
            assert json.loads(refused["body"])["message"].startswith(f"{name}: ")
    assert get(haiku) == ([], None)


def test_a_body_that_is_no_haiku_is_refused(haiku: ModuleType) -> None:
    lacking = [{name: text for name, text in FROG.items() if name != left_out} for left_out in FROG]
    too_much = [FROG | {"likes": 1000}, FROG | {"item_id": NOBODY}]
    for body in [*NO_BODIES, *map(json.dumps, [*lacking, *too_much, [FROG]])]:
        refused = haiku.post_haiku(event("POST", body=body), None)
        assert refused["statusCode"] == 400, body
        assert json.loads(refused["body"])["message"].startswith("The body is ")
    assert get(haiku) == ([], None)


def test_a_body_may_come_in_base64(haiku: ModuleType) -> None:
    body = base64.b64encode(json.dumps(FROG, ensure_ascii=False).encode()).decode()
    assert haiku.post_haiku(event("POST", body=body, isBase64Encoded=True), None)["statusCode"] == 201
    for bad in ("@@@", base64.b64encode(b"\xff\xfe{}").decode()):
        assert haiku.post_haiku(event("POST", body=bad, isBase64Encoded=True), None)["statusCode"] == 400


def test_a_page_that_cannot_be_is_refused(haiku: ModuleType) -> None:
    for query in [{"limit": bad} for bad in NO_LIMITS] + [{"after": bad} for bad in NO_PLACES]:
        assert haiku.list_haiku(event(queryStringParameters=query), None)["statusCode"] == 400, query


@pytest.mark.parametrize("after", ["0" * 46, "f" * 14 + "61", "00060cbc79d7ff" + "39" * 32])
def test_any_place_of_the_right_form_is_a_place(haiku: ModuleType, read: str, after: str) -> None:
    post(haiku)
    assert len(get(haiku, after=after)[0]) == (1 if after[0] == "f" else 0)


def test_pages_hold_everything_once_and_the_newest_first(haiku: ModuleType, read: str) -> None:
    made = [json.loads(post(haiku, first=f"第{number}句")["body"]) for number in range(23)]
    assert [one["created_at"] for one in made] == sorted({one["created_at"] for one in made})
    pages: list[list[dict[str, Any]]] = []
    after = None
    while after or not pages:
        page, after = get(haiku, limit="5", **({"after": after} if after else {}))
        pages.append(page)
    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    assert [one for page in pages for one in page] == made[::-1]


def test_a_page_that_is_just_full_is_the_last_one(haiku: ModuleType, read: str) -> None:
    for _ in range(5):
        post(haiku)
    assert get(haiku, limit="5")[1] is None
    assert get(haiku, limit="4")[1]


def test_the_next_page_is_found_though_the_last_haiku_of_this_one_is_gone(
    haiku: ModuleType, read: str
) -> None:
    made = [json.loads(post(haiku)["body"])["item_id"] for _ in range(4)]
    page, after = get(haiku, limit="2")
    on_one(haiku.delete_haiku, page[-1]["item_id"])
    post(haiku)
    assert after
    assert [one["item_id"] for one in get(haiku, after=after)[0]] == made[1::-1]


def test_a_page_found_by_scan_goes_on_by_query(haiku: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [json.loads(post(haiku)["body"]) for _ in range(6)][::-1]
    monkeypatch.setenv("READ", "scan")
    first, after = get(haiku, limit="3")
    monkeypatch.setenv("READ", "query")
    assert after
    assert first + get(haiku, after=after)[0] == made


def test_a_scan_reads_every_page_of_the_table(haiku: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        post(haiku)
    monkeypatch.setenv("READ", "scan")
    with pytest.MonkeyPatch.context() as patched, calls_of(haiku) as calls:
        Wire(patched).fail("Scan", lambda call: call.send(Limit=2), ALWAYS)
        assert len(get(haiku)[0]) == 7
    assert [name for name, _ in calls] == ["Scan"] * 4


def test_a_query_reads_only_what_is_shown(haiku: ModuleType) -> None:
    for _ in range(7):
        post(haiku)
    with calls_of(haiku) as calls:
        get(haiku, limit="3")
    ((_, request),) = calls
    assert (request["IndexName"], request["Limit"]) == ("newest", 4)


def test_the_two_ways_to_read_give_the_same(haiku: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        post(haiku, third=str(number))
    on_one(haiku.like_haiku, get(haiku)[0][4]["item_id"])
    pages = {}
    for way in ("scan", "query"):
        monkeypatch.setenv("READ", way)
        pages[way] = get(haiku, limit="6")
    assert pages["scan"] == pages["query"]


def test_300_posts_at_once_lose_nothing(haiku: ModuleType) -> None:
    with ThreadPoolExecutor(30) as pool:
        made = list(pool.map(lambda number: post(haiku, first=f"第{number}句"), range(300)))
    assert {one["statusCode"] for one in made} == {201}
    found, after = [], "f" * 46
    while after:
        page, after = get(haiku, limit="100", after=after)  # type: ignore[assignment]
        found += page
    assert sorted(one["first"] for one in found) == sorted(f"第{number}句" for number in range(300))
    assert len({one["item_id"] for one in found}) == 300


def test_200_likes_from_20_threads_count_200(haiku: ModuleType) -> None:
    item_id = json.loads(post(haiku)["body"])["item_id"]
    together = threading.Barrier(20)

    def like(_: int) -> list[dict[str, Any]]:
        together.wait()
        return [on_one(haiku.like_haiku, item_id) for _ in range(10)]

    with ThreadPoolExecutor(20) as pool:
        answers = [one for ten in pool.map(like, range(20)) for one in ten]
    assert {one["statusCode"] for one in answers} == {200}
    assert sorted(json.loads(one["body"])["likes"] for one in answers) == list(range(1, 201))
    assert get(haiku)[0][0]["likes"] == 200


def test_a_like_changes_nothing_else(haiku: ModuleType) -> None:
    made = json.loads(post(haiku)["body"])
    assert json.loads(on_one(haiku.like_haiku, made["item_id"])["body"]) == made | {"likes": 1}


def test_a_deleted_haiku_is_gone(haiku: ModuleType, read: str) -> None:
    kept, gone = (json.loads(post(haiku)["body"])["item_id"] for _ in range(2))
    answer = on_one(haiku.delete_haiku, gone)
    assert (answer["statusCode"], answer["body"]) == (204, "")
    assert [one["item_id"] for one in get(haiku)[0]] == [kept]
    assert on_one(haiku.delete_haiku, gone)["statusCode"] == 404
    assert on_one(haiku.like_haiku, gone)["statusCode"] == 404
    assert [one["item_id"] for one in get(haiku)[0]] == [kept]


def test_an_unknown_id_is_not_found(haiku: ModuleType) -> None:
    for handler in (haiku.like_haiku, haiku.delete_haiku):
        assert on_one(handler, NOBODY)["statusCode"] == 404
        with calls_of(haiku) as calls:
            for item_id in ("", "0" * 3000, "古" * 683, "\ud800"):
                assert on_one(handler, item_id)["statusCode"] == 404, item_id
        assert calls == []  # what cannot be an id, DynamoDB might not even take as a key
        for item_id in ("x", "古池や", "A" * 32, NOBODY + "\n", "../haiku"):
            assert on_one(handler, item_id)["statusCode"] == 404, item_id
    assert haiku.dynamodb.scan(TableName=TABLE)["Count"] == 0


def test_rows_that_are_no_haiku_are_not_shown(haiku: ModuleType, read: str) -> None:
    haiku.dynamodb.put_item(
        TableName=TABLE, Item={"item_id": {"S": "somebody's"}, "first": {"S": "experiment"}}
    )
    post(haiku)
    assert len(get(haiku)[0]) == 1


# What another program may put into the table: the second as the textbook's test of its API does.
OTHERS: list[dict[str, Any]] = [
    {"created_at": {"S": "2037-01-01T00:00:00+09:00"}, "likes": {"N": "1.5"}},
    {"created_at": {"S": "2036-11-29T03:00:00"}, "likes": {"N": "3"}},
    {"created_at": {"N": "2082758400"}, "likes": {"N": "-4"}},  # 2036-01-01
    {"created_at": {"S": "yesterday"}, "likes": {"S": "many"}, "username": {"S": "a\u0000b" * 40}},
    {"username": {"S": ""}, "first": {"S": "\u2028"}, "likes": {"NULL": True}},
    {"username": {"L": [{"S": "two"}]}, "created_at": {"N": "1E+100"}},
    {"created_at": {"S": "9999-12-31T23:59:59"}, "second": {"S": "x" * 5000}},
]
NO_HAIKU: list[dict[str, Any]] = [
    {"third": {"N": "7"}},
    {"first": {"NULL": True}, "created_at": {"S": "2036"}, "feed": {"S": "haiku"}},
]


def put_others(haiku: ModuleType, rows: list[dict[str, Any]]) -> list[str]:
    """Put rows into the table without the API; their ids."""
    lines = {name: {"S": text} for name, text in FROG.items()}
    ids = [f"{number}/ of %2F, 古池" for number in range(len(rows))]
    for item_id, row in zip(ids, rows, strict=True):
        haiku.dynamodb.put_item(TableName=TABLE, Item=lines | row | {"item_id": {"S": item_id}})
    return ids


def test_rows_of_others_are_shown_in_order_and_can_be_liked_and_deleted(
    haiku: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READ", "scan")
    ours = json.loads(post(haiku)["body"])
    ids = put_others(haiku, OTHERS)
    pages, after = [], None
    while after or not pages:
        page, after = get(haiku, limit="3", **({"after": after} if after else {}))
        pages.append(page)
    shown = [one for page in pages for one in page]
    order = [ids[6], ids[5], ids[0], ids[1], ids[2], ours["item_id"], ids[4], ids[3]]
    assert [one["item_id"] for one in shown] == order
    assert [one["likes"] for one in shown] == [0, 0, 1, 3, 0, 0, 0, 0]
    schema(openapi(), "HaikuList").validate(shown)
    statuses = {one: on_one(haiku.like_haiku, quote(one))["statusCode"] for one in ids}
    assert statuses == {one: 404 if one in (ids[3], ids[4]) else 200 for one in ids}
    assert {on_one(haiku.delete_haiku, quote(one))["statusCode"] for one in ids} == {204}
    assert get(haiku) == ([ours], None)


def test_rows_that_are_no_haiku_harm_nobody(haiku: ModuleType, read: str) -> None:
    made = [json.loads(post(haiku)["body"]) for _ in range(2)]
    ids = put_others(haiku, NO_HAIKU)
    assert get(haiku) == (made[::-1], None)
    page, after = get(haiku, limit="1")
    assert (page, get(haiku, limit="1", after=str(after))[0]) == (made[:0:-1], made[:1])
    assert on_one(haiku.like_haiku, ids[0])["statusCode"] == 404


def test_a_handler_may_be_invoked_with_an_empty_event(haiku: ModuleType) -> None:
    assert haiku.list_haiku({}, None)["statusCode"] == 200
    assert haiku.post_haiku({}, None)["statusCode"] == 400
    assert haiku.like_haiku({}, None)["statusCode"] == 404


def test_no_error_shows_our_inside(
    haiku: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        details = {"Error": {"Code": "AccessDeniedException", "Message": f"not on table/{TABLE}"}}
        raise ClientError(details, "Anything")  # type: ignore[arg-type]

    for name in ("query", "put_item", "update_item", "delete_item"):
        monkeypatch.setattr(haiku.dynamodb, name, broken)
    with caplog.at_level(logging.ERROR):
        answers = [haiku.list_haiku(event(), None), post(haiku)]
        answers += [on_one(handler, NOBODY) for handler in (haiku.like_haiku, haiku.delete_haiku)]
    for answer in answers:
        assert answer["statusCode"] == 500
        assert json.loads(answer["body"]) == {"message": "Something went wrong here. Please try again."}
    assert caplog.text.count(f"not on table/{TABLE}") == 4  # the log has it all


def test_every_answer_may_be_read_by_any_page(haiku: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = post(haiku)
    item_id = json.loads(made["body"])["item_id"]
    answers = [made, post(haiku, first=""), haiku.list_haiku(event(), None)]
    answers += [
        on_one(handler, id) for id in (item_id, NOBODY) for handler in (haiku.like_haiku, haiku.delete_haiku)
    ]
    monkeypatch.setenv("READ", "neither")
    answers.append(haiku.list_haiku(event(), None))
    assert [one["statusCode"] for one in answers] == [201, 400, 200, 200, 204, 404, 404, 500]
    for answer in answers:
        assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
        assert answer["headers"]["Access-Control-Expose-Headers"] == "Link"


def test_each_handler_makes_the_one_call_that_its_role_allows(haiku: ModuleType, read: str) -> None:
    with calls_of(haiku) as calls:
        item_id = json.loads(post(haiku)["body"])["item_id"]
        get(haiku)
        on_one(haiku.like_haiku, item_id)
        on_one(haiku.delete_haiku, item_id)
    assert [name for name, _ in calls] == ["PutItem", read.title(), "UpdateItem", "DeleteItem"]


# -- the handlers and openapi.yaml ---------------------------------------------------------------------


def schema(description: dict[str, Any], name: str) -> Draft202012Validator:
    registry: Registry = Registry().with_resource("api", Resource.opaque(description))
    there = {"$ref": f"api#/components/schemas/{name}"}
    return Draft202012Validator(there, registry=registry, format_checker=FormatChecker())


def test_the_description_says_what_the_handlers_hold(haiku: ModuleType) -> None:
    parts = openapi()["components"]["schemas"]
    assert {name: parts[part]["maxLength"] for name, part in [("username", "Name"), ("first", "Line")]} == {
        name: haiku.LONGEST[name] for name in ("username", "first")
    }
    assert haiku.LONGEST["first"] == haiku.LONGEST["second"] == haiku.LONGEST["third"]
    assert parts["Name"]["pattern"] == parts["Line"]["pattern"] == f"^{haiku.TEXT.pattern}$"
    assert set(parts["NewHaiku"]["required"]) == set(haiku.LONGEST)
    limit, after = openapi()["paths"]["/haiku"]["get"]["parameters"]
    assert (limit["schema"]["default"], limit["schema"]["maximum"]) == (haiku.PAGE, haiku.LONGEST_PAGE)
    assert after["schema"]["pattern"] == f"^{haiku.CURSOR.pattern}$"
    for method in ("patch", "delete"):
        (item_id,) = openapi()["paths"]["/haiku/{item_id}"][method]["parameters"]
        assert item_id["schema"]["maxLength"] == haiku.LONGEST_ID


def test_each_answer_has_the_form_that_is_described(haiku: ModuleType) -> None:
    description = openapi()
    made = post(haiku, first="𠮷" * 50)
    item_id = json.loads(made["body"])["item_id"]
    schema(description, "Haiku").validate(json.loads(made["body"]))
    schema(description, "Haiku").validate(json.loads(on_one(haiku.like_haiku, item_id)["body"]))
    schema(description, "HaikuList").validate(get(haiku)[0])
    schema(description, "Problem").validate(json.loads(post(haiku, first="")["body"]))
    for wrong in ({"likes": -1}, {"created_at": "now"}, {"first": "x" * 51}, {"more": 1}):
        assert not schema(description, "Haiku").is_valid(json.loads(made["body"]) | wrong)


def test_each_kind_of_request_has_its_function() -> None:
    uris = {
        f"{method} {path}": operation["x-amazon-apigateway-integration"].get("uri", "")
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    }
    wanted = {
        "get /haiku": "__LIST_ARN__",
        "post /haiku": "__POST_ARN__",
        "patch /haiku/{item_id}": "__LIKE_ARN__",
        "delete /haiku/{item_id}": "__DELETE_ARN__",
    }
    for operation, uri in uris.items():
        if operation in wanted:
            assert f"/functions/{wanted[operation]}/invocations" in uri
        else:
            assert (operation.split()[0], uri) == ("options", "")
    assert set(wanted.values()) == set(FUNCTIONS)


def test_what_api_gateway_does_not_take_is_not_in_the_description() -> None:
    # "Amazon API Gateway important notes" and the rules for model names and path segments.
    text = json.dumps(openapi())
    for unsupported in (
        "oneOf",
        "anyOf",
        "allOf",
        "discriminator",
        "readOnly",
        "exclusiveM",
        "example",
        "nullable",
    ):
        assert f'"{unsupported}' not in text
    references = set(re.findall(r'"\$ref": "([^"]+)"', text))
    assert all(re.fullmatch(r"#/components/schemas/[A-Za-z]+", one) for one in references)
    for methods in openapi()["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                content = answer.get("content", {"application/json": {"schema": {"$ref": ""}}})
                assert set(content["application/json"]["schema"]) == {"$ref"}  # a model needs a name


def test_the_preflight_allows_what_the_page_does() -> None:
    for path, methods in openapi()["paths"].items():
        integration = methods["options"]["x-amazon-apigateway-integration"]
        headers = integration["responses"]["default"]["responseParameters"]
        allowed = headers["method.response.header.Access-Control-Allow-Methods"].strip("'").split(",")
        assert set(allowed) == {method.upper() for method in methods}, path
        declared = methods["options"]["responses"]["204"]["headers"]
        assert {f"method.response.header.{name}" for name in declared} == set(headers)
