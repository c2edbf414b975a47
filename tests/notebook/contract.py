"""What every notebook of the series keeps to, as functions: a rule yields one sentence for each breach.

`violations` checks one notebook, `series_violations` what notebooks owe each other. CONTRIBUTING.md tells the same
in prose.
"""

import ast
import copy
import json
import re
import statistics
from collections.abc import Iterator

import nbformat
from nbformat import validator
from papermill.translators import PythonTranslator

from helpers import paths
from helpers.errors import UserError
from helpers.notebook import parameters
from helpers.notebook.run import declared
from tools import address, render

PROJECT = address.project()

TAGS = {"bootstrap", "parameters", "nbval-check-output", "book-keeping", "pad", "exercise", "solution"}
LEVELS = "(easy|medium|hard|in words)"
EXERCISES = (3, 6)  # per notebook
MAX_BYTES = 2_500_000  # figures are kept at twice the page's resolution
MAX_WIDTH = 100  # characters of a line of code; a page cuts off what is longer
MACHINERY = 0.15  # of a notebook's lines of code, at most
MAX_LINES = 25
MEDIAN_LINES = 6
WORDS_A_LINE = (9, 16)  # prose to code
TOLERANCE = 0.5  # words a line: counting words in formulas and tables is no exact science
HEADING_WORDS = 8
ALT_WORDS = 5
# A path that holds on one machine only: from the root, from a home, on a drive, or above the working directory.
PRIVATE = re.compile(r"""(?:^|[\s"'(=`,\[])(?:/[\w.~-]+/|~/)|\b[A-Za-z]:\\\w|(?<![\w.])\.\./""", re.MULTILINE)
# What would make nbval look away; see its documentation.
LOOPHOLES = re.compile(r"#\s*(NBVAL_\w+|PYTEST_VALIDATE_IGNORE_OUTPUT)|^\s*[%!]", re.MULTILINE)

RULES = {}


def rule(function):
    """Adds a rule; its name starts every sentence about it."""
    RULES[function.__name__] = function
    return function


class Book:
    """A notebook with the views that rules share. `names` are all notebooks of the series, in order."""

    def __init__(self, nb: nbformat.NotebookNode, name: str, names: list[str]):
        self.nb, self.name, self.names = nb, name, names
        self.cells = nb.cells
        self.code = [cell for cell in nb.cells if cell.cell_type == "code"]
        self.prose = [cell for cell in nb.cells if cell.cell_type == "markdown"]
        # What a reader works through: not the technical cells, nor exercises and their solutions.
        self.body = [cell for cell in self.code if not tags(cell) & (TAGS - {"pad"})]
        self.text = "\n".join(cell.source for cell in self.prose)
        self.goals = nb.cells[1].source if len(nb.cells) > 1 else ""
        self.ids = [cell.get("id") for cell in nb.cells]  # now: nbformat replaces doubles when it validates

    def tagged(self, tag: str) -> list[nbformat.NotebookNode]:
        """The cells that carry a tag."""
        return [cell for cell in self.cells if tag in tags(cell)]


def tags(cell: nbformat.NotebookNode) -> set[str]:
    """A cell's tags."""
    return set(cell.metadata.get("tags", []))


def items(markdown: str) -> list[str]:
    """The items of the first list in a text, without their bullets."""
    block = re.search(r"(?:^- .*(?:\n|\Z)(?:^  .*\n)*)+", markdown, re.MULTILINE)
    return [item.strip() for item in re.split(r"^- ", block[0], flags=re.MULTILINE)[1:]] if block else []


def words(markdown: str) -> int:
    """The words of a text as read: badges and the targets of links do not count."""
    text = re.sub(r"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)", "", markdown)
    return len(re.findall(r"\S*\w\S*", re.sub(r"\]\([^)]*\)", "]", text)))


def lines(source: str) -> int:
    """Lines of code, blank ones not counted."""
    return sum(bool(line.strip()) for line in source.split("\n"))


