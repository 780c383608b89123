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


# The call-outs of the chapters, by the English that stands there.
CALL_OUTS_JA = {
    "Before anything is built: in which zone is there such a server, from which image, and who are we?": (
        "作る前に: そのサーバーはどのゾーンにあり、どのイメージから作り、こちらのアドレスは何か。"
    ),
    "The network: 512 addresses of our own, half of them in one subnet, where a server gets a "
    "public address besides; and the road to the internet: a gateway, and a route that leads "
    "there.": (
        "ネットワーク: 自分用の 512 個のアドレス。半分をひとつのサブネットに置き、そこではサーバーに"
        "公開アドレスも付きます。そしてインターネットへの道、つまりゲートウェイと、そこへのルート。"
    ),
    "The firewall: it lets in SSH, from this computer alone.": (
        "ファイアウォール: このパソコンからの SSH だけを通します。"
    ),
    "The key: made here, so no crash can lose it; AWS gets the public half only.": (
        "鍵: ここで作るので、途中で止まっても失われません。AWS に渡すのは公開側だけです。"
    ),
    "The server: from here on it costs money.": "サーバー: ここから料金がかかります。",
    "The login: the host key must be the one that the server wrote on its console.": (
        "ログイン: ホスト鍵は、サーバーがコンソールに書いたものと同じでなければなりません。"
    ),
    "Before anything is built: where is there such a server, may we have one, and from which image?": (
        "作る前に: そのサーバーはどこにあり、使ってよいか、どのイメージから作るか。"
    ),
    "The network: a subnet in each of those zones, since one alone may have no GPU free.": (
        "ネットワーク: それらのゾーンにひとつずつサブネットを置きます。ひとつだけでは GPU の空きがな"
        "いかもしれません。"
    ),
    "The firewall: as in chapter 1, SSH from one address.": (
        "ファイアウォール: 第 1 章と同じく、1 つのアドレスからの SSH です。"
    ),
    "The key: as in chapter 1, made here.": "鍵: 第 1 章と同じく、ここで作ります。",
    "The server: in the first zone that has room. From here on it costs money.": (
        "サーバー: 空きのある最初のゾーンに。ここから料金がかかります。"
    ),
    "The notebook: JupyterLab as a service of the server, for its own loopback only.": (
        "ノートブック: JupyterLab をサーバーのサービスとして動かし、サーバー自身からだけ届くようにします。"
    ),
    "Before anything is built: may the account run a task, can this computer build an image, and "
    "does the lab stand with another?": (
        "作る前に: このアカウントはタスクを動かせるか、このパソコンはイメージを作れるか、ラボが別のイ"
        "メージで立っていないか。"
    ),
    "Two roles: one for Fargate, which pulls and logs; one for the program, which saves. They "
    "come first, for not everybody may make them; what they allow is named by names that will be.": (
        "ロールを二つ: 取り出しとログのための Fargate 用と、保存するプログラム用。誰でも作れるとは限"
        "らないので先に作り、許す相手はこれから作るものの名前で書きます。"
    ),
    "The image. Building and pushing take minutes, so they go on while AWS makes all the rest.": (
        "イメージ。作って送るのに数分かかるので、AWS が残りを作る間に進めます。"
    ),
    "The table of answers, paid per request.": "答えの表。料金はリクエスト単位です。",
    "The network. Tasks get a public address, to pull the image; no rule lets anybody in.": (
        "ネットワーク。タスクにはイメージを取り出すための公開アドレスが付きますが、誰も入れません。"
    ),
    "The log, which forgets after a week: else AWS would keep it, and charge for it, for ever.": (
        "一週間で消えるログ。決めておかないと AWS はずっと残し、料金もかかり続けます。"
    ),
    "The cluster: a name under which tasks run. With Fargate there is no server in it.": (
        "クラスター: タスクを動かすまとまりの名前。Fargate では中にサーバーがありません。"
    ),
    "What a task is. It names the image, so here the push must be done.": (
        "タスクとは何か。イメージの名前を書くので、ここまでに送り終えている必要があります。"
    ),
    "Before anything is built: in which zones, and does the account allow a single machine?": (
        "作る前に: どのゾーンで、このアカウントは一台でも使ってよいか。"
    ),
    "Two roles: a job's, which may nothing yet, for the bucket has no name before it is made; "
    "and the machines', which join the one cluster, pull the one image and write logs. They come "
    "first, for not everybody may make them.": (
        "ロールを二つ: ジョブ用は、バケットの名前が決まるまで何も許しません。マシン用は、ひとつのクラ"
        "スターに入り、ひとつのイメージを取り出し、ログを書きます。誰でも作れるとは限らないので先に作"
        "ります。"
    ),
    "The bucket of results, and a log group that forgets after a week: Batch's own keeps lines for ever.": (
        "結果のバケットと、一週間で消えるロググループ。Batch が自分で作るものはずっと残します。"
    ),
    "The network: a public subnet in each zone that has such machines; nobody may connect.": (
        "ネットワーク: そのマシンのあるゾーンごとに公開サブネットをひとつ。誰も接続できません。"
    ),
    "What a job may: read cells and results and write results, in this bucket alone.": (
        "ジョブに許すこと: このバケットでだけ、セルと結果を読み、結果を書きます。"
    ),
    "The compute environment: it costs nothing while no job waits.": (
        "コンピューティング環境: 待つジョブがなければ無料です。"
    ),
    "The queue. A job that no machine will ever take leaves it after a while, with the reason.": (
        "キュー。どのマシンにも引き取られないジョブは、しばらくすると理由とともに外れます。"
    ),
    "What a job is. It names the image, so here the push must be done.": (
        "ジョブとは何か。イメージの名前を書くので、ここまでに送り終えている必要があります。"
    ),
    "Before anything is built: may a bucket be public here, and does the lab stand with other roles?": (
        "作る前に: ここではバケットを公開してよいか、ラボが別のロールで立っていないか。"
    ),
    "A role for each function. It says what the function may do, and that is little. Roles come "
    "first, for not everybody may make them; what they allow is named by names that will be.": (
        "関数ごとにロールをひとつ。関数に許すことはわずかです。誰でも作れるとは限らないので先に作り、"
        "許す相手はこれから作るものの名前で書きます。"
    ),
    "Two tables, paid per request. Only keys have a type; all else may differ from item to item.": (
        "テーブルを二つ。料金はリクエスト単位です。型が決まっているのはキーだけで、ほかは項目ごとに違"
        "ってかまいません。"
    ),
    "Two buckets. A new bucket is private; the second is opened in <8>.": (
        "バケットを二つ。新しいバケットは非公開で、二つ目のバケットは <8> で公開します。"
    ),
    "The queue where events end on which the greeting failed three times.": (
        "あいさつの関数が三回失敗したイベントの行き着くキュー。"
    ),
    "A log group for each function, before Lambda makes one that is kept, and paid for, for ever.": (
        "関数ごとにロググループをひとつ。Lambda が自分で作ると、ずっと残り、料金もかかり続けます。"
    ),
    "The functions. The four of Bashoutter are one package, entered at four doors.": (
        "関数。Bashoutter の四つはひとつのパッケージで、入口が四つあります。"
    ),
    "The API: made empty, filled from its description, opened to the functions, and then deployed.": (
        "API: 空で作り、説明書から中身を入れ、関数につなぎ、最後にデプロイします。"
    ),
    "The page, for everybody: this bucket alone is public.": (
        "誰でも見られるページ: 公開するのはこのバケットだけです。"
    ),
    "What AWS has accepted must also have come: tables, functions, the API.": (
        "AWS が引き受けたテーブル、関数、API が、実際にできるまで待ちます。"
    ),
}
