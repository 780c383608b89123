"""Commands of a practice instance that would ask a real server for more than it may give here.

Run as `sudo`, `shutdown`, `poweroff`, `halt`, `reboot`, `systemctl`, `systemd-run`, `loginctl`, `pip` by
scripts of these names, first on the instance's PATH and, where there are namespaces, laid over the real ones.
They act on the practice instance, through a pipe that only it can write to, or say what they cannot do.

A service that `systemd-run` starts really runs: its keeper is a process of the instance, which starts it
again as told and holds a lock while the service is active. It ends with the instance, like all of it. So does
a timer (`systemctl enable --now NAME.timer`); its unit files stay, and the next boot starts it again.

Standard library only, and nothing of awslabs: it runs without `site`, with the name it was called by
as first argument.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NoReturn

POWER = os.environ.get("AWSLABS_POWER", "/var/practice/power")  # a pipe; the practice cloud reads it
HERE = os.path.dirname(os.path.abspath(__file__))
NAMESPACES = HERE == "/practice"
SHIMS = os.path.join(HERE, "bin")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Refused(Exception):
    """What the practice instance does not do, in a sentence."""


def is_root() -> bool:
    """Say whether the caller is root, or would be on a server: without namespaces sudo leaves a mark."""
    return os.getuid() == 0 or "SUDO_USER" in os.environ


def order(text: str) -> None:
    """Give the practice cloud an order: "poweroff 60", "reboot 0", "cancel"."""
    if not is_root():
        raise Refused("interactive authentication required: use sudo")
    try:
        pipe = os.open(POWER, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        raise Refused(f"the practice cloud does not listen: {error}") from None
    os.write(pipe, f"{text}\n".encode())
    os.close(pipe)


def shutdown(arguments: list[str]) -> None:
    """Shut down or reboot at a time: shutdown [-h|-P|-H|-r|-c] [now|+MINUTES|HH:MM] [message]."""
    verb, when = "poweroff", None
    for argument in arguments:
        if argument == "-c":
            order("cancel")
            return
        if argument in ("-r", "--reboot"):
            verb = "reboot"
        elif argument in ("-h", "-P", "-H", "--poweroff", "--halt"):
            verb = "poweroff"
        elif argument.startswith("-") and argument not in ("--no-wall", "-f"):
            raise Refused(f"unknown option {argument}")
        elif not argument.startswith("-") and when is None:
            when = argument  # what follows is a message to users
    seconds = delay(when or "+1")
    order(f"{verb} {seconds}")
    if seconds:
        at = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=seconds)
        what = f"{'Reboot' if verb == 'reboot' else 'Shutdown'} scheduled for {at:%a %Y-%m-%d %H:%M:%S %Z}"
        print(f"{what}, use 'shutdown -c' to cancel.", file=sys.stderr)


def delay(when: str) -> int:
    """Return the seconds until a time as shutdown understands it."""
    if when == "now":
        return 0
    if re.fullmatch(r"\+?\d{1,5}", when):
        return int(when) * 60
    clock = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", when)
    if clock is None:
        raise Refused(f"cannot read the time {when}: now, +MINUTES or HH:MM")
    now = datetime.datetime.now()
    at = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
    return int(((at - now) % datetime.timedelta(days=1)).total_seconds())


def power(name: str, arguments: list[str]) -> None:
    """Obey poweroff, halt and reboot: now."""
    for argument in arguments:
        if argument not in ("-f", "--force", "-p", "--poweroff", "-d", "--no-wall"):
            raise Refused(f"unknown option {argument}")
    order("reboot 0" if name == "reboot" else "poweroff 0")


# Services.

UNITS = os.path.join(os.path.dirname(POWER), "units")  # NAME.lock: held while active; holds the keeper's pid
UNIT_NAME = re.compile(r"[A-Za-z0-9:_.@-]+")
STARTS, WITHIN_S = 5, 10.0  # systemd's StartLimitBurst and StartLimitIntervalSec: then it gives up
STOP_S = 10.0  # seconds between SIGTERM and SIGKILL; systemd waits 90


def unit_file(name: str, kind: str) -> str:
    """Return where a unit's lock or outcome is kept."""
    if not UNIT_NAME.fullmatch(name):
        raise Refused(f"{name} is no name of a unit")
    return os.path.join(UNITS, f"{name.removesuffix('.service')}.{kind}")


