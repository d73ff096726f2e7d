"""The card: what is computed, what people wrote, and what a second push keeps."""

import json
import re
import shutil

import pytest
import yaml

from pinfold.card import card, curve, provenance, snippet
from pinfold.card.sources import Sources, read_sources
from pinfold.common.errors import UserError
from pinfold.common.files import sha256_of_file
from pinfold.folder import human_half
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage

SHA, OTHER = "a" * 40, "b" * 40


@pytest.fixture(scope="module")
def staged(tiny_folder, tiny_checkpoint, tmp_path_factory):
    return stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path_factory.mktemp("staged"))


def human(text="## Intended uses\n\nTests.", **metadata):
    return human_half.HumanHalf({"license": "mit", "language": "en", **metadata}, text)


def rendered(staged, half, revision=SHA, sources=None):
    sources = sources or Sources()
    return card.render(staged, half, "me/tiny", revision, card.Facts(410, '"torch"', ["5.0.0"], sources=sources))


def front(text):
    return human_half.parse_card(text, "card")[0]


def test_card_opens_with_front_matter_that_is_yaml(staged):
    text = rendered(staged, human())
    assert text.startswith("---\n")
    assert front(text) == {
        "pipeline_tag": "text-classification",
        "license": "mit",
        "language": "en",
        "library_name": "transformers",
        "tags": ["custom_code", "outside-tiny"],
    }


def test_every_snippet_in_the_card_is_pinned(staged):
    text = rendered(staged, human())
    calls = [line for line in text.splitlines() if "from_pretrained(" in line]
    assert calls and all(f'revision="{SHA}"' in line for line in calls)
    compile(snippet.snippet(staged, "me/tiny", SHA), "snippet", "exec")


def test_files_table_has_the_sha256_of_every_file(staged):
    text = rendered(staged, human())
    for name in staged.files:
        path = staged.directory / name
        assert f"| `{name}` | {path.stat().st_size} | `{sha256_of_file(path)}` |" in text
    assert text.index("`modeling_tiny.py` |") < text.index("`model.safetensors` |")


def test_first_push_uses_the_folders_text(staged):
    merged, notes = card.merge(rendered(staged, human()), None, human())
    assert "Tests." in merged and notes == []


def test_second_push_renews_the_pin_and_takes_a_changed_card_md(staged):
    before = rendered(staged, human())
    half = human("## Intended uses\n\nMore tests.")
    merged, notes = card.merge(rendered(staged, half, OTHER), before, half)
    assert set(card.PIN.findall(merged)) == {OTHER}
    assert "More tests." in merged and merged.count("## Intended uses") == 1 and notes == []


def test_text_that_was_edited_on_the_hub_stays_for_good(staged):
    remote = rendered(staged, human()) + "\nA warning that a user added.\n"
    half = human("## Intended uses\n\nSomething else.")
    for revision in (OTHER, SHA):  # the second round must still see it as edited
        remote, notes = card.merge(rendered(staged, half, revision), remote, half)
        assert "A warning that a user added." in remote and "Something else." not in remote
        assert set(card.PIN.findall(remote)) == {revision}
        assert any("edited on the Hub and is kept" in note for note in notes)


def test_text_above_the_generated_part_stays(staged):
    remote = rendered(staged, human()).replace(card.BEGIN, f"A banner.\n\n{card.BEGIN}")
    merged, _ = card.merge(rendered(staged, human(), OTHER), remote, human())
    assert merged.index("A banner.") < merged.index(card.BEGIN)


def test_somebodys_own_readme_is_kept_below(staged):
    remote = "---\nlicense: mit\ndatasets: [a/b]\n---\n# Mine\n\nMy own words.\n"
    merged, _ = card.merge(rendered(staged, human()), remote, human())
    assert "My own words." in merged and SHA in merged and front(merged)["datasets"] == ["a/b"]


