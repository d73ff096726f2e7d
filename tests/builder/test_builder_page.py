"""The builder's page in a real browser: by mouse and by keyboard, its history, links, problems and opened files."""

import json
import random

import pytest
from helpers.builder.page import (
    REFUSED,
    drawing,
    focused,
    kinds,
    layer,
    needs_a_browser,
    open_preset,
    opened,
    said,
    tab_to,
    valid,
)

needs_a_browser()
pytestmark = pytest.mark.slow
LOCAL, STRIDED = '[data-item="attention_type-local"]', '[data-item="attention_type-strided"]'
LINKS = [
    "#encoder",
    "#encoder&hidden_size=256&num_hidden_layers=4&attention_type=full*3,local&hidden_act=relu,gelu*3",
    "#encoder&num_hidden_layers=3&attention_type=full,local,strided",
    "#decoder&num_hidden_layers=3&rope_theta=1000000&prefix=Tale&tie_word_embeddings=false",
    "#encoder&prefix=%3Cb%3E&model_type=%22123%22&heads=AutoModelForMaskedLM,AutoModelForQuestionAnswering&hidden_size=12x"
    "&classifier_dropout=0.5&problem_type=regression&unknown=%7B%22note%22%3A%22a%26b%3Dc*2%22%7D",
]


def drag(page, source: str, target: str, share: float) -> None:
    """Drag something to a share of a row's height."""
    box = page.locator(target).bounding_box()
    position = {"x": box["width"] / 2, "y": box["height"] * share}
    page.drag_and_drop(source, target, target_position=position)


# ---- Mouse ----


def test_it_opens_on_three_presets(browser, server):
    with opened(browser, server) as page:
        assert page.locator("#start .preset").count() == 3
        open_preset(page)
        assert page.locator("#start").is_hidden() and page.locator("#layers > li").count() == 2
        assert drawing(page)["config"]["num_hidden_layers"] == 2


