"""Chapter 5: functions, tables and files without a server, and a web service made of them.

      you                                     everybody's browser
       |  invoke, table, bucket                |                |
       |                                       | page           | GET, POST, PATCH, DELETE /haiku
    <4> queue of dead letters                  |                |
       |                                   <8> site bucket  <7> API, stage prod
    <6> greeter -------.                                        |
       |               |                                    <6> list-haiku  post-haiku
    <2> people     <1> a role and                               like-haiku  delete-haiku
    <3> files      <5> a log group                              |
                       for each function                    <2> bashoutter

Cost: nothing per hour. A million requests to the API are about 3.50 USD, a million invocations 0.28 USD
(512 MiB, 10 ms) to 7.49 (the greeting: 128 MiB, 3.5 s), a million writes to a table 0.63 USD (us-east-1).
Time: half a minute to build; up to a minute and a half to take down, for a queue takes a minute to go.

    python -m awslabs.serverless up
    python -m awslabs.serverless invoke-many 100
    python -m awslabs.serverless open
    python -m awslabs.serverless down

AWS calls, in order: CreateRole, PutRolePolicy, CreateTable, CreateBucket, CreateQueue, CreateLogGroup,
PutRetentionPolicy, CreateFunction, CreateRestApi, AddPermission, PutRestApi, CreateDeployment, CreateStage,
UpdateStage, DeletePublicAccessBlock, PutBucketPolicy, PutBucketWebsite, PutObject. What one does with it
stands in `workload/serverless/`. To read along: "What is AWS Lambda?" and "What is Amazon DynamoDB?" in AWS's
guides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awslabs import addresses, policies, prices
from awslabs.errors import AwsError, LabError
from awslabs.kinds import rest_apis
from awslabs.kinds.functions import packed
from awslabs.kinds.storage import location
from awslabs.ledger import Ledger, ensure, exclusive
from awslabs.policies import allow
from awslabs.progress import OFTEN, awaiting, poll
from awslabs.rehearsal import instead
from awslabs.roles import own_roles, require_same, role
from awslabs.show import Shown
from awslabs.workload import parameters
from awslabs.workload.serverless import haiku

RUNTIME = "python3.13"
STAGE = "prod"
KEEP_LOGS_DAYS = 7
# The rows without which there is nothing to work with.
PARTS = ("greeter", "dead-letter-queue", "table", "bucket", "api", "haiku-table", "site-bucket")
# What the stage lets through per second, and for so many seconds at once after a rest. Everybody may call it,
# so a loop gone wild must not become expensive: 10 per second are 0.13 USD per hour for the gateway; with the
# functions, and all that the table's cap lets through, at most about 1 USD (us-east-1).
REQUESTS_PER_S, BURST_S = 10.0, 5
TABLE_CAP = {"MaxReadRequestUnits": 1000, "MaxWriteRequestUnits": 100}
# How haiku are listed. A scan shows every row of the table, also those that other programs have put there,
# and reads all of it for each visitor: of 1000 haiku 31 read units, 4 USD for a million visits (us-east-1).
# The index costs one unit, and knows only rows with its key `feed`: `load` shows the difference, and
# `up --read query` makes use of it.
READ = "scan"
# The greeting only waits, so the least will do. More memory is more processor, too: `tune` shows that those
# who work are four times as fast with 512 as with 128, for the same price.
MEMORY_MIB = {"greeter": 128, "list-haiku": 512, "post-haiku": 512, "like-haiku": 512, "delete-haiku": 512}
BASHOUTTER = Path(__file__).parent / "bashoutter"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

GREETER = '''"""A greeting that takes its time, so that one sees many run at once."""
import random
import time

GREETINGS = ["Hello", "Konnichiwa", "Bonjour", "Guten Tag", "Hola", "Ni hao", "Namaste", "Salam"]

def greet(event, context):
    time.sleep(random.uniform(2, 5))
    if event.get("fail"):
        raise RuntimeError("asked to fail")
    return f"{random.choice(GREETINGS)}, {event.get('name', 'world')}!"
'''


@dataclass(frozen=True)
class Serverless(Shown):
    """The lab as it stands.

    Attributes
    ----------
    function_name, dead_letter_queue_url : str
        The greeting, and the queue for events on which it failed three times.
    table_name, bucket_name : str
        The table of people, and the private bucket.
    api_url, haiku_table_name : str
        Bashoutter's API, without a slash at its end, and the table behind it.
    site_bucket_name, site_url : str
        The one public bucket, and the address of the page in it.
    """

    function_name: str
    dead_letter_queue_url: str
    table_name: str
    bucket_name: str
    api_url: str
    haiku_table_name: str
    site_bucket_name: str
    site_url: str


@exclusive
def up(
    ledger: Ledger,
    *,
    role_arn: str | None = None,
    read: str = READ,
    rate: float = REQUESTS_PER_S,
    export: bool = False,
    ttl_minutes: int | None = None,
) -> Serverless:
    """Build the functions, tables and buckets, put Bashoutter on top, and wait until its API answers.

    Parameters
    ----------
    ledger : Ledger
        From ``awslabs.lab("serverless")``.
    role_arn : str, optional
        A role that exists, for all functions, where you may not make roles. It is never deleted. It must
        trust ``lambda.amazonaws.com`` and allow what `may` below does.
    read : str
        How haiku are listed: ``scan`` (the whole table) or ``query`` (its index).
    rate : float
        Requests per second that the API answers; more get 429.
    export : bool
        Keep the API's address and its table's name as SSM parameters, for programs of your own (`exports`).
    ttl_minutes : int, optional
        Minutes after the last `up` after which what costs ends: the API, which anybody may use. Never, unless
        given.

    Returns
    -------
    Serverless

    Raises
    ------
    AwsError
        Refused by AWS: rights, quotas, an account that forbids public buckets.
    TimedOut
        Something that AWS accepted did not come.
    """
    dynamodb, s3, sqs = ledger.client("dynamodb"), ledger.client("s3"), ledger.client("sqs")
    lambda_, apigateway, logs = ledger.client("lambda"), ledger.client("apigateway"), ledger.client("logs")

    # <0> Before anything is built: may a bucket be public here, and does the lab stand with other roles?
    require_public_buckets(ledger)
    require_same(ledger, "greeter", "greeter-role", role_arn)

    ledger.limit(ttl_minutes=ttl_minutes)

    # <1> A role for each function. It says what the function may do, and that is little. Roles come first,
    # for not everybody may make them; what they allow is named by names that will be.
    table_arn = ledger.arn("dynamodb", f"table/{ledger.prefix}-bashoutter")
    queue_arn = ledger.arn("sqs", f"{ledger.prefix}-dead-letters")
    newest = allow(f"{table_arn}/index/newest", "dynamodb:Query")
    may = {
        "greeter": [allow(queue_arn, "sqs:SendMessage")],
        "list-haiku": [allow(table_arn, "dynamodb:Scan"), newest],
        "post-haiku": [allow(table_arn, "dynamodb:PutItem")],
        "like-haiku": [allow(table_arn, "dynamodb:UpdateItem")],
        "delete-haiku": [allow(table_arn, "dynamodb:DeleteItem")],
    }
    log_groups = {name: f"/aws/lambda/{ledger.prefix}-{name}" for name in may}
    with own_roles(ledger):
        roles = {
            name: role_arn
            or role(
                ledger,
                name,
                "lambda.amazonaws.com",
                policies.write_logs(ledger.arn("logs", f"log-group:{log_groups[name]}")),
                *statements,
            )
            for name, statements in may.items()
        }

    # <2> Two tables, paid per request. Only keys have a type; all else may differ from item to item.
    table = ledger.create(
        "table",
        dynamodb.create_table,
        TableName=f"{ledger.prefix}-people",
        AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    haiku_table = ledger.create(
        "haiku-table",
        dynamodb.create_table,
        TableName=f"{ledger.prefix}-bashoutter",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("item_id", "feed", "created_at")
        ],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[  # the same items once more, in the order of their time
            {
                "IndexName": "newest",
                "KeySchema": [
                    {"AttributeName": "feed", "KeyType": "HASH"},
                    {"AttributeName": "created_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
                "OnDemandThroughput": TABLE_CAP,
            }
        ],
        BillingMode="PAY_PER_REQUEST",
        OnDemandThroughput=TABLE_CAP,
    )

    # <3> Two buckets. A new bucket is private; the second is opened in <8>.
    bucket, site = (
        ledger.create(
            name,
            s3.create_bucket,
            Bucket=f"{ledger.prefix}-{row}",
            **location(ledger.cloud.region),
        )
        for name, row in (("bucket", "files"), ("site-bucket", "site"))
    )

    # <4> The queue where events end on which the greeting failed three times.
    ledger.create("dead-letter-queue", sqs.create_queue, QueueName=f"{ledger.prefix}-dead-letters")

    # <5> A log group for each function, before Lambda makes one that is kept, and paid for, for ever.
    for name in may:
        group = ledger.create(f"{name}-logs", logs.create_log_group, logGroupName=log_groups[name])
        ensure(logs.put_retention_policy, logGroupName=group, retentionInDays=KEEP_LOGS_DAYS)

    # <6> The functions. The four of Bashoutter are one package, entered at four doors.
    package = packed({"greet.py": GREETER.encode()})
    dead_letters = {"DeadLetterConfig": {"TargetArn": queue_arn}}
    function(ledger, "greeter", "greet.greet", package, roles["greeter"], **dead_letters)
    package = packed(
        {file.name: file.read_bytes() for file in sorted((BASHOUTTER / "functions").glob("*.py"))}
    )
    for name in list(may)[1:]:
        handler = f"haiku.{name.replace('-', '_')}"
        settings = {"Environment": {"Variables": {"TABLE_NAME": haiku_table, "READ": read}}}
        function(ledger, name, handler, package, roles[name], **settings)

    # <7> The API: made empty, filled from its description, opened to the functions, and then deployed.
    api_id = ledger.create(
        "api",
        apigateway.create_rest_api,
        name=f"{ledger.prefix}-api",
        endpointConfiguration={"types": ["REGIONAL"]},
    )
    for name in list(may)[1:]:
        ledger.create(
            f"{name}-permission",
            lambda_.add_permission,
            FunctionName=f"{ledger.prefix}-{name}",
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=ledger.arn("execute-api", f"{api_id}/*/*"),
        )
    body = description(ledger)
    ensure(apigateway.put_rest_api, restApiId=api_id, mode="overwrite", body=body)
    ensure(apigateway.create_deployment, restApiId=api_id, description=rest_apis.digest(body))
    deployment_id = rest_apis.deployment_of(apigateway, api_id, body)
    ensure(apigateway.create_stage, restApiId=api_id, stageName=STAGE, deploymentId=deployment_id)
    limits = {"rateLimit": rate, "burstLimit": max(1, round(BURST_S * rate))}
    ensure(
        apigateway.update_stage,
        restApiId=api_id,
        stageName=STAGE,
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{name}", "value": str(value)}
            for name, value in limits.items()
        ],
    )

    # <8> The page, for everybody: this bucket alone is public.
    ensure(s3.delete_public_access_block, Bucket=site)
    ensure(s3.put_bucket_policy, Bucket=site, Policy=policies.public_read(site))
    ensure(
        s3.put_bucket_website, Bucket=site, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )
    api_url = addresses.api_url(apigateway, api_id, STAGE)
    for file in sorted(path for path in (BASHOUTTER / "page").rglob("*") if path.is_file()):
        ensure(
            s3.put_object,
            Bucket=site,
            Key=str(file.relative_to(BASHOUTTER / "page")),
            Body=file.read_bytes().replace(b"__API_URL__", api_url.encode()),
            ContentType=CONTENT_TYPES[file.suffix],
            CacheControl="no-cache",
            Metadata={"awslabs-ledger": ledger.prefix},
        )

    # <9> What AWS has accepted must also have come: tables, functions, the API.
    with awaiting("tables and functions are active"):
        for name in (table, haiku_table):
            dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig=OFTEN)
        for name in may:
            for state in ("function_active_v2", "function_updated_v2"):
                waiter = lambda_.get_waiter(state)
                waiter.wait(FunctionName=f"{ledger.prefix}-{name}", WaiterConfig=OFTEN)
    wait_for_api(api_url)
    lab = describe(ledger)
    if export:
        parameters.put(ledger, exports(lab))
    return lab


def exports(lab: Serverless) -> dict[str, str]:
    """What a program of your own needs to use Bashoutter's API and table, by the names it may look for."""
    return {"ENDPOINT_URL": lab.api_url, "TABLE_NAME": lab.haiku_table_name}


