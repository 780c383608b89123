"""The practice cloud: AWS on this computer, for free, with AWS's manners.

    run = sandbox.start()                      # or the one that runs already
    subprocess.run(["aws", "ec2", "describe-vpcs"], env=run.surroundings())
    run.stop()

One background process serves moto on 127.0.0.1, with strict rules over it and weather in front of
it. This module is the handle from outside: it starts, finds, changes and stops that process, and
imports nothing heavy. What it keeps on disk, under ``AWSLABS_HOME`` (else ``~/.awslabs``):

    sandbox.json         which process of which computer runs, its address and its secret   0600
    sandbox.lock         held while one is being started or stopped
    127.0.0.1-PORT/      the run: sandbox.log, the instances' homes, the ledgers of this cloud

Only what is known to be dead is cleared away: a process that lives and does not answer, and whatever may
live on another computer that shares the folder, is an error that says what to do.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import functools
import hmac
import http.client
import importlib.util
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from awslabs.errors import LabError, install
from awslabs.sandbox.core.weather import ACCOUNT_ID, Weather

HOST = "127.0.0.1"
ACCOUNT = "111122223333"  # the account of whoever names none
REGION = "us-east-1"
KEY_PREFIX = "AKIAPRACTICE"  # an access key id of the practice cloud: this and the account's 12 digits
TOKEN_HEADER = "x-awslabs-token"

# Variables that would lead an AWS client past the practice cloud, or make it refuse to go there.
ASTRAY = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)

NEEDED = ("moto", "flask", "flask_cors", "asyncssh", "psutil")  # what the base install does not bring

START_S = 60.0  # a first start on a slow laptop, with nothing compiled yet
LOCK_S = 90.0  # longer than a start: whoever waits gets what the other one started
ANSWER_S = 10.0
RESET_S = 60.0  # for all that runs to end, on a busy computer
STOP_S = 60.0  # the same; then SIGKILL


@dataclasses.dataclass(frozen=True)
class Host:
    """Where a process number means something: one boot of one computer.

    Attributes
    ----------
    name : str
        As the network knows it.
    machine : str
        /etc/machine-id; empty where there is none. Computers installed from one image may share it.
    boot : str
        Random, of this boot.
    pids : str
        The PID namespace: containers of one computer count their processes apart.
    """

    name: str
    machine: str
    boot: str
    pids: str

    @classmethod
    @functools.cache
    def here(cls) -> Host:
        """This one."""
        if sys.platform == "linux":
            machine, boot = map(_first_line, ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"))
            return cls(socket.gethostname(), machine, boot, os.readlink("/proc/self/ns/pid"))
        asked = ["sysctl", "-n", "kern.bootsessionuuid"]
        boot = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        return cls(socket.gethostname(), "", boot, "")


@dataclasses.dataclass(frozen=True)
class Run:
    """A running practice cloud.

    Attributes
    ----------
    endpoint_url : str
        ``http://127.0.0.1:PORT``.
    pid : int
        Its process.
    directory : Path
        Its log, its instances and the ledgers of labs that run in it; removed when it stops.
    token : str
        The secret of this run: the control routes ask for it, and the secrets of its access keys come of it.
    born : str
        When the operating system says that the process began: tells it from a later one of the same number.
    host : Host
        Where that is.
    """

    endpoint_url: str
    pid: int
    directory: Path
    token: str = dataclasses.field(repr=False)
    born: str
    host: Host

    @property
    def alive(self) -> bool:
        """Whether its process lives, whether it answers or not.

        Raises
        ------
        LabError
            It is on another computer, so nobody here can know.
        """
        here = Host.here()
        if self.host == here or (here.boot and (self.host.boot, self.host.pids) == (here.boot, here.pids)):
            return born(self.pid) == self.born
        ours = (self.host.name, self.host.machine) == (here.name, here.machine)
        if ours and self.host.boot != here.boot:
            return False  # this computer has been started anew since
        home = self.directory.parent
        raise LabError(
            f"The practice cloud of {home} runs on another computer: {self.host.name}.",
            f"It is process {self.pid} there, and a folder holds one practice cloud. (If {self.host.name} is "
            f"this computer by an older name, or is no more: rm {shlex.quote(str(home / 'sandbox.json'))})",
            f"export AWSLABS_HOME={shlex.quote(f'{home}-{here.name}')}    # a folder for this computer alone",
        )

    def secret_access_key(self, access_key_id: str) -> str:
        """The secret of an access key of this cloud: 40 characters, as AWS's have, others in each run."""
        made = hmac.digest(self.token.encode(), access_key_id.encode(), "sha256")
        return base64.b64encode(made)[:40].decode()

    def environment(self, account_id: str | None = None, region: str | None = None) -> dict[str, str]:
        """Variables that point any AWS client at this cloud, the secret of an account's key among them.

        Proxies are told to leave 127.0.0.1 alone. What must *not* be set besides, says `astray`.

        Parameters
        ----------
        account_id : str, optional
            12 digits; every account is empty at first. Default: 111122223333.
        region : str, optional
            Default: ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, else us-east-1.
        """
        account_id = account_id or ACCOUNT
        if not ACCOUNT_ID.fullmatch(account_id):
            raise LabError(f"{account_id!r} is no account id.", "AWS's account ids have 12 digits.")
        region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
        spared = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
        no_proxy = ",".join(filter(None, (*spared.split(","), HOST if HOST not in spared else "")))
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": KEY_PREFIX + account_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key(KEY_PREFIX + account_id),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def surroundings(self, account_id: str | None = None, region: str | None = None) -> dict[str, str]:
        """A whole environment for another program: this process's own, pointed at this cloud."""
        kept = {name: value for name, value in os.environ.items() if name not in astray()}
        return kept | self.environment(account_id, region)

    def weather(self, **changes: Any) -> dict[str, Any]:
        """Change the weather, and return how it is then; without changes, only that.

        Parameters
        ----------
        **changes
            As `awslabs.sandbox.core.weather.Weather.change` takes them: ``latency_ms=100``,
            ``faults=["ec2:RunInstances=InsufficientInstanceCapacity"]``, ``slow_states=1``, ``lag_ms=500``,
            ``account="new"``; or ``account="123456789012", faults=[...]`` for one account.
        """
        return dict(self._ask("POST", "/_awslabs/weather", changes))

    def calls(self, account_id: str | None = None) -> list[dict[str, Any]]:
        """The calls that arrived, oldest first: account, operation, at, seconds, status, code.

        ``at`` is when a call arrived, as a Unix time; ``seconds`` is how long it took, latency included.
        A call whose connection was cut has no status (None) and the code ``cut`` or ``cut-before``.
        At most the last 20,000 of each account are kept.
        """
        only = f"?account={account_id}" if account_id else ""
        return list(self._ask("GET", "/_awslabs/calls" + only))

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass on its clock at once: what is due by then happens, and nobody waited.

        What goes by that clock and what does not, says docs/architecture.md, "Two clocks".
        """
        self._ask("POST", "/_awslabs/clock", {"seconds": seconds})

    def reset(self, account_id: str | None = None) -> None:
        """Empty an account, or all of them: resources, instances, recorded calls and its own faults."""
        self._ask("POST", "/_awslabs/reset", {"account": account_id} if account_id else {}, RESET_S)

    def about(self) -> dict[str, Any]:
        """What the server says of itself: pid, started (Unix time), weather, and calls per account."""
        return dict(self._ask("GET", "/_awslabs/run"))

    def stop(self) -> list[str]:
        """End it, with all it started, and return what still stood in it, one line each."""
        with _lock(self.directory.parent):
            stood = standing(self.directory)
            if self.alive:
                _end(self)
            forget(self)
        return stood

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = ANSWER_S
    ) -> Any:
        """One request to a control route, past any proxy."""
        connection = http.client.HTTPConnection(self.endpoint_url.removeprefix("http://"), timeout=timeout_s)
        try:
            headers = {TOKEN_HEADER: self.token, "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            why, fix = "Its process has ended.", "python -m awslabs.sandbox start"
            if self.alive:
                why = f"Its process {self.pid} lives, and is busy or hangs ({problem})."
                fix = "python -m awslabs.sandbox stop    # or wait: stop ends all that stands in it"
            raise LabError(
                f"The practice cloud at {self.endpoint_url} does not answer.", why, fix
            ) from problem
        finally:
            connection.close()
        if answer.status != 200:
            raise LabError("The practice cloud refused that.", text.decode("utf-8", "replace").strip())
        return json.loads(text)


def start(
    *,
    latency_ms: float | None = None,
    faults: Sequence[str] | None = None,
    slow_states: float | None = None,
    lag_ms: float | None = None,
    stale: float | None = None,
    account: str | None = None,
    port: int = 0,
    home: Path | None = None,
) -> Run:
    """Start the practice cloud, or find the one that runs and change its weather.

    Parameters
    ----------
    latency_ms, faults, slow_states, lag_ms, stale, account
        The weather, as `awslabs.sandbox.core.weather.Weather` explains it. None leaves it as it is; a fresh
        cloud has no latency, no faults, no lag, a time scale of 0.2, hears of one change in four too late,
        and has the quotas of an old account.
    port : int
        0: a free one.
    home : Path, optional
        Where its traces are kept; default ``AWSLABS_HOME``, else ``~/.awslabs``.

    Returns
    -------
    Run
        Of two that start at once, both get the same one.

    Raises
    ------
    LabError
        When it cannot start: a package is missing, the port is taken, the weather makes no sense; and as
        `current` does.
    """
    asked = {
        "latency_ms": latency_ms,
        "faults": None if faults is None else list(faults),
        "slow_states": slow_states,
        "lag_ms": lag_ms,
        "stale": stale,
        "account": account,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    try:
        Weather().change(changes)
    except ValueError as problem:
        raise LabError("The practice cloud cannot have such weather.", str(problem)) from None
    home = _home(home)
    with _lock(home) as lock:
        run = current(home)
        if run is None:
            if remains := _noted(home):
                forget(remains)
            return _launch(home, port, changes, lock)
        if port and run.endpoint_url != f"http://{HOST}:{port}":
            raise LabError(
                f"The practice cloud runs already, at {run.endpoint_url}.",
                "There is one at a time.",
                f"python -m awslabs.sandbox stop; python -m awslabs.sandbox start --port {port}",
            )
        if changes:
            run.weather(**changes)
        return run


def current(home: Path | None = None) -> Run | None:
    """The practice cloud that runs now and answers. None when there is none.

    Raises
    ------
    LabError
        Its process lives, but gave no answer within 10 s; or as `living` does.
    """
    run = living(home)
    if run is None:
        return None
    try:
        run.about()
    except LabError:
        if not run.alive:
            return None  # it ended meanwhile
        raise
    return run


def living(home: Path | None = None) -> Run | None:
    """The practice cloud whose process lives, whether it answers or not. None when there is none.

    Raises
    ------
    LabError
        It is on another computer, or sandbox.json is damaged or another user's: who knows what lives?
    """
    run = _noted(_home(home))
    return run if run is not None and run.alive else None


def standing(directory: Path) -> list[str]:
    """What ledgers in a run's directory hold open: ``ec2 default: instance i-0abc``, one line each."""
    from awslabs import journal

    lines = []
    try:
        paths = journal.files(directory)
    except LabError as error:
        return [f"{directory.name}: {error.why} So nobody knows"]
    for path in paths:
        try:
            header, rows = journal.read(path)
        except journal.Absent:
            continue  # removed a moment ago
        except LabError:
            lines.append(f"{path.name}: damaged, so nobody knows")
            continue
        lines += [
            f"{header['lab']} {header['name']}: {row.name} {row.id or row.state}" for row in rows if row.open
        ]
    return lines


