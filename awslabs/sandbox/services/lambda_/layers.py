"""Lambda's layers: which ones a function may have, and how their versions are shown. None runs here.

Source: Lambda developer guide, "Managing Lambda dependencies with layers"; aws-facts (k).
"""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any

from moto.awslambda.models import LambdaFunction, LayerVersion
from moto.awslambda.utils import get_backend

from awslabs.sandbox.core import policies
from awslabs.sandbox.core.engine import Call, Proceed, before, memory, rule
from awslabs.sandbox.services.iam.identities import caller_of
from awslabs.sandbox.services.lambda_.resource_policies import Policy
from awslabs.sandbox.services.lambda_.shapes import invalid, look_at_layers, missing, whole, wrong
from awslabs.sandbox.services.lambda_.sharing import denied

MOST = 5
LAYER_ARN = re.compile(r"arn:aws[\w-]*:lambda:[\w-]+:\d{12}:layer:[\w-]+:\d+")


@before("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")
def layers_fit_together(call: Call) -> None:
    """More than 5 layers, two versions of one, one of another Region or a version that is not there:
    InvalidParameterValueException; what is no ARN of a version: ValidationException; one of another account
    that is not granted: AccessDeniedException. moto knows the last but two alone, and answers otherwise.
    Source: aws-facts (k).
    """
    layers = [str(arn) for arn in call.get("Layers") or []]
    look_at_layers(layers)
    if len(layers) > MOST:
        raise invalid(f"Cannot reference more than {MOST} layers.")
    seen: dict[str, str] = {}
    for arn in layers:
        layer = arn.rpartition(":")[0]
        if layer in seen:
            raise invalid(
                "Two different versions of the same layer are not allowed to be referenced in the same "
                f"function. {seen[layer]} and {arn} are versions of the same layer."
            )
        seen[layer] = arn
        region, account = arn.split(":")[3:5]
        if region != call.region:
            raise invalid(
                "Layers are not in the same region as the function. Layers are expected to be in region "
                f"{call.region}."
            )
        if _held(arn) is None and account == call.account:
            raise invalid(f"Layer version {arn} does not exist.")
        _look_at_policy(call, arn)


layers_have_awss_shape = rule(
    "layers_have_awss_shape",
    """A version of a layer always has a Description, CompatibleRuntimes and LicenseInfo if they were given;
    it is found by its ARN, its layer by ARN or name, and lists show no Content. moto: the reverse.
    Source: aws-facts (k).""",
)


def _shape(said: dict[str, Any]) -> dict[str, Any]:
    """A version as AWS shows it, made of moto's."""
    version = _held(said["LayerVersionArn"])
    assert version is not None  # it is the one that moto shows
    said["Description"] = version.description
    if version.compatible_runtimes is not None:
        said["CompatibleRuntimes"] = version.compatible_runtimes
    if not version.license_info:
        said.pop("LicenseInfo", None)
    return said


@layers_have_awss_shape.around("lambda:PublishLayerVersion", "lambda:GetLayerVersion")
def _one(call: Call, proceed: Proceed) -> Any:
    status, headers, body = whole(proceed())
    said = json.loads(body)
    if call.action == "PublishLayerVersion" and call.get("CompatibleRuntimes") is None:
        version = _held(said["LayerVersionArn"])
        assert version is not None  # it was made a moment ago
        version.compatible_runtimes = None
        said.pop("CompatibleRuntimes", None)
    return status, headers, json.dumps(_shape(said))


_NOT_IN_LISTS = ("Content", "LayerArn")


@layers_have_awss_shape.around("lambda:ListLayers", "lambda:ListLayerVersions")
def _list(call: Call, proceed: Proceed) -> Any:
    if given := call.response.path.partition("/layers/")[2].partition("/")[0]:
        own = f"arn:{call.partition}:lambda:{call.region}:{call.account}:layer:"
        name = urllib.parse.unquote(given).removeprefix(own)
        call.response.path = call.response.path.replace(given, urllib.parse.quote(name, safe=""))
    said = json.loads(proceed())
    rows = [layer["LatestMatchingVersion"] for layer in said.get("Layers", [])]
    for row in [*rows, *said.get("LayerVersions", [])]:
        _shape(row)
        for name in _NOT_IN_LISTS:
            row.pop(name, None)
    return json.dumps(said)


