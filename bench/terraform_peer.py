"""The first lab beside Terraform: the same VPC and server, built and taken down on the same practice cloud.

    AWSLABS_TEST_TF_PLUGINS=FOLDER python bench/terraform_peer.py

FOLDER is what `terraform providers mirror FOLDER` fills. Each call takes 100 ms, a server boots in 5 s, its
SSH answers 3 s later, its shutdown takes 5 s: the same for both. Both log in over SSH before they are done.
Printed are wall times, their ratio, and for awslabs the critical path: each call of the page once, in page
order, plus the waits for boot and SSH; for `down` the longest chain of deletions plus the shutdown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from awslabs import sandbox

LATENCY_S, BOOT_S, SSH_S, SHUTDOWN_S = 0.1, 5.0, 3.0, 5.0
# What stands on the page of ec2.py between `up` and its return, and cannot be left out.
PAGE = [
    "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes",
    "GetServiceQuota",
    "CreateVpc",
    "CreateSubnet",
    "ModifySubnetAttribute",
    "CreateInternetGateway",
    "AttachInternetGateway",
    "DescribeRouteTables",
    "CreateRoute",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "ImportKeyPair",
    "GetParameter",
    "DescribeImages",
    "RunInstances",
    "DescribeInstances",
    "GetConsoleOutput",
]
CHAIN = ["TerminateInstances", "DeleteSecurityGroup", "DetachInternetGateway", "DeleteVpc"]


def timed(command: list[str], environment: dict[str, str], folder: Path) -> float:
    """Wall seconds of a command that must succeed."""
    since = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return time.monotonic() - since


def span(calls: list[dict], names: list[str]) -> tuple[float, float]:
    """Seconds from the first call to the end of the last, and the sum over `names` of one call each."""
    called = {call["operation"].partition(":")[2]: call["seconds"] for call in calls}
    missing = [name for name in names if name not in called]
    if missing:
        sys.exit(f"not called: {missing}")
    last = max(call["at"] + call["seconds"] for call in calls)
    return last - calls[0]["at"], sum(called[name] for name in names)


def main() -> None:
    plugins = os.environ.get("AWSLABS_TEST_TF_PLUGINS")
    if not shutil.which("terraform") or not plugins:
        sys.exit("needs `terraform` on PATH, and AWSLABS_TEST_TF_PLUGINS=FOLDER with its AWS provider")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["AWSLABS_HOME"] = str(folder / "home")
        run = sandbox.start(latency_ms=LATENCY_S * 1000, slow_states=1.0)
        try:
            compare(run, folder, plugins)
        finally:
            run.stop()


def compare(run: sandbox.Run, folder: Path, plugins: str) -> None:
    shutil.copy(Path(__file__).parent / "terraform" / "main.tf", folder)
    (folder / "terraform.rc").write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{plugins}"\n  }}\n}}\n'
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    theirs = {
        **os.environ,
        **run.environment("111111111111"),
        "TF_CLI_CONFIG_FILE": str(folder / "terraform.rc"),
        "TF_VAR_public_key": (folder / "key.pub").read_text().strip(),
        "TF_VAR_private_key_file": str(folder / "key"),
    }
    ours = {**os.environ, **run.environment("222222222222")}
    timed(["terraform", "init", "-no-color"], theirs, folder)
    seconds = {
        "terraform apply": timed(["terraform", "apply", "-auto-approve", "-no-color"], theirs, folder),
        "terraform destroy": timed(["terraform", "destroy", "-auto-approve", "-no-color"], theirs, folder),
    }
    lab = [sys.executable, "-m", "awslabs.ec2"]
    seconds["awslabs up"] = timed([*lab, "up"], ours, folder)
    up_calls = run.calls("222222222222")
    seconds["awslabs down"] = timed([*lab, "down"], ours, folder)
    down_calls = run.calls("222222222222")[len(up_calls) :]

    for what, taken in seconds.items():
        print(f"{what:<18} {taken:6.1f} s")
    total = seconds["terraform apply"] + seconds["terraform destroy"]
    our_total = seconds["awslabs up"] + seconds["awslabs down"]
    print(f"up and down        {total:6.1f} s beside {our_total:.1f} s: {total / our_total:.2f} times faster")
    for verb, calls, names, waits in (
        ("up", up_calls, PAGE, BOOT_S + SSH_S),
        ("down", down_calls, CHAIN, SHUTDOWN_S),
    ):
        took, once = span(calls, names)
        path = once + waits
        wall = seconds[f"awslabs {verb}"]
        print(
            f"{verb:<5} critical path {path:5.1f} s ({len(names)} calls {once:.1f} s, waits {waits:.0f} s), "
            f"took {took:.1f} s from its first call to its last: {took / path:.2f} times; "
            f"with the program's start {wall:.1f} s: {wall / path:.2f}"
        )


if __name__ == "__main__":
    main()
