"""One family of errors, each of which says what happened, why, and which command mends it.

    LabError                 exit 1
     |-- LedgerError         the journal on this computer: locked, damaged, of another account, disk full
     |-- AwsError            AWS refused a call; `code` and `operation` say which
     |-- TimedOut            something awaited did not come
     |-- TunnelError         SSH: no answer, another host key, a busy port
     '-- StillStanding       exit 3: `down` is done, and something still costs money; or nobody could look

Raise one with its three sentences; `cli.py` prints them and exits with `exit_code`:

    error: ec2:RunInstances was refused (VcpuLimitExceeded).
    why:   t3.micro needs 2 vCPUs of the "Standard" quota; this account has 0 in us-east-1.
    fix:   aws service-quotas request-service-quota-increase ...
"""


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


class TimedOut(LabError):
    """Something awaited did not come within its time."""


class TunnelError(LabError):
    """SSH does not answer as it should."""


class StillStanding(LabError):
    """These things are still there, or could not be looked at: nothing proves that they are gone."""

    exit_code = 3
