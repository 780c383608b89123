"""The file behind a ledger: rows, written so that no crash can lose one.

One JSON file per lab, name, account and Region:

    ~/.awslabs/ec2.default.123456789012.us-east-1.json      the rows            mode 0600
    ~/.awslabs/ec2.default.123456789012.us-east-1.lock      who builds now
    ~/.awslabs/ec2.default.123456789012.us-east-1/          its SSH keys        mode 0700
    ~/.awslabs/127.0.0.1-8500/...                           the same, of a cloud that is not AWS
    ~/.awslabs/home-id                                      tells this folder from all others

This module knows files and locks. What a row means to AWS stands in `ledger.py`. Whatever is read is checked
field by field first (`ROW_FORMS`, `HEADER_FORMS`): a file may have met a full disk, an editor or a dying one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import stat
import string
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from awslabs.errors import LedgerError, install
from awslabs.kinds import KINDS
from awslabs.kinds.named import as_kept
from awslabs.labs import LABS

SCHEMA = 1
SIGNED_S = 0.5  # seconds in which a lock may still show the name of the verb that had it before
CLOSED = ("gone", "refused")  # states in which a row stands for nothing any more
STATES = ("creating", "standing", "deleting", *CLOSED)
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")
FILE = re.compile(rf"[a-z0-9_]+\.{NAME.pattern}\.[0-9]+\.[A-Za-z0-9-]+\.json")  # lab, name, account, Region
LARGEST_MIB = 64  # of a ledger: a hundred thousand rows
# What tags on AWS hold anybody may have written: only what has exactly these forms is a ledger's mark.
PREFIX = re.compile(f"awslabs-({'|'.join(LABS).replace('_', '-')})-[a-z0-9]{{6}}")
TOKEN = re.compile("[0-9]{14}-[0-9a-f]{16}")
ROW = re.compile("([0-9]{1,6}) ([a-z][a-z0-9-]{0,40})")
HOME_ID = re.compile("[0-9a-f]{16}")
UNFIT = re.compile(r"[^\w .:/=+@-]")  # in an owner's name: some service refuses it in the value of a tag


def home() -> Path:
    """Where ledgers live: ``AWSLABS_HOME``, or ``~/.awslabs``.

    Raises
    ------
    LedgerError
        When that is no absolute path: in each directory it would mean other ledgers.
    """
    told = os.environ.get("AWSLABS_HOME") or "~/.awslabs"
    path = Path(os.path.expanduser(told))
    if not path.is_absolute():
        raise LedgerError(
            f"AWSLABS_HOME is {told!r}, which is no absolute path.",
            "What one directory's ledgers hold, the commands in another one would not know.",
            f'export AWSLABS_HOME="$PWD/{told}"' if told[0] != "~" else "export AWSLABS_HOME=$HOME/.awslabs",
        )
    return path


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
            make_private(path.parent)
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
    return as_kept(datetime.now(timezone.utc))


def after(moment: str, seconds: float) -> str:
    """So many seconds after one of a row's times."""
    return as_kept(as_datetime(moment) + timedelta(seconds=seconds))


def as_datetime(text: str) -> datetime:
    """One of a row's times, with its time zone."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def seconds_since(moment: str, until: str = "") -> float:
    """Seconds from one of a row's times to another, or to now; 0 where the clock was set back in between."""
    return max(0.0, (as_datetime(until or now()) - as_datetime(moment)).total_seconds())


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
        The few parameters that a person knows it by: ``{"InstanceType": "t3.micro"}``. Of what was deleted,
        under ``shown``, when AWS showed it for the last time.
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


def blank_limits() -> dict[str, Any]:
    """No budget and no end: what `limits` keeps of a life of a ledger."""
    return {"budget_usd": None, "ttl_minutes": None, "until": ""}


def fresh_counts() -> dict[str, Any]:
    """What stands in the header of each life anew: what `cost` has noted of it, and its `limits`."""
    return {"meter": {"rates": {}, "logs": {}}, "sizes": {}, "asked": {}, "limits": blank_limits()}


def fresh_token() -> str:
    """A mark for one resource, at most 32 characters: the UTC second, then 64 random bits."""
    return datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S") + "-" + secrets.token_hex(8)


def fresh_prefix(lab: str) -> str:
    """``awslabs-ec2-k3x9qa``: what the names of one life of a lab begin with."""
    letters = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))
    return f"awslabs-{lab.replace('_', '-')}-{letters}"