def test_a_part_dropped_on_a_layer_changes_that_layer_and_its_mask_parameters_and_flops(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        page.locator(".mask[aria-label*='100 %']").nth(1).wait_for()
        page.locator('[data-field="attention_window"]').fill("4")
        valid(page)
        before = page.inner_text("#costs")
        drag(page, LOCAL, layer(2), 0.5)
        said(page, "Layer 2: Local attention")
        assert kinds(page) == ["full", "local"]
        page.locator(f"{layer(2)} .mask:not([aria-label*='100 %'])").wait_for()
        valid(page)
        assert page.inner_text("#costs") != before


def test_a_part_dropped_into_a_gap_inserts_a_layer(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        drag(page, LOCAL, layer(2), 0.1)
        said(page, "Local attention added as layer 2 of 3")
        assert kinds(page) == ["full", "local", "full"]
        drag(page, STRIDED, layer(3), 0.95)
        assert kinds(page) == ["full", "local", "full", "strided"]
        drag(page, LOCAL, '[data-slot="embedding"]', 0.5)
        assert kinds(page) == ["local", "full", "local", "full", "strided"]


def test_layers_are_reordered_by_dragging(browser, server):
    with opened(browser, server, "#encoder&num_hidden_layers=3&attention_type=full,local,strided") as page:
        valid(page)
        drag(page, f"{layer(3)} .grip", layer(1), 0.2)
        said(page, "Layer 3 of 3 moved before layer 1")
        assert kinds(page) == ["strided", "full", "local"]
        drag(page, f"{layer(1)} .grip", layer(2), 0.8)
        assert kinds(page) == ["full", "strided", "local"]


def test_parts_dropped_on_their_slots_set_embedding_pooler_and_head(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        drag(page, '[data-item="position_embedding_type-sinusoidal"]', '[data-slot="embedding"]', 0.5)
        drag(page, '[data-item="pooling-mean"]', '[data-slot="pooler"]', 0.5)
        drag(page, '[data-item="AutoModelForMaskedLM"]', '[data-slot="head"]', 0.2)
        said(page, "added")
        state = drawing(page)
        assert state["config"]["position_embedding_type"] == "sinusoidal"
        assert state["config"]["pooling"] == "mean"
        assert state["heads"] == ["AutoModelForSequenceClassification", "AutoModelForMaskedLM"]
        valid(page)


# ---- Keyboard ----


def test_everything_works_by_keyboard_alone_and_focus_stays_on_the_row_that_moves(browser, server):
    with opened(browser, server) as page:
        page.locator("#start .preset").first.wait_for()
        tab_to(page, "#start .preset")
        page.keyboard.press("Enter")
        valid(page)
        tab_to(page, LOCAL, "Shift+Tab")
        page.keyboard.press("Enter")
        said(page, "Local attention added as layer 3 of 3")
        tab_to(page, f"{layer(3)}")
        key = focused(page, "data-key")
        page.keyboard.press("Alt+ArrowUp")
        said(page, "Layer 3 of 3 moved up")
        page.keyboard.press("Alt+ArrowUp")
        said(page, "Layer 2 of 3 moved up")
        assert kinds(page) == ["local", "full", "full"]
        page.keyboard.press("Alt+ArrowUp")
        said(page, "Layer 1 is already first")
        page.keyboard.press("Alt+ArrowDown")
        said(page, "Layer 1 of 3 moved down")
        assert kinds(page) == ["full", "local", "full"] and focused(page, "data-key") == key
        page.keyboard.press("Alt+KeyD")
        said(page, "Layer 2 duplicated; 4 layers")
        assert kinds(page) == ["full", "local", "local", "full"] and focused(page, "data-key") == key
        page.keyboard.press("Delete")
        said(page, "Layer 2 of 4 removed")
        assert kinds(page) == ["full", "local", "full"]
        assert page.evaluate("document.activeElement.matches('#layers > li:nth-child(2)')")
        page.keyboard.press("Control+z")
        said(page, "Undone")
        assert kinds(page) == ["full", "local", "local", "full"]
        page.keyboard.press("Control+y")
        said(page, "Redone")
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+Shift+z")
        assert kinds(page) == ["full", "local", "full"]
        valid(page)


def test_palette_parts_go_to_the_selected_layer_until_escape(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        page.locator(layer(1)).focus()
        page.locator(STRIDED).focus()
        page.keyboard.press("Enter")
        said(page, "Layer 1: Strided attention")
        assert kinds(page) == ["strided", "full"]
        page.locator(layer(1)).focus()
        page.keyboard.press("Escape")
        page.locator(STRIDED).focus()
        page.keyboard.press("Enter")
        assert kinds(page) == ["strided", "full", "strided"]


def test_the_keys_of_a_field_are_its_own(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        select = page.locator(f"{layer(2)} select").first
        select.focus()
        page.keyboard.press("Delete")
        assert len(kinds(page)) == 2
        select.select_option("random")
        said(page, "Layer 2: Random")
        assert kinds(page) == ["full", "random"]


def test_the_tabs_change_by_arrow_keys(browser, server):
    with opened(browser, server) as page:
        page.locator("#tab-build").focus()
        page.keyboard.press("ArrowRight")
        page.locator("#compare-go").wait_for()
        assert focused(page, "id") == "tab-compare" and page.locator("#build").is_hidden()
        page.keyboard.press("ArrowLeft")
        assert focused(page, "id") == "tab-build" and page.locator("#compare").is_hidden()


# ---- Rows of equal layers ----


def test_equal_layers_are_one_row_until_they_are_shown_one_by_one(browser, server):
    with opened(browser, server, "#encoder&num_hidden_layers=6&attention_type=local,full*4,local") as page:
        valid(page)
        assert page.locator("#layers strong").all_inner_texts() == ["Layer 1", "Layers 2\u20135 \u00d74", "Layer 6"]
        page.locator(layer(2)).focus()
        page.keyboard.press("Alt+ArrowUp")
        said(page, "Layers 2 to 5 of 6 moved up")
        assert kinds(page) == ["full"] * 4 + ["local"] * 2
        page.locator(layer(1)).get_by_role("button", name="Show each").click()
        assert page.locator("#layers > li").count() == 6
        page.locator(f"{layer(3)} select").first.select_option("strided")
        assert kinds(page) == ["full", "full", "strided", "full", "local", "local"]
        assert page.locator("#layers > li").count() == 6
        page.locator(f"{layer(3)} select").first.select_option("full")
        page.locator("#fold").click()
        assert page.locator("#layers strong").all_inner_texts() == ["Layers 1\u20134 \u00d74", "Layer 5", "Layer 6"]


def test_the_number_of_layers_is_a_field_too(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        page.locator('[data-field="num_hidden_layers"]').fill("12")
        valid(page)
        assert kinds(page) == ["full"] * 12
        page.locator('[data-field="num_hidden_layers"]').fill("10000")
        page.locator("#problems .bad", has_text="num_hidden_layers").wait_for()
        assert page.locator("#layers > li").count() <= 2
        page.keyboard.press("Control+z")
        valid(page)
        assert kinds(page) == ["full"] * 2


# ---- History and links ----


def random_action(page, dice: random.Random) -> None:
    """One of what a user does, on a layer or field that is there."""
    rows = page.locator("#layers > li").count()
    row = page.locator("#layers > li").nth(dice.randrange(rows)) if rows else None
    action = dice.choice(["key", "key", "key", "palette", "field", "head", "select"]) if row else "palette"
    if action == "key":
        row.focus()
        page.keyboard.press(dice.choice(["Alt+ArrowUp", "Alt+ArrowDown", "Alt+KeyD", "Delete"]))
    elif action == "palette":
        buttons = page.locator("#items button")
        buttons.nth(dice.randrange(buttons.count())).press("Enter")
    elif action == "field":
        fields = page.locator("#forms fieldset input")
        fields.nth(dice.randrange(fields.count())).fill(str(dice.randrange(1, 500)))
        page.evaluate("document.activeElement.blur()")
    elif action == "head":
        boxes = page.locator(".boxes input")
        boxes.nth(dice.randrange(boxes.count())).click()
    else:
        row.locator("select").first.select_option(dice.choice(["full", "local", "strided", "random"]))


@pytest.mark.parametrize("seed", [1, 2])
def test_undo_and_redo_over_fifty_random_actions_end_where_they_began(browser, server, seed):
    dice = random.Random(seed)
    with opened(browser, server, "#encoder&num_hidden_layers=4&attention_type=full,local*3", REFUSED) as page:
        valid(page)
        states = [drawing(page)]
        for _ in range(50):
            random_action(page, dice)
            if (state := drawing(page)) != states[-1]:
                states.append(state)
        assert len(states) > 25
        page.locator("#stack").focus()
        for state in reversed(states[:-1]):
            page.keyboard.press("Control+z")
            assert drawing(page) == state
        assert page.locator("#undo").get_attribute("aria-disabled") == "true"
        for state in states[1:]:
            page.keyboard.press("Control+y")
            assert drawing(page) == state
        assert page.locator("#redo").get_attribute("aria-disabled") == "true"


@pytest.mark.parametrize("link", LINKS)
def test_a_link_opened_in_another_browser_gives_the_same_drawing(browser, server, link):
    rights = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, server, link, REFUSED, **rights) as page:
        first = drawing(page)
        page.get_by_role("button", name="Copy link").click()
        said(page, "Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"{server.url}/{link.split('&')[0]}")
    with opened(browser, server, copied.removeprefix(f"{server.url}/"), REFUSED) as page:
        assert drawing(page) == first


def test_a_link_holds_only_what_differs_and_reads_well(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        page.wait_for_function("() => location.hash === '#encoder'")
        page.locator('[data-field="num_hidden_layers"]').fill("4")
        page.locator('[data-field="hidden_size"]').fill("256")
        page.wait_for_function("() => location.hash.includes('hidden_size')")
        parts = page.evaluate("location.hash").split("&")
        assert parts[0] == "#encoder"
        assert sorted(parts[1:]) == [
            "attention_type=full*4", "hidden_act=gelu*4", "hidden_size=256", "num_hidden_layers=4",
        ]  # fmt: skip


@pytest.mark.parametrize("link", ["#nothing", "#encoder&attention_type=full*-3", "#encoder&hidden_size=%E0%A4%A"])
def test_a_damaged_link_opens_the_presets(browser, server, link):
    with opened(browser, server, link) as page:
        assert page.locator("#start .preset").count() == 3


# ---- Problems ----


def test_a_problem_shows_at_the_field_that_causes_it_with_its_cure(browser, server):
    with opened(browser, server) as page:
        open_preset(page)
        parameters = page.inner_text("#costs")
        heads = page.locator('[data-field="num_attention_heads"]')
        heads.fill("5")
        problem = page.locator("#problems .bad")
        problem.wait_for()
        assert "hidden_size 128 is not divisible by 5 heads. Choose" in problem.inner_text()
        assert heads.get_attribute("aria-invalid") == "true"
        described = page.locator(f"#{heads.get_attribute('aria-describedby')}")
        assert described.is_visible() and described.inner_text() in problem.inner_text()
        assert page.inner_text("#costs") == parameters and "stale" in page.locator("#costs").get_attribute("class")
        for name in ("run", "export"):
            assert page.locator(f"#{name}-go").get_attribute("aria-disabled") == "true"
            assert page.inner_text(f"#{name}-reason") == "Solve the problem first."
        problem.get_by_role("button").click()
        assert focused(page, "data-field") == "num_attention_heads"
        heads.fill("4")
        valid(page)
        assert heads.get_attribute("aria-invalid") is None and heads.get_attribute("aria-describedby") is None


def test_a_problem_in_folded_settings_is_opened_by_its_button(browser, server):
    with opened(browser, server, "#encoder&hidden_dropout_prob=7") as page:
        page.locator("#problems .bad button").click()
        assert focused(page, "data-field") == "hidden_dropout_prob"
        assert page.locator(".more .message").is_visible()


def test_what_a_user_or_a_file_writes_stays_text(browser, server):
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    with opened(browser, server, expected=REFUSED) as page:
        open_preset(page)
        page.locator('[data-field="prefix"]').fill(attack)
        page.locator("#problems .bad", has_text="<img").wait_for()
        page.locator('[data-field="prefix"]').fill("Chapter")
        valid(page)
        text = json.dumps({"model_type": "bert", "num_hidden_layers": 2, attack: attack})
        page.evaluate(
            """text => { const data = new DataTransfer(); data.setData("text", text);
            document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true})); }""",
            text,
        )
        page.locator("#notes", has_text="<img").wait_for()
        assert drawing(page)["unknown"][attack] == attack
        page.get_by_role("button", name="config.json").click()
        assert attack in json.loads(page.locator("dialog textarea").input_value())
        assert page.locator("main img, main script, dialog img").count() == 0


# ---- Opening a file ----


def test_a_config_opens_by_its_text_and_a_broken_one_says_why(browser, server):
    with opened(browser, server, expected=REFUSED) as page:
        page.get_by_role("button", name="Open a config.json").click()
        page.locator("#open-text").fill('{"model_type": "bert", ')
        page.locator("dialog").get_by_role("button", name="Open").click()
        page.locator("#open-fault", has_text="config.json cannot be read").wait_for()
        page.locator("#open-text").fill('{"model_type": "bert", "hidden_size": 192, "num_attention_heads": 3}')
        page.locator("dialog").get_by_role("button", name="Open").click()
        said(page, "config.json opened")
        assert page.locator("dialog").is_hidden() and drawing(page)["config"]["hidden_size"] == 192
        valid(page)
