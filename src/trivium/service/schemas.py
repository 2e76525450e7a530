"""What requests and replies hold, as the OpenAPI description says it. Requests with limits stand in `app`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from trivium.explanation.explain import Reason
from trivium.review.decisions import Verdict
from trivium.service.settings import Limits

Name = Annotated[str, Field(min_length=1, description="A name as the graph has it, or a label that is one's alone.")]
Kind = Literal["entity", "relation"]
Range = Annotated[
    Literal["all", "seen", "type"] | None,
    Field(
        description="Which entities may answer: all, those seen at that end of the relation, or those of a type that "
        "was; null as the service was started."
    ),
]


class Request(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Question(Request):
    """(head, relation, ?) or (?, relation, tail)."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["head"]}, {"required": ["tail"]}]})
    head: Name | SkipJsonSchema[None] = None
    relation: Name
    tail: Name | SkipJsonSchema[None] = None
    k: int
    include_known: bool = Field(False, description="Also answers that the graph holds, marked.")
    range: Range = None

    @model_validator(mode="after")
    def _has_one_end(self) -> Self:
        if len(self.model_fields_set & {"head", "tail"}) != 1 or self.head is self.tail is None:
            raise PydanticCustomError("question", "give a relation, and a head or a tail, one of the two")
        return self


class Pair(Request):
    """(head, ?, tail)."""

    head: Name
    tail: Name
    k: int
    include_known: bool = Field(False, description="Also relations that the graph holds between the two, marked.")


class Triple(Request):
    """A triple by name."""

    head: Name
    relation: Name
    tail: Name


class Claim(Triple):
    """A triple to judge."""

    range: Range = None


class Suggestion(BaseModel):
    """A link that the graph lacks, and how plausible it is."""

    head: str
    relation: str
    tail: str
    score: float
    confidence: float | None


class Why(Claim):
    """An answer to explain."""

    paths: int
    inverse: bool = Field(False, description="Explain the head as an answer to (?, relation, tail) instead.")


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str = Field(description="One line: what is wrong, and what to do.")


class Named(BaseModel):
    name: str = Field(description="What identifies it.")
    label: str = Field(description="What people read; the name itself where the graph has no labels.")


class Answer(Named):
    rank: int = Field(description="1 is best; equal scores share a rank.")
    tied: int = Field(description="How many answers, shown or not, share this rank.")
    score: float = Field(description="Orders the answers to one question; no probability.")
    known: bool = Field(description="Whether the graph holds the answer already, itself or as a copy.")
    reversed: bool = Field(description="Whether the graph holds it turned round: its relation leads back.")
    confidence: float | None = Field(
        description="The estimated chance that an answer with this score and rank is a true one that the graph lacks; "
        "null for an answer that it holds, and without a calibration for such answers."
    )


class Answers(BaseModel):
    head: str | None = Field(description="null where heads are asked for")
    relation: str
    tail: str | None = Field(description="null where tails are asked for")
    relation_label: str = Field(description="What people read of the relation.")
    answers: list[Answer] = Field(description="Best first.")
    cut: int = Field(
        description="How many more answers share the last one's rank: which of them are shown says nothing."
    )


class Joining(Named):
    rank: int = Field(description="1 is best; equal scores share a rank.")
    tied: int = Field(description="How many relations, shown or not, share this rank.")
    score: float = Field(description="Compares the relations of this pair, and nothing else.")
    known: bool = Field(description="Whether the graph holds the fact already, itself or as a copy.")


class Relations(BaseModel):
    head: str
    tail: str
    relations: list[Joining] = Field(description="Best first.")


class Fact(BaseModel):
    head: str
    relation: str
    tail: str


class Score(Fact):
    score: float = Field(description="Of the tail as an answer to (head, relation, ?).")
    tail_rank: float = Field(description="The tail's rank among tails, known ones left out; ties share a rank.")
    tail_tied: int = Field(description="How many tails share this rank.")
    head_rank: float = Field(description="The head's rank among heads.")
    head_tied: int = Field(description="How many heads share this rank.")
    confidence: float | None = Field(description="Of the tail, as of an answer; null without a calibration.")
    known: bool = Field(description="Whether the graph holds it, itself or as a copy; it is then judged without both.")


class Reasons(Fact):
    """The few paths that carried an answer's score, and what the relation's representation leaned on."""

    model_config = ConfigDict(extra="allow")
    score: float
    rank: float
    known: bool
    reached: bool = Field(description="Whether any path leads to the answer within the model's layers.")
    paths: list[Reason] = Field(description="Heaviest first.")
    leaned_on: dict[str, Any] = Field(description="By part of the model.")
    words: list[str] = Field(description="The same, to be read by a person.")