# -- what each field must be --------------------------------------------------------------------------------

TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")  # what a terminal shows as it is
CALL = re.compile(r"[a-z0-9-]+:[A-Za-z0-9]+")
ANY_PREFIX = re.compile(r"awslabs(-[a-z0-9]+)+-[a-z0-9]{6}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,12}Z")


def _is(form: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and form.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and TIME.fullmatch(value) is not None and bool(as_datetime(value))
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 < value < 1_000_000  # True is an int, too


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e9


def _is_meter(value: Any) -> bool:
    """``{"rates": {"7": [["2026-11-21T20:55:33.123Z", 0.01]]}, "logs": {"/aws/lambda/x": [1, 0.5, 9]}}``."""
    if not isinstance(value, dict) or value.keys() != {"rates", "logs"}:
        return False
    rates, logs = value["rates"], value["logs"]
    return (
        isinstance(rates, dict)
        and all(is_text(key) and isinstance(spans, list) and spans for key, spans in rates.items())
        and all(isinstance(span, list) and len(span) == 2 for spans in rates.values() for span in spans)
        and all(
            _is_time(at) and (usd is None or _is_amount(usd)) for spans in rates.values() for at, usd in spans
        )
        and isinstance(logs, dict)
        and all(is_text(key) and isinstance(one, list) and len(one) == 3 for key, one in logs.items())
        and all(map(_is_count, (count for one in logs.values() for count in one)))
    )


def _is_count(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e15


def _are_sizes(value: Any) -> bool:
    """``{"7": 1048576}``: by a row's number the most bytes; None if not known."""
    return isinstance(value, dict) and all(
        is_text(key) and (size is None or _is_count(size)) for key, size in value.items()
    )


def _are_counts(value: Any) -> bool:
    """``{"reads": 12.5}``: how much was asked of tables and buckets."""
    return isinstance(value, dict) and all(is_text(key) and _is_count(one) for key, one in value.items())


def _are_limits(value: Any) -> bool:
    """As `blank_limits`, with 5 USD or None, 180 minutes or None, and the moment at which it is over."""
    return (
        isinstance(value, dict)
        and value.keys() == blank_limits().keys()
        and (value["budget_usd"] is None or _is_amount(value["budget_usd"]))
        and (value["ttl_minutes"] is None or _is_number(value["ttl_minutes"]))
        and (value["until"] == "" or _is_time(value["until"]))
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(is_text(each) for pair in value.items() for each in pair)


is_text = _is(TEXT)

ROW_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "number": _is_number,
    "name": is_text,
    "call": _is(CALL),
    "token": lambda value: value != "" and is_text(value),
    "state": lambda value: value in STATES,
    "ids": _are_texts,
    "needs": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "digests": _are_texts,
    "telling": _are_texts,
    "begun": _is_time,
    "made": lambda value: value == "" or _is_time(value),
    "ended": lambda value: value == "" or _is_time(value),
    "usd_per_hour": lambda value: value is None or _is_amount(value),
}

HEADER_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "lab": is_text,
    "name": is_text,
    "cloud": lambda value: value in ("aws", "sandbox"),
    "account": is_text,
    "region": is_text,
    "owner": is_text,
    "prefix": _is(ANY_PREFIX),
    "begun": _is_time,
    "usd_before": lambda value: value is None or _is_amount(value),
    "meter": _is_meter,
    "sizes": _are_sizes,
    "asked": _are_counts,
    "limits": _are_limits,
}


def fault(fields: Any, forms: Mapping[str, Callable[[Any], bool]]) -> str:
    """What is wrong with the first field that is not as it must be; empty where all are."""
    if not isinstance(fields, dict):
        return f"is {fields!r:.40}"
    for name, is_right in forms.items():
        if name not in fields:
            return f"has no {name}"
        if not is_right(fields[name]):
            return f"has the {name} {fields[name]!r:.40}"
    return ""


def as_row(fields: Any) -> Row:
    """One row as the file has it.

    Raises
    ------
    ValueError
        Saying what is wrong with it. An open row must also say what AWS can be asked for.
    """
    if wrong := fault(fields, ROW_FORMS):
        raise ValueError(wrong)
    if unknown := fields.keys() - Row.__dataclass_fields__.keys():
        raise ValueError(f"has an unknown {min(unknown)!r:.40}")
    row = Row(**fields)
    if row.open and row.call in KINDS:  # of a call that is not, the ledger says that it is of a newer version
        for names in KINDS[row.call].known_by:
            if not any(row.ids.get(name) or row.telling.get(name) for name in names.split("|")):
                raise ValueError(f"has no {names.replace('|', ' or ')}")
        if KINDS[row.call].join and (more := row.ids.keys() - {*KINDS[row.call].known_by}):
            raise ValueError(f"has an unknown {min(more)!r:.40}")  # its ids are sent as they are
    return row


def whereabouts(header: Mapping[str, Any]) -> dict[str, Any]:
    """Of a header what tells one lab from all others: lab, name, cloud, account, Region."""
    return {key: header[key] for key in ("lab", "name", "cloud", "account", "region")}


def lab_of(prefix: str) -> str:
    """``ecs_qa`` of ``awslabs-ecs-qa-k3x9qa``; empty for what no lab's ledger can have drawn."""
    match = PREFIX.fullmatch(prefix)
    return match[1].replace("-", "_") if match else ""


def fit_owner(name: str) -> str:
    """An owner's name with a dash for each character that some service refuses in tags; at most 64 long."""
    return UNFIT.sub("-", name)[:64].strip()


# -- the journal --------------------------------------------------------------------------------------------


class Journal:
    """The rows of one lab in one file.

    Parameters
    ----------
    path : Path
        The JSON file; its lock and its directory of keys stand beside it under the same name.
    header : dict
        What the file says above its rows when it is new: lab, name, cloud, account, region, owner.
    recover : str
        The command that mends a damaged one.

    Notes
    -----
    Thread-safe. A save writes a temporary file, syncs it, renames it over the old one and syncs the
    folder; saves that threads ask for at the same time share one.
    """

    def __init__(self, path: Path, header: dict[str, Any], recover: str = "") -> None:
        self.path, self.recover = path, recover
        self.directory = path.with_suffix("")
        self.header = {"schema": SCHEMA, **header, "prefix": fresh_prefix(header["lab"]), "begun": now()}
        self.header |= {"usd_before": 0.0, **fresh_counts()}
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
        try:
            header, rows = read(self.path)
        except Absent:
            return
        except Damaged as error:
            raise Damaged(error.what, error.why, with_recover(self.path, self.recover)) from error
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

    def start_over(self, usd_before: float | None) -> bool:
        """Begin a new life, with new names, once every row is closed; until then it has cost that much."""
        with self._mutex:
            if not self.rows or self.open_rows():
                return False
            self.header.update(usd_before=usd_before, **fresh_counts())
            self.header.update(prefix=fresh_prefix(self.header["lab"]), begun=now())
            self.rows.clear()
            return True

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
                descriptor = take_lock(self.path, verb, time.monotonic() + patience_s)
                try:
                    self._clean_up()
                    self.reload()
                except BaseException:
                    os.close(descriptor)
                    raise
                self._lock_file, self._verb = descriptor, verb
            elif "down" in (verb, self._verb):  # another thread of this process
                raise in_use(self.path, f"`{self._verb}` of this same process")
            self._locks += 1
        try:
            yield
        finally:
            with self._mutex:
                self._locks -= 1
                if self._locks == 0:
                    os.close(self._lock_file)

    @property
    def is_held(self) -> bool:
        """Whether this process holds the ledger now."""
        return self._locks > 0

    def _clean_up(self) -> None:
        """Remove temporary files that a killed process left behind; where the disk lets nobody, they stay."""
        with contextlib.suppress(OSError):
            for left in self.path.parent.glob(f".{self.path.stem}-*"):
                left.unlink(missing_ok=True)


def take_lock(path: Path, verb: str, until: float) -> int:
    """Lock a ledger for a verb, trying until then (`time.monotonic`); the open file, which holds the lock.

    Raises
    ------
    LedgerError
        When another process holds it, or the folder can hold no lock.
    """
    signed = min(until, time.monotonic() + SIGNED_S)
    try:
        make_private(path.parent)
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise LedgerError(
            f"The ledger folder {path.parent} could not be opened.",
            f"{error.strerror or error}.",
            f"make room on the disk that holds {path.parent}, then run the same command again"
            if full
            else "make that folder writable, or set AWSLABS_HOME to another one",
        ) from error
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip()
            if time.monotonic() >= (until if holder.startswith("`start`") else signed):
                os.close(descriptor)
                raise in_use(path, holder or "another process") from None
            time.sleep(0.05)
        except OSError as error:
            os.close(descriptor)
            raise unlockable(path.parent, error) from error
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, it only stays unsigned
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"`{verb}`, process {os.getpid()}, since {now()}\n".encode(), 0)
    return descriptor


