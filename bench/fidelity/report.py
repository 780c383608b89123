"""The score: what the practice cloud answers beside what AWS was seen to answer, per service and operation.

    python bench/fidelity/report.py RESULTS LOCALSTACK MOTO [NOTE] > docs/fidelity.md

RESULTS is the folder that `run.sh` filled, with a folder for each target (`sandbox`, `moto`, `ministack`);
LOCALSTACK and MOTO are the checked-out repositories, whose dates are those of the records; NOTE says what was
special about this run. `score.sh` does it all. What became of a test:

    pass      as on AWS, to the letter
    fields    every answer has AWS's outcome (error code, class of HTTP status); fields or messages differ
    outcome   another outcome: accepts what AWS refuses, or the reverse, another error code, an assertion
    refused   it was said honestly that this is not known here (501, "The practice cloud ...")
    n/a       other services, other runtimes, Docker, the runner's own limits
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import functools
import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

import recorded

TARGETS = {"sandbox": "practice cloud", "moto": "plain moto", "ministack": "MiniStack"}
COLUMNS = ("pass", "fields", "outcome", "refused", "n/a")
LABS: dict[str, list[str]] = json.loads((Path(__file__).parent / "lab-operations.json").read_text())
VOLATILE: dict[str, str] = json.loads((Path(__file__).parent / "volatile.json").read_text())
NOT_OURS = (
    "nodejs",
    "runs functions in Python",
    "Docker not available",
    "Failed to build multiruntime",
    "s3.amazonaws.com",
    "Timeout (>",
    "Could not connect",
    "NameResolution",
    "runtime parameter of",
    "No state for",
)
OTHERS: dict[str, Any] = json.loads((Path(__file__).parent / "others.json").read_text())
UNKNOWN = "Not looked into yet."
NAMED = {"awslambda": "lambda", "lambda_": "lambda"}
STATUS = re.compile(r"\['(HTTPStatusCode|StatusCode|status_code|statusCode)'\]")
OUTCOME = re.compile(r"\['(Error'\]\['Code|HTTPStatusCode|Code|StatusCode|status_code|statusCode)'\]")
SHAPES = Path(__file__).parents[2] / "tests" / "recorded_members.json"
Row = dict[str, Any]


def load(folder: Path) -> dict[str, Row]:
    """Tests of one target, by pytest's node id."""
    rows: dict[str, Row] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line.replace('"sqs-query:', '"sqs:'))  # one service with two protocols
            rows[row["id"]] = row
    return rows


def source_of(test: str) -> tuple[str, str]:
    """Service, and whose record: of ``tests/aws/services/lambda_/...`` lambda and LocalStack."""
    if found := re.search(r"services/(\w+?)/", test):
        return NAMED.get(found[1], found[1]), "LocalStack"
    found = re.search(r"tests/test_(\w+?)/", test)
    name = found[1] if found else "?"
    return NAMED.get(name, name), "moto"


def refused(row: Row, target: str) -> bool:
    """Whether a test ended because something was refused honestly."""
    if target == "sandbox":
        return any("The practice cloud" in text or "assert 501 ==" in text for text in _said(row))
    statuses = {call[1] for call in row.get("calls", ())}
    return 501 in statuses or any("[501]" in text or "501 ==" in text for text in _said(row))


def verdict(row: Row, target: str) -> str:
    """What became of a test, as one of `COLUMNS`."""
    if row["outcome"] == "passed":
        return "pass"
    said = [row["why"], *(page[3] for page in row.get("pages", ()))]
    if row["outcome"] == "skipped" or any(text in each for each in said for text in NOT_OURS):
        return "n/a"
    if refused(row, target):
        return "refused"
    if any(call[0].split(":")[0] not in LABS for call in row.get("calls", ())):
        return "n/a"
    if row["kind"] != "snapshot":
        return "outcome"
    for _, path, _, there, here in row["diffs"]:
        both_fine = STATUS.search(path) and there[:1] == here[:1] == "2"
        if path == "root" or (OUTCOME.search(path) and not both_fine):
            return "outcome"
    return "fields"