def pictures(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The outputs of a cell that are pictures."""
    return [output for output in cell.outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]


def texts(cell: nbformat.NotebookNode) -> Iterator[str]:
    """What a cell has printed or shown as text."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield from (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


# --- the beginning


@rule
def title(book: Book) -> Iterator[str]:
    """`# NN · Name`, which says the same as the file's name."""
    found = re.match(r"# (\d\d) · (.+)", book.cells[0].source)
    slug = f"{found[1]}_{found[2].lower().replace(' ', '_')}" if found else None
    if book.cells[0].cell_type != "markdown" or slug != book.name:
        yield f"the first line must be '# NN · Name' after the file's name {book.name}"


def addressed(book: Book) -> nbformat.NotebookNode:
    """The notebook as `make address` leaves it."""
    nb = copy.deepcopy(book.nb)
    address.address(nb, book.name, PROJECT)
    return nb


@rule
def badges(book: Book) -> Iterator[str]:
    """Colab, Kaggle and slides, each leading to this very file, where the project has an address; else none."""
    if book.cells[0].source != addressed(book).cells[0].source:
        yield "the first cell's badges are not those of the address in pyproject.toml: run make address"


@rule
def result(book: Book) -> Iterator[str]:
    """One line under title and badges says what the reader will get."""
    below = [line for line in book.cells[0].source.split("\n")[1:] if line.strip() and "[![" not in line]
    if len(below) != 1 or words(below[0]) < 5:
        yield "under title and badges stands one line that states the result"


@rule
def goals(book: Book) -> Iterator[str]:
    """Cell 2 lists three to five goals."""
    found = re.match(r"\*\*You will learn\*\*\n\n(?=- )", book.goals)
    if not found or not 3 <= len(items(book.goals)) <= 5:
        yield "the second cell starts with **You will learn** and three to five items"


@rule
def declarations(book: Book) -> Iterator[str]:
    """Cell 2 declares needs, makes and time, in this order."""
    parts = re.findall(r"^\*\*(Needs|Makes|Time)\*\* (.+)", book.goals, re.MULTILINE)
    if [name for name, _ in parts] != ["Needs", "Makes", "Time"]:
        yield "the second cell declares **Needs**, **Makes** and **Time**, one line each"
        return
    needs, makes, minutes = (text for _, text in parts)
    if needs.strip() != "nothing but the data" and not declared(book.goals, "Needs"):
        yield "Needs lists files in backticks, or says: nothing but the data"
    if f"metrics/{book.name}.json" not in declared(book.goals, "Makes") or "figures/" in makes:
        yield f"Makes lists files in backticks, `metrics/{book.name}.json` among them, and no figures"
    if not re.fullmatch(r"about (half a|a|[\d.]+) minutes? on 2 CPU cores", minutes.strip()):
        yield "Time says: about N minutes on 2 CPU cores"


@rule
def bootstrap(book: Book) -> Iterator[str]:
    """The third cell finds the helpers, is silent, and fetches the version that this is, if it has an address."""
    cells = book.tagged("bootstrap")
    if len(cells) != 1 or book.cells[2:3] != cells:
        yield "the third cell, and no other, is tagged bootstrap"
        return
    if cells[0].source != addressed(book).cells[2].source:
        yield "the bootstrap cell is not that of the address in pyproject.toml: run make address"
    if cells[0].outputs:
        yield "the bootstrap cell prints nothing"


@rule
def parameter_cell(book: Book) -> Iterator[str]:
    """The fourth cell holds literals with a comment each, RUN, SEED and DATASET first."""
    cells = book.tagged("parameters")
    if len(cells) != 1 or book.cells[3:4] != cells:
        yield "the fourth cell, and no other, is tagged parameters"
        return
    values = {}
    for line in cells[0].source.split("\n"):
        try:
            [statement] = ast.parse(line).body
            [target] = statement.targets
            values[target.id] = ast.literal_eval(statement.value)
            commented = re.search(r"  # \w", line[statement.end_col_offset :])
        except (SyntaxError, AttributeError, ValueError):
            commented = False
        if not commented:
            yield f"each line of the parameters cell is NAME = literal  # help, unlike {line!r}"
    if list(values)[:3] != ["RUN", "SEED", "DATASET"]:
        yield "the parameters start with RUN, SEED, DATASET"
    if [parameter.name for parameter in PythonTranslator.inspect(cells[0])] != list(values):
        yield "papermill does not see every parameter: a help text holds no '='"
    try:
        parameters.check(values, "the parameters cell")
    except UserError as error:
        yield str(error)


@rule
def setup(book: Book) -> Iterator[str]:
    """The fifth cell sets up, under the notebook's own name; no other does."""
    calls = [re.findall(r"^run = setup\(\"(\w+)\", globals\(\)", cell.source, re.MULTILINE) for cell in book.cells]
    if calls[4:5] != [[book.name]] or sum(map(len, calls)) != 1 or book.cells[4].cell_type != "code":
        yield f'the fifth cell, and no other, calls setup("{book.name}", globals())'


# --- the body


@rule
def headings(book: Book) -> Iterator[str]:
    """Short, without punctuation at the end, one title only."""
    found = [match for cell in book.prose for match in re.findall(r"^(#+) (.*)", cell.source, re.MULTILINE)]
    for marks, text in found:
        if len(text.split()) > HEADING_WORDS or text[-1:] in ".:!;":
            yield f"the heading {text!r} is longer than {HEADING_WORDS} words or ends in punctuation"
        if len(marks) > 3:
            yield f"the heading {text!r} lies deeper than three levels"
    if sum(marks == "#" for marks, _ in found) != 1:
        yield "a notebook has one title and below it headings with two or three marks"


@rule
def short_cells(book: Book) -> Iterator[str]:
    """No wall of code."""
    for cell in book.code:
        if lines(cell.source) > MAX_LINES:
            yield f"a cell has {lines(cell.source)} lines, more than {MAX_LINES}: {cell.source[:40]!r}"
        if long := [line for line in cell.source.split("\n") if len(line) > MAX_WIDTH]:
            yield f"a line of code has {len(long[0])} characters, more than {MAX_WIDTH}: {long[0][:40]!r}"
    counts = [lines(cell.source) for cell in book.body]
    median = statistics.median(counts or [0])
    if median > MEDIAN_LINES:
        yield f"the median cell has {median:g} lines, more than {MEDIAN_LINES}"


@rule
def prose(book: Book) -> Iterator[str]:
    """Enough words for the code, and not more; the second cell, which tells how to work, does not count."""
    code = sum(lines(cell.source) for cell in (*book.body, *book.tagged("parameters")))
    ratio = sum(words(cell.source) for cell in book.prose if cell.source != book.goals) / max(code, 1)
    low, high = WORDS_A_LINE
    if not low - TOLERANCE <= ratio <= high + TOLERANCE:
        yield f"{ratio:.1f} words of prose a line of code; {low} to {high} are wanted"


@rule
def findings(book: Book) -> Iterator[str]:
    """After a figure stands what to notice in it."""
    for cell, after in zip(book.cells, [*book.cells[1:], None], strict=True):
        if cell in book.body and pictures(cell) and (after is None or after.cell_type != "markdown"):
            yield f"no text follows the figure of the cell {cell.source[:40]!r}"


@rule
def functions(book: Book) -> Iterator[str]:
    """A function is used in the cell that defines it or in the next one."""
    for cell, after in zip(book.body, [*book.body[1:], None], strict=True):
        used = names_used(cell.source) | (names_used(after.source) if after else set())
        for node in parsed(cell.source).body:
            if isinstance(node, ast.FunctionDef) and node.name not in used:
                yield f"the function {node.name} is not run right after it is defined"


def parsed(source: str) -> ast.Module:
    """The syntax tree of a cell, empty where it is no plain Python (the rule `checked` tells)."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def names_used(source: str) -> set[str]:
    """The names that code reads."""
    return {
        node.id for node in ast.walk(parsed(source)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


@rule
def checked(book: Book) -> Iterator[str]:
    """A cell with facts that nbval compares everywhere; no way round the comparison; plain Python."""
    if not any(output.output_type == "stream" for cell in book.tagged("nbval-check-output") for output in cell.outputs):
        yield "a cell tagged nbval-check-output prints facts that hold on any machine"
    for cell in book.cells:
        if tags(cell) - TAGS:
            yield f"unknown tags {', '.join(sorted(tags(cell) - TAGS))}; known are {', '.join(sorted(TAGS))}"
        if cell.cell_type == "code" and LOOPHOLES.search(cell.source):
            yield f"a magic, a shell command or a marker that hides outputs from nbval: {cell.source[:40]!r}"


# --- the end


@rule
def practice(book: Book) -> Iterator[str]:
    """Graded exercises where they belong, each a starter made from its solution; solutions at the end, folded, right."""
    number = book.name[:2]
    starters = {render.exercise(cell.source): cell for cell in book.tagged("exercise")}
    solutions = {render.exercise(cell.source): cell for cell in book.tagged("solution")}
    found = re.findall(rf"^### Exercise ({number}\.\d+) \({LEVELS}\)$", book.text, re.MULTILINE)
    wanted = [f"{number}.{n}" for n in range(1, len(found) + 1)]
    if [name for name, _ in found] != wanted or not EXERCISES[0] <= len(found) <= EXERCISES[1]:
        yield f"{EXERCISES[0]} to {EXERCISES[1]} exercises are headed ### Exercise {number}.N {LEVELS}"
    if not {"in words"} < {level for _, level in found}:
        yield "one exercise at least is to be answered in words, others by doing"
    if list(starters) != wanted or list(solutions) != wanted:
        yield f"exercises {', '.join(wanted)} each have one cell tagged exercise and one tagged solution, in order"
        return
    heading = [cell for cell in book.prose if re.search(r"^## Solutions$", cell.source, re.MULTILINE)]
    end = book.cells.index(heading[0]) if len(heading) == 1 else 0
    if not all(book.cells.index(starters[name]) < end < book.cells.index(solutions[name]) for name in wanted):
        yield "solutions stand under ## Solutions, behind all exercises"
    for name in wanted:
        if starters[name].source != render.starter(solutions[name].source):
            yield f"the starter of {name} is not what its solution gives"
        if f"Exercise {name}: not answered yet" not in "".join(texts(starters[name])):
            yield f"the starter of {name} does not say that it is not answered yet"
        if f"Exercise {name}: correct" not in "".join(texts(solutions[name])):
            yield f"the solution of {name} is not printed as correct"


@rule
def folded(book: Book) -> Iterator[str]:
    """What a reader would skip is folded, and little: at most 15 % of the code."""
    for cell in book.tagged("bootstrap") + book.tagged("book-keeping") + book.tagged("solution"):
        if not cell.metadata.get("jupyter", {}).get("source_hidden") or cell.metadata.get("cellView") != "form":
            yield f"the cell is not folded: {cell.source[:40]!r}"
    # Without the bootstrap cell, which is the same everywhere and grows when the project gets an address.
    technical = [cell for cell in book.code if tags(cell) & {"book-keeping", "nbval-check-output"}]
    all_lines = sum(lines(cell.source) for cell in book.code if not tags(cell) & {"exercise", "bootstrap"})
    share = sum(lines(cell.source) for cell in technical) / max(all_lines, 1)
    if share > MACHINERY:
        yield f"{share:.0%} of the code is machinery, more than {MACHINERY:.0%}"


@rule
def recap(book: Book) -> Iterator[str]:
    """The last cell: what was learnt and found, terms, reading, what was written, the neighbours."""
    last = book.cells[-1].source
    if book.cells[-1].cell_type != "markdown" or not last.startswith("## Recap\n"):
        yield "the last cell is ## Recap"
        return
    parts = dict(re.findall(r"^\*\*(Found|Terms|Read on|Written)\*\*(.*?)(?=^\*\*|\Z)", last, re.MULTILINE | re.DOTALL))
    if list(parts) != ["Found", "Terms", "Read on", "Written"]:
        yield "the recap has **Found**, **Terms**, **Read on** and **Written**, in this order"
        return
    if len(found := items(parts["Found"])) < 3 or not any(re.search(r"\d", item) for item in found):
        yield "the recap lists under Found three findings or more, with numbers"
    for term in re.findall(r"\[([^\]]+)\]\(glossary\.md#([\w-]*)\)", parts["Terms"]) or [("", "")]:
        if term[1] not in anchors(paths.NOTEBOOKS / "glossary.md"):
            yield f"the term {term[0]!r} links to no heading of glossary.md"
    if not items(parts["Read on"]):
        yield "the recap lists further reading"
    if unnamed := [file for file in declared(book.goals, "Makes") if f"`{file}`" not in parts["Written"]]:
        yield f"the recap does not name {', '.join(unnamed)}"
    here = book.names.index(book.name)
    before, after = book.names[max(here - 1, 0) : here], book.names[here + 1 : here + 2]
    wanted = [f"{name}.ipynb" for name in before + after]
    if re.findall(r"\]\((\d\d_\w+\.ipynb)\)", parts["Written"]) != wanted:
        yield f"the recap links to the notebooks before and after: {', '.join(wanted)}"


def anchors(file) -> set[str]:
    """The anchors of a Markdown file's headings, as GitHub and Jupyter make them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8") if file.exists() else "", re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- the state in which it is kept


@rule
def private(book: Book) -> Iterator[str]:
    """No paths of one machine."""
    for cell in book.cells:
        for text in (cell.source, *texts(cell)):
            for match in PRIVATE.finditer(text):
                yield f"a path that holds on one machine only: {text[match.start() : match.start() + 40]!r}"


@rule
def quiet(book: Book) -> Iterator[str]:
    """No errors, nothing on stderr."""
    for cell in book.code:
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                yield f"an error or stderr under {cell.source[:40]!r}"


@rule
def executed(book: Book) -> Iterator[str]:
    """Every code cell was run once, from top to bottom."""
    counts = [cell.execution_count for cell in book.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}, not 1 to {len(counts)}"


@rule
def alt(book: Book) -> Iterator[str]:
    """Every picture says in words what it shows, also those in the text."""
    for cell in book.code:
        for output in pictures(cell):
            metadata = output.get("metadata", {})
            text = next((metadata[kind].get("alt") for kind in output.data if kind in metadata), metadata.get("alt"))
            if words(text or "") < ALT_WORDS:
                yield f"a figure without an alternative text of {ALT_WORDS} words or more: {cell.source[:40]!r}"
    for cell in book.prose:
        if re.search(r"!\[\s*\]|<img(?![^>]*alt=\"\w)", cell.source):
            yield "a picture in the text has no alternative text"


@rule
def size(book: Book) -> Iterator[str]:
    """At most a megabyte."""
    found = len(json.dumps(book.nb, indent=1, ensure_ascii=False).encode())
    if found > MAX_BYTES:
        yield f"{found:,} bytes, more than {MAX_BYTES:,}"


@rule
def identifiers(book: Book) -> Iterator[str]:
    """Valid, with cell ids that are there and differ."""
    if None in book.ids or len(set(book.ids)) < len(book.ids):
        yield "cells need ids, each its own"
    for error in validator.iter_validate(json.loads(json.dumps(book.nb))):
        yield f"not a valid notebook: {error.message.splitlines()[0]}"


@rule
def slides(book: Book) -> Iterator[str]:
    """Every cell has its place in the slide show."""
    kinds = {"slide", "subslide", "fragment", "skip", "notes", "-"}
    if any(cell.metadata.get("slideshow", {}).get("slide_type") not in kinds for cell in book.cells):
        yield "a cell has no slide type"


@rule
def rendered(book: Book) -> Iterator[str]:
    """The outputs come from `make render`, all of them."""
    if book.nb.metadata.get("rendered", {}).get("fingerprint") != render.fingerprint(book.nb):
        yield "the outputs are not what make render wrote; run it again"


def violations(nb: nbformat.NotebookNode, name: str, names: list[str]) -> list[str]:
    """Every breach of a rule by one notebook, as 'rule: sentence'."""
    book = Book(nb, name, names)
    return [f"{label}: {sentence}" for label, check in RULES.items() for sentence in check(book)]


# --- what notebooks owe each other


def series_violations(notebooks: dict[str, nbformat.NotebookNode]) -> list[str]:
    """Every breach that only shows when all notebooks are seen together; `notebooks` is in order."""
    found = []
    numbers = [name[:2] for name in notebooks]
    if numbers != [f"{n:02}" for n in range(1, len(numbers) + 1)]:
        found.append(f"numbers: notebooks are numbered {', '.join(numbers)}, not from 01 without a gap")
    makers = {}
    for name, nb in notebooks.items():
        for file in declared(nb.cells[1].source, "Needs"):
            if file.startswith(("data/", "outputs/")):
                if not (paths.ROOT / file).exists():
                    found.append(f"needs: {name} needs {file}, which is no file of the project")
            elif file not in makers:
                found.append(f"needs: {name} needs {file}, which no notebook before it makes")
        for file in declared(nb.cells[1].source, "Makes"):
            if file in makers:
                found.append(f"makes: both {makers[file]} and {name} make {file}")
            makers.setdefault(file, name)
    return found
