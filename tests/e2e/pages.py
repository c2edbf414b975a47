"""What the browser tests ask of every page: nothing fetched, nothing wrong, for everybody, on a phone too."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SERIOUS = ("serious", "critical")


def watch(page: Page) -> list[str]:
    """A list that grows by whatever goes wrong on the page, and by what it wants from another machine."""
    complaints = []

    def look(request):
        if not request.url.startswith(("file://", "data:", "blob:")):
            complaints.append(f"requested {request.url}")

    page.on("request", look)
    page.on("requestfailed", lambda request: complaints.append(f"missing {request.url}"))
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def barriers(page: Page) -> list[str]:
    """The rules of axe-core that the page breaks seriously, each with the elements that do."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {[node['target'] for node in rule['nodes']][:5]}" for rule in found if rule["impact"] in SERIOUS
    ]
