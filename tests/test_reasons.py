"""Each call that a lab makes has its reasons, in both languages, in sentences."""

from __future__ import annotations

import re

import pytest

from awslabs.kinds import ENSURES, KINDS
from awslabs.reasons import REASONS, TERMS, terms_in

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@pytest.mark.parametrize("call", [*KINDS, *ENSURES])
def test_each_kind_has_both_reasons_in_both_languages(call: str) -> None:
    reason = REASONS[call]
    for text in (reason.what("en"), reason.why("en")):
        assert re.fullmatch(r"[A-Z].{15,110}\.", text)
        assert not JAPANESE.search(text)
    for text in (reason.what("ja"), reason.why("ja")):
        assert text.endswith("。")
        assert JAPANESE.search(text)
        assert len(text) <= 70
    assert len({reason.what_en, reason.why_en, reason.what_ja, reason.why_ja}) == 4


def test_no_reason_is_left_of_a_kind_that_is_gone() -> None:
    assert REASONS.keys() == {*KINDS, *ENSURES}


def test_words_are_explained_in_both_languages_under_the_same_name() -> None:
    for term in TERMS:
        assert term.said("en").partition(": ")[2].endswith(".")
        assert term.said("ja").partition(": ")[2].endswith("。")
        assert JAPANESE.search(term.ja)
        assert not JAPANESE.search(term.en)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ec2.create_vpc(CidrBlock='10.10.0.0/23')", ["CIDR"]),
        ("AvailabilityZone=zone_1", ["Zone"]),
        ("ec2.create_security_group()", ["Security group"]),
        ("RoleArn=role_arn", ["Role", "ARN"]),
        ("arn:aws:s3:::bucket", ["ARN"]),
        ("Learn about warnings", []),
    ],
)
def test_words_are_met_where_they_are_read(text: str, words: list[str]) -> None:
    assert [term.en.partition(":")[0] for term in terms_in(text)] == words
