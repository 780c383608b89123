"""Our own key pair, and the fingerprints by which a server's host key is known."""

from __future__ import annotations

import binascii
import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

from awslabs.errors import TunnelError

KEY_FILE = "key"

_BLOCK = re.compile(
    r"-----BEGIN SSH HOST KEY (FINGERPRINTS|KEYS)-----(.*?)-----END SSH HOST KEY \1-----", re.DOTALL
)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
_PUBLIC_KEY = re.compile(r"\b(?:ssh|ecdsa)-[a-z0-9-]+ (AAAA[A-Za-z0-9+/]+={0,2})")


def public_key(directory: Path) -> bytes:
    """Our public key, for ``ec2:ImportKeyPair``; the pair is made on first use.

    The private half, ``directory/key``, never leaves this computer, and there is no second file: the public
    half is computed from it each time. So a crash can neither lose nor mismatch them.

    Parameters
    ----------
    directory : Path
        Where the key lives; made if need be, and readable by the owner alone (mode 0700).

    Returns
    -------
    bytes
        An ed25519 key as OpenSSH writes it, one line without a newline, 80 bytes.

    Raises
    ------
    TunnelError
        The key file is damaged or cannot be read or written.
    """
    path = Path(directory) / KEY_FILE
    try:
        if not path.exists():
            _make_key(path)
        return _read_public_half(path)
    except OSError as error:
        raise TunnelError(
            f"The key {path} can be neither read nor made.",
            str(error),
            f"ls -ld {shlex.quote(str(path.parent))}",
        ) from error


def fingerprints(console_text: str) -> set[str]:
    """The host key fingerprints that a server has printed on its console.

    Only finished blocks count: a list cut off in the middle may lack the key that we look for, and a missing
    key looks like an attack.

    Parameters
    ----------
    console_text : str
        ``Output`` of ``ec2:GetConsoleOutput``; empty in the first minutes.

    Returns
    -------
    set of str
        ``SHA256:...`` as ``ssh-keygen -l`` prints them, one for each key type; empty if there are none yet.

    Source: "Connect to your Linux instance"; cloud-init's modules ssh_authkey_fingerprints, keys_to_console.
    """
    found: set[str] = set()
    for kind, text in _BLOCK.findall(console_text):
        if kind == "FINGERPRINTS":
            found.update(_FINGERPRINT.findall(text))
        else:
            found.update(filter(None, map(_fingerprint_of, _PUBLIC_KEY.findall(text))))
    return found


def fingerprint(blob: bytes) -> str:
    """The SHA256 fingerprint of a public key's bytes."""
    import hashlib

    digest = hashlib.sha256(blob).digest()
    return "SHA256:" + binascii.b2a_base64(digest, newline=False).decode().rstrip("=")


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Write a small file so that it is there in full or not at all."""
    part = _write_beside(path, text.encode(), mode)
    os.replace(part, path)
    _sync_directory(path.parent)


def _make_key(path: Path) -> None:
    """Make the private key, unless somebody else just did."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    part = _write_beside(path, text, 0o400)
    # Unlike a rename, a link never replaces a key that AWS may already know. It fails if another process was
    # first (and may have swept our temporary file): then its key is the key.
    with suppress(FileExistsError, FileNotFoundError):
        os.link(part, path)
    for leftover in path.parent.glob(f".{path.name}-*"):  # ours, and those of killed processes
        leftover.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _read_public_half(path: Path) -> bytes:
    """The public line of a private key file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if path.stat().st_mode & 0o077:
        path.chmod(0o400)  # `ssh` refuses a private key that others may read
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise damaged(path, error) from error
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def damaged(path: Path, why: object) -> TunnelError:
    """The error for a private key file that holds no key."""
    return TunnelError(
        f"The private key {path} is damaged.",
        f"{why}. A server that was made with it cannot be opened any more.",
        f"rm -f {shlex.quote(str(path))}   # then `down` and `up`: a new key, and a server that knows it",
    )


def _fingerprint_of(base64_text: str) -> str | None:
    """The fingerprint of one printed public key; None if its text is cut."""
    try:
        return fingerprint(binascii.a2b_base64(base64_text))
    except binascii.Error:
        return None


def _write_beside(path: Path, data: bytes, mode: int) -> Path:
    """Write a temporary file next to the place where it will go, all of it on the disk."""
    part = path.with_name(f".{path.name}-{os.urandom(6).hex()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink()
        raise
    return part


def _sync_directory(directory: Path) -> None:
    """Make a rename in this directory outlast a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