@layers_have_awss_shape.operation("lambda:GetLayerVersionByArn")
def _by_arn(call: Call) -> dict[str, Any]:
    arn = call.get("Arn", "")
    version = None
    if LAYER_ARN.fullmatch(arn) and arn.split(":")[3] == call.region:
        _look_at_policy(call, arn)
        version = _held(arn)
    if version is None:
        raise missing()
    return _shape(version.get_layer_version())


# --- who may use one ------------------------------------------------------------------------------------


layer_policies = rule(
    "layer_policies",
    """A version of a layer has a policy with a RevisionId that each change replaces, and lets nothing but
    lambda:GetLayerVersion be granted, to other accounts; what is not there has a name. moto refuses every
    RevisionId, adds statements of one StatementId, and looks for layers in one account.
    Source: aws-facts (k).""",
)
_ACTION = "lambda:GetLayerVersion"


def _held(arn: str) -> LayerVersion | None:
    """moto's version of a layer, whose account and Region there are."""
    region, account = arn.split(":")[3:5]
    return get_backend(account, region).layers_versions_by_arn(arn)


def _look_at_policy(call: Call, arn: str) -> None:
    """Refuse a version of another account's layer that is not granted to the caller, or not there."""
    if arn.split(":")[4] == call.account:
        return
    caller = caller_of(call.account, call.partition, call.response.get_access_key(), call.region)
    version = _held(arn)
    said = memory(version, Policy).statements if version is not None else []
    context = policies.context(call.region, principalaccount=call.account)
    if policies.decide(said, _ACTION, arn, caller, context) != "Allow":
        raise denied(caller, _ACTION, arn)


@layer_policies.patch(LambdaFunction, "_get_layers_data")
def _of_function(original: Any, function: LambdaFunction, arns: list[str]) -> list[dict[str, Any]]:
    found = [version for arn in arns if (version := _held(arn)) is not None]
    if len(found) < len(arns):
        refused: list[dict[str, Any]] = original(function, arns)
        return refused
    return [{"Arn": version.arn, "CodeSize": version.code_size} for version in found]


def _policy(call: Call) -> tuple[str, Policy]:
    """The ARN of the version that a request names, and its policy."""
    found = re.search(r"/layers/([^/]+)/versions/([^/]+)/policy", call.response.path)
    assert found is not None  # it is one of a layer's policy
    name, number = map(urllib.parse.unquote, found.groups())
    own = f"arn:{call.partition}:lambda:{call.region}:{call.account}:layer:"
    arn = f"{name if ':' in name else own + name}:{number}"
    version = _held(arn) if arn.startswith(own) else None
    if version is None:
        raise missing(f"Layer version {arn} does not exist.")
    return arn, memory(version, Policy)


@layer_policies.operation("lambda:AddLayerVersionPermission")
def _add_permission(call: Call) -> dict[str, Any]:
    arn, policy = _policy(call)
    action = call.get("Action")
    if action != _ACTION:
        raise wrong(action, "action", f"Member must satisfy regular expression pattern: {_ACTION}")
    policy.look_at_revision(call, "GetLayerPolicy")
    organization = call.get("OrganizationId")
    condition = {"StringEquals": {"aws:PrincipalOrgID": organization}} if organization else {}
    return {"Statement": policy.grant(call, arn, condition), "RevisionId": policy.revision}


@layer_policies.operation("lambda:GetLayerVersionPolicy")
def _get_policy(call: Call) -> dict[str, Any]:
    _, policy = _policy(call)
    if not policy.statements:
        raise missing("No policy is associated with the given resource.")
    return policy.shown()


@layer_policies.operation("lambda:RemoveLayerVersionPermission")
def _remove_permission(call: Call) -> dict[str, Any]:
    _, policy = _policy(call)
    policy.look_at_revision(call, "GetLayerPolicy")
    policy.remove(urllib.parse.unquote(call.response.path.rpartition("/policy/")[2]))
    return {}
