"""Trainings on small data: the command, small models, made sentences, and trainings that are killed."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

from helpers.processes import ROOT
from pinfold.cli.main import main

SMALL_BERT = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 64}
SMALL_DECODER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
SMALL_SENTIMENT = {"embedding_dim": 16, "hidden_dim": 12, "num_layers": 1, "dropout": 0.1}
NO_DROPOUT = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}  # of bert_model
PEOPLE, PLACES = ("ada", "noor", "mei", "ravi"), ("oslo", "lima", "new york", "cairo")
DID = ("went to", "likes", "wrote from", "left")

# one process that has imported all it needs, and a fork of it for each training
KILLED = """
import json, os, signal, sys
import torch, transformers, pinfold.cli.train
from pinfold.cli.main import main

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

step = transformers.Trainer.training_step
def training_step(self, *arguments, **options):
    return (die if self.state.global_step >= at else step)(self, *arguments, **options)

for line in sys.stdin:
    at, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        if at is None:
            transformers.Trainer._load_best_model = die
        else:
            transformers.Trainer.training_step = training_step
        os.dup2(2, 1)
        main(arguments)
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


def set_options(**fields) -> list[str]:
    """--set NAME=VALUE of each field."""
    return [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]


def train(*arguments) -> int:
    """`pinfold train` in this process."""
    return main(["train", *map(str, arguments)])


def results(output: Path) -> dict:
    """The metrics that a training measured."""
    return json.loads((output / "eval_results.json").read_text())["metrics"]


def last_error(capsys) -> str:
    """The one line of a mistake; progress bars are overwritten by it."""
    return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]


def kill_trainings(*trainings: tuple[int | None, list]) -> None:
    """Run `pinfold train` for each, killed at a step; None: when Trainer is about to load the best epoch."""
    lines = "".join(json.dumps([at, ["train", *map(str, arguments)]]) + "\n" for at, arguments in trainings)
    run = subprocess.run([sys.executable, "-c", KILLED], input=lines, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.split() == [str(int(signal.SIGKILL))] * len(trainings), run.stderr[-2000:]


def tagged_sentences(count: int = 240) -> list[tuple[list[str], list[str]]]:
    """Made sentences; "may" is a person before a verb, else a month, which no word alone shows."""
    draw, sentences = random.Random(0), []
    for _ in range(count):
        place = draw.choice(PLACES).split()
        who = draw.choice((*PEOPLE, "may"))
        verb = draw.choice(DID).split()
        when = draw.choice(([], ["in", "may"]))
        words = [who, *verb, *place, *when]
        tags = ["B-PER", *["O"] * len(verb), "B-LOC", *["I-LOC"] * (len(place) - 1), *["O"] * len(when)]
        sentences.append((words, tags))
    return sentences