def describe(ledger: Ledger) -> Serverless:
    """The lab's names and addresses, from its ledger. AWS calls: none.

    Raises
    ------
    LabError
        When the lab does not stand.
    """
    stands = ledger.whole(PARTS)
    return Serverless(
        function_name=stands["greeter"],
        dead_letter_queue_url=stands["dead-letter-queue"],
        table_name=stands["table"],
        bucket_name=stands["bucket"],
        api_url=addresses.api_url(ledger.client("apigateway"), stands["api"], STAGE),
        haiku_table_name=stands["haiku-table"],
        site_bucket_name=stands["site-bucket"],
        site_url=addresses.site_url(ledger.client("s3"), stands["site-bucket"]),
    )


def down(ledger: Ledger) -> None:
    """Take everything down again, with all that lies in the tables and buckets.

    What the buckets hold that no lab has put there is counted and told before it goes.
    """
    ledger.down()


# -- What `up` asks before it builds -------------------------------------------------------------------


def require_public_buckets(ledger: Ledger) -> None:
    """Stop before anything is built if the account forbids public buckets.

    AWS calls: ``s3control:GetPublicAccessBlock``.
    """
    if not ledger.cloud.is_aws:
        return  # a setting of a real account; other clouds have no such service
    s3control, account = ledger.client("s3control"), ledger.cloud.identity["account"]
    try:
        answer = s3control.get_public_access_block(AccountId=account)
    except s3control.exceptions.ClientError:  # none is set; or one may not ask, and PutBucketPolicy will tell
        return
    block = answer["PublicAccessBlockConfiguration"]
    if block.get("BlockPublicPolicy") or block.get("RestrictPublicBuckets"):
        raise AwsError(
            "This account allows no public bucket, so nobody could load Bashoutter's page.",
            "Block Public Access is on for the whole account.",
            f"ask whoever runs the account: aws s3control delete-public-access-block --account-id {account}",
            code="AccessDenied",
            operation="s3:PutBucketPolicy",
        )


