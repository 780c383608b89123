"""S3: addresses that are presigned. What a header would say may stand in their query, as it was signed there.

Source: S3 API reference, "Authenticating Requests: Using Query Parameters"; aws-facts (k).
"""

from __future__ import annotations

from awslabs.sandbox.core.engine import BucketCall, before
from awslabs.sandbox.services.s3.documents import invalid
from awslabs.sandbox.services.s3.posts import fits_a_header

_CONDITIONS = {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}
_SIGNED = {"X-Amz-Signature", "Signature"}


@before("s3:GetObject", "s3:HeadObject", "s3:PutObject")
def conditions_in_a_query(call: BucketCall) -> None:
    """A condition in the query of a presigned address (`If-None-Match=*`) is one. moto looks at headers.

    Source: aws-facts (k).
    """
    if not call.query & _SIGNED:
        return
    for name, values in call.response.querystring.items():
        if name.lower() in _CONDITIONS and not isinstance(values, str):  # moto adds headers, as plain text
            call.request.environ.setdefault(f"HTTP_{name.upper().replace('-', '_')}", values[0])


@before("s3:PutObject")
def an_address_ends_and_no_object(call: BucketCall) -> None:
    """`Expires` in an address of Signature Version 2 is its own end. moto takes it for the object's header.

    Source: aws-facts (k).
    """
    if "Signature" in call.query:
        call.response.querystring.pop("Expires", None)


@before("s3:GetObject", "s3:HeadObject")
def answers_are_of_latin_1(call: BucketCall) -> None:
    """A header of the answer that a query asks for, and that no header can carry: InvalidArgument. moto sends
    what breaks the connection, or more headers than one. Source: aws-facts (k).
    """
    for name, values in call.response.querystring.items():
        value = values if isinstance(values, str) else values[0]  # moto adds all headers, as plain text
        if name.startswith("response-") and not fits_a_header(value):
            raise invalid("Header value cannot be represented using ISO-8859-1.", name, value)