@pytest.mark.parametrize("before", ["\n", "\n \n", "\ufeff\n"])
def test_a_readme_on_the_hub_that_begins_with_a_blank_line_keeps_its_metadata(staged, before):
    """The Hub reads the front matter below blank lines; so does a push."""
    remote = f"{before}---\nlicense: mit\ndatasets: [a/b]\n---\n# Mine\n\nMy own words.\n"
    merged, _ = card.merge(rendered(staged, human()), remote, human())
    assert front(merged)["datasets"] == ["a/b"] and "datasets: [a/b]" not in merged and "My own words." in merged
    with pytest.raises(UserError, match=r"license=mit in card.md, gpl-3\.0 on the Hub"):
        card.merge(rendered(staged, human()), remote.replace("mit", "gpl-3.0"), human())


def test_metadata_from_the_hub_stays_and_computed_keys_are_ours(staged):
    remote = rendered(staged, human())
    found = front(remote) | {"language": "de", "thumbnail": "x.png", "library_name": "timm", "tags": ["mine"]}
    remote = f"---\n{yaml.safe_dump(found)}---\n" + human_half.parse_card(remote, "card")[1]
    merged, notes = card.merge(rendered(staged, human()), remote, human())
    result = front(merged)
    assert result["language"] == "de" and result["thumbnail"] == "x.png"
    assert result["library_name"] == "transformers"
    assert result["tags"] == ["mine", "custom_code", "outside-tiny"]
    assert notes == ["card: language='de' was edited on the Hub and is kept; card.md says 'en'"]


def edited(text, **values):
    """A card whose metadata were changed on the Hub; None removes a key."""
    changed = {key: value for key, value in {**front(text), **values}.items() if value is not None}
    return f"---\n{yaml.safe_dump(changed)}---\n" + human_half.parse_card(text, "card")[1]


def test_card_md_wins_over_what_an_earlier_push_wrote(staged):
    first = rendered(staged, human())  # pipeline_tag is what pinfold computed
    half = human(pipeline_tag="text-generation", library_name="timm", language="fr")
    merged, notes = card.merge(rendered(staged, half, OTHER), first, half)
    assert notes == [] and front(merged)["language"] == "fr"
    assert (front(merged)["pipeline_tag"], front(merged)["library_name"]) == ("text-generation", "timm")
    # and once more: what is taken out of card.md goes, and pinfold computes again
    again, notes = card.merge(rendered(staged, human()), merged, human())
    assert notes == [] and front(again)["pipeline_tag"] == "text-classification" and front(again)["language"] == "en"


def test_what_a_person_changed_on_the_hub_stays_in_every_later_push(staged):
    text = edited(rendered(staged, human()), language="de", pipeline_tag="other", datasets=["a/b"])
    half = human(pipeline_tag="text-generation")
    for _ in range(2):
        text, notes = card.merge(rendered(staged, half, OTHER), text, half)
        assert front(text)["language"] == "de" and front(text)["datasets"] == ["a/b"]
        assert front(text)["pipeline_tag"] == "other"
        assert any("pipeline_tag='other' was edited on the Hub and is kept" in note for note in notes)


def test_a_key_that_left_card_md_leaves_the_card(staged):
    half = human(thumbnail="x.png")
    before = card.merge(rendered(staged, half), None, half)[0]
    assert "thumbnail" not in front(card.merge(rendered(staged, human()), before, human())[0])


def test_a_licence_that_differs_stops_the_push(staged):
    remote = rendered(staged, human())
    with pytest.raises(UserError, match=r"license=apache-2\.0 in card.md, mit on the Hub"):
        card.merge(rendered(staged, human(license="apache-2.0")), remote, human(license="apache-2.0"))


@pytest.mark.parametrize("remote", ["---\nlicense: mit\n---\n", "", "\n\n", "---\nlicense: [mit]\n---\n"])
def test_a_readme_that_holds_only_a_licence_keeps_nothing_of_ours_out(staged, remote):
    for _ in range(2):
        merged, notes = card.merge(rendered(staged, human()), remote, human())
        assert merged.rstrip().endswith("Tests.") and notes == []
        remote = merged