def unlockable(folder: Path, error: OSError) -> LedgerError:
    """What to say where flock does not work: ENOSYS, ENOLCK, EOPNOTSUPP of network and FUSE file systems."""
    return LedgerError(
        f"The ledger folder {folder} cannot be locked.",
        f"{error.strerror or error} (flock). Without a lock two builders build everything twice.",
        "export AWSLABS_HOME=/FOLDER    # on a disk of this computer",
    )


def in_use(path: Path, holder: str) -> LedgerError:
    lab, name, *_ = path.name.split(".")
    return LedgerError(
        f"The ledger of {lab} ({name}) is in use.",
        f"Held by {holder}; two builders at once would build everything twice.",
        "wait until that one is done, then run the same command again",
    )


def as_text(header: dict[str, Any], rows: list[Row]) -> str:
    """The file's content: JSON with one line per field and per row, so that a damaged one can be mended."""
    head = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in header.items())
    lines = ",\n  ".join(json.dumps(vars(row)) for row in rows)
    return f'{{\n{head} "rows": [\n  {lines}\n ]\n}}\n'


def make_private(folder: Path) -> None:
    """Make a folder for this user alone, and so each above it that is missing; it may be there already.

    ``Path.mkdir(parents=True)`` leaves those above to the umask, and another user could put others in place.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    except FileNotFoundError:
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, or not at all, and have it on disk before returning."""
    make_private(path.parent)
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


