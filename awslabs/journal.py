"""The file behind a ledger: rows, written so that no crash can lose one.

One JSON file per lab, name, account and Region:

    ~/.awslabs/ec2.default.123456789012.us-east-1.json      the rows            mode 0600
    ~/.awslabs/ec2.default.123456789012.us-east-1.lock      who builds now
    ~/.awslabs/ec2.default.123456789012.us-east-1/          its SSH keys        mode 0700
    ~/.awslabs/127.0.0.1-8500/...                           the same, of a cloud that is not AWS
    ~/.awslabs/home-id                                      tells this folder from all others

This module knows files and locks. What a row means to AWS stands in `ledger.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import string
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from awslabs.errors import LedgerError

SCHEMA = 1
SIGNED_S = 0.5  # seconds in which a lock may still show the name of the verb that had it before
CLOSED = ("gone", "refused")  # states in which a row stands for nothing any more
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
# What tags on AWS hold anybody may have written: only what has exactly these forms is a ledger's mark.
LABS = ("ec2", "gpu", "ecs_qa", "batch_sweep", "serverless")
PREFIX = re.compile(f"awslabs-({'|'.join(LABS).replace('_', '-')})-[a-z0-9]{{6}}")
TOKEN = re.compile("[0-9]{14}-[0-9a-f]{16}")
ROW = re.compile("([0-9]{1,6}) ([a-z][a-z0-9-]{0,40})")
HOME_ID = re.compile("[0-9a-f]{16}")
UNFIT = re.compile(r"[^\w .:/=+@-]")  # in an owner's name: some service refuses it in the value of a tag


def home() -> Path:
    """Where ledgers live: ``AWSLABS_HOME``, or ``~/.awslabs``."""
    return Path(os.environ.get("AWSLABS_HOME") or Path.home() / ".awslabs")


def home_id() -> str:
    """Sixteen random hexadecimal digits that stand on all that is built from here, on AWS and elsewhere.

    Several students may share one IAM user, and then one owner's name: this tells whose things are whose.
    The first who needs it draws it.

    Raises
    ------
    LedgerError
        When it can be neither read nor written.
    """
    path = home() / "home-id"
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)  # of two who come at once, one draws
                if not path.exists():
                    write(path, secrets.token_hex(8) + "\n")
            finally:
                os.close(lock)
        found = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise LedgerError(
            f"{path} could not be written or read.",
            f"{error.strerror or error}. It tells what is built from here from what others build.",
            f"make room on the disk that holds {path.parent}, or set AWSLABS_HOME to another folder; "
            "then run the same command again",
        ) from error
    if not HOME_ID.fullmatch(found):
        raise LedgerError(
            f"{path} is damaged.",
            "It held 16 hexadecimal digits, the tag awslabs:home of all that was built from here.",
            f"rm {path}    # another is drawn; a lost ledger then needs `recover --owner NAME --any-home`",
        )
    return found


def chosen_owner(given: str | None = None) -> str | None:
    """The owner that an option or ``AWSLABS_OWNER`` names; None where neither does: then the IAM caller's.

    Raises
    ------
    LedgerError
        When some service would refuse that name in a tag.
    """
    owner = given or os.environ.get("AWSLABS_OWNER")
    if owner and fit_owner(owner) != owner:
        raise LedgerError(
            f"{ascii(owner)} cannot be the name of an owner.",
            "It goes into tags: letters, digits, spaces and _ . : / = + - @ are taken by all, 64 at most.",
            f"use another, such as --owner {shlex.quote(fit_owner(owner) or 'ana')}",
        )
    return owner or None


def now() -> str:
    """The time as rows keep it: UTC, to the millisecond (``2026-11-21T20:55:33.123Z``)."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_since(moment: str, until: str = "") -> float:
    """Seconds from one of a row's times to another, or to now."""
    start, end = (datetime.fromisoformat(one.replace("Z", "+00:00")) for one in (moment, until or now()))
    return (end - start).total_seconds()


@dataclasses.dataclass
class Row:
    """One resource, from just before its create call until AWS shows that it is gone.

    Attributes
    ----------
    number : int
        1, 2, 3, ... in the order of creation; ``down`` goes the other way.
    name : str
        The lab's name for it: ``vpc``, ``task-role``.
    call : str
        The call that makes it: ``ec2:CreateVpc``.
    state : str
        ``creating`` (perhaps made: ask AWS), ``standing``, ``deleting``, ``gone``, ``refused`` (never made).
    token : str
        The mark that it carries on AWS, as tag, client token or in its name; begins with the UTC time.
    ids : dict of str
        All identifiers; the first is the one that ``create`` returns. A join keeps the ids that it joins.
    needs : list of int
        Numbers of the rows whose identifiers stand in its request.
    digests : dict of str
        Eight hexadecimal digits of SHA-256 per parameter: enough to see that a later request differs.
    telling : dict of str
        The few parameters that a person knows it by: ``{"InstanceType": "t3.micro"}``.
    begun, made, ended : str
        UTC times; empty until they come.
    usd_per_hour : float or None
        Estimate; None where the price table does not know it.
    """

    number: int
    name: str
    call: str
    token: str
    state: str = "creating"
    ids: dict[str, str] = dataclasses.field(default_factory=dict)
    needs: list[int] = dataclasses.field(default_factory=list)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    telling: dict[str, str] = dataclasses.field(default_factory=dict)
    begun: str = ""
    made: str = ""
    ended: str = ""
    usd_per_hour: float | None = 0.0

    @property
    def id(self) -> str:
        """The identifier that the lab works with, or an empty text before AWS gave one."""
        return next(iter(self.ids.values()), "")

    @property
    def open(self) -> bool:
        """Whether it may still stand on AWS."""
        return self.state not in CLOSED

    @property
    def usd(self) -> float | None:
        """What it has cost so far, in US dollars: an estimate from its hourly price; None without one."""
        if not self.made:
            return 0.0
        if self.usd_per_hour is None:
            return None
        return seconds_since(self.made, self.ended) / 3600 * self.usd_per_hour


