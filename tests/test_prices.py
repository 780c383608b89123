"""prices: each number has a source, none is 0, and whose price it is, is said."""

from __future__ import annotations

from pathlib import Path

import inprocess
import pytest
from click.testing import CliRunner

from awslabs import addresses, cli, ec2, ecs_qa, kinds, ledger_cli, prices, serverless, tunnel
from awslabs.errors import StillStanding
from awslabs.ledger import Ledger

ELSEWHERE = "sa-east-1"  # of which the table has nothing


def test_each_number_has_a_source_and_none_is_zero() -> None:
    for what, regions in prices.RATES.items():
        assert {prices.EAST} <= regions.keys() <= set(prices.REGIONS), what
        assert all(usd > 0 and source in prices.SOURCES for usd, source in regions.values()), what
    used = {source for regions in prices.RATES.values() for _, source in regions.values()}
    assert used | {"crawl"} == prices.SOURCES.keys()
    for table in (prices._SERVER_HOUR, prices._SPOT_HOUR):
        assert all(len(usd) == len(prices.REGIONS) and 0 not in usd and usd[0] for usd in table.values())


def test_spot_is_cheaper_than_on_demand_and_each_region_has_the_types_of_the_labs() -> None:
    for region in prices.REGIONS:
        for name in ("t3.micro", "t3.medium", "c5.large", "m5.large", "m7i-flex.large", "g4dn.xlarge"):
            assert prices.instance_hour(name, region)
        for name in prices._SPOT_HOUR:
            spot, hour = (prices.instance_hour(name, region, spot=spot) for spot in (True, False))
            assert (spot is None) == (hour is None)
            assert spot is None or hour is None or spot < hour


@pytest.mark.parametrize(
    ("region", "usd", "note"),
    [
        ("us-east-1", 0.0104 + 0.005 + 8 * 0.08 / 730, ""),
        ("us-west-2", 0.0104 + 0.005 + 8 * 0.08 / 730, ""),
        ("eu-central-1", 0.0120 + 0.005 + 8 * 0.0952 / 730, ""),
        ("ap-northeast-1", 0.0136 + 0.005 + 8 * 0.096 / 730, ""),
        ("ap-northeast-3", 0.0136 + 0.005 + 8 * 0.08 / 730, " (disks and Fargate at us-east-1's price)"),
        (ELSEWHERE, 0.0104 + 0.005 + 8 * 0.08 / 730, " at us-east-1's price"),
    ],
)
def test_a_region_has_its_own_price_or_says_whose_it_is(region: str, usd: float, note: str) -> None:
    assert ec2.usd_per_hour("t3.micro", region) == pytest.approx(usd)
    assert prices.note(region) == note
    assert cli.per_hour(usd, region) == f"about {usd:.4f} USD per hour{note}"


@pytest.mark.parametrize(
    ("region", "note"),
    [
        ("us-east-1", ""),
        ("ap-northeast-1", " (API Gateway at us-east-1's price)"),
        ("eu-central-1", " (Lambda, API Gateway, DynamoDB, S3, ECR and logs at us-east-1's price)"),
        (
            "ap-northeast-3",
            " (disks, Fargate, Lambda, API Gateway, DynamoDB, S3, ECR and logs at us-east-1's price)",
        ),
        (ELSEWHERE, " at us-east-1's price"),
    ],
)
def test_what_is_used_says_whose_price_it_is_counted_at(region: str, note: str) -> None:
    assert prices.note(region, used=True) == note


def test_each_price_of_what_is_used_is_one_that_the_note_speaks_of() -> None:
    hourly = ("gp3", "Fargate")
    assert all(what.startswith((*hourly, *prices.USED)) for what in prices.RATES)


def test_osaka_says_its_price_and_whose_it_is_wherever_one_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    osaka = "ap-northeast-3"
    monkeypatch.setenv("AWSLABS_HOME", str(tmp_path))
    monkeypatch.setattr(serverless, "wait_for_api", lambda url: None)
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    monkeypatch.setattr(addresses, "my_ip", lambda client: "203.0.113.7")
    with inprocess.cloud():
        cloud = inprocess.open_cloud("222222222222", "ana", osaka)
        monkeypatch.setattr(cli, "open_cloud", lambda *_, **__: cloud)
        server, functions = (
            CliRunner().invoke(lab.command_line(), ["up"], catch_exceptions=False)
            for lab in (ec2, serverless)
        )
        assert "about 0.0195 USD per hour (disks and Fargate at us-east-1's price)" in server.stderr
        assert "0.13 USD per hour at us-east-1's price for the gateway alone" in functions.stderr
        shown = CliRunner().invoke(ledger_cli.command_line(), ["cost"], catch_exceptions=False)
        assert "Prices in ap-northeast-3: disks, Fargate, Lambda, API Gateway," in shown.stderr
        for lab in (ec2, serverless):
            CliRunner().invoke(lab.command_line(), ["down"], catch_exceptions=False)


def test_what_is_not_known_is_never_nothing() -> None:
    assert prices.instance_hour("x9.mega", "us-east-1") is None
    assert prices.instance_hour("c7i-flex.large", "ap-northeast-3") is None  # not offered there
    assert prices.instance_hour("t3.large", "us-east-1", spot=True) is None
    assert cli.per_hour(None, ELSEWHERE) == "an unknown price"
    assert ec2.usd_per_hour("x9.mega", "us-east-1") is None


def test_a_task_in_frankfurt_costs_what_it_costs_there() -> None:
    request = {"overrides": {"cpu": str(ecs_qa.VCPUS * 1024), "memory": str(ecs_qa.MEMORY_GB * 1024)}}
    told = kinds.KINDS["ecs:RunTask"].usd_per_hour(request, "eu-central-1")
    assert told == pytest.approx(ecs_qa.VCPUS * 0.04656 + ecs_qa.MEMORY_GB * 0.00511 + 0.005)


def test_whoever_shows_a_price_elsewhere_says_that_it_is_us_east_1s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWSLABS_HOME", str(tmp_path))
    monkeypatch.setattr(tunnel, "wait_for_ssh", lambda *_, **__: None)
    with inprocess.cloud():
        ledger = Ledger(inprocess.open_cloud("222222222222", "ana", ELSEWHERE), "ec2")
        ec2.up(ledger, allow_from="203.0.113.7/32")
        assert cli.header(ledger)["prices"] == "at us-east-1's price"
        assert "us-east-1" in ledger._repr_html_()
        cli.announce(ledger, "a network", 0.0163)
        cli.farewell(ledger)
        assert capsys.readouterr().err.count("USD per hour at us-east-1's price") == 2
        server = ledger.journal.last("instance")
        assert server
        left = ledger._still_standing({server.number: StillStanding("It stands.", "", "")})
        assert "about 0.0163 USD per hour at us-east-1's price" in left.what
