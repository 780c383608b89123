"""A form that a browser posts to a bucket: its fields, and the file that comes last.

Source: S3 API reference, "Browser-based uploads using POST"; aws-facts (k).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

KIND = "multipart/form-data"
MISSING = (
    "Bucket POST must contain a field named '{}'.  If it is specified, please check the order of the fields."
)
MALFORMED = "The body of your POST request is not well-formed multipart/form-data."
_BUCKET = re.compile(r"/[A-Za-z0-9._-]+/?")  # nothing encoded: who verifies and who answers read the same


class Malformed(ValueError):
    """A body that is no such form."""


@dataclasses.dataclass(frozen=True)
class Form:
    """What a form holds.

    Attributes
    ----------
    fields : mapping
        Names in small letters to values; what follows the file does not count.
    file : bytes or None
        None: there is no field of this name.
    filename : str
        As the browser says it; empty where the file comes as a plain field.
    """

    fields: Mapping[str, str]
    file: bytes | None
    filename: str


def is_posted(method: str, target: str) -> bool:
    """Whether a request goes where forms are posted to: the bucket itself, without a query."""
    return method == "POST" and _BUCKET.fullmatch(target) is not None


def is_form(content_type: str) -> bool:
    """Whether a body says that it is a form."""
    return content_type.lower().startswith(KIND)


def read(content_type: str, body: bytes) -> Form:
    """The form in a body, or `Malformed`."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise Malformed("there is no boundary")
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"))
    decoder.receive_data(body)
    decoder.receive_data(None)
    fields: dict[str, str] = {}
    name, filename, pieces = "", "", list[bytes]()
    try:
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            if isinstance(event, Field | File):
                name, pieces = (event.name or "").lower(), []
                filename = event.filename or "" if isinstance(event, File) else ""
            elif isinstance(event, Data):
                pieces.append(event.data)
                if not event.more_data and name == "file":
                    return Form(fields, b"".join(pieces), filename)
                if not event.more_data:
                    fields.setdefault(name, b"".join(pieces).decode("utf-8", "replace"))
    except ValueError as problem:
        raise Malformed(str(problem)) from None
    return Form(fields, None, "")
