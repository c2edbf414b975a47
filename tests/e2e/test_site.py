"""The site in a real browser, from its files: links, pictures, phone, dark mode, search, folded solutions.

Screenshots are left in pytest's temporary folder. Run with `make e2e`; Chromium must be installed.
"""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import PHONE, barriers
from playwright.sync_api import expect

from helpers import paths
from helpers.series import model_card
from tools import make_site

NOTEBOOKS = [path.stem for path in sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))]

PICTURES = """() => Promise.all([...document.querySelectorAll("main img")].map(async (img) => {
  img.loading = "eager";
  await img.decode();
  return [img.src, img.naturalWidth, img.alt];
}))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    make_site.make(folder, sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb")), model_card.text_of(paths.REFERENCE), None)
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Every page of Sphinx's: the demo and the slides have tests of their own, and _static holds pieces of the theme."""
    others = (*make_site.KEPT, "_static")
    found = sorted(path for path in site.rglob("*.html") if path.relative_to(site).parts[0] not in others)
    assert {f"{name}.html" for name in ("index", "use", "search", "glossary", *NOTEBOOKS)} <= {p.name for p in found}
    return found


def test_links_lead_to_files_and_places_that_are_there(visit, pages):
    places, links = {}, set()
    for path in pages:
        page = visit(path)
        places[path] = set(page.evaluate("() => [...document.querySelectorAll('[id]')].map((e) => e.id)"))
        found = page.evaluate("() => [...document.links].map((link) => link.href)")
        links |= {(path, link) for link in found if urlsplit(link).scheme != "https"}
        page.context.close()
    assert len(links) > 500
    for path, link in links:
        assert link.startswith("file://"), f"{link} on {path.name}"
        parts = urlsplit(link)
        target = Path(unquote(parts.path))
        assert target.is_file(), f"{link} on {path.name}"
        fragment = unquote(parts.fragment)
        assert not fragment or target not in places or fragment in places[target], f"{link} on {path.name}"


def test_pictures_are_there_and_described(visit, pages):
    for path in pages:
        page = visit(path)
        for source, width, about in page.evaluate(PICTURES):
            assert width > 0 and len(about) > 10, f"{source} on {path.name}"
        page.context.close()


def test_no_barriers(visit, pages, shots):
    found = {}
    for path in pages:
        page = visit(path)
        for scheme in ("light", "dark"):  # what cannot be read for lack of contrast is a barrier, too
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("html")).to_have_attribute("data-theme", scheme)
            page.screenshot(path=shots / f"{scheme}_{path.stem}.png")
            if rules := barriers(page):
                found[path.name, scheme] = rules
        page.context.close()
    assert not found


def test_no_page_is_wider_than_a_phone(visit, pages, shots):
    for path in pages:
        page = visit(path, **PHONE)
        width = page.evaluate("() => document.documentElement.scrollWidth")
        page.screenshot(path=shots / f"phone_{path.stem}.png")
        page.context.close()
        assert width <= PHONE["viewport"]["width"], path.name


def test_solutions_and_machinery_open_by_a_click(visit, site, shots):
    page = visit(site / "notebooks" / "03_baseline_cnn.html")
    solution = page.locator(".tag_solution details").first
    expect(solution).not_to_have_attribute("open", "")
    expect(solution.locator("pre").first).to_be_hidden()
    solution.get_by_text("Show the solution of 03.1").click()
    expect(solution.locator("pre").first).to_be_visible()
    page.screenshot(path=shots / "solution.png")
    for tag in make_site.FOLDED:
        for cell in page.locator(f".tag_{tag}").all():
            assert cell.locator("details").count() == 1, tag


def test_formulas_are_drawn_without_a_script(visit, site, shots):
    page = visit(site / "notebooks" / "05_evaluation.html")
    formula = page.locator(".formula math").first
    formula.scroll_into_view_if_needed()
    assert formula.locator("mfrac").count() >= 2 and formula.bounding_box()["height"] > 40
    page.screenshot(path=shots / "formula.png")


def test_search_finds(visit, site, shots):
    page = visit(site / "index.html")
    page.goto(f"{(site / 'search.html').as_uri()}?q=overfitting")
    expect(page.locator("#search-results a", has_text=re.compile("Baseline CNN")).first).to_be_visible()
    page.screenshot(path=shots / "search.png")


def test_start_page_leads_on(visit, site, shots):
    page = visit(site / "index.html")
    page.screenshot(path=shots / "start.png", full_page=True)
    assert page.locator("table", has_text="shipped network, test accuracy").count() == 1
    for text, file in (("Draw a digit", "demo/index.html"), ("01", f"slides/{NOTEBOOKS[0]}.html")):
        assert page.get_by_role("link", name=text, exact=True).get_attribute("href") == file
