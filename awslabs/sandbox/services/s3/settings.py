"""S3: settings of buckets: who pays, how they encrypt, whose objects are, what they tell.

Source: S3 API reference, the pages of the operations; aws-facts (k).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from awslabs.sandbox.core.engine import BucketCall, Proceed, Refused, around, before, memory, state
from awslabs.sandbox.services.s3.documents import NAMESPACE, document, invalid, malformed

_OWNERS = {"BucketOwnerPreferred", "ObjectWriter", "BucketOwnerEnforced"}


@state
@dataclass
class Payer:
    """Who pays for the requests to a bucket."""

    name: str = "BucketOwner"


@around("s3:PutBucketRequestPayment", "s3:GetBucketRequestPayment")
def who_pays(call: BucketCall, proceed: Proceed) -> Any:
    """BucketOwner or Requester pays for requests, and any other word is MalformedXML. moto makes a bucket of
    what sets it, or says that there is one. Source: aws-facts (k).
    """
    bucket = call.bucket
    if bucket is None:
        raise Refused("NoSuchBucket", "The specified bucket does not exist", BucketName=call.name)
    payer = memory(bucket, Payer)
    if call.method == "PUT":
        wanted = document(call).get("Payer")
        if wanted not in ("BucketOwner", "Requester"):
            raise malformed()
        payer.name = wanted
        return 200, {}, b""
    inner = f"<Payer>{payer.name}</Payer>"
    text = f'<RequestPaymentConfiguration xmlns="{NAMESPACE}">{inner}</RequestPaymentConfiguration>'
    return 200, {"content-type": "application/xml"}, text.encode()


@before("s3:PutBucketEncryption")
def one_rule_encrypts(call: BucketCall) -> None:
    """A bucket has one rule of encryption, and a key only with KMS: MalformedXML, InvalidArgument. moto
    stumbles over two, and takes any key. Source: aws-facts (k).
    """
    if call.bucket is None:
        raise Refused("NoSuchBucket", "The specified bucket does not exist", BucketName=call.name)
    rules = document(call).get("Rules", [])
    if len(rules) != 1:
        raise malformed()
    how = rules[0].get("ApplyServerSideEncryptionByDefault", {})
    if how.get("KMSMasterKeyID") and not str(how.get("SSEAlgorithm")).startswith("aws:kms"):
        message = (
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
        )
        raise invalid(message, "ApplyServerSideEncryptionByDefault")


@before("s3:PutBucketOwnershipControls", "s3:CreateBucket")
def one_rule_owns(call: BucketCall) -> None:
    """A bucket has one rule of ownership, of three words: MalformedXML, InvalidArgument. moto stumbles over
    two, and takes any word. Source: aws-facts (k).
    """
    name = "x-amz-object-ownership"
    if call.action == "CreateBucket":
        wanted = call.request.headers.get(name)
        if wanted is not None and wanted not in _OWNERS:
            raise invalid(f"Invalid {name} header: {wanted}", name)
        return
    rules = document(call).get("Rules", [])
    if len(rules) != 1 or rules[0].get("ObjectOwnership") not in _OWNERS:
        raise malformed()


@before("s3:PutBucketAccelerateConfiguration")
def no_acceleration_with_dots(call: BucketCall) -> None:
    """A bucket with dots in its name is not accelerated, whatever is asked: InvalidRequest. moto looks
    at that first: MalformedXML.

    Source: aws-facts (k).
    """
    if "." in call.name:
        message = "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names"
        raise Refused("InvalidRequest", message)


@before("s3:PutBucketNotificationConfiguration")
def filters_have_a_name_and_a_value(call: BucketCall) -> None:
    """A rule of a notification's filter without a name or a value: MalformedXML; one that is neither of a
    prefix nor of a suffix: InvalidArgument. moto stumbles. Source: aws-facts (k).
    """
    kinds = ("TopicConfigurations", "QueueConfigurations", "LambdaFunctionConfigurations")
    said = document(call)
    for each in (one for kind in kinds for one in said.get(kind, [])):
        for rule in each.get("Filter", {}).get("Key", {}).get("FilterRules", []):
            if not rule.get("Name") or "Value" not in rule:
                raise malformed()
            if rule["Name"].lower() not in ("prefix", "suffix"):
                message = "filter rule name must be either prefix or suffix"
                raise invalid(message, "FilterRule.Name", rule["Name"])


@before("s3:GetPublicAccessBlock")
def no_block_names_its_bucket(call: BucketCall) -> None:
    """A bucket without a block: NoSuchPublicAccessBlockConfiguration, with BucketName. moto leaves that out.

    Source: aws-facts (k).
    """
    if call.bucket is not None and call.bucket.public_access_block is None:
        message = "The public access block configuration was not found"
        code = "NoSuchPublicAccessBlockConfiguration"
        raise Refused(code, message, 404, BucketName=call.name)