def test_text_that_a_person_has_removed_on_the_hub_stays_removed(staged):
    remote = rendered(staged, human()).replace("## Intended uses\n\nTests.", "")
    merged, notes = card.merge(rendered(staged, human(), OTHER), remote, human())
    assert "Tests." in merged or any("edited on the Hub and is kept" in note for note in notes)
    kept, _ = card.merge(rendered(staged, human("New."), OTHER), remote, human("New."))
    assert "New." not in kept


def test_line_ends_and_a_byte_order_mark_change_nothing(staged):
    windows = "\ufeff" + rendered(staged, human()).replace("\n", "\r\n")
    assert card.merge(rendered(staged, human()), windows, human()) == (rendered(staged, human()), [])
    assert card.human_part(windows) == card.human_part(rendered(staged, human()))
    with pytest.raises(UserError, match="make them agree"):
        card.merge(rendered(staged, human(license="gpl-3.0")), windows, human(license="gpl-3.0"))


@pytest.mark.parametrize("mark", ["<!-- pinfold: end, text=abc -->", card.BEGIN])
@pytest.mark.parametrize("above", [True, False])
def test_marks_that_were_copied_on_the_hub_do_not_make_the_card_grow(staged, mark, above):
    remote = rendered(staged, human())
    remote = remote.replace(card.BEGIN, f"{mark}\n\n{card.BEGIN}") if above else remote + f"\n{mark}\n"
    once, _ = card.merge(rendered(staged, human()), remote, human())
    again, _ = card.merge(rendered(staged, human()), once, human())
    assert again == once and once.count("# tiny\n") == 1 and once.count(card.BEGIN) == 1


def test_tags_on_the_hub_that_are_no_words_are_left_out(staged):
    remote = rendered(staged, human()).replace("tags:\n", "tags:\n- {a: 1}\n- theirs\n")
    assert front(card.merge(rendered(staged, human()), remote, human())[0])["tags"][0] == "theirs"


def test_a_base_model_of_an_earlier_conversion_goes_with_its_weights(staged):
    conversion = provenance.Conversion("timm/resnet18", licence="mit")
    before = rendered(staged, human(), sources=Sources(conversion=conversion))
    assert "base_model: timm/resnet18\n" in before
    assert "base_model" not in front(card.merge(rendered(staged, human()), before, human())[0])


