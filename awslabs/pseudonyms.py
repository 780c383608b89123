"""Stand-ins for whatever could tell whose cloud something was: what is handed out holds these instead.

    Pseudonyms({"ada": "user"}).blotted("ada's vpc-0a1b2c3d is at 203.0.113.7")
    "<user-1>'s <vpc-1> is at <ipv4-1>"

One value is one stand-in, wherever it stands. What is known to be somebody's (an account, a name, a host) is
told beforehand; what looks like an identifier, an address or a secret is found by its form.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Mapping

from awslabs.labs import LABS

# By form, the most telling first; of several that fit at one place the first counts. Words in angle brackets
# are stand-ins already.
FORMS = {
    "": r"<[a-z0-9]+(?:-[a-z0-9]+)*-\d+>",
    "private-key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    "public-key": r"\b(?:ssh-[a-z0-9]+|ecdsa-sha2-\S+) +[A-Za-z0-9+/]{20,}={0,3}(?: +\S+)?",
    "fingerprint": r"\b(?:SHA256:[A-Za-z0-9+/]{20,}=*|(?:[0-9a-f]{2}:){15,19}[0-9a-f]{2})",
    "arn": r"\barn:aws[a-z-]*:[^\s\"'`,)|]+",
    "url": r"\b[a-z][a-z0-9+.-]*://[^\s\"'`)>|]+",
    "email": r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "host": r"\b(?:[\w-]+\.)+(?:amazonaws\.com(?:\.cn)?|api\.aws|internal|local|lan|compute|on\.aws)\b"
    r"|\b(?:ip|ec2)(?:-\d{1,3}){4}(?:\.[\w-]+)*",
    "access-key": r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ABIA|ACCA)[A-Z0-9]{10,}\b",
    "mac": r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b",
    "ipv6": r"(?<![\w:.])(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
    r"|(?=[0-9a-fA-F:]*::)(?:[0-9a-fA-F]{1,4}:)*(?::[0-9a-fA-F]{1,4})*:?(?:[0-9a-fA-F]{1,4})?)"
    r"(?:%\w+|:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])",
    "ipv4": r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]*\d)",
    "ledger": rf"\bawslabs-(?:{'|'.join(LABS).replace('_', '-')})-[a-z0-9]{{6}}",
    "uuid": r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
    "token": r"\b\d{14}-[0-9a-f]{16}\b",
    "id": r"\b[a-z]{1,12}(?:-[a-z]{1,12})?-(?=[0-9a-f]*\d)[0-9a-f]{8,17}\b",
    "account": r"(?<![\w.])\d{12}(?![\w.]*\w)",
    "hex": r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}\b",
    "path": r"(?<![\w.])(?:/home|/Users|/root|[A-Z]:\\Users)[/\\][^\s\"'`|]*",
    # Long, of letters of both cases and of digits: no word of any language.
    "secret": r"(?<![A-Za-z0-9+/_=-])(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[a-z])"
    r"(?=[A-Za-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{16,}={0,2}",
}
FORM = re.compile("|".join(f"(?P<{kind.replace('-', '_') or 'done'}>{form})" for kind, form in FORMS.items()))
SHORT = 6  # a known value of fewer characters counts where it is a word, not within one
# Nobody's: this computer to itself, and everybody.
NOBODYS = {"127.0.0.1", "0.0.0.0", "::", "::1"}


class Pseudonyms:
    """Values and what stands for them.

    Parameters
    ----------
    known : dict of str
        What is to be blotted wherever it stands, and its kind: ``{"123456789012": "account"}``. Empty values
        are left out.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._of: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()
        self._longest_first: list[str] = []
        for value, kind in (known or {}).items():
            self.know(value, kind)

    def know(self, value: str, kind: str) -> str:
        """Blot a value from now on; what stands for it: ``<account-1>``."""
        if not value or value in NOBODYS:
            return value
        if value not in self._of:
            self._numbers[kind] += 1
            self._of[value] = f"<{kind}-{self._numbers[kind]}>"
            bisect.insort(self._longest_first, value, key=lambda each: -len(each))
        return self._of[value]

    def known(self) -> dict[str, str]:
        """All values so far, and their kinds."""
        return {value: stand_in[1:].rpartition("-")[0] for value, stand_in in self._of.items()}

    def blotted(self, text: str) -> str:
        """The text without known values, and without what looks like an id, an address or a secret."""
        return FORM.sub(self._stand_in, self.without_known(text))

    def without_known(self, text: str) -> str:
        """The text without known values alone."""
        for value in self._longest_first:
            if value in text:
                alone = rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])"
                parts = text.split(value) if len(value) >= SHORT else re.split(alone, text)
                if len(parts) > 1:
                    return self._of[value].join(self.without_known(part) for part in parts)
        return text

    def _stand_in(self, found: re.Match[str]) -> str:
        kind, value = str(found.lastgroup).replace("_", "-"), found[0]
        if kind == "done":
            return value
        return self.know(value, value.rpartition("-")[0] if kind == "id" else kind)
