"""What each process of `test_team` runs, started by torchrun: ``FOLDER``, which holds the run."""

import os
import signal
import sys
from pathlib import Path

from tests.training.test_team import GRAPH, SETTINGS, TEXTS

from trivium.training.loop import train
from trivium.training.run import RunFolder
from trivium.training.team import teamed
from trivium.training.trainer import Trainer

if __name__ == "__main__":
    with teamed("cpu") as team:
        if team.rank == 1 and not team.again:
            usual = Trainer.step

            def struck(self: Trainer, step: int, *rest: object) -> dict[str, float]:
                if step == 12:
                    os.kill(os.getpid(), signal.SIGKILL)
                return usual(self, step, *rest)  # type: ignore[arg-type]

            Trainer.step = struck  # type: ignore[method-assign,assignment]
        folder = Path(sys.argv[1])
        # the others are given no folder that is there: they neither read nor write one
        run = RunFolder(folder if team.first else folder / "nowhere")
        train(SETTINGS, {"some": GRAPH}, run, texts={"some": TEXTS}, team=team)
        assert team.again
