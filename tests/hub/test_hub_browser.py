"""The Hub's pages in a real browser: accessible, fitting a phone, usable from the keyboard, and copying exactly."""

import contextlib
import importlib.util
import shutil

import pytest
from helpers.hub import hub_site
from helpers.hub.hub_support import Server

CHROMIUM = shutil.which("chromium")
for _needed, _found in {
    "playwright": importlib.util.find_spec("playwright"),
    "axe-playwright-python": importlib.util.find_spec("axe_playwright_python"),
    "chromium on the PATH": CHROMIUM,
}.items():
    if not _found:
        pytest.skip(f"needs {_needed}", allow_module_level=True)
REPO = "/alice/resnet50d"
PAGES = {
    "list": "/",
    "no match": "/?search=nothing-has-this-name",
    "datasets": "/datasets",
    "dataset": "/datasets/alice/digits",
    "card": REPO,
    "files": f"{REPO}/tree/main",
    "folder": f"{REPO}/tree/v1.0/notes",
    "code": f"{REPO}/blob/main/modeling_resnet.py",
    "markdown": f"{REPO}/blob/main/README.md",
    "tensors": f"{REPO}/blob/main/model.safetensors",
    "picture": f"{REPO}/blob/main/pictures/architecture.svg",
    "commits": f"{REPO}/commits/try%2Fwider",
    "commit": f"{REPO}/commit/{{sha}}",
    "refs": f"{REPO}/refs",
    "compare": f"{REPO}/compare/main..try%2Fwider?files=all",
    "discussions": f"{REPO}/discussions",
    "discussion": f"{REPO}/discussions/2",
    "pull request": f"{REPO}/discussions/1",
    "error": f"{REPO}/tree/no-such-branch",
}
MODES = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 380, "height": 750}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("hub") / "data", "--quiet") as running:
        running.made = hub_site.build(running)
        yield running


@contextlib.contextmanager
def opened(browser, server, **options):
    """A page that fails the test when something is wrong in its console."""
    context = browser.new_context(base_url=server.url, **options)
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
    try:
        yield page
    finally:
        context.close()
    problems = [each for each in problems if "status of 404" not in each]  # Chromium reports the error page as such
    assert problems == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_page_is_accessible_and_no_wider_than_the_window(browser, server, mode):
    from axe_playwright_python.sync_playwright import Axe

    axe, wrong = Axe(), {}
    with opened(browser, server, **MODES[mode]) as page:
        for name, path in PAGES.items():
            page.goto(path.format(sha=server.made["Write the card"]))
            for violation in axe.run(page).response["violations"]:
                wrong[name, violation["id"]] = [node["html"][:200] for node in violation["nodes"]][:3]
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > MODES[mode]["viewport"]["width"]:
                wrong[name, "width"] = width
    assert not wrong, wrong


@pytest.mark.slow
def test_markup_in_everything_a_user_writes_stays_text(browser, server):
    """The console would tell of a script that the page's policy blocked, and a dialog of one that it did not."""
    pages = hub_site.attack(server)
    with opened(browser, server) as page:
        for path in pages.values():
            page.goto(path)
            page.wait_for_load_state("networkidle")
            hosts = page.evaluate("performance.getEntriesByType('resource').map(each => new URL(each.name).host)")
            assert set(hosts) <= {f"127.0.0.1:{server.port}"}, path


