"""What all browser tests share."""

import pytest
from chromium import chromium
from pages import watch


@pytest.fixture(scope="module")
def browser():
    """Chromium, for the tests of one file."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shots(request, tmp_path_factory):
    """A folder for a file's screenshots, named after it."""
    return tmp_path_factory.mktemp(f"{request.module.__name__.removeprefix('test_')}_screenshots")


@pytest.fixture
def visit(browser):
    """Opens a page, with any options of a browser's context. Nothing may go wrong or be fetched there."""
    contexts, complaints = [], []

    def visit(path, **options):
        context = browser.new_context(**({"viewport": {"width": 1300, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        complaints.append(watch(page))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not sum(complaints, [])
