"""Tags: what AWS refuses as a tag, and what the tagging API finds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from moto.core.resource_tagging import TaggableResourcesMixin, TaggedResource
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix
from moto.ecr.models import ECRBackend, ecr_backends
from moto.resourcegroupstaggingapi import models as tagging

from awslabs.sandbox.core.engine import Call, Refused, before, patch

invalid_value = functools.partial(Refused, "InvalidParameterValue")

# What AWS calls a thing that is not there, by the beginning of its id: (error code, what it is).
MISSING = {
    "vpc": ("InvalidVpcID.NotFound", "The vpc ID '{id}' does not exist"),
    "subnet": ("InvalidSubnetID.NotFound", "The subnet ID '{id}' does not exist"),
    "sg": ("InvalidGroup.NotFound", "The security group '{id}' does not exist"),
    "igw": ("InvalidInternetGatewayID.NotFound", "The internetGateway ID '{id}' does not exist"),
    "rtb": ("InvalidRouteTableID.NotFound", "The routeTable ID '{id}' does not exist"),
    "i": ("InvalidInstanceID.NotFound", "The instance ID '{id}' does not exist"),
    "eni": ("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '{id}' does not exist"),
    "vol": ("InvalidVolume.NotFound", "The volume '{id}' does not exist."),
    "key": ("InvalidKeyPair.NotFound", "The key pair ID '{id}' does not exist"),
}


def missing(resource_id: str) -> Refused:
    """AWS's answer to an id that it does not know, or does not know yet."""
    code, message = MISSING.get(resource_id.partition("-")[0], ("InvalidID", "The ID '{id}' is not valid"))
    return Refused(code, message.format(id=resource_id))


@before("ec2:*")
def reserved_tags(call: Call) -> None:
    """Tag keys that begin with `aws:`, in CreateTags or at creation: InvalidParameterValue. moto sets them.

    Source: aws-facts (j).
    """
    tags = call.get("Tags", []) if call.action == "CreateTags" else []
    for spec in call.get("TagSpecifications", []) or call.get("TagSpecification", []):
        tags = tags + spec.get("Tags", [])
    if any(tag.get("Key", "").lower().startswith("aws:") for tag in tags):
        raise invalid_value("Tag keys starting with 'aws:' are reserved for internal use")


@before("ec2:CreateTags")
def tagged_things_exist(call: Call) -> None:
    """Tagging an instance or key pair that is not there: Invalid….NotFound. moto tags the empty air.

    Source: aws-facts (a); moto itself checks VPCs, subnets and the like.
    """
    for resource_id in call.get("Resources", []):
        absent_instance = resource_id.startswith("i-") and call.ec2.get_instance_by_id(resource_id) is None
        absent_key = resource_id.startswith("key-") and not _stands(call.ec2, resource_id)
        if absent_instance or absent_key:
            raise missing(resource_id)


@before("ec2:DescribeTags")
def tags_go_with_the_thing(call: Call) -> None:
    """DescribeTags does not show the tags of what was deleted. moto shows them for ever.

    Source: botocore, DescribeTags ("your EC2 resources").
    """
    for thing_id in [each for each in call.ec2.tags if not _stands(call.ec2, each)]:
        del call.ec2.tags[thing_id]


def _stands(ec2: Any, thing_id: str) -> bool:
    """Whether something is there; of kinds that never lose their tags here, nobody asks."""
    kind = thing_id.partition("-")[0]
    if kind == "key":
        return any(key.id == thing_id for key in ec2.key_pairs.values())
    held: dict[str, list[Any]] = {
        "vpc": [ec2.vpcs],
        "subnet": list(ec2.subnets.values()),
        "sg": list(ec2.groups.values()),
        "igw": [ec2.internet_gateways],
        "rtb": [ec2.route_tables],
        "eni": [ec2.enis],
        "vol": [ec2.volumes],
        "snap": [ec2.snapshots],
    }
    return kind not in held or any(thing_id in things for things in held[kind])


@patch(tagging, "iter_taggable_backends")
def key_pairs_are_found(original: Callable[..., Iterator[Any]], account: str, region: str) -> Iterator[Any]:
    """GetResources of the tagging API finds tagged key pairs. moto forgets them.

    Source: aws-facts (c)+(d).
    """
    for backend in original(account, region):
        yield Shown(backend, _and_key_pairs) if is_ec2(backend) else backend


def _and_key_pairs(ec2: Any) -> Iterator[TaggedResource]:
    yield from ec2.iter_tagged_resources()
    begin = f"arn:{ec2.partition}:ec2:{ec2.region_name}:{ec2.account_id}:key-pair"
    for key in ec2.key_pairs.values():
        yield TaggedResource(f"{begin}/{key.id}", dict(ec2.tags.get(key.id, {})), "ec2:key-pair")


class Shown:
    """A service as the tagging API is to see it: it shows other things than moto's backend does."""

    def __init__(self, backend: Any, things: Callable[[Any], Iterator[TaggedResource]]) -> None:
        self._backend, self._things = backend, things

    def iter_tagged_resources(self) -> Iterator[TaggedResource]:
        return self._things(self._backend)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def is_ec2(backend: Any) -> bool:
    """Whether this is EC2, be it `Shown`."""
    return bool(backend.SERVICE_NAMESPACE == EC2Backend.SERVICE_NAMESPACE)


class Repositories(TaggableResourcesMixin):
    """The repositories of an account and Region, for the tagging API."""

    SERVICE_NAMESPACE = "ecr"

    def __init__(self, ecr: ECRBackend) -> None:
        self.ecr, self.partition = ecr, ecr.partition

    def iter_tagged_resources(self) -> Iterator[TaggedResource]:
        for repository in self.ecr.repositories.values():
            tags = self.ecr.tagger.get_tag_dict_for_resource(repository.arn)
            yield TaggedResource(repository.arn, tags, "ecr:repository")


@patch(tagging, "iter_taggable_backends")
def repositories_are_found(
    original: Callable[..., Iterator[Any]], account: str, region: str
) -> Iterator[Any]:
    """GetResources of the tagging API finds tagged repositories of ECR. moto forgets them.

    Source: aws-facts (c)+(d).
    """
    yield from original(account, region)
    yield Repositories(ecr_backends[account][region])


@patch(TaggedEC2Resource, "get_tags")
def quick_tags(original: Callable[[Any], list[dict[str, str]]], resource: Any) -> list[dict[str, str]]:
    """The tags of one thing are looked up by its id.

    moto searches all tags of the account for each thing it shows, which makes a class of a hundred slow:
    the answers are the same.
    """
    kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource.id), "") if resource.id else ""
    tags = resource.ec2_backend.tags.get(resource.id, {})
    return [
        {"resource_id": resource.id, "key": key, "value": value, "resource_type": kind}
        for key, value in tags.items()
    ]
