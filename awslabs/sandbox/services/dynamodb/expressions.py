"""DynamoDB's expressions, read as AWS reads them.

    condition    a = :v AND (size(b) > :n OR NOT attribute_exists(c.d[0]))
    key          id = :v AND begins_with(at, :day)
    projection   a, b.c[0]
    update       SET a = a + :n, b = if_not_exists(b, :none) REMOVE c ADD d :n DELETE e :members

An expression is read to its end first, then its names, values and operands are looked at; what is wrong is
said in AWS's words. Source: DynamoDB developer guide, "Condition and filter expressions, operators, and
functions", "Update expressions"; DynamoDB API reference; aws-facts (k).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from awslabs.sandbox.services.dynamodb.values import TYPES, invalid

BYTES = 4096
LEVELS = 100  # of parentheses, which AWS does not count: it ends at 300 operators
_KEYWORDS = ("AND", "OR", "NOT", "BETWEEN", "IN")
_OPERATORS = {*_KEYWORDS, "=", "<>", "<", "<=", ">", ">="}
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")
_ORDERED = ("S", "N", "B")
_SETS = {"SS": "STRING_SET", "NS": "NUMBER_SET", "BS": "BINARY_SET"}
_LONG = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "M": "MAP",
    "L": "LIST",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
}
_FUNCTIONS = {  # how many operands
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
_IN_UPDATES = {"if_not_exists": 2, "list_append": 2}
_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[#:][A-Za-z0-9_]+|[0-9]+|<>|<=|>=|[-+=<>(),.\[\]]|\S|$)")
_WORD = re.compile(r"[A-Za-z_]")


@dataclass(frozen=True)
class Path:
    """A place in an item: names and places of lists."""

    parts: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"[{', '.join(f'[{each}]' if isinstance(each, int) else each for each in self.parts)}]"


@dataclass(frozen=True)
class Value:
    """A value that came with the request."""

    name: str
    kind: str
    content: Any

    @property
    def typed(self) -> dict[str, Any]:
        return {self.kind: self.content}


@dataclass(frozen=True)
class Term:
    """An operator or a function with what it is applied to: ``AND``, ``<=``, ``contains``, ``+``."""

    kind: str
    operands: tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """One change of an update."""

    section: str
    path: Path
    operand: Any = None


@dataclass
class Placeholders:
    """Names and values of one request, and which of them its expressions have used."""

    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


T = TypeVar("T")


class Reader:
    """Reads one expression.

    Parameters
    ----------
    kind : str
        As the request calls it: ``FilterExpression``.
    """

    def __init__(self, kind: str, text: str, given: Placeholders) -> None:
        self.kind, self.given = kind, given
        self.tokens = [(match[1], match.start(1)) for match in _TOKEN.finditer(text)]
        self.text, self.at = text, 0
        self.problems: list[tuple[int, str]] = []  # how early AWS says it, and what
        self.group = (0, 0)  # where the last parentheses began and ended
        self.depth = 0
        if not text.strip():
            self.fail("The expression can not be empty;")
        if (size := len(text.encode("utf-8", "replace"))) > BYTES:
            self.fail(f"Expression size has exceeded the maximum allowed size; expression size: {size}")

    def fail(self, message: str) -> NoReturn:
        raise invalid(f"Invalid {self.kind}: {message}")

    def note(self, rank: int, message: str) -> None:
        """Keep a mistake that AWS would only see after the whole expression is read."""
        self.problems.append((rank, message))

    def done(self, result: T) -> T:
        """The end: nothing may be left, and nothing may be wrong."""
        if self.token:
            self.syntax()
        if self.problems:
            self.fail(min(self.problems, key=lambda each: each[0])[1])
        return result

    # -- tokens -----------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        return self.tokens[min(self.at, len(self.tokens) - 1)][0]

    def word(self) -> str:
        """The token, as a keyword."""
        return self.token.upper()

    def after(self) -> str:
        return self.tokens[min(self.at + 1, len(self.tokens) - 1)][0]

    def syntax(self) -> NoReturn:
        token, start = self.tokens[min(self.at, len(self.tokens) - 1)]
        begin = self.tokens[self.at - 1][1] if self.at else start
        after, place = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        near = self.text[begin : place + len(after)].strip()
        self.fail(f'Syntax error; token: "{token or "<EOF>"}", near: "{near}"')

    def go_deeper(self) -> None:
        """Step over an opening parenthesis."""
        self.take("(")
        self.depth += 1
        if self.depth > LEVELS:
            self.fail(f"The expression contains too many operators; operator count: {self.depth}")

    def take(self, *wanted: str) -> str:
        token = self.token
        if (token.upper() if _WORD.match(token) else token) not in wanted:
            self.syntax()
        self.at += 1
        return token

    def several(self, read: Callable[[], T]) -> list[T]:
        """What is read once or more often, with commas between."""
        found = [read()]
        while self.token == ",":
            self.at += 1
            found.append(read())
        return found

    # -- operands ---------------------------------------------------------------------------------

    def path(self) -> Path:
        """A path: ``a.#b[0]``."""
        parts: list[str | int] = [self.name()]
        while self.token in (".", "["):
            if self.take(".", "[") == ".":
                parts.append(self.name())
                continue
            if not self.token.isdecimal():
                self.syntax()
            if len(self.token) > 9:
                self.fail(
                    "List index is not within the allowable range; index: "
                    f"[{self.token}], allowable range: [0, 100000]"
                )
            parts.append(int(self.token))
            self.at += 1
            self.take("]")
        return Path(tuple(parts))

    def name(self) -> str:
        token = self.token
        if token.startswith("#") and len(token) > 1:
            self.given.used.add(token)
            if token not in self.given.names:
                self.note(
                    2,
                    "An expression attribute name used in the document path is not defined; attribute "
                    f"name: {token}",
                )
        elif not _WORD.match(token) or token.upper() in _KEYWORDS:
            self.syntax()
        elif token.upper() in ReservedKeywords.get_reserved_keywords():
            self.note(0, f"Attribute name is a reserved keyword; reserved keyword: {token}")
        self.at += 1
        return self.given.names.get(token, token)

    def value(self) -> Value:
        token = self.token
        if not token.startswith(":") or len(token) < 2:
            self.syntax()
        self.at += 1
        self.given.used.add(token)
        if token not in self.given.values:
            self.note(
                3,
                f"An expression attribute value used in expression is not defined; attribute value: {token}",
            )
            return Value(token, "", None)
        ((kind, content),) = self.given.values[token].items()
        return Value(token, kind, content)

    def function(self, known: dict[str, int]) -> Term:
        """A call: ``contains(a, :v)``."""
        name = self.token
        self.at += 1
        self.go_deeper()
        operands = self.several(lambda: self.operand(known))
        self.take(")")
        if name not in known and name in (*_FUNCTIONS, *_IN_UPDATES):
            where = "a condition" if known is _FUNCTIONS else "an update"
            self.note(1, f"The function is not allowed in {where} expression; function: {name}")
        elif name not in known:
            self.note(1, f"Invalid function name; function: {name}")
        elif len(operands) != known[name]:
            self.note(
                4,
                "Incorrect number of operands for operator or function; operator or function: "
                f"{name}, number of operands: {len(operands)}",
            )
        else:
            self.look_at_function(name, operands)
        return Term(name, tuple(operands))

    def operand(self, known: dict[str, int]) -> Path | Value | Term:
        """A path, a value, or a function of them."""
        if self.token.startswith(":"):
            return self.value()
        if _WORD.match(self.token) and self.after() == "(":
            term = self.function(known)
            if term.kind in known and term.kind not in ("size", *_IN_UPDATES):
                self.note(6, self.misused(term.kind))
            return term
        return self.path()

    @staticmethod
    def misused(name: str) -> str:
        return f"The function is not allowed to be used this way in an expression; function: {name}"

    def look_at_function(self, name: str, operands: Sequence[Any]) -> None:
        """What kind of operands a function takes."""
        first, last = operands[0], operands[-1]
        if name in ("attribute_exists", "attribute_not_exists", "if_not_exists"):
            if not isinstance(first, Path):
                self.note(
                    5,
                    "Operator or function requires a document path; operator or function: " + name,
                )
        elif name == "attribute_type":
            if isinstance(last, Value) and last.kind == "S":
                if last.content not in TYPES:
                    kinds = "B,NULL,SS,BOOL,L,BS,N,NS,S,M"
                    self.note(
                        5,
                        f"Invalid attribute type name found; type: {last.content}, valid types: {{{kinds}}}",
                    )
            elif isinstance(last, Value) and last.kind:
                self.wrong_type(name, last.kind)
            elif not isinstance(last, Value):
                self.wrong_type(name, "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")
        elif name == "begins_with":
            self.look_at_types(name, operands, ("S", "B"))
        elif name == "size":
            self.look_at_types(name, operands, ("S", "B", "SS", "NS", "BS", "L", "M"))
        elif name == "list_append":
            self.look_at_types(name, operands, ("L",))

    def look_at_types(self, name: str, operands: Iterable[Any], allowed: Sequence[str]) -> None:
        for each in operands:
            if isinstance(each, Value) and each.kind and each.kind not in allowed:
                self.wrong_type(name, each.kind)

    def wrong_type(self, name: str, kind: str) -> None:
        self.note(
            5,
            "Incorrect operand type for operator or function; operator or function: "
            f"{name}, operand type: {kind}",
        )

    # -- conditions -------------------------------------------------------------------------------

    def condition(self) -> Term:
        count = sum(token.upper() in _OPERATORS for token, _ in self.tokens)
        if count > 300:
            self.fail(f"The expression contains too many operators; operator count: {count}")
        return self.done(self.alternatives())

    def alternatives(self) -> Term:
        return self.joined("OR", functools.partial(self.joined, "AND", self.negation))

    def joined(self, word: str, read: Callable[[], Term]) -> Term:
        """What is read once, or more often with a word between."""
        found = read()
        while self.word() == word:
            self.at += 1
            found = Term(word, (found, read()))
        return found

    def negation(self) -> Term:
        negations = 0
        while self.word() == "NOT":
            self.at += 1
            negations += 1
        found = self.simple()
        return Term("NOT", (found,)) if negations % 2 else found

    def simple(self) -> Term:
        """Something in parentheses, a function, or a comparison."""
        if self.token == "(":
            start = self.at
            self.go_deeper()
            found = self.alternatives()
            if self.group == (start + 1, self.at):
                self.note(4, "The expression has redundant parentheses;")
            self.take(")")
            self.group = start, self.at
            return found
        if _WORD.match(self.token) and self.after() == "(" and self.token != "size":
            term = self.function(_FUNCTIONS)
            if self.token in COMPARISONS or self.word() in ("BETWEEN", "IN"):
                if term.kind in _FUNCTIONS:
                    self.note(6, self.misused(term.kind))
                return self.comparison(term)
            return term
        return self.comparison(self.operand(_FUNCTIONS))

    def comparison(self, left: Any) -> Term:
        word = self.word()
        if word in COMPARISONS:
            self.at += 1
            operands: tuple[Any, ...] = (left, self.operand(_FUNCTIONS))
            if word not in ("=", "<>"):
                self.look_at_types(word, operands, _ORDERED)
        elif word == "BETWEEN":
            self.at += 1
            low = self.operand(_FUNCTIONS)
            self.take("AND")
            operands = (left, low, self.operand(_FUNCTIONS))
            self.look_at_types(word, operands, _ORDERED)
            self.look_at_bounds(*operands[1:])
        elif word == "IN":
            self.at += 1
            self.take("(")
            members = self.several(lambda: self.operand(_FUNCTIONS))
            self.take(")")
            if len(members) > 100:
                self.note(
                    4,
                    "Incorrect number of operands for operator or function; operator or function: IN, "
                    f"number of operands: {len(members) + 1}",
                )
            operands = (left, *members)
        elif isinstance(left, Term) and left.kind == "size" and word in ("", "AND", "OR", ")"):
            self.note(6, self.misused("size"))
            return left
        else:
            self.syntax()
        if isinstance(left, Path) and left in operands[1:]:
            self.note(
                7,
                "The first operand must be distinct from the remaining operands for this operator or "
                f"function; operator: {word}, first operand: {left}",
            )
        return Term(word, operands)

    def look_at_bounds(self, low: Any, high: Any) -> None:
        if not (isinstance(low, Value) and isinstance(high, Value) and low.kind and high.kind):
            return
        shown = [f"AttributeValue: {{{each.kind}:{each.content}}}" for each in (low, high)]
        bounds = f"lower bound operand: {shown[0]}, upper bound operand: {shown[1]}"
        if low.kind != high.kind:
            self.note(8, f"The BETWEEN operator requires same data type for lower and upper bounds; {bounds}")
        elif low.kind in _ORDERED and sort_key(low.kind, low.content) > sort_key(high.kind, high.content):
            self.note(
                8,
                "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
                + bounds,
            )

    # -- keys -------------------------------------------------------------------------------------

    def key_condition(self) -> list[tuple[str, str, list[dict[str, Any]]]]:
        """What a query wants of each key: name, comparison, values."""
        found = [self.of_key(each) for each in _parts(self.condition())]
        names = [name for name, _, _ in found]
        if len(set(names)) < len(names):
            self.fail("KeyConditionExpressions must only contain one condition per key")
        return found

    def of_key(self, term: Term) -> tuple[str, str, list[dict[str, Any]]]:
        if term.kind not in (*COMPARISONS, "BETWEEN", "begins_with") or term.kind == "<>":
            self.fail(f"Invalid operator used in KeyConditionExpression: {term.kind}")
        operands, kind = list(term.operands), term.kind
        if kind in COMPARISONS and isinstance(operands[0], Value) and isinstance(operands[1], Path):
            operands.reverse()
            kind = kind.translate(str.maketrans("<>", "><"))
        if any(isinstance(each, Term) for each in operands):
            self.fail("KeyConditionExpressions cannot contain nested operations")
        path, *values = operands
        if not isinstance(path, Path):
            self.fail("Invalid condition in KeyConditionExpression: No key attribute specified")
        if any(isinstance(each, Path) for each in values):
            self.fail(
                "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"
            )
        if len(path.parts) > 1:
            self.fail("KeyConditionExpressions cannot have conditions on nested attributes")
        return str(path.parts[0]), kind, [each.typed for each in values]

    # -- projections ------------------------------------------------------------------------------

    def projection(self) -> list[Path]:
        paths = self.several(self.path)
        self.look_at_overlaps(paths)
        return self.done(paths)

    def look_at_overlaps(self, paths: Sequence[Path]) -> None:
        ends: dict[tuple[Any, ...], Path] = {}
        for path in paths:
            for length in range(1, len(path.parts) + 1):
                if (other := ends.get(path.parts[:length])) is not None:
                    self.overlap(other, path)
                    return
            ends[path.parts] = path
        for path in paths:
            for length in range(1, len(path.parts)):
                if (other := ends.get(path.parts[:length])) is not None:
                    self.overlap(path, other)
                    return
                conflict = next(
                    (
                        each
                        for each in paths
                        if len(each.parts) > length
                        and each.parts[:length] == path.parts[:length]
                        and isinstance(each.parts[length], int) != isinstance(path.parts[length], int)
                    ),
                    None,
                )
                if conflict is not None:
                    self.note(
                        7,
                        "Two document paths conflict with each other; must remove or rewrite one of these "
                        f"paths; path one: {path}, path two: {conflict}",
                    )
                    return

    def overlap(self, one: Path, two: Path) -> None:
        self.note(
            7,
            "Two document paths overlap with each other; must remove or rewrite one of these paths; "
            f"path one: {one}, path two: {two}",
        )

    # -- updates ----------------------------------------------------------------------------------

    def update(self) -> list[Change]:
        changes: list[Change] = []
        seen: set[str] = set()
        while self.token or not seen:
            section = self.take(*SECTIONS).upper()
            if section in seen:
                self.fail(f'The "{section}" section can only be used once in an update expression;')
            seen.add(section)
            changes += self.several(functools.partial(self.change, section))
        self.look_at_overlaps([each.path for each in changes])
        return self.done(changes)

    def change(self, section: str) -> Change:
        path = self.path()
        if section == "REMOVE":
            return Change(section, path)
        if section == "SET":
            self.take("=")
            return Change(section, path, self.sum())
        value = self.value()
        allowed = ("N", *_SETS) if section == "ADD" else tuple(_SETS)
        if value.kind and value.kind not in allowed:
            self.note(
                5,
                f"Incorrect operand type for operator or function; operator: {section}, operand type: "
                f"{_LONG[value.kind] if value.kind in _LONG else _SETS[value.kind]}, "
                f"typeSet: ALLOWED_FOR_{section}_OPERAND",
            )
        return Change(section, path, value)

    def sum(self) -> Any:
        left = self.operand(_IN_UPDATES)
        if self.token not in ("+", "-"):
            return left
        operator = self.take("+", "-")
        operands = (left, self.operand(_IN_UPDATES))
        self.look_at_types(operator, operands, ("N",))
        return Term(operator, operands)


def _parts(term: Term) -> list[Term]:
    """The conditions of which all must hold."""
    return [part for each in term.operands for part in _parts(each)] if term.kind == "AND" else [term]


def sort_key(kind: str, content: Any) -> Any:
    """By what values of one type are ordered."""
    return Decimal(content) if kind == "N" else content
