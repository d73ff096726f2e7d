"""Training on labelled text: tables and folders, three kinds of labels, resumption, and mistakes in one line."""

import csv
import json
import random

import numpy as np
import pyarrow.parquet
import pytest
import torch
from helpers.processes import ROOT
from helpers.training import SMALL_SENTIMENT, kill_trainings, results, set_options, train
from safetensors.torch import load_file
from sklearn import metrics as reference

from pinfold.train import metrics
from pinfold.train.data.labelled import load_data

FOLDER = ROOT / "sentiment_model"
SMALL = set_options(**SMALL_SENTIMENT)
SHORT = [*SMALL, "--vocab-size", 80, "--learning-rate", 0.02]
GOOD, BAD = ("fine", "lovely", "superb", "bright"), ("dull", "awful", "dreary", "poor")
SUBJECTS = ("the film", "this book", "our hotel", "a meal", "her song", "that chair")


def reviews(count: int = 300) -> list[tuple[str, str]]:
    """Made sentences, of which one word shows the class unless "not" is before it: no bag of words knows."""
    draw = random.Random(0)
    rows = []
    for _ in range(count):
        word, sense, turned = draw.choice(GOOD + BAD), "", draw.random() < 0.5
        sense = "good" if (word in GOOD) != turned else "bad"
        other = draw.random() < 0.5  # as often "not" about something else, behind the word
        end = "" if turned or not other else " and not cheap"
        rows.append((f"{draw.choice(SUBJECTS)} was {'not ' if turned else ''}{word}{end}", sense))
    return rows


def table(path, rows, heading=("text", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([heading, *rows])
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return table(tmp_path_factory.mktemp("data") / "reviews.csv", reviews())


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "reviews"
    assert train(FOLDER, "--data", data, "--output", output, *SHORT, "--epochs", 12) == 0
    return output


@pytest.mark.slow
def test_it_learns_what_a_bag_of_words_cannot_and_its_figures_are_those_of_the_saved_model(trained, data):
    from transformers import pipeline

    record = json.loads((trained / "eval_results.json").read_text())
    found = record["metrics"]
    assert record["task"] == "text-classification" and record["dataset"]["classes"] == ["bad", "good"]
    assert found["accuracy"] > 0.9 > found["bag_of_words"]["accuracy"] and record["n"] == 60
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] <= high and found["macro_f1_interval"][0] <= found["macro_f1"]
    # measured anew: the same split by scikit-learn, one text at a time, through a pipeline
    from sklearn.model_selection import train_test_split

    texts, labels = zip(*reviews(), strict=True)
    _, held = train_test_split(
        range(300), test_size=0.2, stratify=[["bad", "good"].index(x) for x in labels], random_state=0
    )
    run = pipeline("text-classification", str(trained), trust_remote_code=True, device="cpu")
    answers = [run(texts[i])[0]["label"] for i in held]
    true = [labels[i] for i in held]
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(true, answers), abs=1e-12)
    assert found["macro_f1"] == pytest.approx(reference.f1_score(true, answers, average="macro"), abs=1e-12)
    assert found["confusion_matrix"] == reference.confusion_matrix(true, answers, labels=["bad", "good"]).tolist()
    assert found["per_class"]["good"]["n"] == true.count("good")


def test_the_best_epoch_is_kept(trained):
    state = json.loads((trained / "trainer_state.json").read_text())
    losses = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
    assert results(trained)["loss"] == pytest.approx(min(losses))
    assert not list(trained.glob("checkpoint-*"))


def test_patience_ends_a_training_that_gets_no_better(data, tmp_path):
    options = [*SMALL, "--vocab-size", 80, "--learning-rate", 1e-9, "--weight-decay", 0, "--patience", 1]
    assert train(FOLDER, "--data", data, "--output", tmp_path / "out", *options, "--epochs", 50) == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["epoch"] < 10


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "parquet", "folders"])
def test_every_kind_of_file_gives_the_same_rows(kind, tmp_path):
    rows = [("one\ttext, \u00e9", "b"), ('two "quoted"', "a"), ("three", "b")]
    path = tmp_path / f"rows.{kind}"
    if kind == "tsv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows([("review", "sentiment"), *rows])
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"review": t, "sentiment": c}) for t, c in rows), encoding="utf-8")
    elif kind == "parquet":
        pyarrow.parquet.write_table(
            pyarrow.table({"review": [t for t, _ in rows], "sentiment": [c for _, c in rows]}), path
        )
    else:
        for number, (text, label) in enumerate(rows):
            (path / label).mkdir(parents=True, exist_ok=True)
            (path / label / f"{number}.txt").write_text(text, encoding="utf-8")
    found = load_data(str(path), None, None, None)
    assert sorted(zip(found.texts, found.labels, strict=True)) == sorted((t, "ab".index(c)) for t, c in rows)
    assert found.names == ["a", "b"] and found.kind == "single_label_classification"


