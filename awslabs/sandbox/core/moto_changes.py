"""The few places where moto itself is changed so that it serves as a cloud for hours.

    secrets         of access keys that IAM and STS make come from the operating system, as nobody may guess
                    them from the ids that he has seen: moto draws both from one sequence
    forgetful       moto keeps every object it ever made, and what caches hold; so an account that was
                    reset would never go away
    AMIs, Regions   AWS's images are made once and copied for each account, and a service's list of Regions
                    is made once: so a new account costs 15 ms instead of 200
    items           of DynamoDB go into an answer as they are; moto looks each value up under ten names, and
                    30 haiku take 16 ms instead of 3; texts are compared as texts at once
    queues          moto counts all messages of a queue three times for each one that is sent
    operations      that are alone at their path are known without the parameters that they require, so that
                    it can be said which one is missing

Strictness is another matter: see `rules`. Made for moto 5.2.
"""

from __future__ import annotations

import functools
import secrets
import string
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.base_backend import AccountSpecificBackend
from moto.core.common_models import BaseModel
from moto.core.request import Request
from moto.core.routing import SmithyRule
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.subnets import Subnet
from moto.iam.models import AccessKey
from moto.sqs.models import Queue

from awslabs.sandbox.core.engine import replacement


def install() -> None:
    """Change moto in this process, for good."""
    BaseModel.__new__ = staticmethod(_untracked)  # type: ignore[method-assign]
    _change(AccountSpecificBackend, "_generate_regions", _regions)
    _change(Subnet, "_base_avail_ip_iterator", _addresses)
    _change(AccessKey, "__init__", _key)
    _change(AmiBackend, "_load_amis", _amis)
    _change(BaseJSONSerializer, "_serialize_type_structure", _structure)
    cast = DynamoType.cast_value.fget  # type: ignore[attr-defined]
    DynamoType.cast_value = property(  # type: ignore[method-assign, assignment]
        lambda value: value.value if value.type == "S" else cast(value)
    )
    _change(Table, "sorted_items", _sorted)
    _change(SmithyRule, "match_request", _alone)
    attributes = Queue.attributes.fget  # type: ignore[attr-defined]
    of_queue = property(lambda queue: Attributes(queue, attributes))
    Queue.attributes = of_queue  # type: ignore[method-assign, assignment]


def _change(owner: type, name: str, change: Any) -> None:
    """Put `change` in place of a method; it gets the original first."""
    setattr(owner, name, replacement(change, getattr(owner, name)))


def _untracked(cls: type, *_args: Any, **_kwargs: Any) -> Any:
    """A new object of a moto class, which is on no list."""
    return object.__new__(cls)


def _alone(original: Any, rule: SmithyRule, request: Request) -> Any:
    """The operation of a request at this path; where there is one alone, it may lack what it requires."""
    found, candidates = original(rule, request), rule._action_selector.candidates
    if found is not None or len(candidates) > 1:
        return found
    named = any(getattr(need, "value", None) for need in candidates[0].constraints)
    return None if named else candidates[0].operation


def _key(original: Any, key: AccessKey, *args: Any, **kwargs: Any) -> None:
    """A new access key."""
    original(key, *args, **kwargs)
    letters = string.ascii_letters + string.digits
    key.secret_access_key = "".join(secrets.choice(letters) for _ in range(40))


def _addresses(_original: Any, subnet: Subnet) -> Any:
    """The addresses that a subnet has still to give, kept by itself and not by a cache of all subnets."""
    return vars(subnet).setdefault("_addresses", subnet.cidr.hosts())


_made_regions: dict[str, list[str]] = {}


def _regions(original: Any, held: Any, service: str) -> list[str]:
    """The Regions of a service; moto's own cache of them would keep every account for ever."""
    if service not in _made_regions:
        _made_regions[service] = original(held, service)
    return _made_regions[service]


_made_amis: dict[str, tuple[str, dict[str, Ami]]] = {}  # Region: the account that they were made in, and they


def _amis(original: Any, backend: Any) -> None:
    """The public machine images of a Region with their snapshots, which belong to their owner everywhere."""
    if backend.region_name not in _made_amis:
        original(backend)
        _made_amis[backend.region_name] = backend.account_id, dict(backend.amis)
    maker, made = _made_amis[backend.region_name]
    for ami_id, ami in made.items():
        ami = _of(backend, maker, ami)
        ami.launch_permissions = list(ami.launch_permissions)
        ami.ebs_snapshot = _of(backend, maker, ami.ebs_snapshot)
        backend.amis[ami_id] = ami
        backend.snapshots[ami.ebs_snapshot.id] = ami.ebs_snapshot


def _of(backend: Any, maker: str, thing: Any) -> Any:
    """A copy for another account."""
    mine = object.__new__(type(thing))
    vars(mine).update(vars(thing), ec2_backend=backend)
    if mine.owner_id == maker:
        mine.owner_id = backend.account_id
    return mine


# Kinds of values that JSON holds as they are; bytes are base64, lists hold others.
_PLAIN = {"S", "N", "BOOL", "NULL", "SS", "NS"}


def _structure(original: Any, serializer: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """A structure in an answer; a plain value of DynamoDB's is one already."""
    if shape.name == "AttributeValue" and type(value) is dict and value.keys() <= _PLAIN and key:
        serialized[key] = value
    else:
        original(serializer, serialized, value, shape, key)


def _sorted(original: Any, table: Table, hash_keys: Any, range_keys: Any, items: list[Item]) -> list[Item]:
    """The items of an index in its order; moto compares objects of its own where plain values would do."""
    names = table._generate_attr_to_sort_by(hash_keys, range_keys)
    items.sort(key=lambda item: tuple(item.attrs[name].cast_value for name in names))
    return items


class Attributes(Mapping[str, Any]):
    """The attributes of a queue, whose messages are counted for whoever asks for more than how it is made."""

    def __init__(self, queue: Queue, all_of: Any) -> None:
        self._queue, self._all_of = queue, all_of

    @functools.cached_property
    def _all(self) -> dict[str, Any]:
        found: dict[str, Any] = self._all_of(self._queue)
        return found

    def __getitem__(self, name: str) -> Any:
        if name != "ContentBasedDeduplication":
            return self._all[name]
        if not self._queue.fifo_queue:
            raise KeyError(name)
        return str(self._queue.content_based_deduplication).lower()  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)
