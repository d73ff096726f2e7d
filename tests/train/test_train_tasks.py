"""Training of masked language models, taggers and answerers; adapters, precision, several processes, mistakes."""

import csv
import json
import random
import subprocess
import sys

import pytest
import torch
from helpers.processes import ROOT
from helpers.training import (
    NO_DROPOUT,
    PEOPLE,
    PLACES,
    SMALL_BERT,
    kill_trainings,
    results,
    set_options,
    tagged_sentences,
    train,
)
from safetensors.torch import load_file

from pinfold.train import metrics
from pinfold.train.tasks.answers import exact_match, f1_score, load_answers
from pinfold.train.tasks.tags import load_tags

FOLDER = ROOT / "bert_model"
SMALL = set_options(**SMALL_BERT)
STILL = set_options(**NO_DROPOUT)


def asked(count: int = 300) -> list[dict]:
    draw, rows = random.Random(0), []
    for _ in range(count):
        who, place, other = draw.choice(PEOPLE), draw.choice(PLACES), draw.choice(PLACES)
        first = draw.random() < 0.5
        parts = [f"{who} lives in {place}", f"the sea is near {other}"]
        text = ". ".join(parts if first else parts[::-1]) + "."
        start = text.index(f"{who} lives in ") + len(f"{who} lives in ")
        rows.append({"question": f"where does {who} live?", "context": text,
                      "answers": {"text": [place], "answer_start": [start]}})  # fmt: skip
    return rows


def lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def same_weights(one, other):
    one, other = (load_file(output / "model.safetensors") for output in (one, other))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def texts(made):
    """A row of text in each line: what the masked words are follows from the others."""
    with (made / "texts.csv").open("w", newline="") as file:
        rows = [[" ".join(words)] for words, _ in tagged_sentences(424)]
        csv.writer(file).writerows([["text"], *rows])
    return made / "texts.csv"


@pytest.fixture(scope="module")
def tags(made):
    output = made / "tags"
    data = lines(made / "tags.jsonl", [{"tokens": words, "ner_tags": tags} for words, tags in tagged_sentences()])
    options = ["--vocab-size", 80, "--epochs", 10, "--learning-rate", 0.02]
    assert train(FOLDER, "--task", "token-classification", "--data", data, "--output", output, *SMALL, *options) == 0
    return output


@pytest.fixture(scope="module")
def masked(made, texts):
    options = ["--vocab-size", 80, "--block-size", 16, "--epochs", 24, "--learning-rate", 0.01, "--packing", "no"]
    output = made / "masked"
    assert train(FOLDER, "--task", "masked-lm", "--data", texts, "--output", output, *SMALL, *options) == 0
    return output


