"""Why each call is there, for somebody who has read no book, in English and in Japanese.

    REASONS["ec2:CreateVpc"].what_en      what it makes or sets; .why_en why a lab has it; what_ja, why_ja
    TERMS                                 words that are explained where a reader meets them first

The reasons stand beside the kinds, in `kinds/`; this gathers them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from awslabs.kinds import REASONS, Reason

__all__ = ["LANGUAGES", "REASONS", "TERMS", "Reason", "Term", "terms_in"]

LANGUAGES = ("en", "ja")


@dataclass(frozen=True)
class Term:
    """A word of AWS's or of networks', with the sentence that explains it.

    Attributes
    ----------
    seen : str
        A regular expression of what a reader sees when meeting it: the word in a text, or in a call.
    en, ja : str
        The word, a colon and what it means.
    """

    seen: str
    en: str
    ja: str

    def said(self, language: str) -> str:
        """The sentence in ``en`` or ``ja``."""
        return self.ja if language == "ja" else self.en


TERMS = (
    Term(
        r"CidrBlock|CidrIp",
        "CIDR: a way to write a range of addresses. In 10.10.0.0/24 the first 24 of 32 bits are fixed, so it "
        "holds 256 addresses; /32 is a single one, and 0.0.0.0/0 is all there are.",
        "CIDR: アドレスの範囲の書き方です。10.10.0.0/24 は 32 ビットのうち先頭の 24 ビットを固定するので "
        "256 個、/32 なら一個だけ、0.0.0.0/0 ならすべてのアドレスを表します。",
    ),
    Term(
        r"AvailabilityZone\b|zone_?\d",
        "Zone: one or a few data centres with power of their own. A Region has several zones, so a fire in "
        "one does not stop the others.",
        "ゾーン: 電源などが独立した、ひとつかいくつかのデータセンターです。リージョンには複数あり、"
        "ひとつが止まっても残りは動きます。",
    ),
    Term(
        r"[sS]ecurity[ _-]?[gG]roup",
        "Security group: a firewall that belongs to servers, not to a network. What it does not allow is "
        "dropped without an answer; answers to what was let in may always leave.",
        "セキュリティグループ: ネットワークではなくサーバーに付くファイアウォールです。許していない通信は"
        "返事もせずに捨て、許した通信への返事はいつでも通します。",
    ),
    Term(
        r"PublicKeyMaterial",
        "SSH: the way to log in to a server and to type commands there. It goes by a pair of keys: whoever "
        "has the private one is let in, and no password exists.",
        "SSH: サーバーにログインしてコマンドを打つための方法です。一対の鍵を使い、秘密鍵を持つ人だけが"
        "入れます。パスワードはありません。",
    ),
    Term(
        r"ImageId",
        "Image (AMI): a copy of a disk with an operating system on it, from which servers start.",
        "イメージ（AMI）: OS の入ったディスクの写しで、サーバーはここから起動します。",
    ),
    Term(
        r"AssumeRolePolicyDocument|[rR]ole_?[aA]rn",
        "Role: who has it is named in its trust policy, what it may do in its other policies. Whoever acts "
        "in it gets keys that end by themselves after some hours.",
        "ロール: 誰が名乗れるかは信頼ポリシーに、何をしてよいかは残りのポリシーに書きます。名乗ると、"
        "数時間で自然に切れる鍵が渡されます。",
    ),
    Term(
        r"\barn:|Arn\b|_arn\b",
        "ARN: the full name of a thing in AWS: service, Region, account, name. No two things share one.",
        "ARN: AWS の中のものの正式な名前です。サービス、リージョン、アカウント、名前からなり、"
        "同じものはふたつとありません。",
    ),
    Term(
        r"vcpu|VCPU|vCPU|\bcpu\b",
        "vCPU: a thread of a processor; most processors run two on each core. AWS counts and sells these.",
        "vCPU: プロセッサのスレッドひとつです。たいてい一コアに二つあり、AWS はこれを単位に数えて売ります。",
    ),
)


def terms_in(text: str) -> Iterator[Term]:
    """The terms that a reader of this text meets, in the order of `TERMS`."""
    return (term for term in TERMS if re.search(term.seen, text))
