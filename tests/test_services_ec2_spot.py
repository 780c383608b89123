"""The rules of Spot: requests exist, are described, and end with their instance."""

from __future__ import annotations

from typing import Any

from test_services_support import Case, check, client, cloud, image_id, instance, net, refused, said, table

SPOT = {"InstanceMarketOptions": {"MarketType": "spot"}}
TAGS = [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "lab", "Value": "1"}]}]


def request_of_a_spot_instance() -> list[Any]:
    shown = net().launch(**SPOT, TagSpecifications=TAGS)
    requests = client("ec2").describe_spot_instance_requests()["SpotInstanceRequests"]
    found = [(each["InstanceId"] == shown["InstanceId"], each["State"], each["Tags"]) for each in requests]
    return [shown.get("SpotInstanceRequestId", "")[:4], found]


def a_persistent_request() -> str:
    options = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "persistent"}}
    net().launch(InstanceMarketOptions=options)
    return "ok"


def spot_tags_on_demand() -> str:
    net().launch(TagSpecifications=TAGS)
    return "ok"


def cancelled_and_unknown() -> list[Any]:
    ec2 = client("ec2")
    launch = {"ImageId": image_id(), "InstanceType": "t3.micro"}
    made = ec2.request_spot_instances(LaunchSpecification=launch)["SpotInstanceRequests"][0]
    ids = [made["SpotInstanceRequestId"]]
    ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=ids)
    shown = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=ids)["SpotInstanceRequests"]
    return [
        [each["State"] for each in shown],
        said(ec2.describe_spot_instance_requests, SpotInstanceRequestIds=["sir-0"]),
    ]


def a_gpu_requested_in_a_new_account() -> str:
    launch = {"ImageId": image_id(), "InstanceType": "g4dn.xlarge"}
    return said(client("ec2").request_spot_instances, LaunchSpecification=launch)


CASES = (
    Case(
        "spot_requests",
        request_of_a_spot_instance,
        ["", []],
        ["sir-", [(True, "active", [{"Key": "lab", "Value": "1"}])]],
    ),
    Case("spot_requests", a_persistent_request, "ok", "UnsupportedOperation"),
    Case("spot_tags_need_spot", spot_tags_on_demand, "ok", "InvalidParameterValue"),
    Case(
        "spot_requests_are_kept",
        cancelled_and_unknown,
        [[], "ok"],
        [["cancelled"], "InvalidSpotInstanceRequestID.NotFound"],
    ),
    Case(
        "spot_quota",
        a_gpu_requested_in_a_new_account,
        "ok",
        "MaxSpotInstanceCountExceeded",
        (("account", "new"),),
    ),
)


@table(*CASES)
def test_moto_lets_it_pass_and_aws_does_not(case: Case) -> None:
    check(case)


def test_a_request_ends_with_its_instance() -> None:
    with cloud(every=True):
        ec2, shown = client("ec2"), net().launch(**SPOT)
        ids = [shown["SpotInstanceRequestId"]]
        assert instance(shown["InstanceId"])["InstanceLifecycle"] == "spot"
        assert instance(shown["InstanceId"])["SpotInstanceRequestId"] == ids[0]
        ec2.terminate_instances(InstanceIds=[shown["InstanceId"]])
        found = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=ids)["SpotInstanceRequests"][0]
        assert (found["State"], found["Status"]["Code"]) == ("closed", "instance-terminated-by-user")


def test_a_spot_instance_cannot_be_stopped() -> None:
    with cloud(every=True):
        instance_id = net().launch(**SPOT)["InstanceId"]
        assert instance(instance_id)["State"]["Name"] == "running"
        code, message, _ = refused(client("ec2").stop_instances, InstanceIds=[instance_id])
        assert code == "UnsupportedOperation"
        assert "one-time Spot Instance request" in message


def test_a_repeated_token_makes_no_second_request() -> None:
    with cloud(every=True):
        here = net()
        ids = {here.launch(**SPOT, ClientToken="t")["SpotInstanceRequestId"] for _ in range(2)}
        assert len(ids) == 1
        assert len(client("ec2").describe_spot_instance_requests()["SpotInstanceRequests"]) == 1
