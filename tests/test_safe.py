"""A practice cloud on a shared computer: each attack was seen to succeed before its defence stood.

What runs in the practice cloud looks around as somebody who means harm would: at the terminals, the mounts,
the control groups and the homes of this computer, and at what runs beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import pty
import pwd
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest
import requests
from bashoutter_browser import browser, needs_browser
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from click.testing import CliRunner
from processes import why_no_namespaces

from awslabs import cli, policies, sandbox, tunnel
from awslabs.cloud import Cloud
from awslabs.ledger import Ledger
from awslabs.sandbox.__main__ import main as command_line
from awslabs.sandbox.run import first_process, isolation

ROOT = Path(__file__).resolve().parents[1]
STUDENT = 60701  # an ordinary user of this computer, beside PRACTICE_UID; needs no entry in /etc/passwd

needs_namespaces = pytest.mark.skipif(bool(why_no_namespaces()), reason="this computer gives no namespaces")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, or mount")

# Runs a program in a place of its own, as instances, functions, tasks and jobs have theirs.
DRIVER = """
import asyncio, os, sys
from pathlib import Path
from awslabs.sandbox.run import isolation
async def main(base, code):
    folder, practice = base / "one", base / "practice"
    (practice / "bin").mkdir(parents=True)
    (base / "other").mkdir()
    (base / "other" / "diary").write_text("of another instance, or of the student")
    for path in (folder, folder / "home", folder / "home/ec2-user", folder / "tmp"):
        path.mkdir()
        isolation.own(path)
    place = isolation.Namespaces(isolation.Place(folder, practice, "ec2-user", "ip-10-0-0-1", "one"))
    nothing = os.open("/dev/null", os.O_RDONLY)
    try:
        one = await place.spawn(
            [*isolation.PYTHON, "-c", code],
            env={"DIARY": os.environ["DIARY"]}, stdin=nothing, stdout=1, stderr=2,
        )
        return await one.wait()
    finally:
        await place.end()
sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2])))
"""


@pytest.fixture(params=["root's", "a student's"])
def inside(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Runs Python in a place of its own, of a practice cloud that root or an ordinary user has started."""
    uid = STUDENT if request.param == "a student's" else None
    if uid is not None and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    base = Path(tempfile.mkdtemp(prefix="awslabs-safe-"))
    base.chmod(0o755)

    def run(code: str, *, before: str = "true", driver: str = DRIVER) -> str:
        folder = Path(tempfile.mkdtemp(dir=base))
        become, python = [], sys.executable
        if uid is not None:
            os.chown(folder, uid, uid)
            become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
            if not isolation.open_to_all(Path(sys.executable).resolve()):
                python = "/usr/bin/python3"  # nothing but the standard library runs there
        private = ["unshare", "--mount"] if os.geteuid() == 0 else []
        line = [*private, "sh", "-c", f'{before} && exec "$@"', "sh", *become, python, "-c", driver]
        done = subprocess.run(
            [*line, str(folder), code], capture_output=True, text=True, timeout=120, cwd="/",
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SECRET": "of-the-student",
                 "HOME": str(base), "DIARY": str(folder / "other" / "diary")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.uid = isolation.practice_uid() if uid is None else uid  # type: ignore[attr-defined]
    yield run
    shutil.rmtree(base)


WRITE_TO_TERMINALS = """
import os, stat
NO_TERMINALS = ("null", "zero", "full", "random", "urandom")
for folder, _, names in os.walk("/dev"):
    for name in names:
        path = os.path.join(folder, name)
        try:
            if name in NO_TERMINALS or not stat.S_ISCHR(os.lstat(path).st_mode):
                continue
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            os.write(fd, b"stolen")
            print(path)
        except OSError:
            continue
"""


@needs_namespaces
def test_no_terminal_of_this_computer_is_within_reach(inside: Any) -> None:
    master, slave = pty.openpty()
    try:
        os.fchown(slave, inside.uid, -1)  # as that of the student at this computer, or of another server
        opened = inside(WRITE_TO_TERMINALS).split()
        assert os.ttyname(slave) not in opened
        assert not select.select([master], [], [], 0)[0], os.read(master, 100)
        assert set(opened) <= {"/dev/ptmx", "/dev/pts/ptmx", "/dev/console"}
    finally:
        os.close(master)
        os.close(slave)


@needs_namespaces
def test_a_terminal_of_a_practice_server_is_its_own(inside: Any) -> None:
    on_terminal = DRIVER.replace(
        "one = await place.spawn(",
        """opened = await place.terminal()
        os.fchown(opened.slave, isolation.practice_uid() or os.getuid(), -1)
        nothing = opened.slave
        one = await place.spawn(tty=True, argv=""",
    )
    look = (
        "import os; print(os.ttyname(0), os.ttyname(os.open('/dev/tty', os.O_RDWR)), os.listdir('/dev/pts'))"
    )
    assert on_terminal != DRIVER
    assert inside(look, driver=on_terminal) == "/dev/pts/0 /dev/tty ['0', 'ptmx']\n"


WRITE_EVERYWHERE = """
import os
for line in open("/proc/self/mountinfo"):
    point = line.split()[4].encode().decode("unicode_escape")
    try:
        with open(os.path.join(point, "mine"), "w"):
            print(point)
    except OSError:
        continue
"""
OWN = {"/", "/dev/shm", "/etc/systemd/system", "/run", "/tmp"}


@needs_namespaces
@needs_root
@pytest.mark.parametrize("kernel", ["this", "before 5.12"])
def test_read_only_is_what_lies_below_too(inside: Any, kernel: str) -> None:
    below = "mount -t tmpfs -o mode=1777 none /usr/local/lib && mkdir '/usr/local/lib/a b' &&"
    below += " chmod 777 '/usr/local/lib/a b' && mount -t tmpfs -o mode=1777 none '/usr/local/lib/a b'"
    driver = DRIVER
    if kernel != "this":  # one that knows no mount_setattr: its number is nobody's
        text = Path(first_process.__file__).read_text()
        assert "SYS_MOUNT_SETATTR = 442" in text
        driver = f"""
from awslabs.sandbox.run import isolation
import pathlib, sys
isolation.HERE = pathlib.Path(sys.argv[1])
text = {text.replace("SYS_MOUNT_SETATTR = 442", "SYS_MOUNT_SETATTR = 4420")!r}
(isolation.HERE / "first_process.py").write_text(text)
{DRIVER}"""
    assert set(inside(WRITE_EVERYWHERE, before=below, driver=driver).splitlines()) <= OWN


KILL_CONTROL_GROUPS = """
import os
for folder, _, names in os.walk("/sys"):
    for name in names:
        if name in ("cgroup.kill", "cgroup.procs", "cgroup.freeze"):
            print(folder)
            try:
                with open(os.path.join(folder, name), "w") as file:
                    file.write("1")
            except OSError:
                continue
"""


@pytest.fixture
def control_group() -> Iterator[Path]:
    """A control group of this computer, of version 2."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    points = [Path(words[1]) for words in mounts if words[2] == "cgroup2"]
    if not points or os.geteuid() != 0:
        pytest.skip("makes a control group, for which it needs root and version 2 of them")
    path = points[0] / f"awslabs-test-{os.getpid()}"
    path.mkdir()
    yield path
    path.rmdir()


@needs_namespaces
def test_control_groups_of_this_computer_are_not_there(inside: Any, control_group: Path) -> None:
    for path in (control_group, *control_group.iterdir()):
        os.chown(path, inside.uid, inside.uid)  # as systemd gives one to whoever logs in
    with subprocess.Popen(["sleep", "600"]) as bystander:
        try:
            (control_group / "cgroup.procs").write_text(str(bystander.pid))
            seen = inside(KILL_CONTROL_GROUPS)
            with contextlib.suppress(subprocess.TimeoutExpired):
                bystander.wait(0.3)
            assert bystander.returncode is None, "killed through its control group"
            assert seen == ""
        finally:
            bystander.kill()


LOOK = """
import ctypes, json, os, sys
seen = {}
seen["files"] = sorted(
    path for top in ("/home", "/root", "/mnt", "/srv", "/var", "/run", "/tmp", "/media", "/practice")
    for folder, _, names in os.walk(top) for path in (os.path.join(folder, name) for name in names)
    if "diary" in path
) + [path for path in (os.environ["DIARY"], "/proc/1/root" + os.environ["DIARY"]) if os.path.exists(path)]
seen["processes"] = len([name for name in os.listdir("/proc") if name.isdigit()])
def readable(path):
    try:
        with open(path, "rb") as file:
            return file.read(1) is not None and bool(file.read())
    except OSError:
        return False
seen["environments"] = any(
    b"of-the-student" in open(f"/proc/{pid}/environ", "rb").read()
    for pid in os.listdir("/proc") if pid.isdigit() and readable(f"/proc/{pid}/environ")
)
def writes(path):
    try:
        os.close(os.open(path, os.O_WRONLY))
        return True
    except OSError:
        return False
seen["kernel"] = [
    path for folder in ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs")
    for where, _, names in os.walk(folder) for path in (os.path.join(where, name) for name in names)
    if writes(path)
] + [path for path in ("/proc/sysrq-trigger", "/proc/mtrr") if writes(path)]
seen["memory"] = [path for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/dev/mem", "/dev/kmsg")
                  if readable(path)]
seen["traced"] = [
    pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
    if pid != os.getpid() and ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0
]
print(json.dumps(seen))
"""


@needs_namespaces
def test_who_looks_around_sees_nothing_of_this_computer(inside: Any) -> None:
    seen = json.loads(inside(LOOK))
    assert seen["processes"] <= 3
    del seen["processes"]
    assert seen == {
        "files": [], "environments": False, "kernel": [], "memory": [], "traced": [],
    }  # fmt: skip


# --- functions ----------------------------------------------------------------------------------------------

NEIGHBOUR = """
import ctypes, os, time
def handler(event, context):
    for folder in ("/tmp", "/dev/shm"):
        with open(folder + "/diary", "w") as file:
            file.write("of the neighbour")
    time.sleep(event["seconds"])
"""
NOSY = """
import ctypes, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
def handler(event, context):
    me = os.getpid()
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != me]
    with open("/tmp/mine", "w"), socket.socket(socket.AF_UNIX) as line:
        reached = line.connect_ex(event["socket"]) == 0
    key = libc.syscall(event["keyctl"], 10, -3, b"user", event["key"].encode(), 0)  # KEYCTL_SEARCH
    return {
        "others": len(others) > 0,
        "environments": [pid for pid in others if b"AWS_SECRET_ACCESS_KEY" in read(f"/proc/{pid}/environ")],
        "memories": [pid for pid in others if read(f"/proc/{pid}/maps")],
        "traced": [pid for pid in others if libc.ptrace(16, int(pid), 0, 0) == 0],
        "roots": [pid for pid in others if os.path.exists(f"/proc/{pid}/root/tmp")],
        "code": sorted(os.listdir("/var/task")),
        "files": sorted(os.listdir("/tmp") + os.listdir("/dev/shm")),
        "undone": [
            libc.unshare(flags) == 0 and libc.umount2(name, 2) == 0
            for flags in (0, 0x10020000) for name in (b"/var/task", b"/tmp")
        ].count(True),
        "socket": reached,
        "key": key > 0,
    }