# -- reading ------------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """The header and the rows of one ledger file, every field of them checked.

    Raises
    ------
    Absent
        When there is no such file.
    Damaged
        When it is not a ledger of ours; the file is left where it is.
    LedgerError
        When it is of a newer version, or the disk does not give it.
    """
    try:
        content = json.loads(_text_of(path), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise damaged(path, f"It is {content!r:.40}")
    schema = content.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise LedgerError(
            f"The ledger {path} has schema {schema}; this version reads schema {SCHEMA}.",
            "It was written by another version of awslabs.",
            install(newer=True),
        )
    if schema != SCHEMA or type(schema) is not int:
        raise damaged(path, f"Its header has the schema {schema!r:.40}")
    for name, blank in fresh_counts().items():  # older versions have none, and leave it as it is
        content.setdefault(name, blank)
    if wrong := fault(content, HEADER_FORMS):
        raise damaged(path, f"Its header {wrong}")
    if wrong := misplaced(path, content):
        raise damaged(path, wrong)
    listed = content.pop("rows", None)
    if not isinstance(listed, list):
        raise damaged(path, f"Its rows are {listed!r:.40}")
    rows: list[Row] = []
    known: set[int] = set()
    for fields in listed:
        try:
            row = as_row(fields)
        except ValueError as error:
            raise damaged(path, f"Its row {len(rows) + 1} {error}") from error
        if rows and row.number <= rows[-1].number:
            raise damaged(path, f"Row {row.number} comes after row {rows[-1].number}")
        if not known.issuperset(row.needs):
            raise damaged(path, f"Row {row.number} needs {row.needs!r:.40}, which are not all before it")
        known.add(row.number)
        rows.append(row)
    return content, rows


def misplaced(path: Path, header: dict[str, Any]) -> str:
    """What says that a header is not of the file in which it stands; empty where it is."""
    for part, told in zip(("lab", "name", "account", "region"), path.name.split("."), strict=False):
        if part in header and header[part] != told:
            return f"Its header says {part} {header[part]}, its file name {told}"
    return ""


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _text_of(path: Path, errors: str = "strict") -> str:
    """The text of an ordinary file of bearable size: never of a device, a folder or a link."""
    try:
        what = path.lstat()
        if not stat.S_ISREG(what.st_mode):
            raise damaged(path, "It is no ordinary file")
        if what.st_size > LARGEST_MIB * 2**20:
            raise damaged(path, f"It has {what.st_size / 2**20:.0f} MiB")
        return path.read_text(encoding="utf-8", errors=errors)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Absent(f"There is no ledger {path}.", "", "python -m awslabs.ledger list") from error
    except PermissionError as error:
        raise damaged(path, f"{error.strerror}") from error
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} could not be read.",
            f"{error.strerror or error}.",
            "run the same command again when that disk answers",
        ) from error


class Absent(LedgerError):
    """A file that is not there: nothing was ever written, or another process has just removed it."""


class Damaged(LedgerError):
    """A file that does not read as a ledger; one of a newer version is another matter."""


def damaged(path: Path, why: str) -> Damaged:
    """What to say of a file that does not read as a ledger."""
    return Damaged(
        f"The ledger {path} is damaged.",
        f"{why}. While it is, `up` and `down` refuse: they would not know what stands.",
        with_recover(path),
    )


def with_recover(path: Path, recover: str = "") -> str:
    """The command that mends a damaged file; its name and folder tell where, if nobody else does."""
    parts, there = path.name.split("."), "" if path.parent == home() else " --sandbox"
    region = f" --region {parts[3]}" if FILE.fullmatch(path.name) else ""
    command = recover or f"python -m awslabs.ledger recover{region}{there}"
    return f"{command}    # keeps {path.name} aside and rebuilds it from the tags on AWS"


def files(folder: Path) -> list[Path]:
    """The ledger files in one folder, by name. What has another form of name is no ledger.

    Raises
    ------
    LedgerError
        When the folder does not let itself be listed: then nobody knows what stands.
    """
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if FILE.fullmatch(name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(
            f"The ledger folder {folder} could not be listed.",
            f"{error.strerror or error}.",
            f"chmod 700 {folder}    # or set AWSLABS_HOME to another one",
        ) from error


# -- mending ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Remains:
    """What of a damaged file is whole.

    Attributes
    ----------
    text : str
        All that it holds, for whoever looks for a prefix in it.
    header : dict
        Those of its fields that are as they must be.
    rows : list of Row
        The same of its rows, by number; what they need may be missing.
    """

    text: str
    header: dict[str, Any]
    rows: list[Row]


def remains(path: Path) -> Remains:
    """What can still be read of a damaged file: `as_text` gives each row and each field its own line."""
    try:
        text = _text_of(Path(os.path.realpath(path)), errors="surrogateescape")
    except LedgerError:
        text = ""
    header: dict[str, Any] = {}
    rows: dict[int, Row] = {}
    for line in text.split("\n"):
        line = line.strip().rstrip(",")
        # A line that is not whole: AWS's tags know more.
        with contextlib.suppress(ValueError, RecursionError):
            if line.startswith("{"):
                row = as_row(json.loads(line, parse_constant=_no_number))
                rows.setdefault(row.number, row)
            elif line.startswith('"'):
                fields = json.loads("{" + line + "}", parse_constant=_no_number)
                header |= {
                    name: value
                    for name, value in fields.items()
                    if name in HEADER_FORMS and HEADER_FORMS[name](value)
                }
    return Remains(text, header, [rows[number] for number in sorted(rows)])


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of their numbers, without needs that no earlier one of them meets."""
    ordered, known = sorted(rows, key=lambda row: row.number), set[int]()
    for row in ordered:
        row.needs = [number for number in row.needs if number in known]
        known.add(row.number)
    return ordered


def replace_damaged(path: Path, header: dict[str, Any], rows: list[Row]) -> Path:
    """Put a rebuilt ledger where a damaged one is; the damaged one is kept under a name that says when.

    There is no moment at which the file is missing: an `up` in between would build everything twice. A folder
    of its name, or another user's file, can only be moved; then the lock keeps others out meanwhile.
    """
    aside = path.with_suffix(f".damaged-{datetime.now(timezone.utc):%Y%m%d%H%M%S%f}")
    try:
        try:
            os.link(path, aside, follow_symlinks=False)
        except OSError:
            os.rename(path, aside)
        try:
            write(path, as_text({"schema": SCHEMA, **header}, rows))
        except OSError:
            os.rename(aside, path)  # of two links to one file it leaves both
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} could not be mended.",
            f"{error.strerror or error}. It is as it was.",
            f"make {path.parent} writable and make room on its disk, then run the same command again",
        ) from error
    return aside