@pytest.mark.slow
def test_copy_puts_exactly_the_snippet_on_the_clipboard(browser, server):
    with opened(browser, server, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(REPO)
        page.get_by_role("button", name="Copy the snippet").click()
        page.get_by_role("status").filter(has_text="Copied").wait_for()
        sha = server.made["main"]
        assert page.evaluate("navigator.clipboard.readText()") == (
            "from transformers import AutoModelForImageClassification\n\n"
            f'model = AutoModelForImageClassification.from_pretrained("alice/resnet50d", revision="{sha}", '
            "trust_remote_code=True)"
        )
        page.get_by_role("button", name="Copy code").nth(1).click()
        page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('pip')")
        text = page.evaluate("navigator.clipboard.readText()")
        assert text == 'pip install "transformers>=4.48" "timm>=1.0.3"'
        page.goto(f"{REPO}/commits/main")
        page.get_by_role("button", name="Copy the full hash of Add weights").click()
        page.get_by_role("status").filter(has_text="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == server.made["Add weights"]


@pytest.mark.parametrize("refusal", ["missing", "refused"])
def test_where_the_clipboard_is_not_allowed_the_text_is_selected(browser, server, refusal):
    scripts = {
        "missing": "Object.defineProperty(navigator, 'clipboard', {value: undefined})",  # plain http, another machine
        "refused": "navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'))",
    }
    with opened(browser, server) as page:
        page.add_init_script(scripts[refusal])
        page.goto(REPO)
        page.get_by_role("button", name="Copy the snippet").click()
        page.get_by_role("status").filter(has_text="press Ctrl+C").wait_for()
        assert page.evaluate("getSelection().toString()") == page.inner_text("#page-snippet")
        page.goto(f"{REPO}/commits/main")
        page.get_by_role("button", name="Copy the full hash of Add weights").click()
        page.get_by_role("status").filter(has_text="press Ctrl+C").wait_for()
        assert page.evaluate("getSelection().toString()") == server.made["Add weights"]


@pytest.mark.parametrize("name", ["list", "card", "files", "commits", "compare", "discussion"])
@pytest.mark.slow
def test_the_tab_key_reaches_every_control_and_shows_where_it_is(browser, server, name):
    controls = "a[href], button, input, select, summary, [tabindex='0']"
    with opened(browser, server) as page:
        page.goto(PAGES[name])
        page.evaluate(f"""() => [...document.querySelectorAll("{controls}")]
            .filter(each => each.checkVisibility()).forEach(each => each.dataset.wanted = 'yes')""")
        wanted = page.locator("[data-wanted]").count()
        for _ in range(wanted):
            page.keyboard.press("Tab")
            outline = page.evaluate("""() => {
                const at = document.activeElement;
                at.removeAttribute('data-wanted');
                return getComputedStyle(at).outlineStyle + getComputedStyle(at).outlineWidth;
            }""")
            assert outline == "solid2px", page.evaluate("document.activeElement.outerHTML")
        assert page.locator("[data-wanted]").count() == 0
        page.goto(PAGES[name])
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "page-main"


@pytest.mark.slow
def test_without_scripts_all_but_copying_works(browser, server):
    with opened(browser, server, java_script_enabled=False) as page:
        page.goto(REPO)
        assert page.get_by_role("button", name="Copy the snippet").count() == 0
        page.get_by_role("searchbox").fill("resnet")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="alice/resnet50d").click()
        page.get_by_role("link", name="Files", exact=True).click()
        page.get_by_text("Revision: main").click()
        page.get_by_role("link", name="try/wider").click()
        assert page.url.endswith("/tree/try%2Fwider")
        page.get_by_role("link", name="Refs").click()
        page.get_by_role("link", name="Compare try/wider with main").click()
        page.get_by_role("link", name="All files").click()
        assert "epochs: 600" in page.inner_text("main")
        page.locator("select[name=head]").select_option("v1.0")
        page.get_by_role("button", name="Compare").click()
        assert page.url.endswith("/compare/main..v1.0")


def test_pictures_of_a_card_show_and_none_is_asked_for_elsewhere(browser, server):
    with opened(browser, server) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(REPO)
        page.wait_for_load_state("networkidle")
        widths = page.evaluate("[...document.querySelectorAll('.prose img')].map(each => each.naturalWidth)")
        assert len(widths) == 2 and all(widths)
        assert all(each.startswith(server.url) for each in asked)


def test_a_private_card_and_its_picture_show_after_logging_in(browser, server):
    credentials = {"username": "alice", "password": server.token("alice", "read")}
    with opened(browser, server, http_credentials=credentials) as page:
        page.goto("/login")
        assert page.url == f"{server.url}/" and "alice" in page.inner_text(".top .user")
        page.get_by_role("link", name="alice/secret").click()
        page.wait_for_load_state("networkidle")
        assert page.inner_text(".prose h2").startswith("Secret")
        assert page.evaluate("document.querySelector('.prose img').naturalWidth") == 1
        assert page.context.cookies() == []


def test_a_line_of_code_has_an_address(browser, server):
    with opened(browser, server) as page:
        page.goto(f"{PAGES['code']}#L11")
        line = page.locator(":target")
        assert line.inner_text().strip().endswith("class ResnetModel(PreTrainedModel):")
