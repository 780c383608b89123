"""Ids that cannot be one: EC2 looks at their form before it looks for the thing."""

from __future__ import annotations

import re

from awslabs.sandbox.core.engine import Call, Refused, before

# Kind of id -> (its prefix, AWS's error code). AWS spells them unevenly, and for subnets and VPCs it says
# NotFound, whatever the form. Source: EC2 API reference, errors-overview; openshift/openshift-ansible#1053
# ("The subnet ID 'example' does not exist"); aws-controllers-k8s/ec2-controller#67.
FORMS = {
    "InstanceId": ("i-", "InvalidInstanceID.Malformed"),
    "GroupId": ("sg-", "InvalidGroupId.Malformed"),
    "SecurityGroupId": ("sg-", "InvalidGroupId.Malformed"),
    "RouteTableId": ("rtb-", "InvalidRouteTableId.Malformed"),
    "InternetGatewayId": ("igw-", "InvalidInternetGatewayId.Malformed"),
    "NetworkInterfaceId": ("eni-", "InvalidNetworkInterfaceId.Malformed"),
    "VolumeId": ("vol-", "InvalidVolumeID.Malformed"),
    "ImageId": ("ami-", "InvalidAMIID.Malformed"),
}
HEXADECIMAL = re.compile(r"[0-9a-f]{8}|[0-9a-f]{17}")  # the short form is that of things made before 2018


@before("ec2:*")
def ids_have_a_form(call: Call) -> None:
    """An id without its prefix and 8 or 17 hexadecimal digits: Invalid...ID.Malformed, not NotFound.

    moto looks for it, and does not find it. Source: `FORMS`; EC2 user guide, resource-ids.
    """
    if "PlacementGroup" in call.action:
        return  # their GroupIds are others
    for name, value in call.response.params.items():
        form = FORMS.get(name) or FORMS.get(name.removesuffix("s"))
        for each in value if isinstance(value, list) else [value]:
            if form is not None and isinstance(each, str):
                _look_at(each, *form)


def _look_at(id: str, prefix: str, code: str) -> None:
    if not id.startswith(prefix):
        raise Refused(code, f'Invalid id: "{id}" (expecting "{prefix}...")')
    if not HEXADECIMAL.fullmatch(id.removeprefix(prefix)):
        raise Refused(code, f'Invalid id: "{id}"')
