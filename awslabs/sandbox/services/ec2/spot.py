"""Spot: requests that exist, and end with their instance."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from moto.ec2.models.spot_requests import SpotInstanceRequest
from moto.ec2.utils import random_spot_request_id

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before
from awslabs.sandbox.services.servicequotas import quotas
from awslabs.sandbox.services.tagging.tags import invalid_value


class Request(SpotInstanceRequest):
    """The Spot request behind an instance that RunInstances has started."""

    def __init__(self, instance: Any, market: dict[str, Any], tags: dict[str, dict[str, str]]) -> None:
        self._started = instance
        super().__init__(
            ec2_backend=instance.ec2_backend,
            spot_request_id=random_spot_request_id(),
            price=market.get("MaxPrice") or "",
            image_id=instance.image_id,
            spot_instance_type="one-time",
            valid_from=None,
            valid_until=None,
            launch_group=None,
            availability_zone_group=None,
            key_name=instance.key_name,
            security_groups=[group.id for group in instance.security_groups],
            user_data=None,
            instance_type=instance.instance_type,
            placement=instance.placement.zone,
            kernel_id=None,
            ramdisk_id=None,
            monitoring_enabled=False,
            subnet_id=instance.subnet_id,
            tags=tags,
            spot_fleet_id=None,
            instance_interruption_behaviour=market.get("InstanceInterruptionBehavior"),
        )

    def launch_instance(self) -> Any:
        return self._started

    @property
    def create_time(self) -> datetime:  # type: ignore[override]
        found: datetime = self._started.launch_time
        return found


@around("ec2:RunInstances")
def spot_requests(call: Call, proceed: Proceed) -> Any:
    """A Spot instance shows its SpotInstanceRequestId; the request is described, tagged, and closed with it.

    moto has none of that. A persistent request starts another instance when one ends; the practice cloud
    does not, and refuses it. Source: aws-facts (c), (e), (j).
    """
    if call.get("InstanceMarketOptions.MarketType") != "spot":
        return proceed()
    market = call.get("InstanceMarketOptions.SpotOptions", {})
    if market.get("SpotInstanceType", "one-time") != "one-time":
        raise Refused(
            "UnsupportedOperation", "The practice cloud runs one-time Spot requests only, no persistent ones."
        )
    answer = proceed()
    tags = call.response._parse_tag_specification()
    for instance in answer.result.instances:
        request = Request(instance, market, tags)
        call.ec2.spot_instance_requests[request.id] = request
        instance.spot_instance_request_id = request.id
    return answer


@before("ec2:RunInstances")
def spot_tags_need_spot(call: Call) -> None:
    """TagSpecifications for spot-instances-request without Spot: InvalidParameterValue.

    moto takes them always. Source: aws-facts (c).
    """
    kinds = {spec.get("ResourceType") for spec in call.get("TagSpecifications", [])}
    if "spot-instances-request" in kinds and call.get("InstanceMarketOptions.MarketType") != "spot":
        message = "'spot-instances-request' is not a valid taggable resource type for this operation."
        raise invalid_value(message)


@before("ec2:RequestSpotInstances")
def spot_quota(call: Call) -> None:
    """More Spot vCPUs than the account may run: MaxSpotInstanceCountExceeded. moto counts nothing.

    Source: aws-facts (f).
    """
    instance_type = call.get("LaunchSpecification.InstanceType", "m1.small")
    quotas.refuse_over_vcpu_quota(call.ec2, instance_type, int(call.get("InstanceCount", 1)), spot=True)


@around("ec2:CancelSpotInstanceRequests", "ec2:DescribeSpotInstanceRequests")
def spot_requests_are_kept(call: Call, proceed: Proceed) -> Any:
    """A cancelled request is still described, as `cancelled`, and its instance runs on.

    An unknown one: InvalidSpotInstanceRequestID.NotFound. moto forgets a cancelled one, and answers an
    unknown one with a raw KeyError, or with nothing. Source: botocore, CancelSpotInstanceRequests.
    """
    kept = call.ec2.spot_instance_requests
    wanted = call.get("SpotInstanceRequestIds", [])
    for request_id in wanted:
        if request_id not in kept:
            message = f"The spot instance request ID '{request_id}' does not exist"
            raise Refused("InvalidSpotInstanceRequestID.NotFound", message)
    asked = {request_id: kept[request_id] for request_id in wanted}
    answer = proceed()
    if call.action == "CancelSpotInstanceRequests":
        for request in asked.values():
            if request.state != "closed":
                request.state, request._status_code = "cancelled", "request-canceled-and-instance-running"
        kept.update(asked)
    return answer


def close(instance: Any) -> None:
    """A one-time request ends with its instance."""
    request = instance.ec2_backend.spot_instance_requests.get(
        getattr(instance, "spot_instance_request_id", None)
    )
    if request is not None and request.state == "active":
        request.state, request._status_code = "closed", "instance-terminated-by-user"