def volatile(diff: list[Any]) -> bool:
    """Whether a difference is of a value that no two runs on AWS have alike; a member that lacks is none."""
    return diff[2] == "values_changed" and any(
        fnmatch(spoken(diff[1]), glob(pattern)) for pattern in VOLATILE
    )


def calm(rows: dict[str, Row]) -> dict[str, Row]:
    """The rows without the differences of volatile members; a test that had no others passes."""
    for row in rows.values():
        if row["kind"] == "snapshot" or row["diffs"]:
            kept = [diff for diff in row["diffs"] if not volatile(diff)]
            differs = {diff[0] for diff in kept}
            for key in {diff[0] for diff in row["diffs"]} - differs:
                row["keys"][key][0] = True
            row["diffs"] = kept
            if row["kind"] == "snapshot" and not kept:
                row["outcome"] = "passed"
    return rows


@dataclasses.dataclass
class Count:
    """Recorded answers: how many, reached, with AWS's outcome, identical; and of tests that do not apply."""

    recorded: int = 0
    reached: int = 0
    outcome: int = 0
    identical: int = 0
    apart: int = 0


def answers(rows: dict[str, Row], localstack: Path) -> list[str]:
    """How many of the answers that the snapshots hold are as on AWS, are others, or are not reached."""
    of_labs, of_calls, of_all = Count(), Count(), Count()
    unknown = 0
    for test, row in rows.items():
        if "/services/" not in test:
            continue
        held, seen = recorded.answers(localstack, test), row.get("keys") or {}
        whose = recorded.operations(localstack, test, source_of(test)[0], list(held)) | row.get("whose", {})
        for key, answer in held.items():
            counts = [of_all]
            if key in whose or recorded.is_of_a_call(answer):
                counts.append(of_calls)
                unknown += key not in whose
            service, _, name = whose.get(key, "").partition(":")
            if name in LABS.get(service, ()):
                counts.append(of_labs)
            for count in counts:
                if verdict(row, "sandbox") == "n/a":
                    count.apart += 1
                    continue
                count.recorded += 1
                if key in seen:
                    same, code, status, code_here, status_here = seen[key]
                    count.reached += 1
                    count.outcome += (code, str(status)[:1]) == (code_here, str(status_here)[:1])
                    count.identical += bool(same)
    lines = [
        "| recorded answers | recorded | reached | AWS's outcome | identical | of those reached | of all |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in (
        ("to calls of the labs' operations", of_labs),
        ("to calls of any operation", of_calls),
        ("all, with bodies, logs, numbers", of_all),
    ):
        shares = [
            f"{100 * each.outcome / max(1, whole):.1f} %, {100 * each.identical / max(1, whole):.1f} %"
            for whole in (each.reached, each.recorded)
        ]
        counted = f"{each.recorded} | {each.reached} | {each.outcome} | {each.identical}"
        lines.append(f"| {name} | {counted} | {shares[0]} | {shares[1]} |")
    return [
        *lines,
        "",
        "The shares are of AWS's outcome and of identical answers. A test ends at its first failed",
        "assertion, and some are refused: of all, an answer that was not reached is wrong. Whose answer it",
        f"is stands in the test; of {unknown} answers to calls that could not be read off: they are in the",
        "second row, not in the first.",
        f"Tests that do not apply (n/a) are counted apart: they have {of_labs.apart}, {of_calls.apart} and",
        f"{of_all.apart} answers more.",
    ]


def only_labs(row: Row) -> bool:
    """Whether a test calls nothing but operations of the labs."""
    return bool(row.get("calls")) and all(
        operation in LABS.get(service, ())
        for service, _, operation in (call[0].partition(":") for call in row["calls"])
    )