def test_human_part_ignores_the_generated_region_alone(staged):
    assert card.human_part(rendered(staged, human())) == card.human_part(rendered(staged, human(), OTHER))
    assert card.human_part(rendered(staged, human())) != card.human_part(rendered(staged, human("Other.")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no card.md"),
        ("no front matter", "no license"),
        ("---\ntags: [a]\n---\n", "no license"),
        ("---\nlicense: [mit\n---\n", "not valid YAML"),
        ("---\n- mit\n---\n", "is a list"),
        ("---\nlicense:\n---\n", "no license"),
        ("---\nlicense: [mit]\n---\n", "must be one word"),
        ("---\nlicense: mit\ntags: vision\n---\n", "not a list of words"),
        ("---\nlicense: mit\ntags: [1, 2]\n---\n", "not a list of words"),
        ("---\nlicense: m\u00eft\n---\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_card_that_cannot_be_used_is_one_line(tmp_path, text, words):
    if text is not None:
        (tmp_path / "card.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=words) as caught:
        human_half.read_human_half(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_losses_of_a_training_become_a_picture_with_a_text_of_its_own(tiny_folder, tiny_checkpoint, tmp_path):
    from PIL import Image

    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    log = [{"step": s, "loss": 3 / s} for s in range(1, 31)] + [{"step": 30, "eval_loss": 0.25}]
    (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": [*log, {"step": 30, "x": 1}]}))
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()
    made = [stage(read_folder(tiny_folder), checkpoint, place) for place in places]
    sources = [read_sources(checkpoint, place) for place in places]
    told = "The training loss goes from 3 to 0.1, logged last at step 30; held out, it is 0.25 at the end"
    text = rendered(made[0], human(), sources=sources[0])
    assert f"## Training\n\n![{told}](loss_curve.png)\n" in text and "loss_curve.png` |" in text
    pictures = [Image.open(each.directory / "loss_curve.png").convert("RGB") for each in made]
    colours = {pixel for _, pixel in pictures[0].getcolors(1 << 24)}
    assert {(0x25, 0x63, 0xEB), (0xC2, 0x41, 0x0C)} <= colours  # both lines are there
    assert pictures[0].tobytes() == pictures[1].tobytes()
    assert sources[0].why_left_out() == {"trainer_state.json": "drawn in loss_curve.png"}
    assert "trainer_state.json" in dict(made[0].left_out)


def test_the_loss_of_the_best_weights_is_not_taken_for_that_of_the_last_step(tmp_path):
    """Trainer evaluates once more after it has loaded them, and logs that under the last step."""
    held = [{"step": 10, "eval_loss": 0.5}, {"step": 20, "eval_loss": 0.8}, {"step": 20, "eval_loss": 0.5}]
    log = [{"step": s, "loss": 3 / s} for s in range(1, 21)] + held
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    found = curve.read_losses(tmp_path)
    assert found.held == [(10, 0.5), (20, 0.8)]
    assert found.sentence().endswith("; held out, it is 0.8 at the end, and was lowest after 10 steps, 0.5")


def losses(*rows):
    return json.dumps({"log_history": [{"step": step, "loss": loss} for step, loss in rows]})


@pytest.mark.parametrize(
    "rows", [[(float("inf"), 1.0)] * 3, [(10**400 + n, 1.0) for n in range(3)], [(n, 1.7e308) for n in range(4)]]
)
def test_numbers_beyond_all_measure_are_not_drawn(tmp_path, rows):
    (tmp_path / "trainer_state.json").write_text(losses(*rows))
    assert curve.read_losses(tmp_path) is None


def test_losses_that_are_all_the_same_are_drawn(tmp_path):
    (tmp_path / "trainer_state.json").write_text(losses((1, 0.0), (2, 0.0), (3, 0.0)))
    assert curve.draw_losses(curve.read_losses(tmp_path), tmp_path / "x.png")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"log_history": 3}',
        '{"log_history": [{"step": 1, "loss": NaN}]}',
    ],
)
def test_a_training_that_logged_nothing_has_no_section(text, tiny_folder, tiny_checkpoint, tmp_path):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    (checkpoint / "trainer_state.json").write_text(text)
    (tmp_path / "staged").mkdir()
    staged = stage(read_folder(tiny_folder), checkpoint, tmp_path / "staged")
    sources = read_sources(checkpoint, staged.directory)
    assert "loss_curve.png" not in staged.files and "## Training" not in rendered(staged, human(), sources=sources)


def evaluated(tiny_folder, tiny_checkpoint, path, **changes):
    """A staged copy of the checkpoint with what `pinfold train` would have measured of it, and what was read."""
    shutil.copytree(tiny_checkpoint, path / "checkpoint")
    weights = {p.name: sha256_of_file(p) for p in (path / "checkpoint").glob("*.safetensors")}
    told = {
        "task": "text-classification", "n": 1200, "weights": weights,
        "dataset": {"name": "re|views", "description": "texts of <b>re|views</b>"}, "split": {"name": "held-out"},
        "metrics": {
            "accuracy": 0.9, "accuracy_interval": [0.88, 0.92], "macro_f1": 0.895, "loss": float("nan"),
            "bag_of_words": {"accuracy": 0.81},
            "per_class": {"a|b": {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "n": 7}},
        },
        **changes,
    }  # fmt: skip
    (path / "checkpoint" / "eval_results.json").write_text(json.dumps(told))
    (path / "staged").mkdir()
    staged = stage(read_folder(tiny_folder), path / "checkpoint", path / "staged")
    return staged, read_sources(path / "checkpoint", path / "staged")


def test_an_evaluation_is_told_in_tables_and_in_the_front_matter(tiny_folder, tiny_checkpoint, tmp_path):
    from huggingface_hub import ModelCard
    from markdown_it import MarkdownIt

    staged, sources = evaluated(tiny_folder, tiny_checkpoint, tmp_path)
    text = rendered(staged, human(), sources=sources)
    assert "| metric | value | 95 % interval | a bag of words |\n" in text
    assert "| Accuracy | 0.900 | 0.880 to 0.920 | 0.810 |\n| Macro F1 | 0.895 |  |  |\n" in text and "Loss" not in text
    assert "on 1,200 held-out examples of re\\|views: texts of \\<b\\>re\\|views\\</b\\>.\n" in text
    assert "| a\\|b | 0.500 | 0.250 | 0.333 | 7 |" in text
    page = MarkdownIt("commonmark").enable("table").render(text.split("---\n", 2)[2])
    assert page.count("<table>") == 4 and "<b>" not in page and "<td>a|b</td>" in page
    assert sources.why_left_out() == {"eval_results.json": "its contents are on the card"}
    assert "eval_results.json" in dict(staged.left_out)
    result = ModelCard(text).data.eval_results  # as the Hub's own client reads it
    assert [(r.metric_name, r.metric_type, r.metric_value) for r in result] == [
        ("Accuracy", "accuracy", 0.9), ("Macro F1", "f1", 0.895),
    ]  # fmt: skip
    assert result[0].task_type == "text-classification" and result[0].dataset_name == "re|views"


def test_an_evaluation_of_other_weights_is_not_told_and_an_earlier_one_goes(tiny_folder, tiny_checkpoint, tmp_path):
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    first, sources = evaluated(tiny_folder, tiny_checkpoint, tmp_path / "first")
    before = rendered(first, human(), sources=sources)
    other, sources = evaluated(
        tiny_folder, tiny_checkpoint, tmp_path / "second", weights={"model.safetensors": "0" * 64}
    )
    assert sources.evaluation is None and "eval_results.json" in dict(other.left_out)
    assert sources.why_left_out() == {"eval_results.json": "measured with other weights"}
    after = rendered(other, human(), OTHER, sources)
    assert "## Evaluation" not in after and "model-index" not in front(after)
    assert "model-index" not in front(card.merge(after, before, human())[0])
    # somebody's own stays, and so does one in card.md
    own = re.sub(r", keys=\S+", "", before).replace("Measured by `pinfold train`", "Measured by hand")
    assert "model-index" in front(card.merge(after, own, human())[0])
    kept = human(**{"model-index": [{"name": "mine"}]})
    third, sources = evaluated(tiny_folder, tiny_checkpoint, tmp_path / "third")
    assert front(rendered(third, kept, sources=sources))["model-index"] == [{"name": "mine"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"n": float("inf")},
        {"n": -3},
        {"metrics": {"accuracy": 10**400}},
        {"metrics": {"accuracy": 0.5, "accuracy_interval": [0.5]}},
        {"metrics": {"accuracy": 0.5, "accuracy_interval": [float("nan"), 1.0], "bag_of_words": {"accuracy": "x"}}},
        {"metrics": {"accuracy": 0.5, "bag_of_words": {"accuracy": float("nan")}}},
    ],
)
def test_an_evaluation_with_numbers_that_are_none_says_nothing_wrong(tiny_folder, tiny_checkpoint, tmp_path, changes):
    staged, sources = evaluated(tiny_folder, tiny_checkpoint, tmp_path, **changes)
    text = rendered(staged, human(), sources=sources)
    assert "nan" not in text.lower().replace("finan", "") and "-3 " not in text


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"eval_loss": 1.0}', '{"weights": {}, "metrics": {}}'])
def test_a_file_of_another_program_is_left_alone(text, tiny_folder, tiny_checkpoint, tmp_path):
    shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "eval_results.json").write_text(text)
    (tmp_path / "staged").mkdir()
    made = stage(read_folder(tiny_folder), tmp_path / "checkpoint", tmp_path / "staged")
    sources = read_sources(tmp_path / "checkpoint", tmp_path / "staged")
    assert sources.evaluation is None and sources.why_left_out() == {}
    assert ("eval_results.json", "not part of a published model") in made.left_out