def astray() -> list[str]:
    """The variables of this environment that an AWS client had better not see."""
    return [name for name in os.environ if name in ASTRAY or name.startswith("AWS_ENDPOINT_URL_")]


def born(pid: int) -> str | None:
    """When a process began, in the operating system's words; None when there is no such process.

    Linux: clock ticks since boot, field 22 of /proc/PID/stat (proc(5)); elsewhere what ps says.
    """
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    asked = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    listed = subprocess.run(asked, capture_output=True, text=True, check=False)
    state, _, began = listed.stdout.strip().partition(" ")
    return began.strip() or None if state and "Z" not in state else None


def write_note(home: Path, run: Run) -> None:
    """Say on disk which process runs: all of it or nothing, for this user's eyes only."""
    note = dataclasses.asdict(run)
    del note["directory"]  # it follows from the address; what a file says is deleted by nobody
    temporary = home / f".sandbox.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(note, file)
    temporary.replace(home / "sandbox.json")


def forget(run: Run) -> None:
    """Remove the traces of a run that has ended; those of a later one at the same port stay."""
    home = run.directory.parent
    try:
        noted = _noted(home)
    except LabError:
        noted = None  # a damaged note stays: it is not ours any more
    if noted is not None and noted != run and noted.directory == run.directory:
        return
    remove_tree(run.directory)
    if noted == run:
        (home / "sandbox.json").unlink()


