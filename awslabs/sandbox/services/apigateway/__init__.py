"""API Gateway: REST APIs as they are described, and the calls of those that are deployed.

moto validates an imported OpenAPI document with `openapi_spec_validator`, whose import takes as long as a
third of the server's start; where Jupyter is installed, three times as long as all of it, since `jsonschema`
then compiles the grammar of international addresses (`rfc3987_syntax`), which no OpenAPI document here has.
So moto gets a stand-in, and the validator comes with the first document that is to be validated.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

VALIDATOR = "openapi_spec_validator"
EXCEPTIONS = "openapi_spec_validator.validation.exceptions"
GRAMMARS = "rfc3987_syntax"


@contextlib.contextmanager
def without_grammars() -> Iterator[None]:
    """Import `jsonschema` here without the grammars that nothing here needs."""
    grammars = sys.modules.get(GRAMMARS)
    sys.modules.setdefault(GRAMMARS, None)  # type: ignore[arg-type]  # Python's word for "not to be imported"
    try:
        yield
    finally:
        if grammars is None:
            del sys.modules[GRAMMARS]


def _validate(document: Any) -> None:
    """Validate with the real one, which moto calls directly from now on."""
    with without_grammars():
        validate, error = importlib.import_module(VALIDATOR).validate, importlib.import_module(EXCEPTIONS)
    moto = sys.modules["moto.apigateway.models"]
    moto.validate, moto.OpenAPIValidationError = validate, error.OpenAPIValidationError  # type: ignore[attr-defined]
    validate(document)


def _import_moto() -> None:
    """Import moto's API Gateway without the validator, unless somebody has imported either."""
    if VALIDATOR in sys.modules:
        return
    validator, exceptions = ModuleType(VALIDATOR), ModuleType(EXCEPTIONS)
    validator.validate = _validate  # type: ignore[attr-defined]
    exceptions.OpenAPIValidationError = LookupError  # type: ignore[attr-defined]
    sys.modules |= {VALIDATOR: validator, EXCEPTIONS: exceptions}
    try:
        importlib.import_module("moto.apigateway.models")
    finally:
        del sys.modules[VALIDATOR], sys.modules[EXCEPTIONS]


_import_moto()
