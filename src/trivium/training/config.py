"""How a model is trained: every setting of a run, in one place."""

from dataclasses import dataclass, field
from typing import Any, Literal

from trivium.errors import ConfigError
from trivium.model.config import ModelConfig
from trivium.settings import check_range

RANGES = (
    (0, 1, "ema relation_text_dropout graph_text_dropout sparse_share unseen_share unseen_others"),
    (1, 1e9, "steps subgraphs_per_step steps_per_epoch save_every look_every patience valid_questions min_questions"),
    (2, 1e9, "min_entities"),
    (1, 1e9, "max_triples work"),
    (1, 1024, "threads"),
    (0, 1024, "workers"),
    (0, 1e9, "warmup_steps validate_every temperature"),
    (0, 1, "fusion_learning_rate final_learning_rate weight_decay"),
    (1e-9, 1, "learning_rate"),
    (1e-9, 1e9, "gradient_clip min_density max_density"),
    (0, 1e15, "seed"),
)


@dataclass(frozen=True)
class SourceConfig:
    """One part of the training mixture."""

    name: str
    """A data set's usual name, a graph file, or ``synthetic`` for graphs made by random rules."""
    weight: float = 1.0
    """Its share of the subgraphs, beside the other sources' weights."""

    def __post_init__(self) -> None:
        check_range(0, 1e9, weight=self.weight)


@dataclass(frozen=True)
class TrainingConfig:
    """A pretraining run. Schedules count in steps, so a run does not depend on the machine's speed."""

    sources: tuple[SourceConfig, ...]
    """Where subgraphs come from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """What is trained."""
    exclude: tuple[str, ...] = ()
    """Data sets whose validation and test questions are taken out of the training graphs."""
    exclude_graphs: tuple[str, ...] = ()
    """Data sets of which nothing stays in the training graphs, the graphs on which they are asked included."""
    start_from: str = ""
    """A checkpoint to begin from, where its weights fit; parts that it lacks begin fresh. Empty: from scratch."""
    restart_threshold: bool = False
    """Start the similarity threshold anew, at a quantile of what the model now finds, whatever ``start_from`` holds."""
    steps: int = 3000
    """Optimizer steps."""
    seed: int = 0
    """Subgraph k of the run is a pure function of this and k."""
    subgraphs_per_step: int = 1
    """Subgraphs whose gradients are averaged in one step."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW."""
    fusion_learning_rate: float = 0.0
    """Peak rate of the fusion weights' logits; 0 means that of everything else."""
    final_learning_rate: float = 1e-5
    """Where the cosine ends."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.01
    """Decay, on matrices only."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.996
    """Decay of the weights' running average, which is what a checkpoint holds."""
    relation_text_dropout: float = 0.1
    """Share of relations whose text is dropped in a step, inverse and all."""
    graph_text_dropout: float = 0.4
    """How often all texts of a subgraph are dropped: the same weights then serve graphs whose names mean nothing."""
    loss: Literal["softmax", "adversarial"] = "softmax"
    """What training lowers: the cross-entropy of a softmax, or the self-adversarial binary cross-entropy."""
    temperature: float = 1.0
    """Of the self-adversarial loss."""
    min_entities: int = 400
    """Fewest entities of a subgraph."""
    max_entities: int = 8000
    """Most entities of a subgraph; sizes are log-uniform between."""
    max_triples: int = 40000
    """Most triples of a subgraph."""
    sparse_share: float = 0.0
    """How often a subgraph is thinned to between ``min_density`` and ``max_density`` triples an entity."""
    min_density: float = 1.1
    max_density: float = 5.0
    unseen_share: float = 0.0
    """How often all facts of the asked relation are taken out, so that its text is the only evidence."""
    unseen_others: float = 0.0
    """Such a subgraph loses other relations with a chance that is uniform up to this; then they are asked for too."""
    min_questions: int = 4
    max_questions: int = 32
    """Questions asked of a subgraph: fewer of a larger one."""
    work: float = 32000.0
    """What questions · (.6 · entities + .1 · edges) should come to: the cost of one subgraph."""
    steps_per_epoch: int = 50
    """An epoch, in steps: the unit of logging."""
    look_every: int = 10
    """Epochs from one look at the fusion to the next: weight, contribution and activity of each branch (F8)."""
    save_every: int = 100
    """Steps from one saved state to the next."""
    workers: int = 0
    """Processes that prepare subgraphs ahead; 0 prepares them in place. The result is the same."""
    threads: int = 1
    """Threads of torch and of the kernels. Resuming is bitwise for the same number."""
    train_only: tuple[str, ...] = ()
    """Parts that learn: fusion, similarity, prompt, text, structure, entity; the others keep their weights, bit for
    bit. Empty: all learn."""
    validate_every: int = 0
    """Epochs from one validation of the averaged weights to the next, on questions about the first source; the best
    weights are kept. 0: no validation, and the last weights count."""
    valid: str = ""
    """A file of validation triples. Empty: the data set's own, or else some are held out of the graph."""
    valid_questions: int = 300
    """Validation questions, at most, both directions counted."""
    patience: int = 4
    """Validations without a better one after which training stops."""

    def __post_init__(self) -> None:
        for low, high, names in RANGES:
            check_range(low, high, **{name: getattr(self, name) for name in names.split()})
        for what in ("entities", "questions", "density"):
            check_range(getattr(self, f"min_{what}"), **{f"max_{what}": getattr(self, f"max_{what}")})
        if not any(source.weight for source in self.sources):
            raise ConfigError("sources: name at least one, with a weight above 0")


@dataclass(frozen=True)
class AblationConfig:
    """What each part of a model is worth: every arm goes on from one structural start, on the same subgraphs (F10)."""

    training: TrainingConfig
    """How an arm is trained. Its model says how large the parts are; which it has, the arm decides."""
    graphs: tuple[str, ...]
    """Data sets whose validation questions judge the arms; none may share a triple with the training graphs."""
    warm_start: str = ""
    """A checkpoint whose structural and entity encoder every arm begins with, or all of it where choices are tried;
    empty: one is trained first."""
    warm_steps: int = 1000
    """Steps of that first training."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every arm runs once with each; at least three."""
    questions: int = 300
    """Questions asked of each graph, at most, both directions counted."""
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Trials of choices instead of parts: by name, the settings of ``training`` that an arm changes. Every arm has all
    parts then, and is compared with the one that changes nothing."""

    def __post_init__(self) -> None:
        check_range(1, 1e9, warm_steps=self.warm_steps, questions=self.questions)
        for seed in self.seeds:
            check_range(0, 1e15, seeds=seed)
