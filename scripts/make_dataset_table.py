"""Writes src/trivium/datasets/datasets.csv: homes, checksums, counts and citations of the public data sets.

    python scripts/make_dataset_table.py DATA_DIR

DATA_DIR holds `<data set>[/<version>]/<split>.txt.gz` and `homes.csv` (dataset, split, columns, url,
member_of_zip). A set that has an address but no files there gets a row without checksum; it is read from a
local folder only.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

from trivium.datasets.splits import family_of
from trivium.datasets.table import SPLITS, TABLE
from trivium.graph.graph import triples_sha256
from trivium.graph.read import read_triples

FIELDS = [
    *("dataset", "family", "split", "triples", "entities", "relations", "sha256"),
    *("columns", "urls", "member", "citation"),
]
CONVE = "Dettmers et al., Convolutional 2D Knowledge Graph Embeddings, AAAI 2018"
DACKGR = "Lv et al., Dynamic Anticipation and Completion for Multi-Hop Reasoning, EMNLP 2020"
GRAIL = "Teru et al., Inductive Relation Prediction by Subgraph Reasoning, ICML 2020"
INGRAM = "Lee et al., InGram: Inductive Knowledge Graph Embedding via Relation Graphs, ICML 2023"
IRM = "Kemp et al., Learning Systems of Concepts with an Infinite Relational Model, AAAI 2006"
MTDEA = "Zhou et al., A Multi-Task Perspective for Link Prediction with New Relation Types and Nodes, 2023"
SEMMA = "Arun et al., SEMMA: A Semantic Aware Knowledge Graph Foundation Model, EMNLP 2025"
CITATIONS = {
    "CoDEx": "Safavi and Koutra, CoDEx: A Comprehensive Knowledge Graph Completion Benchmark, EMNLP 2020",
    "ConceptNet100k": "Li et al., Commonsense Knowledge Base Completion, ACL 2016",
    "Countries": "Bouchard et al., On Approximate Reasoning Capabilities of Low-Rank Vector Spaces, 2015",
    "DBpedia100k": "Ding et al., Improving Knowledge Graph Embedding Using Simple Constraints, ACL 2018",
    "FB15k237Inductive": GRAIL,
    "WN18RRInductive": GRAIL,
    "NELLInductive": GRAIL,
    "FB15k237_": DACKGR,
    "NELL23k": DACKGR,
    "WDsinger": DACKGR,
    "FB15k237": "Toutanova and Chen, Observed versus Latent Features for Knowledge Base Inference, CVSC 2015",
    "FBIngram": INGRAM,
    "WKIngram": INGRAM,
    "NLIngram": INGRAM,
    "FBNELL_harder": SEMMA,
    "Metafam_harder": SEMMA,
    "FBNELL": MTDEA,
    "Metafam": MTDEA,
    "WikiTopics": MTDEA,
    "HM": "Hamaguchi et al., Knowledge Transfer for Out-of-Knowledge-Base Entities, IJCAI 2017",
    "ILPC2022": "Galkin et al., An Open Challenge for Inductive Link Prediction on Knowledge Graphs, 2022",
    "NELL995": "Xiong et al., DeepPath, EMNLP 2017, as split by Zhang and Yao, RED-GNN, WWW 2022",
    "WN18RR": CONVE,
    "YAGO310": CONVE,
    "Kinship": IRM,
    "Nations": IRM,
    "UMLS": IRM,
}


def main(data: Path) -> None:
    homes: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with (data / "homes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            homes[row["dataset"].replace("/", ":"), row["split"]].append(row)
    found = defaultdict(set)
    for name, split in homes:
        found[name].add(split)
    for path in data.glob("**/*.txt.gz"):
        split = path.name.removesuffix(".txt.gz")
        if split in SPLITS:
            found[":".join(path.parent.relative_to(data).parts)].add(split)
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for name in sorted(found):
            for split in (split for split in SPLITS if split in found[name]):
                home = homes.get((name, split), [])
                row = dict.fromkeys(FIELDS, "") | {
                    "dataset": name,
                    "family": family_of(found[name]),
                    "split": split,
                    "urls": " ".join(source["url"] for source in home),
                    "columns": home[0]["columns"] if home else "",
                    "member": home[0]["member_of_zip"] if home else "",
                    "citation": CITATIONS[max((key for key in CITATIONS if name.startswith(key)), key=len)],
                }
                path = data / name.replace(":", "/") / f"{split}.txt.gz"
                writer.writerow(row | (counts(path) if path.exists() else {}))


def counts(path: Path) -> dict[str, str | int]:
    frame = read_triples(path)
    return {
        "triples": len(frame),
        "entities": frame["head"].append(frame["tail"]).n_unique(),
        "relations": frame["relation"].n_unique(),
        "sha256": triples_sha256(frame),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
