"""Makes slides from the executed notebooks: python -m tools.make_slides writes outputs/site/slides/.

One file for each notebook, which a browser opens from the folder, without a network. Each heading begins a slide, long
text goes on on the next one, figures take the room that is left. Code is shown where a talk can follow it: a few lines
that do not draw. Machinery and solutions stay off; exercises are tasks for the room.

reveal.js, which shows the slides, is copied from the package sphinx-revealjs.
"""

import base64
import importlib.util
import math
import re
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from docutils.utils.math.latex2mathml import tex2mathml
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from helpers import paths
from helpers.console import command
from helpers.errors import UserError
from helpers.files import write_text
from tools.address import TEMPLATES

WIDTH, HEIGHT = 1280, 720  # of a slide in CSS pixels; reveal.js enlarges it to the screen
ROOM = 570  # pixels for what stands below the heading
LEAST_FIGURE = 300  # pixels of height that a flat figure may have
LETTERS = 88  # letters in a line of text
LINE, CODE_LINE, ROW, GAP = 38, 24, 34, 16  # pixels of height: of text, of code and output, of a table; between blocks
CODE_LINES = 12  # longer cells show only what comes out
OUTPUT_LINES = 12  # a longer output loses its middle
OMITTED = ("Solutions", "Check the facts")
# A paragraph that begins so stays off.
FOR_READERS = re.compile(r"<strong>(Needs|Makes|Time|Work|Terms|Written)</strong>|<a[^>]*><img")
REVEAL = ("reset.css", "reveal.css", "reveal.js")
FIGURE, OUTPUT = (TEMPLATES.get_template(f"{name}.html.j2") for name in ("figure", "output"))
STYLE = HtmlFormatter(style="a11y-high-contrast-light", cssclass="code")


@dataclass
class Slide:
    """One slide: the heading above it, its blocks of HTML, and the pixels of height that they are thought to take."""

    heading: str
    blocks: list[str] = field(default_factory=list)
    height: float = 0


Deck = list[list[Slide]]  # the slides of a notebook, in columns: one for each section

MARKDOWN = MarkdownIt("commonmark").enable("table")
dollarmath_plugin(MARKDOWN, renderer=lambda tex, options: tex2mathml(tex.strip(), as_block=options["display_mode"]))


def render(tokens: list) -> str:
    """HTML of Markdown; links into the project are plain words, since a talk does not follow them."""
    html = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})
    return re.sub(r'<a href="(?!https?:)[^"]*">(.*?)</a>', r"\1", html, flags=re.DOTALL).strip()


def blocks(source: str) -> list[tuple[str, str]]:
    """The blocks of a Markdown text, items of lists one by one: the kind (a tag such as h2, p, ul) and the HTML."""
    found = []
    for node in SyntaxTreeNode(MARKDOWN.parse(source)).children:
        if node.type not in ("bullet_list", "ordered_list"):
            found.append((node.tag or node.type, render(node.to_tokens())))
            continue
        for number, item in enumerate(node.children, int(node.attrs.get("start", 1))):
            start = f' start="{number}"' if node.tag == "ol" else ""
            found.append((node.tag, f"<{node.tag}{start}>{render(item.to_tokens())}</{node.tag}>"))
    return found


def text_height(html: str) -> float:
    """The pixels that a block of text is thought to take."""
    if rows := html.count("<tr"):
        return rows * ROW
    if "<pre" in html:
        return (html.count("\n") + 1) * CODE_LINE
    formulas = html.count("<mfrac") + html.count("<mtr")
    return (math.ceil(len(re.sub(r"<[^>]+>", "", html)) / LETTERS) + formulas) * LINE


def figure_height(png: str, shown: int | None) -> float:
    """The pixels that a figure should have: as many as in the notebook, where it is `shown` pixels wide, if there is room."""
    width, height = struct.unpack(">II", base64.b64decode(png)[16:24])  # from the head of the file
    return min(ROOM, max(LEAST_FIGURE, height * (shown or width) / width))


def add(deck: Deck, *parts: tuple[str, float]) -> None:
    """Adds blocks of HTML, each with its height; on a new slide if the present one has no room for all of them."""
    slide, total = deck[-1][-1], sum(height + GAP for _, height in parts) - GAP
    if slide.blocks and slide.height + total > ROOM:
        deck[-1].append(slide := Slide(slide.heading))
    if total > ROOM and len(parts) > 1:
        for part in parts:
            add(deck, part)
        return
    slide.blocks += [html for html, _ in parts]
    slide.height += total + GAP


