"""API Gateway's mapping templates: Velocity with `$input`, `$util`, `$context` and `$stageVariables`.

`airspeed` reads the language; what a template may touch is decided here. In Velocity a template reaches every
method of every object, which in Python would be the whole process: `Reference` lets it reach the members of
maps, the elements of lists, a few methods of Java's texts, lists and maps, and what `Input` and `Util` offer.

What is empty is written as nothing, a map as Java writes it (``{a=1}``), a list as JSON.
Source: API Gateway developer guide, "Mapping template transformations", "Variables for data transformations";
aws-facts (k).
"""

from __future__ import annotations

import base64
import functools
import json
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

import airspeed.operators as velocity
from jsonpath_ng.ext.parser import parse as parse_path


class Unmade(Exception):
    """A template that cannot be rendered: it is no Velocity, or does what Velocity cannot."""


class Map(dict[str, Any]):
    """A map that is written as Java writes one; the lists in it are written as JSON."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__({name: held(value) for name, value in values.items()})

    def __str__(self) -> str:
        return (
            "{" + ", ".join(f"{name}={velocity.value_to_string(value)}" for name, value in self.items()) + "}"
        )


class List(list[Any]):
    """A list that is written as JSON."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__(held(value) for value in values)

    def __str__(self) -> str:
        return json.dumps(self, separators=(",", ":"))


def held(value: Any) -> Any:
    """A value as a template holds it."""
    if isinstance(value, dict):
        return Map(value)
    return List(value) if isinstance(value, list) else value


@functools.lru_cache(maxsize=1000)
def _path(expression: str) -> Any:
    return parse_path(expression)


def look(document: Any, expression: str) -> Any:
    """What a JSONPath finds in a document: one value, several in a list, or None."""
    try:
        found = [match.value for match in _path(expression).find(document)]
    except Exception as problem:  # the parser and its lexer raise Exception itself
        raise Unmade(f"{expression}: {problem}") from problem
    return found[0] if len(found) == 1 else found or None


class Input:
    """`$input`: the body and the parameters of a request, or of the integration's answer to it.

    Parameters
    ----------
    body : str
        What came; empty is ``{}`` to a template.
    parameters : dict
        ``path``, ``querystring`` and ``header``, each name to text.
    """

    OFFERS = frozenset({"body", "json", "path", "params"})

    def __init__(self, body: str, parameters: dict[str, dict[str, str]]) -> None:
        self.body = body or "{}"
        self.parameters = Map(parameters)
        try:
            self.document = json.loads(body) if body else None
        except ValueError:
            self.document = None

    def json(self, expression: str) -> str:
        """What a JSONPath finds, as JSON."""
        found = look(self.document, expression) if self.document is not None else None
        return json.dumps("" if found is None else found)

    def path(self, expression: str) -> Any:
        """What a JSONPath finds, to go on with."""
        return held(look(self.document, expression)) if self.document is not None else None

    def params(self, name: str | None = None) -> Any:
        """A parameter, looked for in the path, the query and the headers in this order; or all of them."""
        if name is None:
            return self.parameters
        found = (self.parameters[place].get(name) for place in ("path", "querystring", "header"))
        return next((value for value in found if value), "")


class Util:
    """`$util`."""

    OFFERS = frozenset(
        {"escapeJavaScript", "parseJson", "urlEncode", "urlDecode", "base64Encode", "base64Decode"}
    )

    def escapeJavaScript(self, text: Any) -> str:  # noqa: N802  (the names are AWS's)
        return json.dumps(velocity.value_to_string(text))[1:-1]

    def parseJson(self, text: str) -> Any:  # noqa: N802
        return held(json.loads(text))

    def urlEncode(self, text: str) -> str:  # noqa: N802
        return urllib.parse.quote_plus(text)

    def urlDecode(self, text: str) -> str:  # noqa: N802
        return urllib.parse.unquote_plus(text)

    def base64Encode(self, text: Any) -> str:  # noqa: N802
        return base64.b64encode(velocity.value_to_string(text).encode()).decode()

    def base64Decode(self, text: str) -> str:  # noqa: N802
        return base64.b64decode(text).decode("utf-8", "replace")


# --- what a template may touch ------------------------------------------------------------------------


def _put(values: dict[str, Any], name: str, value: Any) -> Any:
    before, values[name] = values.get(name), value
    return before


def _set(values: list[Any], place: int, value: Any) -> Any:
    before, values[place] = values[place], value
    return before