# -- Parts of the page above -----------------------------------------------------------------------------


def function(ledger: Ledger, name: str, handler: str, package: bytes, role_arn: str, **more: Any) -> None:
    """One function; of its settings, those that `tune` and `load` change for a while are put right."""
    lambda_ = ledger.client("lambda")
    function_name = ledger.create(
        name,
        lambda_.create_function,
        FunctionName=f"{ledger.prefix}-{name}",
        Runtime=RUNTIME,
        Role=role_arn,
        Handler=handler,
        Code={"ZipFile": package},
        Timeout=10,
        MemorySize=MEMORY_MIB[name],
        LoggingConfig={"LogFormat": "Text", "LogGroup": f"/aws/lambda/{ledger.prefix}-{name}"},
        **more,
    )
    settings = {"Environment": more["Environment"]} if "Environment" in more else {}
    ensure(
        lambda_.update_function_configuration,
        FunctionName=function_name,
        MemorySize=MEMORY_MIB[name],
        **settings,
    )


def description(ledger: Ledger) -> bytes:
    """``openapi.yaml`` with this lab's functions in it."""
    text = (BASHOUTTER / "openapi.yaml").read_text(encoding="utf-8")
    text = text.replace("title: Bashoutter", f"title: {ledger.prefix}-api")
    text = text.replace("__REGION__", ledger.cloud.region)
    for verb in ("list", "post", "like", "delete"):
        function_arn = ledger.arn("lambda", f"function:{ledger.prefix}-{verb}-haiku")
        text = text.replace(f"__{verb.upper()}_ARN__", function_arn)
    return text.encode()