def keeper_of(name: str) -> int:
    """Return the process that keeps an active unit; 0 when it is not active."""
    try:
        with open(unit_file(name, "lock"), encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except FileNotFoundError:
        return 0
    return 0


def systemctl(arguments: list[str]) -> None:
    """Obey poweroff, halt, reboot, status, is-active, stop, is-system-running, and what a timer needs."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    if words == ["daemon-reload"] or (len(words) == 2 and words[0] in TIMER_VERBS and is_timer(words[1])):
        if not is_root():
            raise Refused("interactive authentication required: use sudo")
        for name in words[1:]:
            TIMER_VERBS[words[0]](name)
            if words[0] == "enable" and "--now" in arguments:
                start_timer(name)
    elif words == ["start", "timers.target"] and is_root() and os.path.isdir(WANTED):  # so each boot does
        for name in sorted(os.listdir(WANTED)):
            start_timer(name)
    elif words == ["list-timers"]:
        list_timers()
    elif words in (["poweroff"], ["halt"], ["reboot"]):
        power(words[0], [])
    elif words in ([], ["status"]):
        print(os.uname().nodename)
        print("    State: running\n    a practice instance: its services are those that systemd-run started")
    elif words == ["is-system-running"]:
        print("running")
    elif words[0] in ("is-active", "status") and len(words) == 2:
        state = "active" if keeper_of(words[1]) else "inactive"
        if "--quiet" not in arguments and "-q" not in arguments:
            print(state)
        sys.exit(0 if state == "active" else 3)
    elif words[0] == "stop" and len(words) == 2:
        if not is_root():
            raise Refused("interactive authentication required: use sudo")
        while pid := keeper_of(words[1]):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue  # it ends just now
            time.sleep(0.02)
    else:
        raise Refused(
            f"it cannot {' '.join(words)}: a practice instance has no systemd, and only the services that "
            "systemd-run starts"
        )


# Timers. Only with namespaces: without them /etc is that of this computer.

SYSTEM = "/etc/systemd/system"  # the instance's own folder; it stays when the instance is off
WANTED = f"{SYSTEM}/timers.target.wants"  # what each boot starts
STAMPS = "/var/lib/systemd/timers"  # when a persistent timer was started first, or elapsed last
AT = "%Y-%m-%d %H:%M:%S UTC"


def is_timer(name: str) -> bool:
    """Say whether a unit is a timer that can be here."""
    return NAMESPACES and name.endswith(".timer") and UNIT_NAME.fullmatch(name) is not None


def read_unit(name: str, section: str, known: set[str]) -> dict[str, str]:
    """Return the settings in one section of a unit file; one that we would not obey is refused."""
    path, at, found = os.path.join(SYSTEM, name), "", {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except FileNotFoundError:
        raise Refused(f"Unit file {name} does not exist.") from None
    for line in lines:
        key, equals, value = line.partition("=")
        if line.startswith("["):
            at = line.strip("[]")
        elif at == section and equals and not line.startswith(("#", ";")):
            found[key.strip()] = value.strip()
    unknown = found.keys() - known
    if unknown:
        raise Refused(f"{path}: {min(unknown)}= is not supported on a practice instance")
    return found


def elapses_at(name: str) -> tuple[float, dict[str, str]]:
    """Return when a timer elapses, in seconds since 1970, and its settings."""
    timer = read_unit(name, "Timer", {"OnCalendar", "AccuracySec", "Persistent", "Unit"})
    when = timer.get("OnCalendar", "")
    try:
        at = datetime.datetime.strptime(when, AT).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Refused(f"{name}: OnCalendar={when} is no time as 2030-01-31 12:00:00 UTC") from None
    return at.timestamp(), timer


def enable_timer(name: str) -> None:
    """Let each boot start a timer."""
    read_unit(name, "Install", {"WantedBy"})
    os.makedirs(WANTED, exist_ok=True)
    link, target = os.path.join(WANTED, name), os.path.join(SYSTEM, name)
    if not os.path.lexists(link):
        os.symlink(target, link)
        print(f"Created symlink {link} → {target}.", file=sys.stderr)


def disable_timer(name: str) -> None:
    """Let no boot start it any more; one that runs goes on."""
    link = os.path.join(WANTED, name)
    if os.path.lexists(link):
        os.unlink(link)
        print(f'Removed "{link}".', file=sys.stderr)


def start_timer(name: str) -> None:
    """Leave a process behind that waits, then starts the timer's service; at once if that time has passed.

    As systemd does: time that passed before its first start is none of a persistent timer's, time that passed
    while the instance was off is.
    """
    at, timer = elapses_at(name)
    service = timer.get("Unit", f"{name.removesuffix('.timer')}.service")
    words = read_unit(service, "Service", {"Type", "ExecStart"}).get("ExecStart", "").split()
    if not words:
        raise Refused(f"{service} has no ExecStart=")
    stamp, since = os.path.join(STAMPS, f"stamp-{name}"), time.time()
    if timer.get("Persistent") in ("1", "yes", "true", "on"):
        os.makedirs(STAMPS, exist_ok=True)
        if os.path.exists(stamp):
            since = min(since, os.stat(stamp).st_mtime)
        else:
            open(stamp, "x").close()
    if at <= since or keeper_of(name):
        return
    path = f"{SHIMS}:{SYSTEM_PATH}"
    program = shutil.which(os.path.basename(words[0]), path=path) or words[0]  # /usr/bin/systemctl is ours

    def wait() -> NoReturn:
        while (left_s := at - time.time()) > 0:
            time.sleep(min(left_s, 10.0))  # by the clock: this computer may sleep meanwhile
        if os.path.exists(stamp):
            os.utime(stamp)
        os.execve(program, [program, *words[1:]], environment_of("root"))

    detach(name, wait)


def list_timers() -> None:
    """Show the timers that wait, and for what."""
    print(f"{'NEXT':<24} {'UNIT':<24} ACTIVATES")
    for lock in sorted(os.listdir(UNITS) if os.path.isdir(UNITS) else []):
        name = lock.removesuffix(".lock")
        if is_timer(name) and keeper_of(name):
            at, timer = elapses_at(name)
            when = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime(AT)
            print(f"{when:<24} {name:<24} {timer.get('Unit', name.removesuffix('.timer') + '.service')}")


TIMER_VERBS: dict[str, Callable[[str], None]] = {
    "enable": enable_timer,
    "disable": disable_timer,
    "start": start_timer,
}


def systemd_run(arguments: list[str]) -> None:
    """Start a command as a service: systemd-run --unit=NAME [--uid=USER] [--property=K=V] COMMAND..."""
    flags = {"--collect", "-G", "--quiet", "-q", "--no-block"}  # nothing of a service is kept or said here
    values: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        argument = rest.pop(0)
        if argument == "--":
            break
        name, equals, value = argument.partition("=")
        if name in flags:
            continue
        name = {"-u": "--unit", "-p": "--property", "-E": "--setenv"}.get(name, name)
        if name not in ("--unit", "--uid", "--property", "--setenv", "--working-directory", "--description"):
            raise Refused(f"option {argument} is not supported on a practice instance")
        values.setdefault(name, []).append(value if equals or not rest else rest.pop(0))
    if not is_root():
        raise Refused("interactive authentication required: use sudo")
    program = shutil.which(rest[0]) if rest else None
    if program is None:
        raise Refused(f"Failed to find executable {rest[0]}" if rest else "Command line to execute required.")
    properties = dict(each.split("=", 1) for each in values.get("--property", []))
    unknown = properties.keys() - {"Restart", "RestartSec", "StandardOutput", "StandardError"}
    if unknown:
        raise Refused(f"property {min(unknown)} is not supported on a practice instance")
    keep(
        values.get("--unit", [f"run-{os.getpid()}"])[-1],
        [program, *rest[1:]],
        values.get("--uid", ["root"])[-1],
        dict(each.split("=", 1) for each in values.get("--setenv", [])),
        values.get("--working-directory", ["/"])[-1],
        properties,
    )


def keep(
    name: str, argv: list[str], user: str, assigned: dict[str, str], folder: str, properties: dict[str, str]
) -> None:
    """Leave a process behind that runs a command as a unit."""
    caller = os.environ.get("SUDO_USER", os.environ.get("USER", ""))
    if user not in ("root", caller) and NAMESPACES:
        raise Refused(f"Failed to determine user credentials: unknown user {user}")
    if NAMESPACES and user == caller:  # back from root to the user who asked
        unshare = str(shutil.which("unshare", path=SYSTEM_PATH))
        argv = [unshare, "--user", "--map-user=1000", "--map-group=1000", "--", *argv]
    environment = {**environment_of(user), **assigned}
    restarts = properties.get("Restart", "no"), float(properties.get("RestartSec", "0.1").removesuffix("s"))
    outputs = [properties.get(f"Standard{which}", "null") for which in ("Output", "Error")]
    detach(name, lambda: attend(argv, environment, folder, outputs, *restarts))


def environment_of(user: str) -> dict[str, str]:
    """Return the whole environment of a service."""
    kept = (
        "AWSLABS_POWER",
        "AWSLABS_PRACTICE",
        "GPU_STAND_IN",
        "LANG",
        "MNIST_DATA",
        "OMP_WAIT_POLICY",
        "SHELL",
    )
    environment = {key: os.environ[key] for key in kept if key in os.environ}
    return {**environment, "USER": user, "LOGNAME": user, "PATH": f"{SHIMS}:{SYSTEM_PATH}"}


def detach(name: str, work: Callable[[], NoReturn]) -> None:
    """Lock a unit, and leave a process behind that keeps it while it works."""
    os.makedirs(UNITS, exist_ok=True)
    lock = open(unit_file(name, "lock"), "a+", encoding="ascii")  # noqa: SIM115  # kept open
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(f"Unit {name} was already loaded or has a fragment file.") from None
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    keeper = os.fork()
    if keeper:
        lock.truncate(0)
        lock.write(str(keeper))
        lock.flush()
        os._exit(0)
    nowhere = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    work()


def attend(
    argv: list[str],
    environment: dict[str, str],
    folder: str,
    outputs: list[str],
    restart: str,
    pause_s: float,
) -> NoReturn:
    """Run a service, again and again if it is told to, until SIGTERM; never return."""
    child: subprocess.Popen[bytes] | None = None

    def stop(number: int, frame: object) -> None:
        if child is not None and child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    began: list[float] = []
    while len(began) < STARTS or time.monotonic() - began[-STARTS] > WITHIN_S:
        began.append(time.monotonic())
        streams = [open(where.partition(":")[2] or os.devnull, "ab") for where in outputs]  # noqa: SIM115
        try:
            child = subprocess.Popen(
                argv,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=streams[0],
                stderr=streams[1],
                start_new_session=True,
            )
        finally:
            for stream in streams:
                stream.close()
        status = child.wait()
        if restart == "no" or (restart == "on-failure" and status == 0):
            break
        time.sleep(pause_s)
    os._exit(0)


# Python: that of the practice cloud, for it is what this computer has.

PRACTICE_PYTHON = os.environ.get("AWSLABS_PYTHON", "")


def pip(arguments: list[str]) -> None:
    """Obey what only reads, and `install` of what is there already; nothing is downloaded or written."""
    if arguments[:1] == ["install"]:
        wanted = ["install", "--no-index"]
        rest = arguments[1:]
        while rest:
            argument = rest.pop(0)
            if argument in ("--index-url", "-i", "--extra-index-url", "--find-links", "-f"):
                del rest[:1]
            elif not argument.startswith(("--index-url=", "--extra-index-url=", "--find-links=")):
                wanted.append(argument)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        done = subprocess.run(
            [PRACTICE_PYTHON, "-m", "pip", *wanted, "--dry-run"],
            env={**kept, "PIP_CONFIG_FILE": os.devnull},
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            sys.stdout.write(done.stdout)
            return
        names = " ".join(word for word in arguments[1:] if not word.startswith("-") and "://" not in word)
        raise Refused(
            f"a practice instance installs nothing; it has the practice cloud's Python, without {names}. "
            f"Install it where the practice cloud runs (python -m pip install {names}), then "
            "python -m awslabs.sandbox stop"
        )
    if arguments[:1] in (["list"], ["show"], ["freeze"], ["check"], ["--version"], ["-V"]):
        os.execv(PRACTICE_PYTHON, [PRACTICE_PYTHON, "-m", "pip", *arguments])
    raise Refused(
        f"a practice instance cannot {' '.join(arguments[:1]) or 'do nothing'}: it installs nothing"
    )


def venv(arguments: list[str]) -> None:
    """Make a virtualenv that is none: its Python is the practice cloud's own, with all that it has."""
    folders = [argument for argument in arguments if not argument.startswith("-")]
    if len(folders) != 1:
        raise Refused("usage: python3 -m venv FOLDER")
    programs = os.path.join(folders[0], "bin")
    os.makedirs(programs, exist_ok=True)
    for name, stands_for in (("python", "python3"), ("python3", "python3"), ("pip", "pip"), ("pip3", "pip")):
        link = os.path.join(programs, name)
        if not os.path.lexists(link):
            os.symlink(os.path.join(SHIMS, stands_for), link)


def sudo(arguments: list[str]) -> None:
    """Run a command as this instance's root, who has no more rights than its user."""
    user, shell, login, assigned, rest = "root", False, False, {}, list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in ("-u", "--user") and rest:
            user = rest.pop(0)
        elif argument in ("-i", "--login", "-s", "--shell"):
            shell, login = True, argument in ("-i", "--login")
        elif argument in ("-v", "-k", "-K") and not rest:
            return
        elif re.match(r"[A-Za-z_]\w*=", argument):
            name, _, assigned[name] = argument.partition("=")
        elif argument.startswith("-") and argument not in ("--", "-n", "-E", "-H"):
            raise Refused(f"option {argument} is not supported on a practice instance")
        elif argument == "--" or not argument.startswith("-"):
            rest = rest if argument == "--" else [argument, *rest]
            break
    caller = pwd.getpwuid(os.getuid()).pw_name if NAMESPACES else os.environ.get("USER", "")
    if user not in ("root", caller):
        raise Refused(f"unknown user {user}")
    if shell:
        bash = shutil.which("bash", path=SYSTEM_PATH) or "/bin/sh"
        words = [re.sub(r"[^\w$-]", lambda special: "\\" + special[0], word) for word in rest]  # as sudo does
        rest = [bash, *(["-l"] if login else []), *(["-c", " ".join(words)] if words else [])]
    if not rest:
        raise Refused("usage: sudo [-u USER] [-i | -s | COMMAND ...]")
    environment = {**os.environ, **assigned, "PATH": f"{SHIMS}:{SYSTEM_PATH}"}
    if user == "root":
        environment = {"SUDO_USER": caller, **environment, "USER": "root", "LOGNAME": "root"}
        if NAMESPACES:
            environment["HOME"] = "/root"
    if login and os.access(environment.get("HOME", ""), os.X_OK):
        os.chdir(environment["HOME"])
    folder, name = os.path.split(rest[0])
    wanted = name if folder in SYSTEM_PATH.split(":") else rest[0]  # sudo /sbin/shutdown means the shim
    program = shutil.which(wanted, path=environment["PATH"])
    if program is None:
        raise Refused(f"{rest[0]}: command not found")
    command = [program, *rest[1:]]
    if NAMESPACES and user == "root" and os.getuid() != 0:
        unshare = str(shutil.which("unshare", path=SYSTEM_PATH))
        command = [unshare, "--user", "--map-root-user", "--", *command]
    os.execve(command[0], command, environment)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    **{"sudo": sudo, "shutdown": shutdown, "systemctl": systemctl, "systemd-run": systemd_run},
    **{"pip": pip, "pip3": pip, "venv": venv},
}


def main() -> None:
    """Do what the name we were called by stands for."""
    name, arguments = os.path.basename(sys.argv[1]), sys.argv[2:]
    try:
        if name in COMMANDS:
            COMMANDS[name](arguments)
        elif name in ("poweroff", "halt", "reboot"):
            power(name, arguments)
        else:
            raise Refused("no systemd here: a service is started with systemd-run")
    except Refused as refused:
        print(f"{name}: {refused}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
