"""Mapping templates: what they say, and what they cannot reach."""

from __future__ import annotations

import json
from typing import Any

import pytest

from awslabs.sandbox.services.apigateway.templates import Input, Map, Unmade, render

PARAMETERS = {
    "path": {"id": "7"},
    "querystring": {"id": "from the query", "q": "a b"},
    "header": {"X-One": "1"},
}


def said(template: str, body: Any = "", context: dict[str, Any] | None = None) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    held = Map({"stage": "prod", "requestOverride": {"header": {}}} | (context or {}))
    return render(template, Input(text, PARAMETERS), held, {"color": "red"})


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("$input.params('id') $input.params('q') $input.params('X-One') $input.params('none').", "7 a b 1 ."),
        ("$input.params().querystring.id", "from the query"),
        ("$context.stage $stageVariables.color $context.nothing.", "prod red ."),
        ('$input.json("$.a") $input.json("$") $input.json("$.none")', '{"b": [1]} {"a": {"b": [1]}} ""'),
        ('$input.path("$.a.b")[0] $input.path("$.a.b").size()', "1 1"),
        ('#if($input.path("$.a.none") == $null)none#else some#end', "none"),
        ('#if($input.path("$.a.none") == "")empty#end#if($context.stage != "")said#end', "emptysaid"),
        ('#foreach($x in $input.path("$.a.b"))$x#if($foreach.hasNext),#end#end', "1"),
        ("#set($p = $input.params())#foreach($n in $p.keySet())$n #end", "path querystring header "),
        ("$util.base64Encode('a') $util.base64Decode('YQ==') $util.urlEncode('a b')", "YQ== a a+b"),
        ("$util.escapeJavaScript('a\"b') $util.parseJson('{\"a\": 1}').a", 'a\\"b 1'),
        ("#set($t = 'Haiku')$t.toUpperCase() $t.length() $t.substring(0, 2) $t.replaceAll('(k)', '<$1>')",
         "HAIKU 5 Ha Hai<k>u"),
        ('#set($m = {"a": 1})$m.put("b", 2)$m.get("b")', "2"),
    ],
)  # fmt: skip
def test_a_template_says_what_velocity_says(template: str, wanted: str) -> None:
    assert said(template, {"a": {"b": [1]}}) == wanted


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"foo": "bar"}, "{foo=bar}"),
        ([{"foo": "bar"}], '[{"foo":"bar"}]'),
        ({"foo": [{"nested": "bar"}]}, '{foo=[{"nested":"bar"}]}'),
        ({"a": 1, "b": True}, "{a=1, b=true}"),
    ],
)
def test_a_map_is_written_as_java_does_and_a_list_as_json(body: Any, wanted: str) -> None:
    assert said('$input.path("$")', body) == wanted


def test_a_body_that_is_not_there_is_an_empty_map() -> None:
    assert said("$input.body $input.body.foo $util.urlEncode($input.body)") == "{}  %7B%7D"


def test_a_template_writes_into_its_overrides() -> None:
    context = Map({"requestOverride": {"header": {}}, "responseOverride": {"status": 0}})
    template = (
        '#set($context.requestOverride.header.foo = "bar")#set($context.responseOverride.status = 444)x'
    )
    assert render(template, Input("", PARAMETERS), context, {}) == "x"
    assert context["requestOverride"]["header"] == {"foo": "bar"}
    assert context["responseOverride"]["status"] == 444


@pytest.mark.parametrize(
    "template",
    [
        "$input.__class__.__mro__",
        "$util.parseJson.__globals__",
        "$input.document",
        "$input.params.__func__",
        "#set($x = 'a')$x.format('{0.__class__}')",
        "#set($x = '{0.__class__}')$x.format($util)",
        "$context.update.__self__",
        "$stageVariables.__class__",
        "#set($x = [1])$x.append(2)$x.__len__()",
    ],
)
def test_a_template_reaches_nothing_of_python(template: str) -> None:
    assert said(template, {"a": 1}) == ""


@pytest.mark.parametrize(
    "template", ["#if($x)", "#evaluate('$x')", "#parse('x')", "$util.parseJson('no')", "$input.path('$[')"]
)
def test_what_is_no_template_is_not_made(template: str) -> None:
    with pytest.raises(Unmade):
        said(template, {"a": 1})
