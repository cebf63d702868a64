"""The gallery of a finished run in a real browser: it asks for nothing, fits, and can be read and used by keyboard."""

import importlib.util
import shutil
from contextlib import contextmanager
from itertools import product
from urllib.parse import unquote, urlparse

import pytest

from companion.reader.standing import STANDINGS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NEEDED = ("playwright", "axe_playwright_python")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None] + ([] if CHROMIUM else ["a Chromium"])
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not found: {', '.join(MISSING)}")

TOUCHED_BY = ("code/companion/reader/gallery.smk", "code/companion/reader/gallery.py", "code/companion/reader/gallery")
WIDTHS = (400, pytest.param(700, marks=pytest.mark.slow), pytest.param(1100, marks=pytest.mark.slow), 1600)
ZOOM = "a.plate"
OPEN_ALL = "document.querySelectorAll('details').forEach(details => { details.open = true; })"


@pytest.fixture(scope="session")
def path(finished):
    """The page of the finished smoke run."""
    return finished[0] / "results/gallery.html"


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, path):
    """A function that opens the page and fails at the end if it asked for something or complained."""

    @contextmanager
    def open_page(width=1100, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        page, asked, complaints = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.route("**/*", lambda route: route.continue_() if route.request.url == path.as_uri() else route.abort())
        page.goto(path.as_uri())
        yield page
        context.close()
        assert complaints == []
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]

    return open_page


def test_every_picture_is_there_and_named(opened):
    with opened() as page:
        pictures = page.eval_on_selector_all("img", "all => all.map(i => [i.naturalWidth, i.alt, i.src.slice(0, 5)])")
        figures = page.locator("article.entry:has(img)").count()
        lines = page.locator("article.entry:not(:has(img))").all_text_contents()
    assert figures >= 11
    assert len(pictures) == figures + 1
    assert len(lines) <= 1
    assert all("Not run: " in line for line in lines)
    assert all(width > 100 and len(alt) > 10 and start == "data:" for width, alt, start in pictures)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(opened, width):
    with opened(width=width) as page:
        page.evaluate(OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = """all => all.filter(e => !e.closest('.scroll, dialog') && e.checkVisibility()
            && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
        assert page.eval_on_selector_all("main *, nav *, header *", outside) == []


def test_what_scrolls_sideways_can_be_scrolled_by_keyboard(opened):
    with opened(width=400) as page:
        page.evaluate(OPEN_ALL)
        scrolled = """all => all.filter(e => e.scrollWidth > e.clientWidth + 1 && e.checkVisibility()
            && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX))
            .map(e => [e.tabIndex, e.getAttribute('role'), (e.getAttribute('aria-label') || '').length > 5])"""
        boxes = page.eval_on_selector_all("body *", scrolled)
    assert len(boxes) >= 3
    assert all(box == [0, "region", True] for box in boxes)


VIEWS = list(product((False, True), (400, 1600), ("light", "dark")))  # a figure opened large, width, scheme
FIRST_VIEWS = ((False, 1600, "light"), (True, 400, "dark"))


@pytest.mark.parametrize(
    ("large", "width", "scheme"),
    [pytest.param(*view, marks=() if view in FIRST_VIEWS else pytest.mark.slow) for view in VIEWS],
)
def test_accessibility_rules_hold(opened, large, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with opened(width=width, color_scheme=scheme) as page:
        page.evaluate(OPEN_ALL)
        if large:
            page.locator(ZOOM).first.click()
        found = Axe().run(page).response["violations"]
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, shade.strip("rgb()").split(","))) > 380) == (scheme == "light")
    serious = [
        (rule["id"], rule["nodes"][0]["html"][:120]) for rule in found if rule["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_the_keyboard_reaches_everything(opened):
    with opened() as page:
        stations = []
        for _ in range(80):  # the index alone has a station for every figure
            page.keyboard.press("Tab")
            stations.append(page.evaluate("document.activeElement.closest('.skip, nav, summary, a.plate')?.nodeName"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert stations[:2] == ["A", "NAV"]
        assert {"NAV", "SUMMARY", "A"} <= set(stations[2:])
        page.locator("#paper-b summary").last.focus()
        verdicts = []
        for _ in range(4 + len(STANDINGS)):
            page.keyboard.press("Tab")
            verdicts.append(page.evaluate("document.activeElement.dataset.verdict"))
        assert [v for v in verdicts if v is not None] == ["", *STANDINGS]


def test_the_skip_link_passes_the_index(opened):
    with opened() as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("width", [400, 1600])
def test_a_figure_opens_large_and_gives_the_focus_back(opened, width):
    with opened(width=width) as page:
        plate = page.locator(ZOOM).nth(1)
        small = plate.locator("img").bounding_box()["width"]
        plate.focus()
        page.keyboard.press("Enter")
        assert page.locator("dialog").get_attribute("open") is not None
        assert page.locator("#large-title").text_content() == plate.get_attribute("data-title")
        assert page.locator("dialog img").bounding_box()["width"] > small
        assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
        page.keyboard.press("Escape")
        assert page.locator("dialog").get_attribute("open") is None
        assert plate.evaluate("element => element === document.activeElement")
        assert page.url.endswith("gallery.html")


def test_claims_are_filtered_by_verdict(opened):
    with opened() as page:
        rows = page.locator("table.claims tbody tr")
        total = rows.count()
        verdicts = rows.evaluate_all("all => all.map(row => row.dataset.verdict)")
        assert page.locator("#claims tbody tr:visible").count() == total > 20
        for button in page.locator(".filter button").all():
            verdict = button.get_attribute("data-verdict")
            button.click()
            shown = page.locator("table.claims tbody tr:visible").evaluate_all("all => all.map(r => r.dataset.verdict)")
            assert shown == [found for found in verdicts if verdict in ("", found)]
            assert page.locator('.filter button[aria-pressed="true"]').all_text_contents() == [button.text_content()]
        assert {"confirmed", "refuted earlier", "too few runs"} <= set(verdicts)


def test_every_link_leads_somewhere_here(opened, path):
    with opened() as page:
        links = page.eval_on_selector_all(
            "a[href], link[href]", "all => all.map(a => [a.href, a.getAttribute('href')])"
        )
        ids = set(page.eval_on_selector_all("[id]", "all => all.map(e => e.id)"))
    inside = {given[1:] for _, given in links if given.startswith("#")}
    files = {unquote(urlparse(full).path) for full, given in links if not given.startswith(("#", "data:"))}
    assert {urlparse(full).scheme for full, _ in links} == {"file", "data"}
    assert inside <= ids
    assert len(files) > 60
    assert [name for name in files if not path.joinpath(name).is_file()] == []


def test_ids_are_used_once(opened):
    with opened() as page:
        ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_without_scripts_everything_is_readable(opened):
    with opened(java_script_enabled=False) as page:
        assert page.locator("article.entry img:visible").count() >= 11
        assert page.locator("table.claims tbody tr:visible").count() > 20
        assert page.locator(".filter").is_hidden()
        page.locator("article.entry summary").first.click()
        assert page.locator("article.entry table.data").first.is_visible()
        assert page.locator(ZOOM).first.get_attribute("href") == "../figures/figure1.svg"


def test_the_csv_on_the_page_is_the_table(opened, path):
    with opened() as page:
        page.evaluate(OPEN_ALL)
        link = page.locator("#figure-figure1 a[download]")
        with page.expect_download() as download:
            link.click()
        content = download.value.path().read_bytes()
    assert content == (path.parent / "counterexample/figure1.csv").read_bytes()


def test_the_page_stays_small(path):
    assert 500_000 < path.stat().st_size < 25_000_000
