"""tools.make_slides: what stands on a slide, and where the next one begins."""

import base64

import cv2
import nbformat
import numpy as np
import pytest

from helpers import paths
from helpers.errors import UserError
from tools import make_slides
from tools.make_slides import add_code, add_text, blocks, read


def deck(*sources):
    made = []
    for source in sources:
        add_text(made, source)
    return made


def cell(source, *outputs):
    return nbformat.v4.new_code_cell(source, outputs=[nbformat.v4.new_output(kind, **rest) for kind, rest in outputs])


def printed(text):
    return ("stream", {"text": text})


def test_headings_begin_sections_and_slides():
    made = deck(
        "# 03 · CNN\n\n**Result:** good.", "text\n\n## Set the *bar*\n\nmore\n\n### Exercise 03.1 (easy)\n\nguess"
    )
    assert [[slide.heading for slide in column] for column in made] == [
        ["03 · CNN"], ["Set the <em>bar</em>", "Exercise 03.1 (easy)"],
    ]  # fmt: skip
    assert made[0][0].blocks == ["<p><strong>Result:</strong> good.</p>", "<p>text</p>"]


def test_long_text_goes_on_on_the_next_slide_under_the_same_heading():
    made = deck("## Title\n\n" + "\n\n".join(f"{number} " + "word " * 100 for number in range(6)))
    [column] = made
    assert {slide.heading for slide in column} == {"Title"} and len(column) == 3
    text = "".join(block for slide in column for block in slide.blocks)
    assert [text.index(f"<p>{number} ") for number in range(6)] == sorted(text.index(f"<p>{n} ") for n in range(6))
    assert all(slide.height <= make_slides.ROOM + make_slides.GAP for slide in column)


def test_lists_are_split_between_items_and_go_on_counting():
    found = blocks("3. three\n4. four\n\n   - inner\n\n- a bullet")
    assert [kind for kind, _ in found] == ["ol", "ol", "ul"]
    assert 'start="3"' in found[0][1] and 'start="4"' in found[1][1] and "inner" in found[1][1]


def test_what_only_readers_need_stays_off():
    made = deck(
        "# T\n\n[![Colab](https://x.org/b.svg)](https://x.org)\n\nresult",
        "**Needs** `a`\n\n**Time** 3 minutes\n\n**Work** on",
    )
    assert made[0][0].blocks == ["<p>result</p>"]


def test_links_into_the_project_are_words_and_formulas_are_mathml():
    [(_, html)] = blocks("[loss](glossary.md#loss), [Keras](https://keras.io), $x^2$")
    assert html.startswith('<p>loss, <a href="https://keras.io">Keras</a>, ') and "<msup>" in html


@pytest.mark.parametrize(
    "source, shown",
    [
        ("model.fit(x, y)", True),
        ("import keras", False),
        ("\n".join(["x = 1"] * 12), True),
        ("\n".join("x" * 13), False),
    ],
)
def test_code_is_shown_if_a_talk_can_follow_it(source, shown):
    made = deck("## T")
    add_code(made, cell(source, printed("<result>\n")))
    [slide] = made[0]
    assert ('class="code"' in slide.blocks[0]) is shown
    assert slide.blocks[-1].strip() == '<pre class="output">&lt;result&gt;</pre>'


def test_a_figure_takes_the_place_of_the_code_that_draws_it():
    png = base64.b64encode(cv2.imencode(".png", np.zeros((400, 200), np.uint8))[1]).decode()
    about = {"alt": 'a "3"', "width": 250}
    data = {"data": {"image/png": f"{png}\n", "text/plain": "<Figure>"}, "metadata": {"image/png": about}}
    made = deck("## T")
    add_code(made, cell("plots.show(fig)", ("display_data", data)))
    [slide] = made[0]
    [block] = slide.blocks
    assert block.strip() == f'<figure><img alt="a &#34;3&#34;" src="data:image/png;base64,{png}"></figure>'
    assert slide.height == 500 + make_slides.GAP  # as tall as in the notebook


def test_a_long_output_loses_its_middle():
    made = deck("## T")
    add_code(made, cell("import x", printed("\n".join(map(str, range(40))))))
    lines = made[0][0].blocks[0].removesuffix("</pre>").split("\n")
    assert lines[0].endswith(">0") and "…" in lines and lines[-1] == "39" and len(lines) <= make_slides.OUTPUT_LINES


def test_code_and_what_it_prints_stay_together():
    made = deck("## T\n\n" + "word " * 200)
    add_code(made, cell("\n".join(["f(x)"] * 8), printed("\n".join("y" * 8))))
    assert [len(slide.blocks) for slide in made[0]] == [1, 2]


@pytest.mark.parametrize("notebook", sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem[:2])
def test_every_figure_is_shown_and_no_solution(notebook):
    nb = nbformat.read(notebook, as_version=4)
    html = "".join(block for column in read(notebook) for slide in column for block in slide.blocks)
    figures = sum("image/png" in output.get("data", {}) for cell in nb.cells for output in cell.get("outputs", []))
    assert html.count("<figure>") == figures > 0
    assert "# solution" not in html and "nbval" not in html and "find_spec" not in html


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(make_slides.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="sphinx-revealjs is missing: pip install"):
        make_slides.reveal()