def test_columns_are_chosen_by_name_and_numbers_are_classes_in_their_order(tmp_path):
    path = table(tmp_path / "x.csv", [("a", "t1", 10, "x"), ("b", "t2", 9, "y")], ("id", "text", "stars", "title"))
    found = load_data(str(path), None, None, None)
    assert found.texts == ["t1", "t2"] and found.names == ["9", "10"] and found.labels == [1, 0]
    found = load_data(str(path), "title", "id", None)
    assert found.texts == ["x", "y"] and found.names == ["a", "b"]


def test_several_labels(tmp_path):
    rows = [{"text": f"{a} {b} thing {i}", "labels": sorted({a, b})} for i in range(40) for a in "rg" for b in "xy"]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    options = ["--data", path, "--output", tmp_path / "out", *SHORT, "--vocab-size", 60, "--epochs", 8]
    assert train(FOLDER, *options) == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification" and len(config["id2label"]) == 4
    found = results(tmp_path / "out")
    assert found["accuracy"] > 0.9 and found["micro_f1"] > 0.95 and set(found["per_class"]) == set("rgxy")
    strings = table(tmp_path / "y.csv", [("a", "p|q"), ("b", "q"), ("c", "")], ("text", "tags"))
    with pytest.raises(Exception, match="row 3 has no label"):
        load_data(str(strings), None, "tags", "multi_label_classification")


def test_a_regression(tmp_path):
    draw = random.Random(0)
    words = {"dire": -2.0, "poor": -1.0, "fair": 0.0, "good": 1.0, "great": 2.0}
    rows = [(f"a {word} {draw.choice(SUBJECTS)}", words[word] + draw.gauss(0, 0.1)) for word in list(words) * 60]
    path = table(tmp_path / "x.csv", rows, ("text", "score"))
    options = ["--data", path, "--output", tmp_path / "out", *SHORT, "--vocab-size", 60, "--epochs", 8]
    assert train(FOLDER, *options, "--problem", "regression") == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["problem_type"] == "regression" and config["id2label"] == {"0": "score"}
    found = results(tmp_path / "out")
    assert found["pearson"] > 0.95 and found["mean_absolute_error"] < 0.4 and "bag_of_words" not in found


@pytest.mark.slow
def test_class_weights_find_the_rare_class(tmp_path):
    """Nine of ten rows are of one class, and words show little: unweighted, the rare one is never answered."""
    draw = random.Random(0)
    rows = []
    for i in range(600):
        rare = i % 10 == 0
        hint = "odd" if draw.random() < (0.7 if rare else 0.2) else "even"
        rows.append((f"{draw.choice(SUBJECTS)} {hint}", "rare" if rare else "usual"))
    path, recalls = table(tmp_path / "x.csv", rows), []
    for name, more in (("plain", []), ("weighted", ["--class-weights", "balanced"])):
        options = ["--data", path, "--output", tmp_path / name, *SHORT, "--vocab-size", 60, "--epochs", 6, *more]
        assert train(FOLDER, *options) == 0
        recalls.append(results(tmp_path / name)["per_class"]["rare"]["recall"])
    assert recalls[0] == 0 and recalls[1] > 0.4


