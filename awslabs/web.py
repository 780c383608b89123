"""HTTP with whatever is no AWS API: who am I on the internet, a web service of ours.

It goes the way of boto3's own calls. So the same certificates count: botocore's bundle, or AWS_CA_BUNDLE
(python.org's Python on macOS brings none, and a proxy that looks into TLS has one of its own). And the same
proxies: HTTP_PROXY, HTTPS_PROXY, NO_PROXY; none on the way to this computer itself.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """What came back; `status` 0, with the reason in `content`, where nothing did.

    Attributes
    ----------
    headers : dict of str
        By their names in lower case.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""


class Web:
    """Connections to one web service, which stay open; threads may share it.

    Parameters
    ----------
    url : str
        The service's address; that of each request begins with it.
    connections : int
        How many stay open.
    timeout_s : float
        Seconds without an answer after which there is none.
    """

    def __init__(self, url: str, *, connections: int = 10, timeout_s: float = 35.0) -> None:
        import botocore.session
        from botocore.httpsession import URLLib3Session
        from botocore.utils import get_environ_proxies

        address = urlsplit(url)
        secure = address.scheme == "https"
        bundle = botocore.session.Session().get_config_variable("ca_bundle") if secure else None
        self.session = URLLib3Session(
            verify=bundle or True,
            proxies={} if is_loopback(address.hostname or "") else get_environ_proxies(url),
            timeout=timeout_s,
            max_pool_connections=connections,
        )

    def send(
        self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request, sent once."""
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        request = AWSRequest(method, url, headers or {}, body).prepare()
        try:
            answer = self.session.send(request)
            content = answer.content
        except BotoCoreError as error:
            return Reply(0, content=str(error).encode())
        return Reply(
            answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, content
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this computer itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
