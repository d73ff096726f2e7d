"""The builder's page in every state of its server: late, busy, gone, running, exporting, comparing; for every look."""

import json
import signal
import zipfile

import pytest
from helpers.builder.page import (
    GONE,
    LOOKS,
    BuilderServer,
    focused,
    kinds,
    layer,
    needs_a_browser,
    open_preset,
    opened,
    said,
    valid,
    violations,
)

needs_a_browser()
pytestmark = pytest.mark.slow
WEIGHT = 40_000  # bytes of the first paint
TOUCH = 40  # least height of a button on a phone, in pixels
LOCAL = '[data-item="attention_type-local"]'


# ---- What the server says, and when it says nothing ----


def test_a_late_answer_is_never_shown_as_fresh(browser, server):
    """Also where the browser does not cancel the request: the answer's own number decides."""
    with opened(browser, server) as page:
        page.evaluate("AbortController.prototype.abort = () => {}")
        open_preset(page)
        held = []

        def hold(route):
            late = json.loads(route.request.post_data)["state"]["config"]["hidden_size"] == 256
            held.append(route) if late else route.continue_()

        page.route("**/api/check", hold)
        before = page.inner_text("#costs")
        page.locator('[data-field="hidden_size"]').fill("256")
        page.wait_for_timeout(600)
        assert held and page.inner_text("#verdict") == "checking…"
        assert page.locator("#costs").get_attribute("aria-busy") == "true"
        assert page.inner_text("#costs") == before and "stale" in page.locator("#costs").get_attribute("class")
        assert page.locator("#run-go").get_attribute("aria-disabled") == "true"
        page.locator('[data-field="hidden_size"]').fill("512")
        valid(page)
        fresh = page.inner_text("#costs")
        assert fresh != before
        for route in held:
            route.continue_()
        page.wait_for_timeout(600)
        assert page.inner_text("#costs") == fresh and page.inner_text("#verdict") == "valid"


def test_editing_works_while_the_server_is_gone_and_numbers_return_with_it(browser, server):
    with opened(browser, server, expected=GONE) as page:
        open_preset(page)
        page.context.set_offline(True)
        page.locator(layer(1)).focus()
        page.keyboard.press("Alt+KeyD")
        banner = page.get_by_role("alert").filter(has_text="Editing still works. Numbers return when the server does")
        banner.wait_for()
        assert page.inner_text("#run-reason") == "The server does not answer."
        page.keyboard.press("Alt+KeyD")
        assert len(kinds(page)) == 4
        page.context.set_offline(False)
        said(page, "The server is back")
        valid(page)
        assert banner.is_hidden() and len(kinds(page)) == 4


def test_a_server_killed_while_exporting_is_named_and_editing_goes_on(browser, tmp_path):
    with BuilderServer(tmp_path / "output") as own, opened(browser, own, expected=GONE) as page:
        open_preset(page)
        page.locator("#export-go").click()
        page.locator("#export-steps .done").first.wait_for()
        own.stop(signal.SIGKILL)
        line = "The server stopped while exporting; nothing was written. Start it again and press Export."
        page.locator("#export-steps .failed", has_text=line).wait_for()
        assert page.locator("#export-result a").count() == 0 and not list((tmp_path / "output").glob("[!.]*"))
        page.locator(layer(1)).focus()
        page.keyboard.press("Alt+KeyD")
        page.locator("#gone").wait_for()
        with BuilderServer(tmp_path / "output", own.port):
            page.locator("#verdict", has_text="valid").wait_for(timeout=60_000)
            assert page.locator("#gone").is_hidden() and len(kinds(page)) == 3


def test_an_export_can_be_cancelled_and_the_next_one_runs(browser, server):
    with opened(browser, server, "#encoder&prefix=Later&model_type=later") as page:
        valid(page)
        page.locator("#export-go").click()
        page.locator("#export-steps li").nth(2).wait_for()
        page.wait_for_timeout(1000)  # until its process runs
        assert page.inner_text("#run-reason") == "Wait until the export is done, or cancel it."
        page.locator("#export-cancel").click()
        page.locator("#export-steps .failed", has_text="Cancelled").wait_for(timeout=60_000)
        assert focused(page, "id") == "export-go"
        page.locator("#run-go").click()
        page.locator("#run-result table").wait_for(timeout=120_000)
        assert "logits" in page.inner_text("#run-result") and "[1, 2]" in page.inner_text("#run-result")


# ---- Every state, in light and dark and on a phone ----


def check_state(page, state: str, wrong: dict, width: int) -> None:
    if listed := violations(page):
        wrong[state] = listed
    if page.evaluate("document.documentElement.scrollWidth") > width:
        wrong[state, "width"] = page.evaluate("document.documentElement.scrollWidth")