@pytest.mark.slow
def test_a_tagger_beats_the_commonest_tag_of_each_word_and_its_figures_are_those_of_the_saved_model(tags):
    from sklearn.model_selection import train_test_split
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    found = results(tags)
    assert found["entity_f1"] > 0.97 > found["commonest_tags"]["entity_f1"]
    assert found["entity_f1_interval"][0] <= found["entity_f1"] <= found["entity_f1_interval"][1]
    model = AutoModelForTokenClassification.from_pretrained(tags, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(tags, trust_remote_code=True)
    _, held = train_test_split(tagged_sentences(), test_size=0.2, random_state=0)
    right = predicted = true = 0
    for words, given in held:  # measured anew, a sentence at a time
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            answers = model(**encoded).logits[0].argmax(-1).tolist()
        ids = encoded.word_ids(0)
        firsts = [ids.index(place) for place in range(len(words))]
        a = metrics.entities([model.config.id2label[answers[place]] for place in firsts])
        b = metrics.entities(given)
        right, predicted, true = right + len(a & b), predicted + len(a), true + len(b)
    assert found["entity_f1"] == pytest.approx(2 * right / (predicted + true), abs=1e-12)
    assert set(found["per_class"]) == {"LOC", "PER"}


def test_masked_words_are_found_and_the_pipeline_gives_them(masked):
    from transformers import pipeline

    found = results(masked)
    assert found["accuracy"] > 0.35 and found["perplexity"] < 12
    low, high = found["perplexity_interval"]
    assert low < found["perplexity"] < high
    fill = pipeline("fill-mask", str(masked), trust_remote_code=True, device="cpu")
    answers = fill("ada left [MASK] york")
    assert answers[0]["token_str"] == "new" and answers[0]["score"] > 0.5


@pytest.mark.slow
def test_a_masked_model_is_resumed_to_the_same_weights(made, texts):
    """Which tokens are masked follows from seed, epoch and example: not from what was drawn before."""
    options = [FOLDER, "--task", "masked-lm", "--data", texts, *SMALL, "--vocab-size", 80]
    options += ["--block-size", 16, "--epochs", 3, "--batch-size", 16]
    broken = [*options, "--output", made / "broken"]
    assert train(*options, "--output", made / "whole") == 0
    kill_trainings((17, broken))
    assert list((made / "broken").glob("checkpoint-*")) and train(*broken) == 0
    same_weights(made / "whole", made / "broken")
    assert results(made / "whole") == results(made / "broken")


@pytest.mark.slow
def test_answers_are_found_and_scored_as_squad_does(made):
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    data, output = lines(made / "asked.jsonl", asked()), made / "answers"
    options = ["--vocab-size", 70, "--epochs", 30, "--learning-rate", 0.01, "--max-length", 32]
    assert train(FOLDER, "--task", "question-answering", "--data", data, "--output", output, *SMALL, *options) == 0
    found = results(output)
    assert found["exact_match"] > 0.8 and found["f1"] >= found["exact_match"]
    assert found["exact_match_interval"][0] < found["exact_match"]
    model = AutoModelForQuestionAnswering.from_pretrained(output, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(output, trust_remote_code=True)
    text = "the sea is near lima. mei lives in cairo."
    encoded = tokenizer("where does mei live?", text, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0]
    with torch.no_grad():
        outputs = model(**encoded)
    start, end = outputs.start_logits.argmax(), outputs.end_logits.argmax()
    assert text[offsets[start][0] : offsets[end][1]] == "cairo"


def test_squads_scores_and_its_file(tmp_path):
    assert exact_match("The Sea!", ["a sea"]) and not exact_match("sea shore", ["sea"])
    assert f1_score("sea shore", ["the sea", "x"]) == pytest.approx(2 / 3) and f1_score("", []) == 1.0
    question = {"question": "who?", "answers": [{"text": "noor", "answer_start": 3}], "id": "1"}
    none = {"question": "what?", "answers": [], "is_impossible": True, "id": "2"}
    content = {"data": [{"paragraphs": [{"context": "is noor here", "qas": [question, none]}]}]}
    (tmp_path / "x.json").write_text(json.dumps(content))
    _, rows = load_answers(str(tmp_path / "x.json"))
    assert rows == [("who?", "is noor here", [(3, "noor")]), ("what?", "is noor here", [])]


def test_tagged_words_are_read_from_lines_and_from_a_data_set(tmp_path):
    text = "-DOCSTART- -X- O\n\nAda NNP B-PER\nruns VB O\n\nOslo NNP B-LOC\n"
    (tmp_path / "x.conll").write_text(text)
    expected = [(["Ada", "runs"], ["B-PER", "O"]), (["Oslo"], ["B-LOC"])]
    assert load_tags(str(tmp_path / "x.conll"), None, None) == ("x.conll", expected)
    # what `datasets` loads by name, from a directory as from the Hub
    (tmp_path / "set").mkdir()
    lines(tmp_path / "set" / "train.jsonl", [{"tokens": words, "tags": tags} for words, tags in expected])
    assert load_tags(f"datasets:{tmp_path / 'set'}", None, None)[1] == expected


@pytest.mark.parametrize(
    "tags",
    [["B-A", "I-A", "O", "B-B"], ["I-A", "I-B", "B-B", "I-B"], ["O", "S-A", "B-A", "E-A"], ["B-A", "B-A", "I-B", "O"]],
)
def test_entities_are_those_of_conlleval(tags):
    """Its rule, written as it is stated: an entity begins and ends between each pair of tags, or does not."""
    found, begun = set(), None
    padded = ["O", *tags, "O"]
    for place in range(1, len(padded)):
        (before, _, kind), (mark, _, new) = padded[place - 1].partition("-"), padded[place].partition("-")
        if before in "BIES" and before != "O" and (before in "ES" or mark in "BSO" or kind != new):
            found.add((begun, place - 1, kind))
        if mark in "BIES" and mark != "O" and (mark in "BS" or before in "ESO" or kind != new):
            begun = place - 1
    assert metrics.entities(tags) == found


@pytest.mark.parametrize("more", [["--lora", 4], ["--gradient-checkpointing"], ["--precision", "bf16"]])
def test_the_equipment_trains_and_what_is_saved_loads_as_any_other(more, made, masked, texts, tmp_path):
    from transformers import AutoModelForMaskedLM

    options = ["--task", "masked-lm", "--data", texts, "--from", masked, "--block-size", 16, "--epochs", 1]
    options += ["--packing", "no", *more]
    assert train(FOLDER, *options, "--output", tmp_path / "out") == 0
    model, found = AutoModelForMaskedLM.from_pretrained(
        tmp_path / "out", trust_remote_code=True, output_loading_info=True
    )
    assert not any(found["missing_keys"]) and not any(found["unexpected_keys"]) and model.dtype == torch.float32
    before, after = (load_file(path / "model.safetensors") for path in (masked, tmp_path / "out"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    layers = {
        name for name in changed if name.endswith(("dense.weight", "query.weight", "key.weight", "value.weight"))
    }
    assert changed == layers if more[0] == "--lora" else len(changed) == len(before)
    assert results(tmp_path / "out")["perplexity"] < 1.2 * results(masked)["perplexity"]


@pytest.mark.slow
def test_a_classifier_with_adapters_has_a_new_head_that_is_trained(made, masked, tmp_path):
    with (tmp_path / "x.csv").open("w", newline="") as file:
        rows = [[" ".join(words), "place" if "york" in words else "other"] for words, _ in tagged_sentences(120)]
        csv.writer(file).writerows([["text", "label"], *rows])
    options = ["--task", "text-classification", "--data", tmp_path / "x.csv", "--from", masked, "--lora", 4]
    options += ["--epochs", 24, "--learning-rate", 0.01, "--max-length", 32]
    assert train(FOLDER, *options, "--output", tmp_path / "out") == 0
    assert results(tmp_path / "out")["accuracy"] > 0.95


@pytest.mark.sweep  # the pages' own line trains with two processes in every run
def test_two_processes_and_two_that_share_the_model_end_with_the_weights_of_one(made, texts, capsys):
    """Within 1e-5: sums of gradients are rounded in another order. All batches are full: a last one that is not would
    be filled up with the first examples for the second process, which is how accelerate does it."""
    options = [FOLDER, "--task", "masked-lm", "--data", texts, *SMALL, *STILL, "--vocab-size", 80, "--epochs", 2]
    options = [str(option) for option in (*options, "--block-size", 16, "--batch-size", 16)]
    assert train(*options, "--output", made / "one") == 0
    assert "128 blocks of 16 tokens to train on" in capsys.readouterr().out
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    one = load_file(made / "one" / "model.safetensors")
    for name, more in (("two", []), ("sharded", ["--fsdp"])):
        command = [*launcher, "-m", "pinfold", "train", *options, "--output", str(made / name), *more]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr[-3000:]
        assert run.stdout.count("held-out perplexity") == 1
        other = load_file(made / name / "model.safetensors")
        assert one.keys() == other.keys()
        assert max(float((one[key] - other[key]).abs().max()) for key in one) < 1e-5
        assert json.loads((made / name / "training.json").read_text())["processes"] == 2


FILLED = """
import sys
from transformers import Trainer
from pinfold.cli.main import main
original, rest = Trainer.training_step, sys.argv[1]
def step(self, *arguments, **options):
    if self.state.global_step == 10 and rest:
        with open(rest, "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
    return original(self, *arguments, **options)
Trainer.training_step = step
sys.exit(main(sys.argv[2:]))
"""
MOUNTED = ["unshare", "-rm", "bash", "-euc", 'mount -t tmpfs -o size="$1" tmpfs "$2"; shift 2; "$@"', "bash"]


@pytest.mark.slow
@pytest.mark.skipif(
    subprocess.run([*MOUNTED[:2], "true"], capture_output=True).returncode != 0, reason="no unprivileged namespaces"
)
@pytest.mark.parametrize(
    ("size", "words"),
    [
        pytest.param("200k", "GB free, training needs", marks=pytest.mark.sweep),
        ("8m", "no space left for a checkpoint"),
    ],
)
def test_a_disk_that_is_full_or_fills_up_is_one_line(size, words, texts, tmp_path):
    options = ["train", FOLDER, "--task", "masked-lm", "--data", texts, *SMALL, "--vocab-size", 80, "--epochs", 3]
    options = [str(o) for o in (*options, "--block-size", 16, "--batch-size", 16, "--output", tmp_path / "full" / "x")]
    (tmp_path / "full").mkdir()
    filled = str(tmp_path / "full" / "rest") if size == "8m" else ""
    command = [*MOUNTED, size, str(tmp_path / "full"), sys.executable, "-c", FILLED, filled, *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2, run.stderr[-2000:]
    error = run.stderr.strip().splitlines()[-1]
    assert words in error and "Traceback" not in run.stderr


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


MISTAKES = {
    "more tags": (
        "token-classification",
        lambda t: ["--data", lines(t / "x.jsonl", [{"tokens": ["a", "b"], "tags": ["O"]}])],
        "x.jsonl: row 1 has 2 words and 1 tags; give each word one tag",
    ),
    "no tag": (
        "token-classification", lambda t: ["--data", write(t / "x.conll", "Ada B-PER\nruns\n")],
        "x.conll: line 2 has 'runs' without a tag",
    ),
    "no list": (
        "token-classification", lambda t: ["--data", lines(t / "x.jsonl", [{"tokens": ["a"], "tags": 3}])],
        "row 1 has no list in 'tags'",
    ),
    "one tag": (
        "token-classification", lambda t: ["--data", write(t / "x.conll", "a O\n\nb O\n")], "all words have the tag O",
    ),
    "answer elsewhere": (
        "question-answering",
        lambda t: ["--data", lines(t / "x.jsonl", [{"question": "q", "context": "abc", "answer": "x"}])],
        "row 1 has the answer 'x', which is not in its context",
    ),
    "wrong place": (
        "question-answering",
        lambda t: ["--data", lines(t / "x.jsonl", [
            {"question": "q", "context": "abc", "answers": {"text": ["b"], "answer_start": [2]}}])],
        "which is not at answer_start=2",
    ),
    "no context": (
        "question-answering", lambda t: ["--data", lines(t / "x.jsonl", [{"question": "q", "answer": "x"}])],
        "its columns are question, answer; question, context and answers",
    ),
    "no squad": ("question-answering", lambda t: ["--data", write(t / "x.json", '{"data": 3}')], "not JSON of SQuAD"),
    "adapters of nothing": ("masked-lm", lambda t: ["--data", "python-docs", "--lora", 4], "--lora=4 adapts"),
    "half": ("masked-lm", lambda t: ["--data", "python-docs", "--precision", "fp16"], "--precision=fp16 needs a GPU"),
    "alone": ("masked-lm", lambda t: ["--data", "python-docs", *SMALL, "--fsdp"], "--fsdp shards a model"),
    "no checkpoint": (
        "masked-lm", lambda t: ["--data", "python-docs", "--from", t / "none"], "no checkpoint; give a directory",
    ),
    "another task's": (
        "masked-lm", lambda t: ["--data", "python-docs", "--class-weights", "balanced"],
        "--class-weights=balanced is for --task text-classification",
    ),
    "no data set": (
        "masked-lm", lambda t: ["--data", f"datasets:{t / 'none'}"], "check datasets:OWNER/NAME, :CONFIG",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.skipif(torch.cuda.is_available(), reason="one of the mistakes is not one on a GPU")
def test_a_mistake_is_one_line_and_exit_code_2(mistake, tmp_path, capsys):
    task, options, words = MISTAKES[mistake]
    assert train(FOLDER, "--task", task, *options(tmp_path), "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("pinfold train: ") and words in error[-1], error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (["U-A", "O", "B-B", "L-B"], {(0, 1, "A"), (2, 4, "B")}),
        (["B-A", "M-A", "E-A", "S-A"], {(0, 3, "A"), (3, 4, "A")}),
    ],
)
def test_entities_of_other_schemes_are_seen(tags, found):
    assert metrics.entities(tags) == found
    missed = metrics.of_tags([(["O"] * len(tags), tags)], sorted({*tags, "O"}))
    assert missed["entity_f1"] == 0.0


def test_an_answer_between_spaces_is_trained_on_and_places_that_are_missing_are_found(tmp_path):
    row = {"question": "who?", "context": "it is noor here"}
    rows = [{**row, "answers": {"text": [" noor "], "answer_start": [5]}}, {**row, "answers": {"text": ["noor"]}}]
    expected = [("who?", "it is noor here", [(6, "noor")])] * 2
    assert load_answers(str(lines(tmp_path / "x.jsonl", rows)))[1] == expected


def test_a_list_that_a_table_holds_as_text_is_read(tmp_path):
    write(tmp_path / "x.csv", "tokens,tags\n\"['ada', 'runs']\",\"['B-PER', 'O']\"\n")
    assert load_tags(str(tmp_path / "x.csv"), None, None)[1] == [(["ada", "runs"], ["B-PER", "O"])]


BROKEN_ROWS = {
    "no question": {"context": "abc", "answer": "a"},
    "one number": {"question": "q", "context": "abc", "answers": 5},
    "a part of a letter": {"question": "q", "context": "abc", "answers": {"text": ["b"], "answer_start": [1.5]}},
    "no end": {"question": "q", "context": "abc", "answers": {"text": ["b"], "answer_start": [float("inf")]}},
    "fewer places": {"question": "q", "context": "abc", "answers": {"text": ["b", "c"], "answer_start": [1]}},
    "no text": {"question": "q", "context": "abc", "answers": {"text": None, "answer_start": None}},
}


@pytest.mark.parametrize("kind", BROKEN_ROWS)
def test_a_broken_row_of_questions_is_one_line(kind, tmp_path, capsys):
    good = {"question": "q", "context": "abc", "answers": {"text": ["a"], "answer_start": [0]}}
    rows = [BROKEN_ROWS[kind]] if kind == "no text" else [good, BROKEN_ROWS[kind]]
    data = lines(tmp_path / "x.jsonl", rows)
    assert train(FOLDER, "--task", "question-answering", "--data", data, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and ("row 2" in error[0] or "no question in it has an answer" in error[0])


def test_a_head_of_another_task_is_drawn_anew_both_ways(masked, tags, texts, tmp_path, capsys):
    options = ["--task", "masked-lm", "--data", texts, "--from", tags, "--epochs", 1, "--block-size", 16]
    assert train(FOLDER, *options, "--output", tmp_path / "words") == 0
    assert "new weights: cls.predictions.bias" in capsys.readouterr().out


@pytest.mark.sweep
def test_a_run_that_lost_its_patience_before_it_was_killed_stops_again(made, tags, tmp_path):
    """Killed when Trainer is about to load the best epoch."""
    options = [FOLDER, "--task", "token-classification", "--data", made / "tags.jsonl", "--from", tags]
    options += ["--epochs", 9, "--patience", 1, "--learning-rate", 0.2, "--seed", 2]
    broken = [*options, "--output", tmp_path / "broken"]
    assert train(*options, "--output", tmp_path / "whole") == 0
    steps = json.loads((tmp_path / "whole" / "trainer_state.json").read_text())["global_step"]
    assert steps < 9 * 6  # it lost its patience
    kill_trainings((None, broken))
    assert train(*broken) == 0
    assert json.loads((tmp_path / "broken" / "trainer_state.json").read_text())["global_step"] == steps
    same_weights(tmp_path / "whole", tmp_path / "broken")
    assert results(tmp_path / "whole") == results(tmp_path / "broken")