def test_bert_is_trained_in_the_same_way_and_a_checkpoint_gets_new_classes(data, tmp_path):
    fields = set_options(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=32)
    options = ["--data", data, "--vocab-size", 80, "--epochs", 1, "--max-length", 32]
    assert train(ROOT / "bert_model", *options, *fields, "--output", tmp_path / "bert") == 0
    three = table(tmp_path / "three.csv", [(text, "abc"[i % 3]) for i, (text, _) in enumerate(reviews(60))])
    options = ["--data", three, "--from", tmp_path / "bert", "--epochs", 1, "--max-length", 32]
    assert train(ROOT / "bert_model", *options, "--output", tmp_path / "three") == 0
    config = json.loads((tmp_path / "three" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["a", "b", "c"]
    assert (tmp_path / "bert" / "tokenizer.json").read_bytes() == (tmp_path / "three" / "tokenizer.json").read_bytes()


@pytest.mark.slow
def test_killed_and_resumed_it_has_the_weights_of_an_uninterrupted_run(data, tmp_path):
    options = [FOLDER, "--data", data, *SHORT, "--epochs", 4, "--batch-size", 16, "--accumulate", 2]
    broken = [*options, "--output", tmp_path / "broken"]
    assert train(*options, "--output", tmp_path / "whole") == 0
    kill_trainings(*((at, broken) for at in (3, 11, 19, 29)))  # of 32 steps, 8 an epoch
    assert not (tmp_path / "broken" / "eval_results.json").exists()
    assert train(*broken) == 0
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert results(tmp_path / "whole") == results(tmp_path / "broken")


def bert(path):
    """A checkpoint of bert_model with a tokenizer."""
    from bert_model.configuration_bert import BERTConfig
    from bert_model.modeling_bert import BERTForSequenceClassification
    from pinfold.tokenizer.save import write_portable
    from pinfold.tokenizer.train import train as train_tokenizer

    made = train_tokenizer([text for text, _ in reviews(30)], "wordpiece", 60, lowercase=True)
    fields = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32}
    BERTForSequenceClassification(BERTConfig(vocab_size=60, **fields)).save_pretrained(path)
    write_portable(made, path)
    return path


def deep(path):
    """train/pos and train/neg, test/pos and test/neg: named one level too high."""
    for place in ("train/pos", "train/neg", "test/pos", "test/neg"):
        (path / place).mkdir(parents=True)
        (path / place / "1.txt").write_text("x")
    return path


MISTAKES = {
    "no such file": (lambda t: ["--data", t / "none.csv"], "no such file; give 'vader', a table"),
    "empty": (lambda t: ["--data", table(t / "x.csv", [])], "no row in it"),
    "no heading": (lambda t: ["--data", (t / "x.csv").touch() or t / "x.csv"], "no row in it"),
    "no text column": (
        lambda t: ["--data", table(t / "x.csv", [("a", 1)], ("words", "label"))],
        "which column is the text? its columns are words, label; give one with --text-column",
    ),
    "no label column": (
        lambda t: ["--data", table(t / "x.csv", [("a", 1)], ("text", "mood"))],
        "which column is the label? its columns are text, mood; give one with --label-column",
    ),
    "misnamed": (
        lambda t: ["--data", table(t / "x.csv", [("a", 1)]), "--label-column", "labl"],
        "no column 'labl'; its columns are text, label",
    ),
    "one class": (lambda t: ["--data", table(t / "x.csv", [("a", "x"), ("b", "x")])], "all rows have the label x"),
    "floats": (
        lambda t: ["--data", table(t / "x.csv", [("a", "1"), ("b", "0.37")])],
        "row 2 has the label 0.37, which is not a class; add --problem regression",
    ),
    "no number": (
        lambda t: ["--data", table(t / "x.csv", [("a", "1"), ("b", "nan")]), "--problem", "regression"],
        "row 2 has the label 'nan', which is not a number",
    ),
    "no label": (lambda t: ["--data", table(t / "x.csv", [("a", "1"), ("b", "")])], "row 2 has no label in 'label'"),
    "no text": (lambda t: ["--data", table(t / "x.csv", [("a", "1"), (" ", "2")])], "row 2 has no text in 'text'"),
    "json nan": (
        lambda t: ["--data", (t / "x.jsonl").write_text('{"text": "a", "label": NaN}') and t / "x.jsonl"],
        "row 1 has no label",
    ),
    "encoding": (
        lambda t: ["--data", (t / "x.csv").write_bytes("text,label\ncaf\u00e9,1".encode("latin-1")) and t / "x.csv"],
        "not UTF-8 at byte 14",
    ),
    "too many cells": (
        lambda t: ["--data", (t / "x.csv").write_text("text,label\na,1\nb, c,2\nd,1\n") and t / "x.csv"],
        "row 2 (line 3) has 3 cells, the heading 2",
    ),
    "too few cells": (
        lambda t: ["--data", (t / "x.csv").write_text("text,label\na,1\nb\nd,1\n") and t / "x.csv"],
        "row 2 (line 3) has 1 cells, the heading 2",
    ),
    "open quote": (
        lambda t: ["--data", (t / "x.csv").write_text('text,label\na,1\n"b,2\nd,1\n') and t / "x.csv"],
        "unexpected end of data",
    ),
    "columns of none": (lambda t: ["--data", "vader", "--text-column", "x"], "--data vader has no columns to choose"),
    "other file": (lambda t: ["--data", (t / "x.xlsx").write_bytes(b"PK") and t / "x.xlsx"], "labelled text is read"),
    "no parquet": (lambda t: ["--data", (t / "x.parquet").write_bytes(b"PAR") and t / "x.parquet"], "Parquet"),
    "one folder": (lambda t: ["--data", (t / "a").mkdir() or t], "1 class folders; put the .txt files"),
    "small class": (
        lambda t: ["--data", table(t / "x.csv", [("a", "x"), ("b", "y"), ("c", "y")])],
        "cannot hold out 20% of 3 texts",
    ),
    "weights of numbers": (
        lambda t: [
            "--data", table(t / "x.csv", [("a", "1"), ("b", "2")]), "--problem", "regression",
            "--class-weights", "balanced",
        ],
        "--class-weights=balanced: only for one label a text",
    ),
    "another task's option": (
        lambda t: ["--data", table(t / "x.csv", reviews(30)), "--block-size", 9],
        "--block-size=9 is for --task causal-lm, and this is text-classification",
    ),
    "a folder without a checkpoint": (
        lambda t: ["--data", table(t / "x.csv", reviews(30)), "--from", ROOT / "bert_model"],
        "no checkpoint; give a directory",
    ),
    "a mistyped checkpoint": (
        lambda t: ["--data", table(t / "x.csv", reviews(30)), "--from", t / "typo"],
        "no checkpoint; give a directory",
    ),
    "two columns of one name": (
        lambda t: ["--data", table(t / "x.csv", [("a", "1", "2")], ("text", "label", "label"))],
        "the heading has 'label' 2 times; rename one",
    ),
    "blank label": (lambda t: ["--data", table(t / "x.csv", [("a", "1"), ("b", " ")])], "row 2 has no label"),
    "large number": (
        lambda t: ["--data", table(t / "x.csv", [("a", "1"), ("b", "1" * 400)]), "--problem", "regression"],
        "which is not a number up to 1e+15",
    ),
    "one-hot": (
        lambda t: ["--data", (t / "x.jsonl").write_text('{"text": "a", "label": [1, 0, 0]}') and t / "x.jsonl"],
        "give the names of its labels, each once",
    ),
    "a class that is only held out": (
        lambda t: ["--data", table(t / "x.csv", [("a b", "x")] * 118 + [("c d", "r")] * 2), "--eval-fraction", 0.9],
        "leaves no text of r to train on",
    ),
    "folders of folders": (
        lambda t: ["--data", deep(t)],
        "are one folder down; name the folder of classes",
    ),
    "another folder's checkpoint": (
        lambda t: ["--data", table(t / "x.csv", reviews(30)), "--from", bert(t / "bert")],
        "holds a custom_bert, but this folder is for sentiment_analyzer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake, tmp_path, capsys):
    arguments, words = MISTAKES[mistake]
    work = tmp_path / "work"
    work.mkdir()
    given = arguments(work)
    given = given if "--tokenizer" in given else [*given, *([] if "--from" in given else ["--vocab-size", 60])]
    assert train(FOLDER, "--output", tmp_path / "out", *given) == 2
    error = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert error[-1].startswith("pinfold train: ") and words in error[-1] and len(error) == 1, error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rows", [[("\U0001f600 !", "a"), ("\U0001f621 ?", "b")] * 20], ids=["no letters"])
def test_texts_without_words_are_trained_on_without_a_bag_of_words(rows, tmp_path, capsys):
    options = ["--data", table(tmp_path / "x.csv", rows), "--output", tmp_path / "out", *SMALL, "--epochs", 1]
    assert train(FOLDER, *options) == 0  # the default vocabulary is more than these give
    assert "a bag of words" not in capsys.readouterr().out
    assert "bag_of_words" not in results(tmp_path / "out")


def test_headings_of_a_data_frames_index_and_long_texts_are_read(tmp_path):
    path = table(
        tmp_path / "x.csv", [(0, "a " * 100_000, "1.0"), (1, "b", "10.0"), (2, "c", "2")], ("", "text", "label")
    )
    found = load_data(str(path), None, None, None)
    assert found.names == ["1", "2", "10"] and len(found.texts[0]) == 200_000


def test_a_classifier_is_fine_tuned_to_a_regression(trained, tmp_path):
    path = table(tmp_path / "x.csv", [(text, len(text) / 10) for text, _ in reviews(60)], ("text", "score"))
    options = ["--data", path, "--from", trained, "--problem", "regression", "--epochs", 1]
    assert train(FOLDER, *options, "--output", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["problem_type"] == "regression"


def test_a_run_is_not_continued_on_other_data(data, tmp_path, capsys):
    path, output = tmp_path / "x.csv", tmp_path / "out"
    path.write_text(data.read_text())
    options = ["--data", path, *SHORT, "--epochs", 1, "--output", output]
    assert train(FOLDER, *options) == 0
    (output / "eval_results.json").unlink()  # as if it had not ended
    path.write_text(data.read_text().replace("the film", "that film"))
    assert train(FOLDER, *options) == 2
    assert "an unfinished training with other settings (data was" in capsys.readouterr().err


def test_damaged_ratings_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "pinfold").mkdir()
    (tmp_path / "pinfold" / "hutto_ICWSM_2014.tar.gz").write_bytes(b"no archive")
    assert train(FOLDER, "--data", "vader", "--output", tmp_path / "out") == 2
    assert "damaged; remove it, and it is fetched again" in capsys.readouterr().err


def test_texts_longer_than_the_model_reads_are_refused(data, tmp_path, capsys):
    fields = set_options(max_position_embeddings=16, hidden_size=16, num_attention_heads=2)
    options = ["--data", data, "--vocab-size", 80, "--max-length", 32, *fields, "--output", tmp_path / "out"]
    assert train(ROOT / "bert_model", *options) == 2
    assert "--max-length=32 is more than max_position_embeddings=16; use less" in capsys.readouterr().err


@pytest.mark.slow
def test_metrics_equal_scikit_learns_and_intervals_hold_what_they_promise():
    draw = np.random.default_rng(0)
    true = draw.integers(0, 3, 500)
    predicted = np.where(draw.random(500) < 0.7, true, draw.integers(0, 3, 500))
    found = metrics.of_classes(predicted, true, "abc")
    assert found["accuracy"] == reference.accuracy_score(true, predicted)
    assert found["macro_f1"] == pytest.approx(reference.f1_score(true, predicted, average="macro"))
    sets = draw.random((200, 4)) < 0.3
    answers = np.where(draw.random((200, 4)) < 0.8, sets, ~sets).astype(int)
    several = metrics.of_sets(answers, sets.astype(int), "abcd")
    assert several["accuracy"] == pytest.approx(reference.accuracy_score(sets, answers))
    assert several["micro_f1"] == pytest.approx(reference.f1_score(sets, answers, average="micro"))
    numbers = draw.normal(size=300)
    noisy = numbers + draw.normal(size=300)
    regression = metrics.of_numbers(noisy, numbers)
    assert regression["r2"] == pytest.approx(reference.r2_score(numbers, noisy))
    assert regression["pearson"] == pytest.approx(np.corrcoef(numbers, noisy)[0, 1])
    # 95 of 100 intervals hold the truth: of 400 draws, 20 more or less
    hits = draw.binomial(50, 0.9, 400)
    assert 0.92 < np.mean([low <= 0.9 <= high for low, high in (metrics.wilson(int(h), 50) for h in hits)]) < 0.98
    inside = []
    for _ in range(100):
        x = draw.normal(size=60)
        low, high = metrics.bootstrap(lambda p, t: float(t.mean()), x, x)
        inside.append(low <= 0 <= high)
    assert 0.86 < np.mean(inside) <= 1


def test_the_ratings_are_all_there_and_so_are_their_classes():
    """Of the package that pip fetches; bounds are those of load_data."""
    found = load_data("vader", None, None, None)
    numbers = load_data("vader", None, None, "regression")
    assert len(found.texts) == len(numbers.labels) == 23_703 and found.names == ["negative", "neutral", "positive"]
    for text, score, label in zip(found.texts, numbers.labels, found.labels, strict=True):
        assert text.strip() and -4 <= score <= 4 and label == (0 if score < -0.5 else 2 if score > 0.5 else 1)