def remove_tree(directory: Path) -> None:
    """Delete a directory, also where an instance's user took the right to write away."""
    for folder, names, _ in os.walk(directory):
        for path in (os.path.join(folder, name) for name in names):
            if not os.path.islink(path):
                os.chmod(path, stat.S_IRWXU)
    if directory.exists():
        shutil.rmtree(directory)


def _home(home: Path | None) -> Path:
    """The given place, or the usual one; absolute, since the server works elsewhere."""
    from awslabs import journal

    return home.absolute() if home else journal.home()


def _first_line(path: str) -> str:
    """The first line of one of the system's files; empty where there is none."""
    try:
        return Path(path).read_text().partition("\n")[0]
    except OSError:
        return ""


def _noted(home: Path) -> Run | None:
    """The run that sandbox.json names, whether it lives or not; None when there is no such file.

    It is believed only as far as it can be ours: no process is ended and no folder deleted because a
    damaged file says so, or another user.
    """
    path = home / "sandbox.json"
    try:
        with path.open() as file:
            owner = os.fstat(file.fileno()).st_uid
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise _unreadable(path, str(problem)) from problem
    if owner != os.getuid():
        raise LabError(
            f"{path} belongs to another user.",
            "It is not this user's practice cloud, and a folder holds one.",
            f"export AWSLABS_HOME={shlex.quote(f'{home}-{os.getuid()}')}    # a folder for this user alone",
        )
    try:
        note = json.loads(text)
        address = re.fullmatch(rf"http://({re.escape(HOST)}):(\d{{1,5}})", note["endpoint_url"])
        if address is None or type(note["pid"]) is not int or note["pid"] < 2:
            raise ValueError("it names no process")
        where = {"host": Host(**note["host"]), "directory": home / "-".join(address.groups())}
        run = Run(**note | where)
        if not all(isinstance(word, str) for word in (run.token, run.born, *dataclasses.astuple(run.host))):
            raise ValueError("a word is missing")
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise _unreadable(path, f"It is damaged, or of another version ({problem!r})") from problem
    return run


