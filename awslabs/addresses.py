"""The one seam between AWS and any other cloud that speaks its protocols: addresses that no API tells.

With AWS's own endpoints these are AWS's forms. With any other endpoint (the practice cloud, another
emulator) a server says by the tag ``awslabs:ssh`` where its SSH answers, if it has one; APIs and web pages
are below the endpoint itself.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from awslabs.errors import LabError
from awslabs.rehearsal import instead
from awslabs.web import Web

NOBODYS_IP = "198.51.100.7"  # of no computer: RFC 5737 keeps it for examples
WHO_AM_I = "https://checkip.amazonaws.com"  # AWS's own; answers with the caller's public IPv4 address


AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")  # the last: endpoints that speak IPv6, too


def is_aws(client: Any) -> bool:
    """Whether a boto3 client talks to AWS itself."""
    return (urlsplit(client.meta.endpoint_url).hostname or "").endswith(AWS_DOMAINS)


@instead(lambda client: NOBODYS_IP)
def my_ip(client: Any) -> str:
    """The IPv4 address under which this computer reaches the cloud: ``203.0.113.7``.

    Raises
    ------
    LabError
        When AWS's echo service does not answer or this computer has no IPv4 address.
    """
    if not is_aws(client):
        return "127.0.0.1"
    reply = Web(WHO_AM_I, timeout_s=10).send("GET", WHO_AM_I)
    text = reply.content[:200].decode(errors="replace").strip()
    try:
        return str(ipaddress.IPv4Address(text if reply.status == 200 else ""))
    except ValueError as error:
        raise LabError(
            "Your own public address could not be found.",
            f"{WHO_AM_I} did not answer with an IPv4 address: {text}",
            "say it yourself: --allow-from 203.0.113.7/32",
        ) from error


def ssh_address(client: Any, instance: dict[str, Any]) -> tuple[str, int]:
    """Host and port of a server's SSH.

    Parameters
    ----------
    client
        The boto3 client that described it.
    instance : dict
        One of ``Instances`` of ``ec2:DescribeInstances``.
    """
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    if "awslabs:ssh" in tags and not is_aws(client):
        host, _, port = tags["awslabs:ssh"].rpartition(":")
        return host, int(port)
    return instance.get("PublicIpAddress", ""), 22


def api_url(client: Any, api_id: str, stage: str) -> str:
    """The address of a deployed REST API, without a slash at its end.

    Parameters
    ----------
    client
        The boto3 client for ``apigateway``.
    """
    if is_aws(client):
        return f"https://{api_id}.execute-api.{client.meta.region_name}.amazonaws.com/{stage}"
    return f"{client.meta.endpoint_url.rstrip('/')}/_aws/execute-api/{api_id}/{stage}"


def site_url(client: Any, bucket: str) -> str:
    """The address of the page in a public bucket.

    On AWS it is that of the object itself, which speaks HTTPS. The bucket's website endpoint speaks HTTP
    alone, and browsers ask before they open such a page (Chrome since 154).

    Parameters
    ----------
    client
        The boto3 client for ``s3``.
    """
    if is_aws(client):
        return f"https://{bucket}.s3.{client.meta.region_name}.amazonaws.com/index.html"
    return f"{client.meta.endpoint_url.rstrip('/')}/{bucket}/index.html"
