"""One family of errors, each of which says what happened, why, and which command mends it.

    LabError                 exit 1
     |-- LedgerError         the journal on this computer: locked, damaged, of another account, disk full
     |-- NotOurs             what a row has made still stands, but does not carry its token any more
     |-- AwsError            AWS refused a call; `code` and `operation` say which
     |-- TimedOut            something awaited did not come
     |-- OverBudget          what is left of the lab's budget does not pay for it
     |-- TunnelError         SSH: no answer, another host key, a busy port
     '-- StillStanding       exit 3: `down` is done, and something still costs money; or nobody could look

Raise one with its three sentences; `cli.py` prints them and exits with `exit_code`:

    error: ec2:RunInstances was refused (VcpuLimitExceeded).
    why:   t3.micro needs 2 vCPUs of the "Standard" quota; this account has 0 in us-east-1.
    fix:   aws service-quotas request-service-quota-increase ...

Where the fix is to install something of ours, `install` writes the command.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

DISTRIBUTION = "awslabs-course"  # what pip calls it; the `awslabs` of PyPI is somebody else's


class LabError(Exception):
    """What a lab tells its user when it cannot go on.

    Parameters
    ----------
    what : str
        What happened, one sentence.
    why : str
        The reason, as far as it is known.
    fix : str
        A command to paste, or what to do where no command helps.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"why:   {self.why}")
        if self.fix:
            lines.append(f"fix:   {self.fix}")
        return "\n".join(lines)


class LedgerError(LabError):
    """The journal on this computer stands in the way."""


class NotOurs(LabError):
    """AWS shows something under an identifier of ours, without our token: it is left alone."""


class AwsError(LabError):
    """AWS refused a call.

    Parameters
    ----------
    code : str
        AWS's error code (``VpcLimitExceeded``), or botocore's exception name where no answer came.
    operation : str
        The call, as IAM policies write it: ``ec2:CreateVpc``.
    """

    def __init__(
        self, what: str, why: str = "", fix: str = "", *, code: str = "", operation: str = ""
    ) -> None:
        super().__init__(what, why, fix)
        self.code, self.operation = code, operation

    def mended_by(self, fix: str, why: str = "") -> AwsError:
        """The same refusal with another way out."""
        return AwsError(self.what, why or self.why, fix, code=self.code, operation=self.operation)


class TimedOut(LabError):
    """Something awaited did not come within its time."""


class OverBudget(LabError):
    """What is left of the lab's budget does not pay for what was to be started."""


class TunnelError(LabError):
    """SSH does not answer as it should."""


class StillStanding(LabError):
    """These things are still there, or could not be looked at: nothing proves that they are gone."""

    exit_code = 3


def install(extras: str = "", *, newer: bool = False) -> str:
    """The command that installs awslabs from where this one came: its checkout, an archive, or PyPI.

    Parameters
    ----------
    extras : str
        What else, as setup.cfg names it: ``sandbox``, ``ml,notebook``.
    newer : bool
        Fetch the newest version first.
    """
    from importlib import metadata

    pip = f"{shlex.quote(sys.executable)} -m pip install"
    wanted = f"[{extras}]" if extras else ""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "setup.cfg").is_file():
        pull = f"git -C {shlex.quote(str(checkout))} pull && " if newer else ""
        return f"{pull}{pip} --editable {shlex.quote(f'{checkout}{wanted}')}"
    try:
        origin = json.loads(metadata.distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        origin = {}
    # Source: PEP 610; there is no such file for what came from PyPI.
    kind = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
    at = f" @ {kind}{origin['url']}" if origin else ""
    upgrade = "--upgrade " if newer else ""
    return f"{pip} {upgrade}{shlex.quote(f'{DISTRIBUTION}{wanted}{at}')}"