def total(amounts: Iterable[float | None]) -> float | None:
    """A sum that is not known, None, as soon as one part of it is not."""
    known = list(amounts)
    return None if None in known else sum(known)  # type: ignore[arg-type]


def fresh_token() -> str:
    """A mark for one resource, at most 32 characters: the UTC second, then 64 random bits."""
    return datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S") + "-" + secrets.token_hex(8)


def fresh_prefix(lab: str) -> str:
    """``awslabs-ec2-k3x9qa``: what the names of one life of a lab begin with."""
    letters = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))
    return f"awslabs-{lab.replace('_', '-')}-{letters}"


def lab_of(prefix: str) -> str:
    """``ecs_qa`` of ``awslabs-ecs-qa-k3x9qa``; empty for what no lab's ledger can have drawn."""
    match = PREFIX.fullmatch(prefix)
    return match[1].replace("-", "_") if match else ""


def fit_owner(name: str) -> str:
    """An owner's name with a dash for each character that some service refuses in tags; at most 64 long."""
    return UNFIT.sub("-", name)[:64].strip()


class Journal:
    """The rows of one lab in one file.

    Parameters
    ----------
    path : Path
        The JSON file; its lock and its directory of keys stand beside it under the same name.
    header : dict
        What the file says above its rows when it is new: lab, name, cloud, account, region, owner.

    Notes
    -----
    Thread-safe. A save writes a temporary file, syncs it, renames it over the old one and syncs the
    folder; saves that threads ask for at the same time share one.
    """

    def __init__(self, path: Path, header: dict) -> None:
        self.path = path
        self.directory = path.with_suffix("")
        self.header = {"schema": SCHEMA, **header, "prefix": fresh_prefix(header["lab"]), "begun": now()}
        self.header["usd_before"] = 0.0
        self.rows: list[Row] = []
        self._mutex = threading.RLock()
        self._writing = threading.Lock()
        self._asked = self._written = 0
        self._disk_full = False
        self._locks = 0
        self._lock_file, self._verb = -1, ""
        self.reload()

    # -- reading ----------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the file again, as it stands now."""
        if not self.path.exists():
            return
        header, rows = read(self.path)
        with self._mutex:
            self.header, self.rows = header, rows

    def open_rows(self) -> list[Row]:
        """Rows that may still stand, oldest first."""
        with self._mutex:
            return [row for row in self.rows if row.open]

    def last(self, name: str) -> Row | None:
        """The open row of this name, if there is one."""
        with self._mutex:
            return next((row for row in reversed(self.rows) if row.name == name and row.open), None)

    # -- writing ----------------------------------------------------------------------------------

    def add(self, row: Row) -> Row:
        """Number a row and put it at the end. It is on disk only after `save`."""
        with self._mutex:
            row.number = max((other.number for other in self.rows), default=0) + 1
            self.rows.append(row)
        return row

    def drop(self, row: Row) -> None:
        """Forget a row for which nothing was sent."""
        with self._mutex:
            self.rows.remove(row)

    def save(self) -> None:
        """Put everything on disk before returning; threads that save at once share one write.

        Raises
        ------
        LedgerError
            When the disk takes no more: the file then still holds what it held before.
        """
        with self._mutex:
            self._asked += 1
            mine = self._asked
        with self._writing:
            if self._written >= mine:
                return
            with self._mutex:
                covers = self._asked
                text = as_text(self.header, self.rows)
            try:
                write(self.path, text)
            except OSError as error:
                raise LedgerError(
                    f"The ledger {self.path} could not be written.",
                    f"{error.strerror or error}. Nothing was created after this.",
                    f"make room on the disk that holds {self.path.parent}, then run the same command again",
                ) from error
            self._written = covers

    def disk_is_full_for_the_first_time(self) -> bool:
        """True once: for the one warning while deletions go on without a file that takes them down."""
        with self._mutex:
            told, self._disk_full = self._disk_full, True
        return not told

    def start_over(self) -> None:
        """Begin a new life, with new names, once every row of the old one is closed."""
        with self._mutex:
            if not self.rows or self.open_rows():
                return
            self.header["usd_before"] = total([self.header["usd_before"], *(row.usd for row in self.rows)])
            self.header.update(prefix=fresh_prefix(self.header["lab"]), begun=now())
            self.rows.clear()

    def forget_keys(self) -> None:
        """Remove the directory of SSH keys: they open nothing any more."""
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- one builder at a time ----------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, verb: str, *, patience_s: float = 0.0) -> Iterator[None]:
        """Hold the ledger for one `verb`; the file is read again first, since another may have written it.

        The lock is the operating system's: it ends with the process, however that ends.

        Parameters
        ----------
        patience_s : float
            Seconds to wait while another process holds it for `start`, which takes a moment only.

        Raises
        ------
        LedgerError
            When another process or notebook holds it: at once, or after that time.
        """
        with self._mutex:
            if self._locks == 0:
                descriptor = self._take_lock(verb, time.monotonic() + patience_s)
                try:
                    self._clean_up()
                    self.reload()
                except BaseException:
                    os.close(descriptor)
                    raise
                self._lock_file, self._verb = descriptor, verb
            elif "down" in (verb, self._verb):  # another thread of this process
                raise self._in_use(f"`{self._verb}` of this same process")
            self._locks += 1
        try:
            yield
        finally:
            with self._mutex:
                self._locks -= 1
                if self._locks == 0:
                    os.close(self._lock_file)

    def _take_lock(self, verb: str, until: float) -> int:
        signed = min(until, time.monotonic() + SIGNED_S)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(
                f"The ledger folder {self.path.parent} could not be opened.",
                f"{error.strerror or error}.",
                "make that folder writable, or set AWSLABS_HOME to another one",
            ) from error
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip()
                if time.monotonic() >= (until if holder.startswith("`start`") else signed):
                    os.close(descriptor)
                    raise self._in_use(holder or "another process") from None
                time.sleep(0.05)
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, it only stays unsigned
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"`{verb}`, process {os.getpid()}, since {now()}\n".encode(), 0)
        return descriptor

    def _in_use(self, holder: str) -> LedgerError:
        return LedgerError(
            f"The ledger of {self.header['lab']} ({self.header['name']}) is in use.",
            f"Held by {holder}; two builders at once would build everything twice.",
            "wait until that one is done, then run the same command again",
        )

    def _clean_up(self) -> None:
        """Remove temporary files that a killed process left behind."""
        for left in self.path.parent.glob(f".{self.path.stem}-*"):
            left.unlink(missing_ok=True)


