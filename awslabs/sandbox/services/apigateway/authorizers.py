"""Authorizers of an API, as they are made and shown. Who is let in by one, says `execute_api`.

Source: API Gateway API reference, Authorizer; aws-facts (k).
"""

from __future__ import annotations

from typing import Any

from moto.apigateway.models import Authorizer

from awslabs.sandbox.core.engine import Call, Proceed, rule
from awslabs.sandbox.services.apigateway.rest_apis import api_of, changed, conflict, part_of, there
from awslabs.sandbox.services.apigateway.shown import without_none

authorizers = rule(
    "authorizers",
    """An authorizer says its kind of authentication, and its time to live if it was given. Without the API,
    making one is a conflict. moto: no kind, 300 seconds always, another answer. Source: aws-facts (k).""",
)


def kind_of(authorizer_type: str) -> str:
    """What kind of authentication an authorizer of a type is."""
    return "cognito_user_pools" if authorizer_type == "COGNITO_USER_POOLS" else "custom"


def shown(authorizer: Authorizer) -> dict[str, Any]:
    """An authorizer, as AWS shows it."""
    kind = authorizer.auth_type or kind_of(str(authorizer.type))
    return without_none({**authorizer.to_json(), "authType": kind})


@authorizers.around("apigateway:CreateAuthorizer")
def _create(call: Call, proceed: Proceed) -> Any:
    api = api_of(call)
    if api is None:
        raise conflict("Unable to complete operation due to concurrent modification. Please try again later.")

    def as_given(said: dict[str, Any]) -> dict[str, Any]:
        made = api.authorizers[said["id"]]
        made.authorizer_result_ttl = call.get("authorizerResultTtlInSeconds")
        made.identity_validation_expression = call.get("identityValidationExpression")
        return shown(made)

    return changed(proceed(), as_given)


@authorizers.operation("apigateway:GetAuthorizer")
def _get(call: Call) -> dict[str, Any]:
    return shown(part_of(call, "authorizers", "Authorizer identifier"))


@authorizers.operation("apigateway:GetAuthorizers")
def _all(call: Call) -> dict[str, Any]:
    return {"items": [shown(each) for each in there(call).authorizers.values()]}
