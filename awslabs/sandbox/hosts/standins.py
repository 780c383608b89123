"""Commands of a practice instance that would ask a real server for more than it may give here.

Run as `sudo`, `shutdown`, `poweroff`, `halt`, `reboot`, `systemctl`, `loginctl`, `systemd-run` by scripts
of these names, first on the instance's PATH and, where there are namespaces, laid over the real ones.
They act on the practice instance, through a pipe that only it can write to, or say what they cannot do.

Standard library only, and nothing of awslabs: it runs without `site`, with the name it was called by
as first argument.
"""

from __future__ import annotations

import datetime
import os
import pwd
import re
import shutil
import sys

POWER = os.environ.get("AWSLABS_POWER", "/var/practice/power")  # a pipe; the practice cloud reads it
HERE = os.path.dirname(os.path.abspath(__file__))
NAMESPACES = HERE == "/practice"
STAND_INS = os.path.join(HERE, "bin")
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


def systemctl(arguments: list[str]) -> None:
    """Obey poweroff, halt, reboot, status and is-system-running; there are no services."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    if words in (["poweroff"], ["halt"], ["reboot"]):
        power(words[0], [])
    elif words in ([], ["status"]):
        print(os.uname().nodename)
        print("    State: running\n    a practice instance: it has no systemd and no services")
    elif words == ["is-system-running"]:
        print("running")
    else:
        raise Refused(f"no services here: a practice instance has no systemd, so it cannot {' '.join(words)}")


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
    environment = {**os.environ, **assigned, "PATH": f"{STAND_INS}:{SYSTEM_PATH}"}
    if user == "root":
        environment = {"SUDO_USER": caller, **environment, "USER": "root", "LOGNAME": "root"}
        if NAMESPACES:
            environment["HOME"] = "/root"
    if login and os.access(environment.get("HOME", ""), os.X_OK):
        os.chdir(environment["HOME"])
    folder, name = os.path.split(rest[0])
    wanted = name if folder in SYSTEM_PATH.split(":") else rest[0]  # sudo /sbin/shutdown means the stand-in
    program = shutil.which(wanted, path=environment["PATH"])
    if program is None:
        raise Refused(f"{rest[0]}: command not found")
    command = [program, *rest[1:]]
    if NAMESPACES and user == "root" and os.getuid() != 0:
        unshare = str(shutil.which("unshare", path=SYSTEM_PATH))
        command = [unshare, "--user", "--map-root-user", "--", *command]
    os.execve(command[0], command, environment)


def main() -> None:
    """Do what the name we were called by stands for."""
    name, arguments = os.path.basename(sys.argv[1]), sys.argv[2:]
    try:
        if name == "sudo":
            sudo(arguments)
        elif name == "shutdown":
            shutdown(arguments)
        elif name == "systemctl":
            systemctl(arguments)
        elif name in ("poweroff", "halt", "reboot"):
            power(name, arguments)
        else:
            raise Refused("no systemd here: a program outlives its session with nohup or setsid")
    except Refused as refused:
        print(f"{name}: {refused}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
