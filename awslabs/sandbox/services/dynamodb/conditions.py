"""Whether an item meets a condition, and what an update makes of it.

Values of different types are never equal and have no order: such an item does not match, and moto falls over
them. Source: DynamoDB developer guide, "Condition and filter expressions, operators, and functions", "Update
expressions"; aws-facts (k).
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType, Item

from awslabs.sandbox.core.engine import Refused
from awslabs.sandbox.services.dynamodb.expressions import Change, Path, Term, Value, sort_key
from awslabs.sandbox.services.dynamodb.values import Wrong, invalid, number

Attributes = dict[str, DynamoType]
_SIZED = ("S", "B", "SS", "NS", "BS", "L", "M")


def _bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else base64.b64decode(content)


def plain(value: DynamoType) -> Any:
    """A value of which equal ones are equal: with its type, at every depth."""
    content = value.value
    if value.type == "N":
        return "N", Decimal(content)
    if value.type == "B":
        return "B", _bytes(content)
    if value.is_set():
        return value.type, frozenset(plain(DynamoType({value.type[0]: each})) for each in content)
    if value.is_list():
        return "L", tuple(plain(DynamoType(each)) for each in content)
    if value.is_map():
        return "M", {name: plain(DynamoType(each)) for name, each in content.items()}
    return value.type, content


def look_up(path: Path, attributes: Attributes) -> DynamoType | None:
    """What stands at a place in an item."""
    found = attributes.get(str(path.parts[0]))
    for part in path.parts[1:]:
        if found is None:
            return None
        found = found.child_attr(part)
    return found


def value_of(operand: Any, attributes: Attributes) -> DynamoType | None:
    """What an operand of a condition is for this item; None: nothing."""
    if isinstance(operand, Value):
        return DynamoType(operand.typed)
    if isinstance(operand, Path):
        return look_up(operand, attributes)
    sized = value_of(operand.operands[0], attributes)
    if sized is None or sized.type not in _SIZED:
        return None
    content = _bytes(sized.value) if sized.type == "B" else sized.value
    return DynamoType({"N": str(len(content))})


def holds(term: Term, attributes: Attributes) -> bool:
    """Whether a condition holds for an item."""
    kind = term.kind
    if kind == "NOT":
        return not holds(term.operands[0], attributes)
    if kind == "AND":
        return all(holds(each, attributes) for each in term.operands)
    if kind == "OR":
        return any(holds(each, attributes) for each in term.operands)
    first, *others = (value_of(each, attributes) for each in term.operands)
    if kind == "attribute_exists":
        return first is not None
    if kind == "attribute_not_exists":
        return first is None
    if kind == "<>":
        return first is None or others[0] is None or plain(first) != plain(others[0])
    if first is None:
        return False
    known = [each for each in others if each is not None]
    if kind == "IN":
        return any(plain(first) == plain(each) for each in known)
    if len(known) < len(others):
        return False
    if kind == "=":
        return bool(plain(first) == plain(known[0]))
    if kind == "BETWEEN":
        return _compare(known[0], "<=", first) and _compare(first, "<=", known[1])
    if kind == "attribute_type":
        return bool(first.type == known[0].value)
    if kind == "begins_with":
        return _begins(first, known[0])
    if kind == "contains":
        return _contains(first, known[0])
    return _compare(first, kind, known[0])


def _compare(left: DynamoType, kind: str, right: DynamoType) -> bool:
    if left.type != right.type or left.type not in ("S", "N", "B"):
        return False
    one, two = (
        _bytes(each.value) if each.type == "B" else sort_key(each.type, each.value) for each in (left, right)
    )
    return bool({"<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}[kind])


def _begins(whole: DynamoType, start: DynamoType) -> bool:
    if whole.type != start.type or whole.type not in ("S", "B"):
        return False
    if whole.type == "B":
        return _bytes(whole.value).startswith(_bytes(start.value))
    return bool(whole.value.startswith(start.value))


def _contains(whole: DynamoType, part: DynamoType) -> bool:
    if whole.type == part.type == "S":
        return part.value in whole.value
    if whole.type == part.type == "B":
        return _bytes(part.value) in _bytes(whole.value)
    if whole.is_set():
        return plain(part) in plain(whole)[1]
    return whole.is_list() and plain(part) in plain(whole)[1]


class Filter:
    """A condition in the shape in which moto asks one."""

    def __init__(self, term: Term | None) -> None:
        self.term = term

    def expr(self, item: Item | None) -> bool:
        return self.term is None or holds(self.term, item.attrs if item is not None else {})


# --- updates ------------------------------------------------------------------------------------------


def wrong_type() -> Refused:
    return invalid("An operand in the update expression has an incorrect data type")


def wrong_path() -> Refused:
    return invalid("The document path provided in the update expression is invalid for update")


def updated(changes: Sequence[Change], before: Attributes) -> Attributes:
    """An item as an update leaves it; what it was before counts for every operand."""
    after = copy.deepcopy(dict(before))
    results = [_result(each, before) for each in changes]
    for change, result in zip(changes, results, strict=True):
        if change.section != "REMOVE":
            _put(after, change.path, result)
    removed = [each.path for each in changes if each.section == "REMOVE"]
    # Later elements of a list first: places are those of before.
    for path in sorted(removed, key=lambda each: [str(part).zfill(9) for part in each.parts], reverse=True):
        _put(after, path, None)
    return after


def _result(change: Change, before: Attributes) -> DynamoType | None:
    """What a change puts in its place; None: it takes away."""
    if change.section == "REMOVE":
        return None
    if change.section == "SET":
        return _operand(change.operand, before)
    asked, standing = DynamoType(change.operand.typed), look_up(change.path, before)
    if change.section == "ADD" and asked.is_number():
        return _add(standing or DynamoType({"N": "0"}), "+", asked)
    if standing is None:
        return asked if change.section == "ADD" else None
    if standing.type != asked.type:
        raise wrong_type()
    kinds = [plain(DynamoType({asked.type[0]: each})) for each in asked.value]
    kept = [each for each in standing.value if plain(DynamoType({asked.type[0]: each})) not in kinds]
    if change.section == "DELETE":
        return DynamoType({asked.type: kept}) if kept else None
    return DynamoType({asked.type: kept + list(asked.value)})


def _operand(operand: Any, before: Attributes) -> DynamoType:
    if isinstance(operand, Value):
        return DynamoType(copy.deepcopy(operand.typed))
    if isinstance(operand, Path):
        found = look_up(operand, before)
        if found is None:
            raise invalid("The provided expression refers to an attribute that does not exist in the item")
        return copy.deepcopy(found)
    if operand.kind == "if_not_exists":
        found = look_up(operand.operands[0], before)
        return copy.deepcopy(found) if found is not None else _operand(operand.operands[1], before)
    left, right = (_operand(each, before) for each in operand.operands)
    if operand.kind == "list_append":
        if not (left.is_list() and right.is_list()):
            raise wrong_type()
        return DynamoType({"L": left.value + right.value})
    return _add(left, operand.kind, right)


def _add(left: DynamoType, operator: str, right: DynamoType) -> DynamoType:
    if not (left.is_number() and right.is_number()):
        raise wrong_type()
    with localcontext() as context:
        context.prec = 300
        one, two = Decimal(left.value), Decimal(right.value)
        text = format(one + two if operator == "+" else one - two, "f")
    try:
        return DynamoType({"N": number(text)})
    except Wrong as problem:
        raise invalid(str(problem)) from problem


def _place(attributes: Attributes, path: Path) -> Any:
    """The map or list in which the end of a path stands: `attributes`, or the content of one of them."""
    if len(path.parts) == 1:
        return attributes
    found = attributes.get(str(path.parts[0]))
    for part in path.parts[1:-1]:
        if found is None:
            raise wrong_path()
        inside = found.value
        if isinstance(part, int):
            found = inside[part] if found.is_list() and part < len(inside) else None
        else:
            found = inside.get(part) if found.is_map() else None
    last = path.parts[-1]
    if found is None or not (found.is_list() if isinstance(last, int) else found.is_map()):
        raise wrong_path()
    return found.value


def _put(after: Attributes, path: Path, result: DynamoType | None) -> None:
    """Put a value into its place, or take away what stands there."""
    place, last = _place(after, path), path.parts[-1]
    if isinstance(place, dict):
        if result is None:
            place.pop(last, None)
        else:
            place[last] = result
        return
    assert isinstance(last, int)
    if result is None:
        del place[last : last + 1]
    elif last < len(place):
        place[last] = result
    else:
        place.append(result)


# --- projections --------------------------------------------------------------------------------------


def projected(paths: Sequence[Path], attributes: Attributes) -> Attributes:
    """What a projection leaves of an item: elements of a list move together."""
    tree: dict[Any, Any] = {}
    for path in paths:
        place = tree
        for part in path.parts:
            place = place.setdefault(part, {})
    found = {str(name): _pick(attributes.get(str(name)), below) for name, below in tree.items()}
    return {name: value for name, value in found.items() if value is not None}


def _pick(value: DynamoType | None, tree: dict[Any, Any]) -> DynamoType | None:
    if value is None or not tree:
        return value
    if value.is_map():
        picked = {name: _pick(value.value.get(name), below) for name, below in tree.items()}
        kept = {name: each for name, each in picked.items() if each is not None}
        return DynamoType({"M": kept}) if kept else None
    if value.is_list():
        places = sorted(place for place in tree if isinstance(place, int) and place < len(value.value))
        elements = [each for place in places if (each := _pick(value.value[place], tree[place])) is not None]
        return DynamoType({"L": elements}) if elements else None
    return None
