"""moto, imported without what a practice cloud may never need: half of its time and of its memory.

    offerings   which instance type each Region offers: moto reads the lists of 30 Regions at once, 75 MiB;
                here the list of a Region is read when somebody asks for it
    models      of services, without what they say to readers: most of each
    Flask       which moto's server imports; our own calls moto itself
    Regions     of a service: boto3 parses the service's whole model for one word of it, again in every
                session; here it is the model that the service's calls need anyway, parsed once

    email       whose parser `http.client` asks for the headers of each request: a third of the time that an
                answer takes; here it is asked for those alone that are not plain
    heaps       glibc has one for each thread, and keeps what is freed; a server of many threads, of which
                one works at a time, needs one

The server imports this module before anything that imports moto.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import gzip
import http.client
import importlib
import io
import json
import os
import re
import sys
from http.client import HTTPMessage
from types import SimpleNamespace
from typing import Any, BinaryIO
from unittest import mock

import boto3
from botocore.exceptions import UnknownServiceError
from botocore.loaders import JSONFileLoader, create_loader
from botocore.regions import EndpointResolver
from moto.core.loaders import Loader
from moto.core.utils import get_service_model
from moto.utilities.utils import load_resource
from werkzeug.wrappers import Request

OFFERINGS = "resources/instance_type_offerings"
LOCATIONS = ("availability-zone", "availability-zone-id", "region")


class WithoutWords(JSONFileLoader):  # type: ignore[misc]
    """Reads service models without the documentation in them."""

    def load_file(self, file_path: str) -> Any:
        for ending, open_file in ((".json", open), (".json.gz", gzip.open)):
            if os.path.isfile(file_path + ending):
                with open_file(file_path + ending, "rb") as file:
                    return json.loads(file.read(), object_pairs_hook=_without_words)
        return None


def _without_words(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a model; a member that is called documentation stays: it is an object itself."""
    return {
        name: sys.intern(value) if type(value) is str else value  # the same few words, thousands of times
        for name, value in pairs
        if name != "documentation" or type(value) is not str
    }


class Offerings(dict[str, list[dict[str, Any]]]):
    """Region to what it offers, for one kind of location."""

    def __init__(self, location_type: str) -> None:
        super().__init__()
        self.location_type = location_type

    def __missing__(self, region: str) -> list[dict[str, Any]]:
        try:
            offered = load_resource(f"ec2/{OFFERINGS}/{self.location_type}/{region}.json")
        except FileNotFoundError:
            raise KeyError(region) from None
        self[region] = [{**each, "LocationType": self.location_type} for each in offered]
        return self[region]

    def get(self, region: str, default: Any = None) -> Any:
        try:
            return self[region]
        except KeyError:
            return default


@functools.cache
def endpoints() -> EndpointResolver:
    """Which services AWS has in which Regions, as botocore knows it; their addresses would be 7 MiB more."""
    known = create_loader().load_data("endpoints")
    for partition in known["partitions"]:
        for service in partition["services"].values():
            service["endpoints"] = dict.fromkeys(service["endpoints"], {})
    return EndpointResolver(known)


def available_regions(
    _session: boto3.Session, service_name: str, partition_name: str = "aws", allow_non_regional: bool = False
) -> list[str]:
    """`boto3.Session.get_available_regions`."""
    try:
        prefix = get_service_model(service_name).metadata.get("endpointPrefix", service_name)
    except UnknownServiceError:
        return []
    found: list[str] = endpoints().get_available_endpoints(prefix, partition_name, allow_non_regional)
    return found


def _import_ec2() -> None:
    """Import moto's EC2, which finds no lists of offerings, and give it ours."""
    list_folder = os.listdir

    def listed(path: Any = ".") -> list[str]:
        return [] if OFFERINGS in str(path) else list_folder(path)

    with mock.patch("os.listdir", listed):
        from moto.ec2.models import instance_types
    instance_types.listdir = list_folder  # type: ignore[attr-defined]
    offered = {location_type: Offerings(location_type) for location_type in LOCATIONS}
    instance_types.INSTANCE_TYPE_OFFERINGS.update(offered)


def _import_server() -> None:
    """Import moto's server, with next to nothing in the place of Flask."""
    stand_ins = {
        "flask": SimpleNamespace(Flask=object, Request=Request),
        "flask.testing": SimpleNamespace(FlaskClient=object),
        "flask_cors": SimpleNamespace(CORS=None),
    }
    sys.modules |= stand_ins  # type: ignore[arg-type]
    try:
        importlib.import_module("moto.moto_server.werkzeug_app")
    finally:
        for name in stand_ins:
            del sys.modules[name]


def parse_headers(source: BinaryIO, _class: type[HTTPMessage] = HTTPMessage) -> HTTPMessage:
    """`http.client.parse_headers`, which reads all that is not a plain header in a line of its own."""
    lines = [source.readline(LINE_BYTES + 1)]
    while lines[-1] not in LAST and len(lines[-1]) <= LINE_BYTES and len(lines) <= HEADERS:
        lines.append(source.readline(LINE_BYTES + 1))
    whole = lines[-1] in LAST and len(lines) <= HEADERS
    if not whole or not all(map(PLAIN.fullmatch, lines[:-1])):
        return _all_kinds_of_headers(io.BytesIO(b"".join(lines)), _class)
    found = _class()
    for line in lines[:-1]:
        name, _, value = line.decode("latin-1").partition(":")
        found.set_raw(name, value.lstrip(" \t").rstrip("\r\n"))
    return found


LINE_BYTES, HEADERS = 65_536, 100  # as many as `http.client` takes
LAST = (b"\r\n", b"\n", b"")
PLAIN = re.compile(rb"[!-9;-~]+:[^\r\n]*\r?\n")
_all_kinds_of_headers = http.client.parse_headers


M_TRIM_THRESHOLD, M_ARENA_MAX = -1, -8  # malloc.h
if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # glibc alone has it
    mallopt(M_ARENA_MAX, 1)
    mallopt(M_TRIM_THRESHOLD, 1 << 16)
main = sys.modules["__main__"].__spec__
if main is not None and main.name == "awslabs.sandbox.server":
    gc.disable()  # what is imported stays; `server.main` goes on collecting
Loader.FILE_LOADER_CLASS = WithoutWords
http.client.parse_headers = parse_headers  # type: ignore[assignment]
boto3.Session.get_available_regions = available_regions
boto3.Session.get_available_partitions = lambda _session: endpoints().get_available_partitions()
_import_ec2()
_import_server()
