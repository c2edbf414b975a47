"""What the browser tests ask of every page: nothing fetched, nothing wrong, for everybody, on a phone too."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SERIOUS = ("serious", "critical")
# Of the words of code, thousands on a page, one of each colour is enough for axe-core, which takes its time over each.
ONE_OF_A_COLOUR = """() => {
  const seen = new Set();
  for (const e of document.querySelectorAll("pre span")) seen.has(e.className) ? e.replaceWith(e.textContent) : seen.add(e.className);
}"""

# A colour on its way to another is neither of them. The end of one change may begin another, of what inherits from it.
SETTLE = """() => {
  const underway = () => document.getAnimations().filter((animation) => animation instanceof CSSTransition);
  for (let found = underway(); found.length; found = underway()) found.forEach((transition) => transition.finish());
}"""


def watch(page: Page) -> list[str]:
    """A list that grows by whatever goes wrong on the page, and by what it wants from another machine."""
    complaints = []

    def look(request):
        if not request.url.startswith(("file://", "data:", "blob:")):
            complaints.append(f"requested {request.url}")

    def missed(request):
        if request.failure != "net::ERR_ABORTED":  # by going on to the next page
            complaints.append(f"missing {request.url}")

    page.on("request", look)
    page.on("requestfailed", missed)
    page.on("console", lambda message: message.type in ("warning", "error") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def barriers(page: Page, inside: str | None = None) -> list[str]:
    """The rules of axe-core that the page breaks seriously, each with the elements that do. Code loses its colours.

    `inside` is the selector of the part to look at.
    """
    page.evaluate(ONE_OF_A_COLOUR)
    page.evaluate(SETTLE)
    options = {"resultTypes": ["violations"], "preload": False}  # a page from a file may not read other files
    found = Axe().run(page, inside, options).response["violations"]
    return [
        f"{rule['id']}: {[node['target'] for node in rule['nodes']][:5]}" for rule in found if rule["impact"] in SERIOUS
    ]