@pytest.mark.parametrize("look", LOOKS)
def test_every_state_is_accessible_and_no_wider_than_the_window(browser, server, look):
    wrong, width = {}, LOOKS[look]["viewport"]["width"]
    with opened(browser, server, expected=GONE, **LOOKS[look]) as page:
        check_state(page, "empty", wrong, width)
        open_preset(page)
        page.locator(layer(2)).focus()
        check_state(page, "valid", wrong, width)
        page.locator('[data-field="num_attention_heads"]').fill("5")
        page.locator("#problems .bad").wait_for()
        check_state(page, "invalid", wrong, width)
        page.locator('[data-field="num_attention_heads"]').fill("4")
        page.locator('[data-field="model_type"]').fill(f"chapter_{look}")
        valid(page)
        page.locator("#run-go").click()
        page.locator("#run-cancel").wait_for()
        check_state(page, "running", wrong, width)
        page.locator("#run-result table").wait_for(timeout=120_000)
        page.locator("#export-go").click()
        page.locator("#export-steps li").first.wait_for()
        check_state(page, "exporting", wrong, width)
        page.locator("#export-result a").wait_for(timeout=240_000)
        check_state(page, "exported", wrong, width)
        with page.expect_download() as download:
            page.locator("#export-result a").click()
        assert zipfile.is_zipfile(download.value.path())
        page.locator("#toolbar").get_by_role("button", name="Open").click()
        check_state(page, "open", wrong, width)
        page.keyboard.press("Escape")
        page.context.set_offline(True)
        page.locator('[data-field="hidden_size"]').fill("256")
        page.locator("#gone").wait_for()
        check_state(page, "server gone", wrong, width)
    assert not wrong, wrong


def test_buttons_on_a_phone_are_large_enough_for_a_finger_and_build_a_model(browser, server):
    with opened(browser, server, **LOOKS["phone"]) as page:
        page.locator("#start .preset").first.tap()
        valid(page)
        page.locator("#palette summary").tap()
        small = page.evaluate(
            """least => [...document.querySelectorAll("button, select, summary, input")]
            .filter((each) => each.checkVisibility() && !each.matches(".skip, [type=checkbox]"))
            .filter((each) => Math.min(each.offsetWidth, each.offsetHeight) < least)
            .map((each) => each.outerHTML)""",
            TOUCH,
        )
        assert small == []
        boxes = page.evaluate("""[...document.querySelectorAll(".truth")].filter((each) => each.checkVisibility())
            .map((each) => each.getBoundingClientRect().height)""")
        assert min(boxes) >= 24
        page.locator(LOCAL).tap()
        said(page, "Local attention added as layer 3 of 3")
        page.get_by_role("button", name="Move layer 3 up").tap()
        assert kinds(page) == ["full", "local", "full"]
        page.get_by_role("button", name="Add one more like layer 1").tap()
        page.get_by_role("button", name="Remove layer 4").tap()
        assert kinds(page) == ["full", "full", "local"]
        valid(page)


def test_the_first_paint_takes_two_files_that_are_small(browser, server):
    with opened(browser, server) as page:
        files = page.evaluate("""() => {
            const painted = performance.getEntriesByName("first-contentful-paint")[0].startTime;
            return [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
                .filter((each) => !each.name.includes("/api/") && !each.name.startsWith("data:"))
                .map((each) => [new URL(each.name).pathname, each.decodedBodySize, each.startTime < painted]);
        }""")
        first = [(name, size) for name, size, before in files if name in ("/", "/builder.js")]
        assert len(first) == 2 and sum(size for _, size in first) < WEIGHT, files
        assert {name for name, _, before in files if before} <= {"/", "/builder.js"}, files


# ---- Compare ----


@pytest.mark.parametrize("look", LOOKS)
def test_kinds_of_attention_are_compared_and_every_pair_says_why(browser, server, look):
    with opened(browser, server, **LOOKS[look]) as page:
        page.locator("#tab-compare").click()
        for name, value in (("length", 96), ("window", 4), ("globals", 1)):
            page.locator(f'[data-field="compare-{name}"]').fill(str(value))
        page.locator("#compare-go").click()
        page.locator("#compare-result table").first.wait_for(timeout=120_000)
        local = page.locator("figure", has_text="local").first
        local.locator(".map").focus()
        for key, text in (("ArrowDown", "Query 1, key 0: global"), ("ArrowRight", "Query 1, key 1: window"),
                          ("Shift+ArrowRight", "Query 1, key 9: not seen")):  # fmt: skip
            page.keyboard.press(key)
            assert local.locator("[aria-live]").inner_text() == text
        rows = page.locator("#compare-result table").first.locator("tbody tr")
        assert [row.split()[0] for row in rows.all_inner_texts()] == ["full", "local", "strided", "random"]
        assert page.locator("#compare-result svg").count() == 3
        assert not violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= LOOKS[look]["viewport"]["width"]


def test_a_kind_keeps_its_colour_whichever_others_are_beside_it(browser, server):
    with opened(browser, server) as page:
        page.locator("#tab-compare").click()
        for kind in ("full", "strided", "measure"):
            page.locator(f'[data-field="compare-{kind}"]').uncheck()
        page.locator('[data-field="compare-length"]').fill("96")
        page.locator("#compare-go").click()
        page.locator("#compare-result table").first.wait_for(timeout=120_000)
        swatches = page.locator("#compare-result .says .swatch")
        assert [swatches.nth(index).get_attribute("class") for index in (0, 1)] == [
            "swatch series-1",
            "swatch series-3",
        ]
        assert page.locator("#compare-result svg .series-1 text").inner_html() == "local"
        assert page.locator("#compare-result svg .series-3 text").inner_html() == "random"


def test_one_kind_alone_is_not_compared(browser, server):
    with opened(browser, server) as page:
        page.locator("#tab-compare").click()
        for kind in ("local", "strided", "random"):
            page.locator(f'[data-field="compare-{kind}"]').uncheck()
        page.locator("#compare-go").click()
        assert page.inner_text("#compare-steps") == "Choose 2 to 4 kinds."
