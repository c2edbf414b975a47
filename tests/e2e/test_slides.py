"""The slides in a real browser, from their files: every slide of every notebook fits, and nothing is fetched."""

import pytest
from pages import barriers, watch

from helpers import paths
from tools import make_slides

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))
SMALLEST = 12.5  # CSS pixels of a letter on a slide 720 high, in code and tables; as 17 points on paper 10 inches wide
TEXT = 22  # … in running text
# What overflows a slide, is cut off, or is too small to be read, in the slide that is shown.
FAULTS = """([least, text]) => {
  const slide = Reveal.getCurrentSlide(), body = slide.querySelector(".body"), box = slide.getBoundingClientRect();
  const faults = [];
  if (box.width > 1280.5 || box.height > 720.5 || box.top < -0.5) faults.push(`the slide is ${box.width} × ${box.height}`);
  for (const e of [body, ...body.querySelectorAll("pre, table, figure")])
    if (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
      faults.push(`${e.tagName} is cut off: ${e.textContent.slice(0, 40)}`);
  for (const e of slide.querySelectorAll(".slide *")) {
    const at = e.getBoundingClientRect(), size = parseFloat(getComputedStyle(e).fontSize);
    if (at.width && (at.bottom > 720.5 || at.right > 1280.5 || at.top < 0)) faults.push(`${e.tagName} lies outside`);
    if (size < (e.tagName === "P" && e.parentElement === body ? text : least)) faults.push(`${e.tagName} is ${size} px high`);
  }
  for (const figure of body.querySelectorAll("img"))
    if (!figure.naturalWidth || figure.clientHeight < 200) faults.push(`a figure is ${figure.clientHeight} px high`);
  return faults;
}"""


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """The folder of the slides."""
    folder = tmp_path_factory.mktemp("slides")
    make_slides.make(folder, NOTEBOOKS)
    return folder


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_every_slide_fits(browser, slides, shots, notebook):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    complaints = watch(page)
    page.goto((slides / f"{notebook.stem}.html").as_uri())
    page.wait_for_function("() => window.fitted")
    total, faults = page.evaluate("() => Reveal.getTotalSlides()"), {}
    for number in range(1, total + 1):
        if found := page.evaluate(FAULTS, [SMALLEST, TEXT]):
            faults[number] = found
        if number in (1, 4, total // 2):
            page.screenshot(path=shots / f"{notebook.stem[:2]}_{number}.png")
        page.evaluate("() => Reveal.next()")
    assert page.evaluate("() => Reveal.isLastSlide()") and total > 30
    assert not faults and not complaints
    assert not barriers(page)
    page.close()
