"""Key pairs: which keys AWS takes, and that they have ids."""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from moto.core.responses import ActionResult
from moto.ec2.utils import public_key_parse

from awslabs.sandbox.core.engine import Call, Proceed, Refused, around, before
from awslabs.sandbox.services.tagging.tags import invalid_value, missing


@before("ec2:ImportKeyPair", "ec2:CreateKeyPair")
def key_pair_name_is_valid(call: Call) -> None:
    """A name that is empty, above 255, not ASCII, or begins or ends with a space: InvalidParameterValue.

    moto takes any name. Source: botocore, CreateKeyPair ("up to 255 ASCII characters", no leading or
    trailing spaces).
    """
    name = call.get("KeyName", "")
    if not name or len(name) > 255 or not name.isascii() or name != name.strip():
        raise invalid_value(f"Value ({name}) for parameter KeyName is invalid.")


@before("ec2:ImportKeyPair")
def imported_key_is_supported(call: Call) -> None:
    """An RSA key that is not of 1024, 2048 or 4096 bits, or other text: InvalidKey.Format.

    ED25519 is fine. moto refuses other kinds, but takes any RSA. Source: EC2 user guide, create-key-pairs;
    aws-facts (i).
    """
    material = call.get("PublicKeyMaterial", b"")
    try:
        key = public_key_parse(material if isinstance(material, bytes) else material.encode())
    except (ValueError, UnsupportedAlgorithm) as problem:  # the latter: ``ssh-anything``
        raise Refused("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from problem
    if isinstance(key, RSAPublicKey) and key.key_size not in (1024, 2048, 4096):
        raise Refused("InvalidKey.Format", f"Invalid RSA key length: {key.key_size}. Use 1024, 2048 or 4096.")


@around("ec2:DescribeKeyPairs", "ec2:DeleteKeyPair")
def key_pair_by_id(call: Call, proceed: Proceed) -> Any:
    """Key pairs can be named by KeyPairId(s). moto ignores the id: it describes all, and deletes none.

    An unknown id is InvalidKeyPair.NotFound for describe and success for delete. Source: botocore,
    DescribeKeyPairs and DeleteKeyPair.
    """
    by_id = {key.id: key for key in call.ec2.key_pairs.values()}
    if call.action == "DeleteKeyPair":
        key = by_id.get(call.get("KeyPairId"))
        if key is not None and not call.get("KeyName"):
            call.change("KeyName", key.key_name)
        return proceed()
    wanted = call.get("KeyPairIds", [])
    for key_id in wanted:
        if key_id not in by_id:
            raise missing(key_id)
    answer = proceed()
    if not wanted:
        return answer
    return ActionResult({"KeyPairs": [key for key in answer.result["KeyPairs"] if key.id in wanted]})