def add_text(deck: Deck, source: str) -> None:
    """Adds a text cell."""
    for kind, html in blocks(source):
        words = re.sub(r"^<(h\d|p)>(.*)</\1>$", r"\2", html)
        if kind in ("h1", "h2"):
            deck.append([Slide(words)])
        elif kind == "h3":
            deck[-1].append(Slide(words))
        elif re.fullmatch(r"<strong>[^<]*</strong>", words):  # a list of its own follows
            deck[-1].append(Slide(re.sub(r"</?strong>", "", words)))
        elif not FOR_READERS.match(words):
            add(deck, (html, text_height(html)))


def add_code(deck: Deck, cell: nbformat.NotebookNode) -> None:
    """Adds a code cell: its lines, if a talk can follow them, and what it gave."""
    parts, lines = [], cell.source.count("\n") + 1
    draws = any("image/png" in output.get("data", {}) for output in cell.outputs)
    if lines <= CODE_LINES and not draws and "import " not in cell.source:
        html = highlight(cell.source.replace("  # fmt: skip", ""), PythonLexer(), STYLE)
        parts.append((html, lines * CODE_LINE + GAP))
    printed = "".join(output.get("text", "") for output in cell.outputs)
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            about = output.metadata.get("image/png", {})
            html = FIGURE.render(about=about.get("alt", ""), png=data["image/png"])
            parts.append((html, figure_height(data["image/png"], about.get("width"))))
        elif "text/html" in data:
            table = re.search(r"<table.*</table>", data["text/html"], re.DOTALL)[0]
            parts.append((re.sub(r' (border|class|style)="[^"]*"', "", table), table.count("<tr") * ROW))
        else:
            printed += data.get("text/plain", "")
    if printed:
        lines = printed.rstrip().split("\n")
        if len(lines) > OUTPUT_LINES:
            lines = [*lines[: OUTPUT_LINES // 2], "…", *lines[-OUTPUT_LINES // 2 + 1 :]]
        parts.append((OUTPUT.render(lines=lines), len(lines) * CODE_LINE + GAP))
    if parts:
        add(deck, *parts)


def read(notebook: Path) -> Deck:
    """The slides of a notebook."""
    deck: Deck = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.metadata.get("slideshow", {}).get("slide_type") == "skip":
            continue
        if cell.cell_type == "markdown":
            add_text(deck, cell.source)
        elif cell.cell_type == "code":
            add_code(deck, cell)
    shown = [[slide for slide in column if slide.blocks] for column in deck if column[0].heading not in OMITTED]
    return [column for column in shown if column]


def reveal() -> Path:
    """The folder of reveal.js. Raises UserError where the package that brings it is missing."""
    found = importlib.util.find_spec("sphinx_revealjs")
    folder = found and Path(found.origin).parent / "_static" / "revealjs" / "dist"
    if not folder or not all((folder / name).is_file() for name in REVEAL):
        raise UserError("The package sphinx-revealjs is missing: pip install -c constraints.txt -e '.[site]'.")
    return folder


def make(folder: Path, notebooks: list[Path]) -> None:
    """Writes the slides of these executed notebooks into a folder, in place of earlier ones."""
    source = reveal()
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "reveal").mkdir(parents=True)
    for name in REVEAL:
        shutil.copyfile(source / name, folder / "reveal" / name)
    shutil.copyfile(Path(__file__).with_name("templates") / "slides.css", folder / "slides.css")
    write_text(folder / "code.css", STYLE.get_style_defs())
    template = TEMPLATES.get_template("slides.html.j2")
    for path in notebooks:
        deck = read(path)
        title = re.sub(r"<[^>]+>", "", deck[0][0].heading)
        write_text(folder / f"{path.stem}.html", template.render(title=title, deck=deck, width=WIDTH, height=HEIGHT))


@command
def main() -> None:
    """The command line."""
    folder, notebooks = paths.outputs() / "site" / "slides", sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))
    make(folder, notebooks)
    print(f"{paths.display(folder)}/ holds the slides of {len(notebooks)} notebooks; open one in a browser.")


if __name__ == "__main__":
    raise SystemExit(main())