def why_not(rows: dict[str, Row]) -> list[str]:
    """Of each test that does not pass, why: by its name, or by what was said while it ran."""
    reasons = json.loads((Path(__file__).parent / "reasons.json").read_text(encoding="utf-8"))
    tests: dict[str, list[str]] = collections.defaultdict(list)
    unknown: collections.Counter[str] = collections.Counter()
    for test, row in rows.items():
        if verdict(row, "sandbox") == "pass":
            continue
        name = test.split("::", 1)[1]
        text = "\n".join(_said(row))
        why = next((each["why"] for each in reasons if _fits(each, test, name, text)), UNKNOWN)
        tests[why].append(name)
        if why == UNKNOWN:
            unknown[source_of(test)[0]] += 1
    left = ", ".join(f"{service} {count}" for service, count in sorted(unknown.items())) or "none"
    lines = [f"Tests without a reason: {left}.", ""]
    for why, names in sorted(tests.items(), key=lambda each: -len(each[1])):
        lines += [f"- {why} ({len(names)})", *(f"  - `{name}`" for name in sorted(names))]
    return lines


def _fits(reason: dict[str, Any], test: str, name: str, text: str) -> bool:
    """Whether a reason is a test's: by a pattern of names, or by words of the test's answers."""
    named = any(fnmatch(name, glob(one)) or fnmatch(test, glob(one)) for one in reason.get("tests", ()))
    return named or any(words in text for words in reason.get("says", ()))


def _said(row: Row) -> list[str]:
    """What a test met: errors, differences, what calls and pages answered."""
    return [
        row["why"],
        json.dumps(row["diffs"]),
        *(call[3] for call in row.get("calls", ()) if len(call) > 3),
        *(page[3] for page in row.get("pages", ())),
    ]


def glob(pattern: str) -> str:
    """A pattern in which brackets stand for themselves."""
    return pattern.replace("[", "[[]")


def members() -> str:
    """How many of the recorded members are in answers of the practice cloud."""
    held = json.loads(SHAPES.read_text(encoding="utf-8"))["operations"]
    out = json.loads(SHAPES.with_name("recorded_members_left_out.json").read_text(encoding="utf-8"))
    paths = [(operation, path) for operation, row in held.items() for path in row["members"]]
    gone = [one for one in paths if any(fnmatch(one[1], glob(pattern)) for pattern in out.get(one[0], ()))]
    return (
        f"Of {len(paths)} members that AWS's recorded answers had, {len(paths) - len(gone)} are in an answer "
        f"here, of the same type; {len(gone)} are left out, each with its reason "
        "(`tests/recorded_members_left_out.json`)."
    )