"""
KEYCTL = {"x86_64": 250}.get(os.uname().machine, 219)


def invoke_beside_a_neighbour(run: Any, event: dict[str, Any]) -> Any:
    """What the nosy function answers while the neighbour runs, of the same account and role."""
    variables = run.environment()
    session = boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    where = {"endpoint_url": run.endpoint_url, "region_name": "us-east-1"}
    lambda_ = session.client("lambda", **where)
    role = session.client("iam", **where).create_role(
        RoleName="lab", AssumeRolePolicyDocument=policies.trust("lambda.amazonaws.com")
    )
    for name, text in (("neighbour", NEIGHBOUR), ("nosy", NOSY)):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(f"{name}.py", text)
        lambda_.create_function(
            FunctionName=name, Runtime="python3.13", Role=role["Role"]["Arn"], Handler=f"{name}.handler",
            Code={"ZipFile": file.getvalue()}, Timeout=30,
        )  # fmt: skip
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
    lambda_.invoke(FunctionName="neighbour", Payload=b'{"seconds": 0}')
    with ThreadPoolExecutor() as pool:
        running = pool.submit(lambda_.invoke, FunctionName="neighbour", Payload=b'{"seconds": 5}')
        answer = lambda_.invoke(FunctionName="nosy", Payload=json.dumps(event))
        running.result()
    return json.loads(answer["Payload"].read())


@pytest.mark.live
@needs_namespaces
def test_a_function_sees_neither_its_neighbour_nor_what_a_login_holds(tmp_path: Path) -> None:
    """Keys in the kernel's keyring of the login, and sockets with abstract names, which no mount hides."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(KEYCTL, 1, None) > 0  # a session of our own, as a login has one
    add_key = {"x86_64": 248}.get(os.uname().machine, 217)
    assert libc.syscall(add_key, b"user", b"awslabs-diary", b"secret", 6, -3) > 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0awslabs-diary")
        listener.listen()
        run = sandbox.start(slow_states=0, home=tmp_path)
        try:
            event = {"socket": "\0awslabs-diary", "key": "awslabs-diary", "keyctl": KEYCTL}
            seen = invoke_beside_a_neighbour(run, event)
        finally:
            run.stop()
    assert seen.pop("others")
    if not scopes_sockets():
        seen["socket"] = False  # Linux before 6.12 has nothing to keep them out with
    prefixes = (Path(os.path.realpath(prefix)) for prefix in (sys.prefix, sys.base_prefix))
    python = {prefix.parts[2] for prefix in prefixes if prefix.is_relative_to("/tmp")}  # that stays there
    assert seen == {
        "environments": [], "memories": [], "traced": [], "roots": [], "code": ["nosy.py"],
        "files": sorted({"mine", *python}), "undone": 0, "socket": False, "key": False,
    }  # fmt: skip