def _unreadable(path: Path, why: str) -> LabError:
    return LabError(
        f"{path} does not say which practice cloud runs.",
        f"{why}. If one still runs, `pgrep -f awslabs.sandbox.server` finds it: end it first.",
        f"rm {shlex.quote(str(path))}",
    )


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[int]:
    """Hold sandbox.lock, waiting for whoever has it; yields the open file, for the server to inherit."""
    from awslabs import journal

    try:
        journal.make_private(home)
        lock = os.open(home / "sandbox.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        raise LabError(
            f"The practice cloud has no place in {home}.",
            f"{problem.strerror}: {problem.filename}.",
            "make that folder writable, or set AWSLABS_HOME to another one",
        ) from problem
    try:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(
                        "The practice cloud is being started or stopped by somebody else.",
                        f"{home / 'sandbox.lock'} has been held for {LOCK_S:.0f} s.",
                    ) from None
                time.sleep(0.05)
            except OSError as problem:
                raise journal.unlockable(home, problem) from problem
        yield lock
    finally:
        os.close(lock)


def _launch(home: Path, port: int, changes: dict[str, Any], lock: int) -> Run:
    """Start the server's process and wait until it listens.

    It inherits the lock and lets go of it when sandbox.json is written. So nobody starts a second one in
    between, even if this process is killed meanwhile.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise LabError(
            "The practice cloud cannot start.",
            f"Python packages are missing: {', '.join(missing)}.",
            install("sandbox"),
        )
    token = secrets.token_urlsafe(24)
    order = {"home": str(home), "port": port, "token": token, "weather": changes, "lock": lock}
    with subprocess.Popen(
        [sys.executable, "-m", "awslabs.sandbox.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=_server_environment(),
        pass_fds=[lock],
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(json.dumps(order).encode(), START_S)
        except subprocess.TimeoutExpired as late:
            said = (late.output or b"") + f"\nnot ready after {START_S:.0f} s".encode()
        finally:
            process.kill()  # by now it is gone, unless it hangs: it leaves a child behind, the server
    lines = said.decode("utf-8", "replace").strip().splitlines()
    if lines and lines[-1] == "listening":
        run = _noted(home)
        assert run is not None
        return run
    raise LabError("The practice cloud did not start.", "\n       ".join(lines[-5:]) or "It said nothing.")


def _server_environment() -> dict[str, str]:
    """What the server sees: neither the real AWS, nor somebody's settings of moto."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    package_root = str(Path(__file__).resolve().parents[2])
    return ours | {
        "PYTHONPATH": os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")])),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{HOST}:9",  # nobody answers there: moto is to call no AWS by itself
        "MOTO_DISABLE_GLOBAL_CORS": "true",  # else any web page could read what is in the practice cloud
    }


def _end(run: Run) -> None:
    """SIGTERM (which a stopped process hears when it goes on), and SIGKILL if it does not follow in time."""
    for signals, patience_s in (((signal.SIGTERM, signal.SIGCONT), STOP_S), ((signal.SIGKILL,), 5.0)):
        with contextlib.suppress(ProcessLookupError):
            for signal_number in signals:
                os.kill(run.pid, signal_number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if born(run.pid) != run.born:
                return
            time.sleep(0.02)
    raise LabError(f"Process {run.pid}, the practice cloud, does not end.", "", f"kill -9 {run.pid}")