class Dates:
    """When a test's record was made."""

    def __init__(self, localstack: Path, moto: Path) -> None:
        self.localstack, self.moto = localstack, moto

    @functools.cache  # noqa: B019  (one object a run)
    def snapshots(self, file: str) -> dict[str, str]:
        """LocalStack's own dates of a file of tests, by node id."""
        found: dict[str, str] = {}
        for ending in (".snapshot.json", ".validation.json"):
            path = self.localstack / file.replace(".py", ending)
            for test, row in json.loads(path.read_text()).items() if path.exists() else ():
                day = str(row.get("recorded-date") or row.get("last_validated_date") or "")
                if dotted := re.match(r"(\d\d)-(\d\d)-(\d{4})", day):
                    day = f"{dotted[3]}-{dotted[2]}-{dotted[1]}"
                found.setdefault(test, day[:10])
        return found

    @functools.cache  # noqa: B019
    def of_moto(self) -> str:
        """The day of moto's checked-out version: its tests say that they were verified, and not when."""
        asked = ["git", "-C", str(self.moto), "log", "-1", "--format=%cs"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout.strip() or "?"

    def of(self, test: str) -> str:
        """``2026-02-21``; of moto's tests the day before which it was."""
        if "/services/" in test:
            return self.snapshots(test.split("::")[0]).get(test, "?")
        return f"moto, by {self.of_moto()}"


def operations(rows: dict[str, Row], dates: Dates) -> list[str]:
    """Per service and operation of the labs: proven, differs, refused, no record."""
    proven: dict[str, list[str]] = collections.defaultdict(list)
    differs: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    alike: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0, 0])
    turned_away: dict[str, set[str]] = collections.defaultdict(set)
    for test, row in rows.items():
        whose = row.get("whose", {})
        for key, (same, code, status, code_here, status_here) in (row.get("keys") or {}).items():
            if operation := whose.get(key):
                counts = alike[operation]
                counts[0] += 1
                counts[1] += (code, str(status)[:1]) == (code_here, str(status_here)[:1])
                counts[2] += same
                if same:
                    proven[operation].append(dates.of(test))
        for key, path, *_ in row["diffs"]:
            if operation := whose.get(key):
                differs[operation][spoken(path)] += 1
        for call in row.get("calls", ()):
            if row["outcome"] == "passed":
                proven[call[0]].append(dates.of(test))
            if len(call) > 3 and "The practice cloud" in call[3]:
                turned_away[call[0]].add(call[3])
    shapes = json.loads(SHAPES.read_text(encoding="utf-8"))["operations"]
    lines = []
    for service, names in LABS.items():
        lines += [
            f"### {service}",
            "",
            "| operation | answers (outcome as AWS's, identical) | what is known |",
        ]
        lines += ["|---|---|---|"]
        for name in names:
            operation = f"{service}:{name}"
            count, outcome, same = alike.get(operation, [0, 0, 0])
            said = []
            if days := sorted({day for day in proven.get(operation, ()) if day[:1].isdigit()}):
                said.append(f"proven by a record of {days[-1]}")
            elif proven.get(operation):
                said.append(f"proven by {proven[operation][0]}")
            if differs.get(operation):
                most = [f"`{path}`" for path, _ in differs[operation].most_common(5)]
                more = len(differs[operation]) - len(most)
                said.append("differs in " + ", ".join(most) + (f" and {more} more" if more > 0 else ""))
            if turned_away.get(operation):
                said.append("refused in some cases")
            if answers := shapes.get(operation, {}).get("answers"):
                said.append(f"members recorded ({answers} answers of Cloud Custodian's)")
            if not said:
                called = any(operation == call[0] for row in rows.values() for call in row.get("calls", ()))
                said.append("met by tests that end elsewhere" if called else "no record")
            shown = f"{count} ({outcome}, {same})" if count else ""
            lines.append(f"| {name} | {shown} | {'; '.join(said)} |")
        lines.append("")
    return lines


def spoken(path: str) -> str:
    """A path of a difference, short: ``Role.Tags[]``."""
    parts = re.findall(r"\['([^']*)'\]|\[(\d+)\]", path)
    text = "".join(f".{name}" if name else "[]" for name, _ in parts).lstrip(".")
    return (text or "all of it").replace("|", "/")[:80]


def table(targets: dict[str, dict[str, Row]], chosen: set[str] | None = None) -> list[str]:
    """Counts per service and source, the targets side by side.

    A target that did not run this time shows what `others.json` has kept of an earlier day, of all tests.
    """
    kept = {target for target in TARGETS if target not in targets and chosen is None}
    columns = [target for target in TARGETS if target in targets or target in kept]
    cells: dict[tuple[str, str], dict[str, list[int]]] = collections.defaultdict(dict)
    for target, rows in targets.items():
        counted: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        for test, row in rows.items():
            if chosen is None or test in chosen:
                counted[source_of(test)][verdict(row, target)] += 1
        for key, counts in counted.items():
            cells[key][target] = [counts[column] for column in COLUMNS]
    for name, figures in OTHERS["tests"].items() if kept else ():
        service, _, source = name.partition(" ")
        for target in kept & figures.keys():
            cells[service, source][target] = [int(figure) for figure in figures[target].split()]
    days = dict.fromkeys(kept, f" ({OTHERS['date']})")
    head = " | ".join(f"{TARGETS[each]}{days.get(each, '')}: {' '.join(COLUMNS)}" for each in columns)
    lines = [f"| service | record of | tests | {head} |", "|---|---|---|" + "---|" * len(columns)]
    for key in sorted(cells):
        tests = max(map(sum, cells[key].values()))
        shown = [" ".join(map(str, cells[key].get(each, ()))) or "not run" for each in columns]
        lines.append(f"| {key[0]} | {key[1]} | {tests} | {' | '.join(shown)} |")
    return lines