def scopes_sockets() -> bool:
    """Whether this kernel's Landlock can part abstract sockets (version 6 of its interface)."""
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 6


# --- without namespaces -------------------------------------------------------------------------------------


@pytest.mark.live
@needs_namespaces
def test_where_there_is_no_wall_it_is_said_or_nothing_starts(tmp_path: Path) -> None:
    def start(*options: str) -> subprocess.CompletedProcess[str]:
        """On a computer where user namespaces are switched off."""
        off = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
        line = ["unshare", "--user", "--map-root-user", "sh", "-c", off, "sh"]
        command = [sys.executable, "-m", "awslabs.sandbox", "start", *options]
        environment = os.environ | {"AWSLABS_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        return subprocess.run([*line, *command], capture_output=True, text=True, timeout=120, env=environment)

    refused = start("--require-isolation")
    assert refused.returncode == 1
    assert "cannot keep what runs in it from your files" in refused.stderr
    assert sandbox.living(tmp_path) is None
    try:
        started = start()
        assert started.returncode == 0, started.stderr
        warning = "~/.aws and ~/.ssh too. Run only code that you trust."
        assert started.stderr.count(warning) == 1
        assert start().stderr.count(warning) == 1  # of the one that runs already
    finally:
        run = sandbox.living(tmp_path)
        assert run is not None
        run.stop()


@pytest.mark.parametrize("why", ["this operating system has no namespaces", ""])
def test_a_lab_that_starts_the_practice_cloud_says_once_that_there_is_no_wall(
    why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def tried(directory: Path) -> str:
        return why

    there: list[Any] = []

    def start(**options: Any) -> Any:
        there.append(
            sandbox.Run("http://127.0.0.1:9", 2, Path("gone"), "token", "never", sandbox.Host.here())
        )
        return there[0]

    monkeypatch.setattr(isolation, "why_no_namespaces", tried)
    monkeypatch.setattr(sandbox, "current", lambda: there[0] if there else None)
    monkeypatch.setattr(sandbox, "start", start)
    for _ in range(3):  # three commands with --sandbox
        cli.open_cloud(sandbox=True)
    warning = f"~/.aws and ~/.ssh too. Run only code that you trust. ({why})"
    assert capsys.readouterr().err.count(warning) == bool(why)


@pytest.mark.live
@needs_namespaces
def test_where_there_is_a_wall_nothing_is_said(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWSLABS_HOME", str(run.directory.parent))
    done = CliRunner().invoke(command_line, ["start", "--require-isolation"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "ran already" in done.stdout


def test_a_profile_for_macos_is_there_for_who_asks_and_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not seen to run here: this holds only what it says and to whom."""
    odd = tmp_path / 'a "home" (of mine)'
    place = isolation.Place(odd / "one", odd / "practice", "ec2-user", "ip-10-0-0-1", "one")
    monkeypatch.setenv("HOME", str(odd))
    assert isolation.seatbelt(place) == []
    monkeypatch.setattr(sys, "platform", "darwin")
    assert isolation.seatbelt(place) == []
    monkeypatch.setenv("AWSLABS_SEATBELT", "1")
    program, *options, dash_p, profile = isolation.seatbelt(place)
    assert (program, dash_p) == ("/usr/bin/sandbox-exec", "-p")
    given = dict(option.split("=", 1) for option in options[1::2])
    assert (given["HOME"], given["FOLDER"]) == (str(odd), str(odd / "one"))
    named = re.findall(r'\(param "(\w+)"\)', profile)
    assert sorted(named) == sorted(given)  # no path stands in the text, so none needs its quotes
    assert profile.index('deny file-read-data file-write* (subpath (param "HOME"))') < profile.index("FOLDER")
    assert profile.count("(") == profile.count(")")


# --- what a client sends ------------------------------------------------------------------------------------


@pytest.mark.live
def test_a_key_of_an_object_is_any_text(run: Any) -> None:
    """Line breaks too; in XML a carriage return survives. Lists are for who may list."""
    variables = run.environment()
    s3 = boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]).client(
        "s3", endpoint_url=run.endpoint_url, region_name="us-east-1"
    )
    s3.create_bucket(Bucket="lab-keys")
    keys = sorted(["a\r\nb", "\n", "a/\n\n/b", "a\rb", "tab\t", " ", "a%0Ab", "a&<b>?", "//", "句\u2028"])
    for key in keys:
        s3.put_object(Bucket="lab-keys", Key=key, Body=key.encode())
        assert s3.get_object(Bucket="lab-keys", Key=key)["Body"].read() == key.encode()
        assert s3.head_object(Bucket="lab-keys", Key=key)["ContentLength"] == len(key.encode())
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="lab-keys")["Contents"]] == keys
    s3.delete_public_access_block(Bucket="lab-keys")
    policy = json.loads(policies.public_read("lab-keys"))
    policy["Statement"].append(
        {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::lab-keys"}
    )
    s3.put_bucket_policy(Bucket="lab-keys", Policy=json.dumps(policy).replace("{", "{\r\n"))
    assert "{\r\n" in s3.get_bucket_policy(Bucket="lab-keys")["Policy"]
    bare = requests.get(f"{run.endpoint_url}/lab-keys", timeout=120).text  # unlike boto3, no encoding-type
    assert sorted(element.text or "" for element in ElementTree.fromstring(bare).findall(".//{*}Key")) == keys
    gone = s3.delete_objects(Bucket="lab-keys", Delete={"Objects": [{"Key": key} for key in keys]})
    assert len(gone["Deleted"]) == len(keys)
    assert s3.list_objects_v2(Bucket="lab-keys")["KeyCount"] == 0
    everything = requests.get(run.endpoint_url, timeout=120)
    assert (everything.status_code, "AccessDenied" in everything.text) == (403, True)


# --- a page in a public bucket ------------------------------------------------------------------------------

FETCH = """
const done = arguments[arguments.length - 1], all = arguments[0];
(async () => {
  const answers = [];
  for (const [method, path, headers, body] of all) {
    const answer = await fetch(path, {method, headers, body: body || undefined});
    answers.push([answer.status, await answer.text()]);
  }
  done(answers);
})();
"""


def vpc_call(run: Any) -> tuple[dict[str, str], str]:
    """CreateVpc as boto3 would send it: its headers, with a signature, and its body."""
    variables = run.environment()
    keys = Credentials(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    body = "Action=CreateVpc&CidrBlock=10.0.0.0%2F16&Version=2016-11-15"
    request = AWSRequest("POST", f"{run.endpoint_url}/", data=body)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    SigV4Auth(keys, "ec2", "us-east-1").add_auth(request)
    return dict(request.headers.items()), body


@pytest.mark.live
@needs_browser
def test_a_page_in_a_public_bucket_is_anybody(run: Any, tmp_path: Path) -> None:
    """Also one that has got hold of a signature: it reads what is public, and calls nothing."""
    variables = run.environment()
    session = boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    where = {"endpoint_url": run.endpoint_url, "region_name": "us-east-1"}
    s3, ec2 = session.client("s3", **where), session.client("ec2", **where)
    for name in ("lab-page", "lab-private"):
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="index.html", Body=b"<p>hello</p>", ContentType="text/html")
    s3.delete_public_access_block(Bucket="lab-page")
    s3.put_bucket_policy(Bucket="lab-page", Policy=policies.public_read("lab-page"))
    headers, body = vpc_call(run)
    presigned = {
        what: s3.generate_presigned_url(what, {"Bucket": bucket, "Key": "index.html"})
        for what, bucket in (("get_object", "lab-private"), ("delete_object", "lab-page"))
    }
    stranger = (
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=me&WebIdentityToken=made-up"
    )
    stranger += "&RoleArn=arn:aws:iam::111122223333:role/any"
    wanted: dict[str, tuple[str, str, dict[str, str], str]] = {
        "public": ("GET", "/lab-page/index.html", {}, ""),
        "a call": ("POST", "/", headers, body),
        "a read": ("GET", presigned["get_object"], {}, ""),
        "a deletion": ("DELETE", presigned["delete_object"], {}, ""),
        "an older signature": ("GET", "/lab-private/index.html", {"Authorization": "AWS key:made-up"}, ""),
        "an overwriting": ("PUT", "/lab-page/index.html", {}, "<p>mine</p>"),
        "a list": ("GET", "/", {}, ""),
        "a role": ("POST", "/", {"Content-Type": headers["Content-Type"]}, stranger),
        "the controls": ("POST", "/_awslabs/reset", {}, "{}"),
    }
    with browser(tmp_path / "chromium") as window:
        window.get(f"{run.endpoint_url}/lab-page/index.html")
        answers = window.execute_async_script(FETCH, list(wanted.values()))
        window.execute_script("localStorage.setItem('name', '芭蕉')")
        window.get(f"{run.endpoint_url}/lab-page/index.html")
        assert window.execute_script("return localStorage.getItem('name')") == "芭蕉"
        window.get(presigned["get_object"])  # somebody follows a link that he was given
        assert "hello" in window.page_source
    got = dict(zip(wanted, answers, strict=True))
    assert got.pop("public") == [200, "<p>hello</p>"]
    assert {name: status for name, (status, _) in got.items()} == dict.fromkeys(got, 403), got
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert s3.get_object(Bucket="lab-page", Key="index.html")["Body"].read() == b"<p>hello</p>"
    # The same call is a good one: it was refused for where it came from.
    assert requests.post(f"{run.endpoint_url}/", body, headers=headers, timeout=120).status_code == 200


# --- another user of this computer ------------------------------------------------------------------------

# What the other one runs, with nothing but Python's own library: orders in, what came of them out.
OTHER = """
import glob, http.client, json, os, sys
orders = json.load(sys.stdin)
told = {"uid": os.getuid(), "home": os.path.expanduser("~"), "seen": ""}
told |= {"answers": {}, "read": [], "written": []}
for name, (method, target, headers, body) in orders["requests"].items():
    line = http.client.HTTPConnection(orders["address"], timeout=120)
    line.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for each in headers + [["Content-Length", str(len(body))]]:
        line.putheader(*each)
    line.endheaders(body.encode())
    answer = line.getresponse()
    told["answers"][name] = [answer.status, answer.read().decode("utf-8", "replace")]
    line.close()
for path in orders["files"]:
    try:
        open(path, "rb").read(1)
        told["read"].append(path)
    except OSError:
        pass
for folder in orders["folders"]:
    try:
        os.listdir(folder)
        told["read"].append(folder)
    except OSError:
        pass
    try:
        os.close(os.open(folder + "/planted", os.O_CREAT | os.O_WRONLY))
        told["written"].append(folder)
    except OSError:
        pass
for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
    try:
        told["seen"] += open(path, errors="replace").read()
    except OSError:
        pass
print(json.dumps(told))
"""
OLD_SECRET = "practice"  # what each practice cloud once took for everybody's secret
PRIVATE = "of the student alone"
# The server as it would be if it verified nothing: who claims to have signed is believed.
BELIEVING = """
import sys
if "awslabs.sandbox.server" in sys.orig_argv:
    from awslabs.sandbox.core import light, signatures
    def believing(sent, key_of, now):
        claim = signatures._claim(sent)
        return claim.key_id if claim else ""
    signatures.verify = believing
"""


@pytest.fixture
def other_user() -> Iterator[str]:
    """The name of a second account of this computer, with a home; removed afterwards."""
    if os.geteuid() != 0 or not shutil.which("useradd"):
        pytest.skip("a second user is made with useradd, by root alone: run the tests as root, as CI does")
    name = f"awslabs-other-{os.getpid()}"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that others may look into, as /home/NAME is on many computers."""
    home = Path(tempfile.mkdtemp(prefix="awslabs-student-"))
    home.chmod(0o755)
    monkeypatch.setenv("AWSLABS_HOME", str(home / ".awslabs"))
    yield home
    shutil.rmtree(home)


class Student:
    """A student's practice cloud, with what nobody else is to read: bucket, function, repository, lab."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run = sandbox.start(slow_states=0, home=home / ".awslabs")
        own = self.run.environment()
        keys = own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"]
        session = boto3.Session(*keys, region_name="us-east-1")

        def client(service: str) -> Any:
            return session.client(service, endpoint_url=self.run.endpoint_url)

        s3, lambda_ = client("s3"), client("lambda")
        s3.create_bucket(Bucket="private")
        s3.put_object(Bucket="private", Key="diary", Body=PRIVATE)
        trust = policies.trust("lambda.amazonaws.com")
        role = client("iam").create_role(RoleName="lab", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("secret.py", f"def handler(event, context): return '{PRIVATE}'")
        lambda_.create_function(
            FunctionName="secret", Runtime="python3.13", Role=role, Handler="secret.handler",
            Code={"ZipFile": package.getvalue()},
        )  # fmt: skip
        lambda_.get_waiter("function_active_v2").wait(FunctionName="secret")
        assert PRIVATE in lambda_.invoke(FunctionName="secret")["Payload"].read().decode()
        client("ecr").create_repository(repositoryName="reader")
        lab = Ledger(Cloud(environment=own), "ec2")
        key = tunnel.public_key(lab.directory)
        ec2 = client("ec2")
        lab.create("key-pair", lab.client("ec2").import_key_pair, KeyName="lab", PublicKeyMaterial=key)
        assert ec2.describe_key_pairs(KeyNames=["lab"])["KeyPairs"]

    def places(self) -> tuple[list[Path], list[Path]]:
        """Files and folders of the student's: the notes, the ledgers, the keys, what runs."""
        top = self.home / ".awslabs"
        found = [top, *top.rglob("*")]
        return [path for path in found if path.is_file()], [path for path in found if path.is_dir()]


def requests_of(address: str, key_id: str, secret: str) -> dict[str, list[Any]]:
    """What the other one asks for with these keys; without any where they are empty."""
    json_of = {"Content-Type": "application/x-amz-json-1.1"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    function = "/2015-03-31/functions/secret"
    asked = {
        "who am I": ("sts", "POST", "/", form, "Action=GetCallerIdentity&Version=2011-06-15"),
        "keys": ("iam", "POST", "/", form, "Action=CreateUser&UserName=other&Version=2010-05-08"),
        "servers": ("ec2", "POST", "/", form, "Action=DescribeKeyPairs&Version=2016-11-15"),
        "buckets": ("s3", "GET", "/", {}, ""),
        "diary": ("s3", "GET", "/private/diary", {}, ""),
        "function": ("lambda", "GET", function, {}, ""),
        "call": ("lambda", "POST", f"{function}/invocations", {}, "{}"),
        "push": ("ecr", "POST", "/", {"X-Amz-Target": f"{ECR}.GetAuthorizationToken", **json_of}, "{}"),
    }
    made = {}
    for name, (service, method, target, headers, body) in asked.items():
        request = AWSRequest(method, f"http://{address}{target}", {"Host": address, **headers}, body.encode())
        if key_id:
            auth = S3SigV4Auth if service == "s3" else SigV4Auth
            auth(Credentials(key_id, secret), service, "us-east-1").add_auth(request)
        made[name] = [method, target, [list(each) for each in request.headers.items()], body]
    return made


ECR = "AmazonEC2ContainerRegistry_V20150921"
ATTEMPTS = {
    "no keys": ("", ""),
    "keys of his own making": ("AKIAOTHERUSERSOWNKEY", "any secret"),
    "the student's key, any secret": ("AKIAPRACTICE111122223333", "any secret"),
    "the student's key, the old secret": ("AKIAPRACTICE111122223333", OLD_SECRET),
}


def beside_aws(address: str) -> dict[str, list[Any]]:
    """The control routes, the registry, the metadata service: with no token, and with one that is made up."""
    made: dict[str, list[Any]] = {}
    guesses = {
        "no token": [],
        "a token": [
            [sandbox.TOKEN_HEADER, "guessed"],
            ["Authorization", f"Basic {b64encode(b'AWS:guessed').decode()}"],
        ],
    }
    paths = [
        *(("GET", f"/_awslabs/{name}") for name in ("run", "calls")),
        *(("POST", f"/_awslabs/{name}") for name in ("reset", "weather", "stop")),
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/reader/tags/list"),
        ("POST", "/v2/reader/blobs/uploads/"),
        ("GET", "/latest/meta-data/iam/security-credentials/"),
        ("POST", "/moto-api/reset"),
        ("GET", "/moto-api/data.json"),
    ]
    for token, headers in guesses.items():
        for method, path in paths:
            made[f"{method} {path} with {token}"] = [method, path, [["Host", address], *headers], ""]
    return made


def attacked(student: Student, other: str) -> tuple[set[str], dict[str, Any]]:
    """Names of the requests that were answered, and all that the other user saw."""
    address = student.run.endpoint_url.removeprefix("http://")
    asked = beside_aws(address)
    for how, keys in ATTEMPTS.items():
        asked |= {f"{what}, with {how}": each for what, each in requests_of(address, *keys).items()}
    files, folders = student.places()
    assert any(path.suffix == ".json" and path.name.startswith("ec2.") for path in files)  # a ledger
    assert any(path.name == "sandbox.json" for path in files)
    assert any(path.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY") for path in files)
    assert any(path.name == "secret.py" for path in files)
    orders = {
        "address": address,
        "requests": asked,
        "files": [*map(str, files)],
        "folders": [*map(str, folders)],
    }
    account = pwd.getpwnam(other)
    python = sys.executable if isolation.open_to_all(Path(sys.executable).resolve()) else "/usr/bin/python3"
    become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    done = subprocess.run(
        [*become, python, "-c", OTHER],
        input=json.dumps(orders), capture_output=True, text=True, timeout=120, cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": account.pw_dir},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["uid"], told["home"]) == (account.pw_uid, account.pw_dir)
    return {name for name, (status, _) in told["answers"].items() if status < 400}, told


@pytest.mark.live
def test_another_user_of_this_computer_gets_nothing(at_home: Path, other_user: str) -> None:
    student = Student(at_home)
    try:
        let_in, told = attacked(student, other_user)
        assert let_in == set()
        assert (told["read"], told["written"]) == ([], [])
        own = student.run.secret_access_key("AKIAPRACTICE111122223333")
        for text in (told["seen"], *(text for _, text in told["answers"].values())):
            assert student.run.token not in text
            assert own not in text
            assert PRIVATE not in text
    finally:
        student.run.stop()


@pytest.mark.live
def test_a_server_that_verifies_nothing_is_found_out_by_the_same_attacks(
    at_home: Path, other_user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BELIEVING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    student = Student(at_home)
    try:
        let_in, told = attacked(student, other_user)
        for secret in ("any secret", "the old secret"):
            assert {
                f"{what}, with the student's key, {secret}" for what in ("diary", "push", "call")
            } <= let_in
        assert PRIVATE in told["answers"]["diary, with the student's key, the old secret"][1]
        assert not any("no keys" in name for name in let_in)
    finally:
        student.run.stop()