def _add(values: list[Any], value: Any) -> bool:
    values.append(value)
    return True


METHODS: dict[type, dict[str, Callable[..., Any]]] = {
    str: {
        "length": len,
        "isEmpty": lambda text: not text,
        "equals": lambda text, other: text == other,
        "equalsIgnoreCase": lambda text, other: text.lower() == str(other).lower(),
        "contains": lambda text, part: part in text,
        "startsWith": lambda text, part: text.startswith(part),
        "endsWith": lambda text, part: text.endswith(part),
        "indexOf": lambda text, part: text.find(part),
        "lastIndexOf": lambda text, part: text.rfind(part),
        "substring": lambda text, start, end=None: text[start:end],
        "replace": lambda text, old, new: text.replace(old, new),
        "replaceAll": lambda text, pattern, new: re.sub(pattern, _replacement(new), text),
        "matches": lambda text, pattern: bool(re.fullmatch(pattern, text)),
        "split": lambda text, pattern: List(re.split(pattern, text)),
        "trim": lambda text: text.strip(),
        "toLowerCase": lambda text: text.lower(),
        "toUpperCase": lambda text: text.upper(),
        "concat": lambda text, other: text + other,
        "toString": lambda text: text,
    },
    list: {
        "size": len,
        "isEmpty": lambda values: not values,
        "get": lambda values, place: values[place],
        "contains": lambda values, value: value in values,
        "add": _add,
        "set": _set,
        "toString": str,
    },
    dict: {
        "size": len,
        "isEmpty": lambda values: not values,
        "get": lambda values, name: values.get(name),
        "containsKey": lambda values, name: name in values,
        "put": _put,
        "putAll": lambda values, more: values.update(more),
        "remove": lambda values, name: values.pop(name, None),
        "keySet": lambda values: List(list(values)),
        "values": lambda values: List(list(values.values())),
        "entrySet": lambda values: List([{"key": name, "value": each} for name, each in values.items()]),
        "toString": str,
    },
}


def _replacement(text: str) -> str:
    """Java's ``$1`` as Python has it."""
    return re.sub(r"\$(\d)", r"\\\1", text)


def member(owner: Any, name: str) -> Any:
    """What a template calls `name` in an object; None: nothing that it may touch."""
    if isinstance(owner, velocity.LocalNamespace):  # the variables of a loop or a macro, and all around it
        try:
            return owner[name]
        except KeyError:
            return None
    if isinstance(owner, (Input, Util)):
        return getattr(owner, name) if name in owner.OFFERS else None
    if isinstance(owner, dict) and name in owner:
        return owner[name]
    for kind, methods in METHODS.items():
        if isinstance(owner, kind) and name in methods:
            return functools.partial(methods[name], owner)
    return None


def _calculate(reference: Any, owner: Any, loader: Any, names: Any) -> Any:
    """What a name, a call or an element in a template is; in airspeed's place."""
    found = member(owner, reference.name)
    if isinstance(found, velocity._FunctionDefinition):  # a macro
        given = reference.parameters.calculate(names, loader) if reference.parameters else []
        stream = velocity.StoppableStream()
        found.execute_function(stream, names, given, loader)
        return stream.getvalue()
    if reference.parameters is not None:
        return found(*reference.parameters.calculate(names, loader)) if callable(found) else None
    if callable(found):
        return None
    if reference.index is not None and isinstance(found, (list, dict)):
        place = reference.index.calculate(names, loader)
        try:
            return found[place]
        except (LookupError, TypeError):
            return None
    return found


velocity.NameOrCall.calculate = _calculate


_EVALUATED = re.compile(r"#(evaluate|include|parse)\b")


@functools.lru_cache(maxsize=1000)
def _read(text: str) -> Any:
    template = velocity.Template(text)
    template.ensure_compiled()
    return template


def render(text: str, given: Input, context: dict[str, Any], stage_variables: dict[str, str]) -> str:
    """What a template makes of a request or an answer; it may write into `context`'s overrides.

    Raises
    ------
    Unmade
        AWS answers 500.
    """
    if _EVALUATED.search(text):
        raise Unmade("AWS knows no #evaluate, #include and #parse")
    names = {"input": given, "util": Util(), "context": context, "stageVariables": Map(stage_variables)}
    try:
        made: str = _read(text).merge(names)
    except Exception as problem:  # a template may do anything that fails
        raise Unmade(str(problem)) from problem
    return made