def worse_than_moto(ours: dict[str, Row], plain: dict[str, Row]) -> list[str]:
    """Tests that pass on plain moto and not here; where moto did not run, of those that did so before."""
    if plain:
        there = {test for test in ours.keys() & plain.keys() if verdict(plain[test], "moto") == "pass"}
    else:
        there = set(OTHERS["green_on_moto_alone"]) & ours.keys()
    return sorted(test for test in there if verdict(ours[test], "sandbox") != "pass")


def page(results: Path, localstack: Path, moto: Path, note: str = "") -> list[str]:
    """The whole page."""
    targets = {name: calm(load(results / name)) for name in TARGETS if (results / name).is_dir()}
    ours, plain = targets["sandbox"], targets.get("moto", {})
    dates = Dates(localstack, moto)
    labs = {test for test, row in ours.items() if only_labs(row)}
    worse = worse_than_moto(ours, plain)
    kept = [TARGETS[name] for name in TARGETS if name not in targets]
    today = datetime.date.today().isoformat()
    lines = [
        "# How true to AWS the practice cloud is",
        "",
        "Made by `bench/fidelity/report.py`, as `make fidelity` does; a note says if runs were put together.",
        f"Run of {today}. Nobody saw AWS today: these are tests that their authors, LocalStack and moto, saw",
        "pass on AWS, with the answers that they recorded there, run against the practice cloud. A record is",
        "as old as its date. A test ends at its first failed assertion. Where AWS is eventually consistent,",
        "that something succeeded at once in a record does not say that it always does.",
        "",
        "A cell counts the tests that *pass*, *fields*, *outcome*, *refused*, *n/a*, in this order. *pass*:",
        "as on AWS to the letter; *fields*: the outcome is AWS's, members or messages differ; *outcome*:",
        "another outcome; *refused*: said not to be known here; *n/a*: needs other services, other runtimes,",
        "Docker.",
        "",
        *([note, ""] if note else []),
        "## Tests",
        "",
        *table(targets),
        "",
        *(
            [f"Of an earlier run, {OTHERS['date']}: {', '.join(kept)} (`bench/fidelity/others.json`).", ""]
            if kept
            else []
        ),
        "## Single answers",
        "",
        *answers(ours, localstack),
        "",
        "Identical means all but what no two runs have alike: LocalStack's own transformers put words for",
        f"ids and times, and the values of {len(VOLATILE)} members more are masked, in this page as a whole;",
        "`bench/fidelity/volatile.json` lists them, with the reason.",
        "",
        f"## Tests that call nothing but the labs' operations ({len(labs)})",
        "",
        *table(targets, labs),
        "",
        "## Why tests do not end as on AWS",
        "",
        "Of the practice cloud; `bench/fidelity/reasons.json` holds the reasons.",
        "",
        *why_not(ours),
        "",
        "## Members of answers",
        "",
        members(),
        "",
        "## Green on plain moto and not here",
        "",
        *(f"- `{test.split('/')[-1]}`: {verdict(ours[test], 'sandbox')}" for test in worse),
        *([] if worse else ["None."]),
        "",
        "## The labs' operations",
        "",
        "Proven: a test that calls it passes to the letter, or its answer in a test is the recorded one.",
        "",
        *operations(ours, dates),
    ]
    return [line.rstrip() for line in lines]


def main() -> None:
    """Print the page."""
    results, localstack, moto = map(Path, sys.argv[1:4])
    print("\n".join(page(results, localstack, moto, " ".join(sys.argv[4:]))).rstrip())


if __name__ == "__main__":
    main()
