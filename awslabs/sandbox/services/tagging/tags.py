"""Tags: what AWS refuses as a tag, and what the tagging API finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from moto.core.resource_tagging import TaggedResource, make_tag_matcher, match_resource_type
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix
from moto.ecr.models import ecr_backends
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend

from awslabs.sandbox.core.engine import Call, Refused, before, rule

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
        raise Refused("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")


@before("ec2:CreateTags")
def tagged_things_exist(call: Call) -> None:
    """Tagging an instance or key pair that is not there: Invalid….NotFound. moto tags the empty air.

    Source: aws-facts (a); moto itself checks VPCs, subnets and the like.
    """
    for resource_id in call.get("Resources", []):
        absent_instance = resource_id.startswith("i-") and call.ec2.get_instance_by_id(resource_id) is None
        absent_key = resource_id.startswith("key-") and resource_id not in {
            k.id for k in call.ec2.key_pairs.values()
        }
        if absent_instance or absent_key:
            raise missing(resource_id)


tags_go_with_the_thing = rule(
    "tags_go_with_the_thing",
    """DescribeTags does not show the tags of what was deleted. moto shows them for ever.

    Source: botocore, DescribeTags ("your EC2 resources").""",
)


@tags_go_with_the_thing.patch(
    EC2Backend, "delete_vpc", "delete_subnet", "delete_internet_gateway", "delete_route_table"
)
@tags_go_with_the_thing.patch(EC2Backend, "delete_network_interface", "delete_volume", "delete_snapshot")
def _delete(original: Callable[..., Any], backend: Any, thing_id: str = "", **by_name: Any) -> Any:
    answer = original(backend, thing_id or next(iter(by_name.values())))
    backend.tags.pop(thing_id or next(iter(by_name.values())), None)
    return answer


@tags_go_with_the_thing.patch(EC2Backend, "_delete_security_group")
def _delete_group(original: Callable[..., Any], backend: Any, vpc_id: str | None, group_id: str) -> None:
    original(backend, vpc_id, group_id)
    backend.tags.pop(group_id, None)


@tags_go_with_the_thing.patch(EC2Backend, "delete_key_pair")
def _delete_key_pair(original: Callable[..., Any], backend: Any, name: str) -> Any:
    key = original(backend, name)
    if key is not None:
        backend.tags.pop(key.id, None)
    return key


key_pairs_are_found = rule(
    "key_pairs_are_found",
    """GetResources of the tagging API finds tagged key pairs. moto forgets them.

    Source: aws-facts (c)+(d).""",
)


@key_pairs_are_found.patch(EC2Backend, "iter_tagged_resources")
def _iter_tagged_resources(
    original: Callable[[Any], Iterator[TaggedResource]], backend: Any
) -> Iterator[TaggedResource]:
    yield from original(backend)
    begin = f"arn:{backend.partition}:ec2:{backend.region_name}:{backend.account_id}:key-pair"
    for key in backend.key_pairs.values():
        yield TaggedResource(f"{begin}/{key.id}", dict(backend.tags.get(key.id, {})), "ec2:key-pair")


repositories_are_found = rule(
    "repositories_are_found",
    """GetResources of the tagging API finds tagged repositories of ECR. moto forgets them.

    Source: aws-facts (c)+(d).""",
)


@repositories_are_found.patch(ResourceGroupsTaggingAPIBackend, "_get_resources_generator")
def _get_resources_generator(
    original: Callable[..., Iterator[TaggedResource]],
    backend: Any,
    tag_filters: list[dict[str, Any]] | None = None,
    resource_type_filters: list[str] | None = None,
    resource_arn_list: list[str] | None = None,
) -> Iterator[TaggedResource]:
    yield from original(backend, tag_filters, resource_type_filters, resource_arn_list)
    if not match_resource_type("ecr:repository", resource_type_filters):
        return
    repositories = ecr_backends[backend.account_id][backend.region_name]
    for repository in repositories.repositories.values():
        tags = repositories.tagger.get_tag_dict_for_resource(repository.arn)
        wanted = not resource_arn_list or repository.arn in resource_arn_list
        if tags and wanted and make_tag_matcher(tag_filters)(tags):
            yield TaggedResource(repository.arn, tags, "ecr:repository")


quick_tags = rule(
    "quick_tags",
    """The tags of one thing are looked up by its id.

    moto searches all tags of the account for each thing it shows, which makes a class of a hundred slow:
    the answers are the same.""",
)


@quick_tags.patch(TaggedEC2Resource, "get_tags")
def _get_tags(original: Callable[[Any], list[dict[str, str]]], resource: Any) -> list[dict[str, str]]:
    kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource.id), "") if resource.id else ""
    tags = resource.ec2_backend.tags.get(resource.id, {})
    return [
        {"resource_id": resource.id, "key": key, "value": value, "resource_type": kind}
        for key, value in tags.items()
    ]
