"""How a model is trained: every setting of a run, in one place."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from trivium.errors import ConfigError
from trivium.model.config import Count, ModelConfig
from trivium.settings import Settings

Share = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0), Le(1e9)]
Natural = Annotated[int, Ge(0), Le(10**15)]


@dataclass(frozen=True)
class SourceConfig(Settings):
    """One part of the training mixture."""

    name: str
    """A data set's usual name; a graph file, or a folder with its ``train.txt``; a folder of such folders; or
    ``synthetic`` for graphs made by random rules."""
    weight: Annotated[float, Ge(0), Le(1e9)] = 1.0
    """Its share of the subgraphs, beside the other sources' weights. The graphs of a folder share it in proportion to
    the logarithm of one plus their number of relations with ten triples or more."""
    columns: str = ""
    """The columns of its files, and of ``valid``, where they are tables: HEAD,RELATION,TAIL, by name or number."""
    relation: str = ""
    """What joins the pairs of a table that has no column of relations."""
    also: tuple[str, ...] = ()
    """Further files of the graph: more triples, or a table of nodes with labels and types."""
    labels: tuple[str, ...] = ()
    """Tables of names and labels, or RDF with labels; labels of relations are texts too."""
    named_graph: str = ""
    """The IRI of the named graph to read of RDF; all of them by default."""
    skip_bad: bool = False
    """Go on past lines that cannot be read."""
    undirected: bool = False
    """Every fact holds the other way round too."""
    symmetric: tuple[str, ...] = ()
    """Relations whose facts hold the other way round too."""

    @property
    def reading(self) -> dict[str, Any]:
        """How its files are read, as `trivium.graph.read.read_graph` takes it; nothing of what is by default."""
        return {key: value for key, value in vars(self).items() if value and key not in ("name", "weight")}


@dataclass(frozen=True)
class TrainingConfig(Settings):
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
    """Begin with a new similarity threshold, a quantile of the cosines that the model now finds, not with that of
    ``start_from``."""
    steps: Count = 3000
    """Optimizer steps."""
    seed: Natural = 0
    """Subgraph k of the run is a pure function of this and k."""
    subgraphs_per_step: Count = 1
    """Subgraphs whose gradients are averaged in one step."""
    learning_rate: Annotated[float, Gt(0), Le(1)] = 1e-3
    """Peak rate of AdamW."""
    fusion_learning_rate: Share = 0.0
    """Peak rate of the fusion weights' logits; 0 means that of everything else."""
    final_learning_rate: Share = 1e-5
    """Where the cosine ends."""
    warmup_steps: Natural = 100
    """Steps of linear warm-up."""
    weight_decay: Share = 0.01
    """Decay, on matrices only."""
    gradient_clip: Positive = 1.0
    """Largest norm of the gradient."""
    ema: Share = 0.996
    """Decay of the weights' running average, which is what a checkpoint holds."""
    relation_text_dropout: Share = 0.1
    """Share of relations whose text is dropped in a step, inverse and all."""
    graph_text_dropout: Share = 0.4
    """How often all texts of a subgraph are dropped: the same weights then serve graphs whose names mean nothing."""
    min_entities: Annotated[int, Ge(2)] = 400
    """Fewest entities of a subgraph."""
    max_entities: Count = 8000
    """Most entities of a subgraph; sizes are log-uniform between."""
    max_triples: Count = 40000
    """Most triples of a subgraph."""
    triples_per_entity: Positive = 5.0
    """Most triples of a subgraph beside its entities; one of up to 5,000 triples may have more."""
    sparse_share: Share = 0.0
    """How often a subgraph is thinned to between ``min_density`` and ``max_density`` triples an entity."""
    min_density: Positive = 1.1
    max_density: Positive = 5.0
    unseen_share: Share = 0.0
    """How often all facts of the asked relation are taken out, so that its text is the only evidence."""
    unseen_others: Share = 0.0
    """Such a subgraph loses other relations with a chance that is uniform up to this; then they are asked for too."""
    half_share: Share = 0.0
    """How often a question's answer has no other fact at that end of the relation, where at most ten have to go."""
    min_questions: Count = 4
    max_questions: Count = 32
    """Questions asked of a subgraph: fewer of a larger one."""
    work: Positive = 32000.0
    """What questions · (.6 · entities + .1 · edges) should come to: the cost of one subgraph."""
    steps_per_epoch: Count = 50
    """An epoch, in steps: the unit of logging."""
    log_every: Count = 10
    """Epochs from one log of the fusion to the next: weight, contribution and activity of each branch (F8)."""
    save_every: Count = 100
    """Steps from one saved state to the next."""
    threads: Annotated[int, Ge(1), Le(1024)] = 1
    """Threads of torch and of the kernels. Resuming is bitwise for the same number."""
    train_only: tuple[str, ...] = ()
    """Parts that learn: fusion, similarity, prompt, text, structure, entity; the others keep their weights, bit for
    bit. Empty: all learn."""
    validate_every: Natural = 0
    """Epochs from one validation of the averaged weights to the next, on questions about the first source; the best
    weights are kept. 0: no validation, and the last weights count."""
    valid: str = ""
    """A file of validation triples. Empty: the data set's own, or else some are held out of the graph."""
    valid_questions: Count = 300
    """Validation questions, at most, both directions counted."""
    set_aside: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of them that choose no weights, and can show what the chosen ones are worth."""
    patience: Count = 4
    """Validations without a better one after which training stops."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for what in ("entities", "questions", "density"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if high < low:
                raise ConfigError(f"max_{what} is {high}: give {low} or more, as min_{what} is")
        if not any(source.weight for source in self.sources):
            raise ConfigError("sources: name at least one, with a weight above 0")


@dataclass(frozen=True)
class FitConfig(Settings):
    """How a checkpoint is fitted to one graph."""

    training: TrainingConfig
    """What every part of the run has in common. Rate, steps and questions are set by the plan."""
    minutes: Positive = 10.0
    """What all of it may take, once kernels are compiled."""
    steps: Natural = 0
    """Steps in all instead of a time; 0: as many as the minutes hold."""
    rates: tuple[Annotated[float, Gt(0), Le(1)], ...] = (1e-4, 5e-4)
    """Peak rates to try."""


@dataclass(frozen=True)
class AblationConfig(Settings):
    """What each part of a model is worth: every arm goes on from one structural start, on the same subgraphs (F10)."""

    training: TrainingConfig
    """How an arm is trained. Its model says how large the parts are; which it has, the arm decides."""
    graphs: tuple[str, ...]
    """Data sets whose validation questions judge the arms; none may share a triple with the training graphs."""
    warm_start: str = ""
    """A checkpoint whose structural and entity encoder every arm begins with; empty: one is trained first."""
    warm_steps: Count = 1000
    """Steps of that first training."""
    seeds: tuple[Natural, ...] = (0, 1, 2)
    """Every arm runs once with each; at least three."""
    questions: Count = 300
    """Questions asked of each graph, at most, both directions counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.seeds)) < 3:
            raise ConfigError(f"seeds: {list(self.seeds)}: give at least three, or chance passes for a gain")
        if not self.graphs:
            raise ConfigError("graphs: name at least one")
