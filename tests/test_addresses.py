"""The one seam: addresses on AWS, and on any other cloud."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import boto3
import pytest

from awslabs import addresses, policies
from awslabs.serverless import BASHOUTTER


@pytest.mark.parametrize("region", ["us-east-1", "ap-northeast-1", "eu-central-1"])
def test_page_and_api_speak_https_on_aws(region: str) -> None:
    """A page that came by HTTPS may not ask an API by HTTP, and browsers warn of a page that came by HTTP."""
    site = addresses.site_url(boto3.client("s3", region), "awslabs-serverless-abc123-site")
    assert site == f"https://awslabs-serverless-abc123-site.s3.{region}.amazonaws.com/index.html"
    api = addresses.api_url(boto3.client("apigateway", region), "a1b2c3", "prod")
    assert api == f"https://a1b2c3.execute-api.{region}.amazonaws.com/prod"


def test_on_another_cloud_both_are_below_its_endpoint() -> None:
    def client(service: str) -> object:
        return boto3.client(service, "us-east-1", endpoint_url="http://127.0.0.1:4566/")

    assert addresses.site_url(client("s3"), "site") == "http://127.0.0.1:4566/site/index.html"
    api = addresses.api_url(client("apigateway"), "a1", "prod")
    assert api == "http://127.0.0.1:4566/_aws/execute-api/a1/prod"


def test_everything_that_the_page_needs_lies_beside_it_and_may_be_read_by_anybody() -> None:
    """The object's own address knows no index document: each file is asked for by its whole name."""
    needed: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            needed.extend(
                value for name, value in attrs if name in ("src", "href") and tag in ("link", "script")
            )

    Page().feed((BASHOUTTER / "page" / "index.html").read_text(encoding="utf-8"))
    files = [one for one in needed if not one.startswith("data:")]
    assert len(files) == 2
    for file in files:
        assert (BASHOUTTER / "page" / file).is_file()
        assert urljoin("https://b.s3.us-east-1.amazonaws.com/index.html", file).endswith(f".com/{file}")
    assert '"Resource": "arn:aws:s3:::b/*"' in policies.public_read("b")
