"""Where calls go: credentials, a Region and an address, of AWS or of a practice cloud.

Cloud()                     as the AWS CLI would: the environment and the AWS configuration decide
cloud.client("ec2")         the one client of a service
cloud.as_role(arn)          the same for who has assumed a role: a teacher in a student's account
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import itertools
import logging
import os
import shlex
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from awslabs import addresses, journal
from awslabs.errors import AwsError
from awslabs.explain import Place, boto3_errors, explain, is_refused_here, mend_source, remember

if TYPE_CHECKING:
    import boto3

log = logging.getLogger(__name__)

REFUSED = 2  # attempts at an address of this computer where nobody listens
NUMBERS = itertools.count()
Listeners = dict[int, "weakref.WeakMethod[Callable[..., None]]"]
"""Who is told of an event, by its number; it is kept alive by others, and taken out when it is gone."""


class Cloud:
    """Credentials, Region and endpoint: where calls go, and which folder keeps their ledgers.

    Parameters
    ----------
    region, profile : str, optional
        As the AWS CLI takes them; otherwise the environment and the AWS configuration decide.
    environment : dict, optional
        ``AWS_ENDPOINT_URL`` and keys of a practice cloud, instead of what the process has.

    AWS calls: ``sts:GetCallerIdentity``.

    Attributes
    ----------
    place : Place
        What a command needs to mean the same Region, profile and cloud.

    Raises
    ------
    AwsError
        For a profile, Region, endpoint or configuration file that makes no sense.
    """

    def __init__(
        self, region: str | None = None, profile: str | None = None, environment: dict[str, Any] | None = None
    ) -> None:
        given = environment or {}
        self._given, self._profile = given, profile
        self._endpoint = given.get("AWS_ENDPOINT_URL")
        self.place = Place.asked(region, profile, bool(self._endpoint))
        self._proxies: dict[str, Any] | None = {} if given else None  # {}: none, whatever HTTP_PROXY says
        self._clients: dict[tuple[str, bool], Any] = {}
        self._listeners: dict[str, Listeners] = {}  # by event
        self._mutex = threading.Lock()
        with self._told("the AWS configuration"):
            self.session = session(given, region, profile)
            self.region = self.session.region_name or ""
            self.place = dataclasses.replace(self.place, region=self.region)
            self.session.get_credentials()  # here, since whatever finds or fetches them may fail
            sts = self.client("sts")
        address = urlsplit(sts.meta.endpoint_url)
        self.is_aws = addresses.is_aws(sts)
        self.folder = journal.home() if self.is_aws else journal.home() / f"{address.hostname}-{address.port}"

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of the session, which is made from what the user has configured, as ours."""
        from botocore.exceptions import BotoCoreError

        try:
            yield
        except BotoCoreError as error:
            raise explain(error, what, self.place) from error
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and "endpoint" in str(error):
                address = str(error).rpartition(" ")[2]
                raise AwsError(
                    f"{address} is no address of a cloud.",
                    "AWS_ENDPOINT_URL, or endpoint_url in the AWS configuration, says so; an address begins "
                    "with http:// or https://.",
                    f"export AWS_ENDPOINT_URL={shlex.quote(f'http://{address}')}",
                    code="InvalidEndpoint",
                ) from error
            source = "credential_process of the AWS configuration"
            why = (
                f"The {source} does not run"
                if isinstance(error, OSError)
                else f"What the {source} prints is no JSON"
            )
            raise AwsError(
                "The AWS credentials could not be fetched.",
                f"{why}: {error}",
                mend_source(self.place),
                code="CredentialRetrievalError",
            ) from error

    def client(self, service: str, *, resends: bool = True) -> Any:
        """The one client for a service.

        With ``resends=False`` botocore sends each request once: after a cut connection it would otherwise
        send a create call again by itself, and make a second of whatever has no client token.
        """
        from botocore.config import Config

        here = "us-east-1" if service == "freetier" else self.region  # AWS has it in that Region alone
        with self._mutex:
            if (service, resends) not in self._clients:
                retries = {"mode": "standard", "total_max_attempts": 10 if resends else 1}
                made = self._clients[service, resends] = self.session.client(
                    service,
                    region_name=here,
                    endpoint_url=self._endpoint,
                    config=Config(
                        retries=retries,
                        proxies=self._proxies,
                        max_pool_connections=64,
                        user_agent_extra="awslabs",
                        connect_timeout=10,
                    ),
                )
                made.meta.events.register("needs-retry", give_up_soon)
                remember(made, self.place)
            return self._clients[service, resends]

    def listen(self, event: str, listener: Callable[..., None]) -> None:
        """Have botocore tell of an event: of the clients that are there, and of those to come.

        Parameters
        ----------
        event : str
            As botocore names it: ``after-call``, which is told of every answer.
        listener : method
            Takes the event's own keyword arguments; boto3's documentation, "Extensibility guide". What it
            raises is logged: who only listens stops no call. It is told as long as its object is in use.
        """
        with self._mutex:
            if event not in self._listeners:
                listeners = self._listeners[event] = {}
                emitters = [self.session.events, *(client.meta.events for client in self._clients.values())]
                for emitter in emitters:
                    emitter.register(event, functools.partial(tell, event, listeners))
            listeners, number = self._listeners[event], next(NUMBERS)
            listeners[number] = weakref.WeakMethod(listener, lambda gone: listeners.pop(number, None))

    def as_role(self, role_arn: str, region: str | None = None) -> Cloud:
        """The same cloud for who has assumed a role; its credentials are fetched anew before they end.

        AWS calls: ``sts:AssumeRole``.

        Raises
        ------
        AwsError
            When the role cannot be assumed.
        """
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        made = copy.copy(self)
        made._clients, made._listeners, made._mutex = {}, {}, threading.Lock()
        vars(made).pop("identity", None)
        made.region = region or self.region
        made.place = dataclasses.replace(self.place, region=made.region)
        made.session = session(self._given, made.region, self._profile)
        fetcher = AssumeRoleCredentialFetcher(
            lambda *_, **__: self.client("sts"),
            self.session.get_credentials(),
            role_arn,
            extra_args={"RoleSessionName": "awslabs-class"},
        )
        credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
        try:
            credentials.get_frozen_credentials()
        except boto3_errors() as error:
            raise explain(error, "sts:AssumeRole", self.place) from error
        made.session._session._credentials = credentials  # botocore has no other door for them
        return made

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """Account number and caller, as STS tells: ``{"account": ..., "arn": ..., "owner": ...}``."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            answer = self.client("sts").get_caller_identity()
            account, arn = answer["Account"], answer["Arn"]
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            raise explain(error, "sts:GetCallerIdentity", self.place) from error
        except KeyError as error:  # a page that happens to be XML
            nameless = ResponseParserError(f"{self.client('sts').meta.endpoint_url} names no account.")
            raise explain(nameless, "sts:GetCallerIdentity", self.place) from error
        return {
            "account": account,
            "arn": arn,
            "owner": journal.fit_owner(arn.rpartition("/")[2].rpartition(":")[2]),
        }


def session(given: dict[str, Any], region: str | None, profile: str | None) -> boto3.Session:
    """What the user has configured; for a practice cloud, with `given` keys, nothing of it.

    A practice cloud's keys are its own, and no file or variable of the user's AWS has a part in it.
    """
    import boto3
    import botocore.session

    nothing: tuple[Any, ...] = (None, None, None, None)
    unread = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    ignored = dict.fromkeys(("profile", "use_fips_endpoint", "use_dualstack_endpoint"), nothing)
    made = boto3.Session(
        botocore_session=botocore.session.Session(unread | ignored if given else {}),
        aws_access_key_id=given.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY"),
        region_name=region or given.get("AWS_REGION") or os.environ.get("AWS_REGION"),
        profile_name=profile,
    )
    if not made.region_name:
        raise botocore.exceptions.NoRegionError
    return made


def tell(event: str, listeners: Listeners, /, **news: Any) -> None:
    """Tell all who listen; botocore calls it, once for each event of a client."""
    for heard in list(listeners.values()):
        if listens := heard():
            try:
                listens(**news)
            except Exception:
                log.exception("who listens to %s failed", event)


def give_up_soon(attempts: int, caught_exception: Exception | None, **_: Any) -> None:
    """botocore asks before each retry: where nobody listens on this computer, ten are no use."""
    if attempts >= REFUSED and caught_exception and is_refused_here(caught_exception):
        raise caught_exception