def as_text(header: dict, rows: list[Row]) -> str:
    """The file's content: JSON with one line per row."""
    lines = ",\n  ".join(json.dumps(vars(row)) for row in rows)
    return (
        json.dumps({**header, "rows": []}, indent=1).replace('"rows": []', f'"rows": [\n  {lines}\n ]') + "\n"
    )


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, or not at all, and have it on disk before returning."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> tuple[dict, list[Row]]:
    """The header and the rows of one ledger file.

    Raises
    ------
    LedgerError
        When it is not a ledger of ours; the file is left where it is.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
        rows = [Row(**row) for row in content.pop("rows")] if schema == SCHEMA else []
        complete = {"lab", "name", "account", "region", "prefix", "owner", "usd_before"} <= content.keys()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} could not be read.", f"{error.strerror or error}.", f"chmod 600 {path}"
        ) from error
    if schema != SCHEMA:
        raise LedgerError(
            f"The ledger {path} has schema {schema}; this version reads schema {SCHEMA}.",
            "It was written by another version of awslabs.",
            "git pull && pip install .    # in the folder of the project",
        )
    if not complete:
        raise damaged(path, "its header is not complete")
    return content, rows


class Damaged(LedgerError):
    """A file that does not read as a ledger; one that this version or user may not read is another matter."""


def damaged(path: Path, why: str) -> Damaged:
    """What to say of a file that does not read as a ledger."""
    return Damaged(
        f"The ledger {path} is damaged.",
        f"{why}. While it is, `up` and `down` refuse: they would not know what stands.",
        f"python -m awslabs.ledger recover    # keeps {path.name} aside and rebuilds it from the tags on AWS",
    )


def replace_damaged(path: Path, header: dict, prefix: str, rows: list[Row]) -> Path:
    """Put a rebuilt ledger where a damaged one is; the damaged one is kept under a name that says when.

    There is no moment at which the file is missing: an `up` in between would build everything twice.
    """
    aside = path.with_suffix(f".damaged-{datetime.now(timezone.utc):%Y%m%d%H%M%S}")
    shutil.copy2(path, aside)
    complete = {"schema": SCHEMA, **header, "prefix": prefix, "begun": now(), "usd_before": 0.0}
    write(path, as_text(complete, rows))
    return aside


def files(folder: Path) -> list[Path]:
    """The ledger files in one folder, by name."""
    return sorted(path for path in folder.glob("*.json") if path.name.count(".") == 4)