class Decided(BaseModel):
    """What was kept."""

    decided: list[Triple]
    new: list[str] = Field(description="Names that the graph did not hold: new ones, or misspelt.")


class Choice(Request):
    """Which suggestions are shown, and in which order."""

    relation: list[Name] = Field(default=[], max_length=100, description="Of these relations alone; of all without.")
    min_confidence: float | None = Field(default=None, ge=0, le=1, description="Of at least this confidence.")
    doubtful_first: bool = Field(default=False, description="First those whose confidence is nearest to one half.")


Reviewer = Annotated[str, Field(min_length=1, max_length=200, description="Who says so.")]
Note = Annotated[str, Field(max_length=1000)]


class Judgement(Request):
    """What somebody says of a suggested link."""

    link: Triple
    verdict: Verdict
    reviewer: Reviewer
    note: Note = ""
    choice: Choice = Choice()


class Who(Request):
    """Whose last decision is taken back."""

    reviewer: Reviewer


class Undoing(Who):
    """Takes back somebody's last decision."""

    choice: Choice = Choice()


class Suggested(BaseModel):
    head: Named
    relation: Named
    tail: Named
    confidence: float | None = Field(description="That it was suggested with.")
    verdict: str = Field(description="What stands; empty while it waits.")


class ToReview(Suggested):
    like: list[Suggested] = Field(description="Others of the same question, then others with the same answer.")


class WaitingOf(Named):
    waiting: int = Field(description="How many of its links wait.")


class Review(BaseModel):
    """How far people have come with the suggestions, and what comes next."""

    counts: dict[str, int] = Field(description="How many suggested links wait, and of how many each verdict stands.")
    waiting: int = Field(description="How many of those that are shown wait.")
    relations: list[WaitingOf] = Field(description="With links that wait, the most first; at most 100.")
    confident: bool = Field(description="Whether suggestions have confidences.")
    unknown: int = Field(description="Suggestions left out, as they name what the graph lacks.")
    of_another: bool = Field(description="Whether they were made of another graph.")
    links: list[ToReview] = Field(description="The next few, in their order.")
    undone: Triple | None = Field(default=None, description="Whose decision was taken back.")


class Twin(Named):
    turned: bool = Field(description="Whether it says the same turned round.")


class RelationHeld(Named):
    facts: int
    lacking: int = Field(description="Entities without an answer, though most that are like them have one.")
    twins: list[Twin] = Field(description="Relations that say the same; itself turned round, if it holds both ways.")


class RelationsHeld(BaseModel):
    total: int
    relations: list[RelationHeld] = Field(description="A page of them, those with most facts first.")


class Filled(BaseModel):
    head: Named
    held: int = Field(description="How many answers the graph has, itself or by a relation that says the same.")
    answer: Answer | None = Field(description="The best that it does not hold; null where none is left.")


class Completion(BaseModel):
    relation: Named
    questions: int = Field(description="How many there are in all.")
    lacking: int = Field(description="Of how many the head has no answer yet; these come first, the likeliest first.")
    rows: list[Filled]


class Found(Named):
    facts: int = Field(description="How many facts name it.")


class FoundList(BaseModel):
    results: list[Found] = Field(description="Beginning with the text first, then spelled like it.")


class RelationOfEntity(BaseModel):
    relation: str
    label: str
    inverse: bool = Field(description="Whether the entity is the tail of these facts.")


class CountedRelation(RelationOfEntity):
    facts: int = Field(description="How many facts of the entity.")


class KnownFact(RelationOfEntity):
    other: Named = Field(description="The fact's other end.")


class Entity(Named):
    total: int = Field(description="How many facts name it.")
    relations: list[CountedRelation]
    facts: list[KnownFact] = Field(description="One page of them, by relation.")


class About(BaseModel):
    version: str
    graph: dict[str, Any]
    model: dict[str, Any]
    keeps: bool = Field(description="Whether facts and decisions are taken.")
    reviews: bool = Field(description="Whether there are suggestions to go through.")
    calibrated: bool = Field(description="Whether answers carry a confidence.")
    range: str = Field(description="Which entities may answer unless a question says; empty for all.")
    ranges: list[str] = Field(description="What a question may say.")
    examples: list[dict[str, str]] = Field(description="Questions to begin with.")
    question_seconds: float = Field(
        description="How long a question took when the service began; 0 before it is ready."
    )
    limits: Limits


class Health(BaseModel):
    status: Literal["ok"]
