"""The shape of an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awslabs.kinds.overview import Overview

# One step of putting something right: a method of a client, and its arguments.
Step = tuple[Callable[..., Any], dict[str, Any]]

# How an entry of ENSURES works: the client and the wanted request in, the calls that are missing out.
Ensured = Callable[[Any, dict[str, Any]], Iterable[Step]]


@dataclass(frozen=True)
class Reason:
    """What a call makes or sets, and why a lab has it, for somebody who has read no book: a sentence or two.

    English first: the words that AWS's own pages use stand in brackets, as they do in the Japanese.
    """

    what_en: str
    why_en: str
    what_ja: str
    why_ja: str

    def what(self, language: str) -> str:
        """What it is, in ``en`` or ``ja``."""
        return self.what_ja if language == "ja" else self.what_en

    def why(self, language: str) -> str:
        """Why it is there, in ``en`` or ``ja``."""
        return self.why_ja if language == "ja" else self.why_en


@dataclass(frozen=True)
class Mark:
    """What a resource carries on AWS, so that it can be told from everybody else's.

    Attributes
    ----------
    boundary : str
        ARN of the policy that bounds what a role may be allowed; empty: none.
    """

    ledger: str
    owner: str
    row: str
    token: str
    region: str
    home: str
    boundary: str = ""

    def tags(self) -> dict[str, str]:
        """The five tags (and a Name for the console's lists)."""
        return {
            "Name": f"{self.ledger} {self.row[3:]}",
            "awslabs:ledger": self.ledger,
            "awslabs:owner": self.owner,
            "awslabs:home": self.home,
            "awslabs:row": self.row,
            "awslabs:token": self.token,
        }

    def tag_list(self) -> list[dict[str, str]]:
        """The same, as most services take and show tags."""
        return [{"Key": key, "Value": value} for key, value in self.tags().items()]


@dataclass(frozen=True)
class Found:
    """One thing as AWS shows it now.

    Attributes
    ----------
    ids : dict of str
        Its identifiers, the one that the labs use first.
    state : str
        ``coming``, ``standing`` or ``going``; what is gone is not found at all. Work that AWS still shows
        after its end (a stopped task) is ``ended``; what stands and is of no use any more (a deregistered
        task definition) is ``spent``: `down` deletes it, and `create` does so before it makes another. What
        stands under the identifier that a row has recorded, but without the row's token, is ``foreign``; what
        carries the token of a row that has another identifier is a ``copy``. Neither is deleted unasked.
    tags : dict of str
        Its tags.
    unread : str
        Why its tags could not be read, if AWS shows the thing but not them.
    since : str
        When it was made, if AWS tells; of several that carry one token the oldest is kept.
    until, billed : str
        When it ended, and since when it is billed where that is not its beginning, as rows keep times.
    region : str or None
        Of what AWS lists in every Region alike: the Region of its ledger, as its path tells; empty where that
        does not tell. None for what AWS lists in its own Region only.
    request : dict
        Of the request that made it, what its price hangs on, as far as AWS shows it.
    """

    ids: dict[str, str]
    state: str = "standing"
    tags: dict[str, str] = field(default_factory=dict)
    since: str = ""
    until: str = ""
    billed: str = ""
    unread: str = ""
    region: str | None = None
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return next(iter(self.ids.values()))


@dataclass(frozen=True)
class Kind:
    """How one kind of resource is marked, found, deleted and priced.

    Attributes
    ----------
    call : str
        The operation that makes it: ``ec2:CreateVpc``.
    ids : callable
        (request as it was sent, answer) -> identifiers; of a join, those of its ends. Of a join and of what
        is `named`, `answer` may be empty: they are known before the call.
    mark : callable
        (request, Mark) -> the request as it is sent; of most joins, as it is.
    look : callable
        (client, row) -> what stands on AWS under the row's token, oldest first; and what stands under the
        identifier that the row has recorded, whatever it carries: `seen` judges whose it is.
    listed : callable
        (client, overview) -> everything of this kind with any ledger's mark, in few calls; empty for joins,
        which carry none. What lacks a mark may be among it.
    complete : bool
        `listed` shows whatever stands under an identifier of ours, with or without a mark: what is not in it
        is gone.
    at_once : callable or None
        Of a kind that is not `complete`: (client, rows, overview) -> what stands under the identifiers of all
        these rows, in few calls; None where AWS does not tell, so that each row is looked for by itself.
    listed_when_gone : bool
        AWS lists it for a while after its deletion: `look` tells whether it stands.
    delete : callable
        (client, Found): ask AWS to delete it. That it is gone is proved by `look`.
    not_idempotent : bool
        A second call makes a second thing: never send one again without looking first.
    deletes_slowly : bool
        Its deletion takes its time; what it hangs on cannot go before it is gone.
    guards : bool
        It sees to it that all else goes: it is deleted when nothing of its ledger stands any more but what
        it needs itself. `put_off`: (client, identifier): let it wait while `down` is at work.
    spends : bool
        It costs nothing by the hour, and what comes of it costs: Batch's machines, images, requests.
    ends : names of identifiers
        Of a join, which ties things together and has no identifier of its own: those of what it ties.
    work : bool
        It ends by itself: a task, a job. Recorded by `start`; its rows close when AWS shows the end.
    named : bool
        Its name is its identifier, so `look` can ask for it by name before AWS has answered.
    known_by : names of identifiers
        What `look` cannot do without, beside the token; ``taskArn|cluster`` is the identifier ``taskArn`` or
        else the telling parameter ``cluster``. An open row that lacks one is damaged.
    taken : codes
        "There is one already": ours, if it carries our token.
    not_yet : codes
        What AWS answers while something that the request names is not visible yet.
    busy : codes
        What AWS answers to a deletion while something still hangs on it.
    absent : codes
        What AWS answers to a deletion of what is gone. In all four, where one code means many things, it is
        followed by words that the message must hold: ``InvalidParameterValueException cannot be assumed``.
    busy_s : float
        Seconds to go on while AWS refuses the deletion.
    rate : str
        How often AWS takes such a deletion, where that is so rare that a class waits for it.
    looked_up : names of parameters
        Looked up anew each time (the newest image), so another value is no other request.
    described_by : names of parameters
        What a person knows it by.
    refusal : callable
        (answer) -> code and message of a refusal that came inside HTTP 200, or None.
    tells : callable
        request -> more that a row keeps for a person, or for the meter, besides `described_by`.
    usd_per_hour : callable
        (request, region) -> estimate; None where the price is not known.
    """

    call: str
    ids: Callable[[dict[str, Any], dict[str, Any]], dict[str, str]]
    look: Callable[[Any, Any], list[Found]]
    delete: Callable[[Any, Found], None]
    mark: Callable[[dict[str, Any], Mark], dict[str, Any]] = lambda request, mark: request
    listed: Callable[[Any, Overview], list[Found]] = lambda client, overview: []
    complete: bool = False
    at_once: Callable[[Any, list[Any], Overview], list[Found] | None] | None = None
    listed_when_gone: bool = False
    not_idempotent: bool = False
    deletes_slowly: bool = False
    guards: bool = False
    put_off: Callable[[Any, str], None] = lambda client, id: None
    spends: bool = False
    ends: tuple[str, ...] = ()
    work: bool = False
    named: bool = False
    known_by: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    not_yet: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    busy_s: float = 300.0
    rate: str = ""
    looked_up: tuple[str, ...] = ()
    described_by: tuple[str, ...] = ()
    refusal: Callable[[dict[str, Any]], tuple[str, str] | None] = lambda answer: None
    tells: Callable[[dict[str, Any]], dict[str, str]] = lambda request: {}
    usd_per_hour: Callable[[dict[str, Any], str], float | None] = lambda request, region: 0.0

    @property
    def service(self) -> str:
        """The client that it needs: ``ec2``."""
        return self.call.partition(":")[0]

    @property
    def join(self) -> bool:
        """Whether it ties things together and has no identifier of its own."""
        return bool(self.ends)

    def seen(self, client: Any, row: Any) -> list[Found]:
        """What `look` shows, each with the state that says whether it is this row's."""
        return [self.judged(one, row) for one in self.look(client, row)]

    def among(self, found: Iterable[Found], row: Any) -> list[Found]:
        """What `look` would show, out of what was found of many rows at once; each as `seen` judges it."""

        def is_its(one: Found) -> bool:
            if self.join:
                return bool(one.ids == row.ids)
            ids = {*one.ids.values()} & {*filter(None, row.ids.values())}
            return bool(ids) or one.tags.get("awslabs:token") == row.token

        return [self.judged(one, row) for one in found if is_its(one)]

    def judged(self, found: Found, row: Any) -> Found:
        """One thing as this row sees it: its own, ``foreign``, or a ``copy``.

        The token stands in the tags or at the end of a name. A join carries none: its two ends are its mark.
        What is on its way out needs no deletion, so it is nobody's concern whose it is.
        """
        if self.named:
            is_another = row.ids and not {*found.ids.values()} & {*row.ids.values()}
        else:
            is_another = row.state in ("standing", "deleting") and row.id and found.id != row.id
        if is_another and not self.join:
            return replace(found, state="ended" if found.state == "going" else "copy")
        marks = (found.tags.get("awslabs:token", ""), *found.ids.values())
        if self.join or found.state in ("going", "ended") or any(one.endswith(row.token) for one in marks):
            return found
        return replace(found, state="foreign")