@instead(lambda api_url: None)
def wait_for_api(api_url: str) -> None:
    """Until the deployed API answers: for some seconds it is not known everywhere yet."""
    api = haiku.Api(api_url)

    def answers() -> bool:
        reply = api.send("GET", "/haiku")
        if reply.status in (400, 401, 404):
            raise LabError(
                f"The API answers with {reply.status}.", reply.content[:200].decode(errors="replace")
            )
        return reply.status == 200  # AWS says 403 for an address that it does not know yet

    poll(f"the API answers at {api_url}/haiku", answers, timeout_s=120, longest_s=2.0)


# -- The command line -----------------------------------------------------------------------------------


def command_line() -> Any:
    """``python -m awslabs.serverless``: this page from a terminal."""
    import click

    from awslabs import cli
    from awslabs.workload.serverless import functions, verbs

    group = cli.lab_group("serverless", __doc__)

    @cli.verb(group, "up", "serverless")
    @cli.ROLE_ARN
    @click.option(
        "--read",
        type=click.Choice(["scan", "query"]),
        default=READ,
        show_default=True,
        help="How Bashoutter lists its haiku: from the whole table, or from its index.",
    )
    @click.option(
        "--rate",
        type=click.FloatRange(0.1, 1000),
        default=REQUESTS_PER_S,
        show_default=True,
        help="Requests per second that Bashoutter's API answers.",
    )
    @cli.EXPORT
    @cli.ttl()
    @cli.ends_by_itself
    def _up(ledger: Ledger, export: str | None, **how: Any) -> dict[str, Any] | None:
        """Build the functions, tables, buckets and Bashoutter."""
        cli.announce(ledger, "five functions, two tables, two buckets and an API", 0.0)
        lab = up(ledger, export=export == "ssm", **how)
        cli.say(f"Bashoutter: {lab.site_url}\nIts API:    {lab.api_url}/haiku")
        cli.say(f"Call a function: {ledger.command('invoke')}")
        region, what = ledger.cloud.region, "API Gateway million requests"
        usd = how["rate"] * 3600 * prices.rate(what, region) / 1e6
        note = "" if region in prices.RATES[what] else f" at {prices.EAST}'s price"
        cli.say(
            f"Anybody who knows the address may post and delete, up to {how['rate']:g} requests per second: "
            f"{usd:.2f} USD per hour{note} for the gateway alone."
        )
        cli.farewell(ledger)
        return parameters.built(ledger, lab, exports(lab), export)

    def report(ledger: Ledger) -> dict[str, Any]:
        return {**vars(describe(ledger)), "dead_letters": functions.dead_letters(ledger)}

    cli.add_status(group, "serverless", PARTS, report)
    verbs.add(group, "serverless", describe)
    cli.add_down(group, "serverless", down)
    return group


if __name__ == "__main__":
    command_line()(prog_name="python -m awslabs.serverless")
