"""The notebooks keep to the contract, and the contract notices when they do not."""

import contract
import nbformat
import pytest
from contract import MAX_BYTES, PROJECT, RULES, series_violations, violations

from helpers import paths
from tools import address, render

FILES = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
NAMES = [file.stem for file in FILES]


# --- the notebooks


@pytest.mark.filterwarnings("error")  # nbformat mends doubled cell ids while reading, with no more than a warning
@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_notebook_keeps_to_the_contract(file):
    assert violations(nbformat.read(file, as_version=4), file.stem, NAMES) == []


def test_series_keeps_to_the_contract():
    assert series_violations({file.stem: nbformat.read(file, as_version=4) for file in FILES}) == []


def test_all_are_there():
    names = "01_exploration 02_preprocessing 03_baseline_cnn 04_tuning 05_evaluation 06_custom_image_prediction"
    names += " 07_faster_and_better 08_robustness 09_edge_deployment 10_beyond_mnist"
    assert NAMES == names.split()


# --- a notebook that keeps to it, to be broken in one way at a time

NAME, AROUND = "02_a_sample", ["01_before", "02_a_sample", "03_after"]
GOALS = "- count the things that are there;\n- draw them as a picture;\n- tell what the picture shows."
WORDS = "Ten words about what the next few lines will do. "
SOLUTION = """\
count = 2 + 1  # solution
exercises.check("02.%d", count)"""
FOUND = "- 3 things stand there;\n- two of them are round;\n- none is square."


def code(source, *tags, printed=None, picture=None):
    """A code cell with its outputs; a picture is given by its alternative text."""
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})
    if printed:
        cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=printed))
    if picture:
        data = {"image/png": "iVBORw0KGgo=", "text/plain": "<IPython.core.display.Image object>"}
        cell.outputs.append(nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": picture}}))
    return cell


def exercise(number, level):
    """The text of an exercise and its starter."""
    return [
        nbformat.v4.new_markdown_cell(f"### Exercise 02.{number} ({level})\n\nHow many things are there?"),
        code(render.starter(SOLUTION % number), "exercise", printed=f"Exercise 02.{number}: not answered yet\n"),
    ]


def solution(number):
    """The cell that solves it."""
    return code(SOLUTION % number, "solution", printed=f"Exercise 02.{number}: correct. 1 of 3 solved.\n")


def stamp(nb):
    """Does what rendering does: counts, and the fingerprint over what is there."""
    for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    nb.metadata["rendered"] = {"fingerprint": render.fingerprint(nb)}


def sample():
    """The smallest notebook that breaks no rule."""
    text = nbformat.v4.new_markdown_cell
    needs = "**Needs** `first.json`"
    makes = f"**Makes** `second.json`, `metrics/{NAME}.json`"
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        text("# 02 · A sample\n\n**Result:** three things, counted and drawn."),
        text(f"**You will learn**\n\n{GOALS}\n\n{needs}\n\n{makes}\n\n**Time** about 2 minutes on 2 CPU cores"),
        code("", "bootstrap"),
        code('RUN = "latest"  # run\nSEED = 0  # seed\nDATASET = "mnist"  # data\nEPOCHS = 3  # passes', "parameters"),
        code(f'from helpers.notebook.session import setup\n\nrun = setup("{NAME}", globals(), keras=False)'),
        text("## Count the things\n\n" + 3 * WORDS),
        code("def count(things):\n    return len(things)\n\nprint(count('abc'))", printed="3\n"),
        text("## Draw the things\n\n" + 3 * WORDS),
        code("draw(3)", picture="Three things in a row, drawn as circles."),
        text("Three circles stand in a row, one for each."),
        *exercise(1, "easy"),
        *exercise(2, "hard"),
        *exercise(3, "in words"),
        text("## Fill the table\n\n" + 60 * WORDS),
        code("more = [\n" + 23 * "    1,\n" + "]"),
        code("still_more = [\n" + 23 * "    1,\n" + "]"),
        text("## Solutions"),
        *(solution(number) for number in (1, 2, 3)),
        code("print('three:', count('abc') == 3)", "nbval-check-output", printed="three: True\n"),
        code("run.finish(images=3)", "book-keeping", printed=f"Wrote metrics/{NAME}.json with 1 metrics.\n"),
        text(
            f"## Recap\n\n**Found**\n\n{FOUND}\n\n**Terms** [term](glossary.md#accuracy)\n\n**Read on**\n\n- A book.\n\n"
            f"**Written** `second.json`, `metrics/{NAME}.json`. "
            "Previous: [01 · Before](01_before.ipynb) · Next: [03 · After](03_after.ipynb)"
        ),
    ]
    for cell in nb.cells:
        cell.metadata["slideshow"] = {"slide_type": "-"}
        if render.has(cell, *render.FOLDED):
            cell.metadata.update(jupyter={"source_hidden": True}, cellView="form")
    address.address(nb, NAME, PROJECT)
    stamp(nb)
    return nb


def at(nb, text):
    """The cell whose source holds `text`."""
    return next(cell for cell in nb.cells if text in cell.source)


def put(place, old, new=""):
    """A damage: in the cell that holds `place`, `old` becomes `new`."""

    def damage(nb):
        cell = at(nb, place)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return damage


def tag(place, *tags):
    """A damage: the cell that holds `place` gets these tags instead of its own."""
    return lambda nb: at(nb, place).metadata.update(tags=list(tags))


def drop(place):
    """A damage: the cell that holds `place` is gone."""
    return lambda nb: nb.cells.remove(at(nb, place))


def printing(place, text):
    """A damage: the cell that holds `place` printed something else."""
    return lambda nb: at(nb, place).outputs[0].update(text=text)


def swap(first, second):
    """A damage: two cells change places."""

    def damage(nb):
        i, j = nb.cells.index(at(nb, first)), nb.cells.index(at(nb, second))
        nb.cells[i], nb.cells[j] = nb.cells[j], nb.cells[i]

    return damage


def error_output(nb):
    at(nb, "print(count").outputs.append(nbformat.v4.new_output("error", ename="E", evalue="e", traceback=["E"]))


def stderr_output(nb):
    at(nb, "print(count").outputs.append(nbformat.v4.new_output("stream", name="stderr", text="Warning"))


def figure(**metadata):
    """A damage: the figure has other metadata."""
    return lambda nb: at(nb, "draw(3)").outputs[0].update(metadata=nbformat.from_dict(metadata))


def not_folded(nb):
    at(nb, "2 + 1  # solution").metadata.pop("jupyter")


def makes_a_figure(nb):
    for cell in (nb.cells[1], nb.cells[-1]):
        cell.source = cell.source.replace("`second.json`", "`figures/02_curves.png`, `second.json`")


def long_cell(nb):
    put("def count", "    return", 24 * "    things = things\n" + "    return")(nb)
    put("## Count", "## Count the things", "## Count the things\n\n" + 24 * WORDS)(nb)


def fourth_solution_without_starter(nb):
    added = solution(4)
    added.id = "another"
    added.metadata.update(jupyter={"source_hidden": True}, cellView="form", slideshow={"slide_type": "-"})
    nb.cells.insert(nb.cells.index(at(nb, "print('three:'")), added)


def only_two_exercises(nb):
    for cell in [cell for cell in nb.cells if "02.3" in cell.source]:
        nb.cells.remove(cell)


def too_large(nb):
    at(nb, "draw(3)").outputs[0].data["image/png"] = "A" * MAX_BYTES


def same_ids(nb):
    nb.cells[4].id = nb.cells[5].id


def counts(*values):
    """A damage: other execution counts at the start; `None` is a cell that was not run."""

    def damage(nb):
        for cell, value in zip((cell for cell in nb.cells if cell.cell_type == "code"), values, strict=False):
            cell.execution_count = value

    return damage


BREACHES = [
    ("title", put("# 02 · A sample", "# 02 · A sample", "# 02 · Another sample")),
    ("title", put("# 02 · A sample", "# 02 · A sample", "# 03 · A sample")),
    ("title", put("# 02 · A sample", "# 02 · A sample", "# 02: A sample")),
    ("badges", put("# 02", "\n\n**Result", "\n\n[![Open in Colab](https://x.org/a.svg)](https://x.org)\n\n**Result")),
    ("result", put("# 02", "\n\n**Result:** three things, counted and drawn.")),
    ("result", put("# 02", "**Result:** three things", "**Result:** three things.\n\nAnd more.")),
    ("goals", put("**You will learn**", "**You will learn**", "**Goals**")),
    ("declarations", put("**You will learn**", "`first.json`", "the first file")),
    ("declarations", put("**You will learn**", f", `metrics/{NAME}.json`")),
    ("declarations", makes_a_figure),
    ("declarations", put("**You will learn**", "about 2 minutes on 2 CPU cores", "not long")),
    ("declarations", put("**You will learn**", "**Time**", "Time:")),
    ("bootstrap", put("importlib", "import importlib.util", "import os, importlib.util")),
    ("bootstrap", tag("run.finish", "bootstrap")),
    ("bootstrap", lambda nb: nb.cells[2].outputs.append(nbformat.v4.new_output("stream", text="installing"))),
    ("parameter_cell", put("SEED = 0", "  # seed")),
    ("parameter_cell", put("SEED = 0", "SEED = 0", "SEED = 2 * 7")),
    ("parameter_cell", put("SEED = 0", "EPOCHS = 3", "EPOCH = 3")),
    ("parameter_cell", put("SEED = 0", "EPOCHS = 3", "EPOCHS = 3.5")),
    ("parameter_cell", put("SEED = 0", "SEED = 0  # seed\n")),
    ("parameter_cell", put("SEED = 0", "EPOCHS = 3", "EPOCHS = BATCH_SIZE = 3")),
    ("parameter_cell", put("SEED = 0", "EPOCHS = 3", "for EPOCHS in [3]: pass")),
    ("parameter_cell", put("SEED = 0", "EPOCHS = 3  # passes", "EPOCHS = '# no help'")),
    ("parameter_cell", put("SEED = 0", "  # passes", "  # passes = epochs")),
    ("parameter_cell", tag("SEED = 0")),
    ("setup", put("setup(", NAME, "01_before")),
    ("setup", put("setup(", "globals()", "{}")),
    ("setup", put("run.finish", "run.finish", f'run = setup("{NAME}", globals())\nrun.finish')),
    ("headings", put("## Count", "## Count the things", "## Count the things that there are on this very table")),
    ("headings", put("## Count", "## Count the things", "## Count the things:")),
    ("headings", put("## Count", "## Count the things", "# Count the things")),
    ("headings", put("## Count", "## Count the things", "#### Count the things")),
    ("short_cells", long_cell),
    ("prose", put("## Fill", 60 * WORDS, 20 * WORDS)),
    ("prose", put("## Count", WORDS, 18 * WORDS)),
    ("findings", swap("Three circles", "print(count")),
    ("functions", put("def count", "print(count('abc'))", "print(3)")),
    ("checked", tag("print('three:'")),
    ("checked", lambda nb: at(nb, "print('three:'").outputs.clear()),
    ("checked", tag("print(count", "nbval-ignore-output")),
    ("checked", tag("draw(3)", "raises-exception")),
    ("checked", put("print(count", "print(count", "# NBVAL_IGNORE_OUTPUT\nprint(count")),
    ("checked", put("draw(3)", "draw(3)", "%time draw(3)")),
    ("checked", put("draw(3)", "draw(3)", "!draw 3")),
    ("practice", put('2 + 1  # solution\nexercises.check("02.1"', "2 + 1  # solution", "1 + 2  # another way")),
    ("practice", put("count = ...", "count = ...", "answer = ...")),
    ("practice", printing('2 + 1  # solution\nexercises.check("02.2"', "Exercise 02.2: not yet.\n")),
    ("practice", printing("count = ...", "Exercise 02.1: correct. 1 of 3 solved.\n")),
    ("practice", only_two_exercises),
    ("practice", fourth_solution_without_starter),
    ("practice", put("Exercise 02.1", "(easy)", "(simple)")),
    ("practice", put("Exercise 02.3", "(in words)", "(hard)")),
    ("practice", put("Exercise 02.2", "Exercise 02.2", "Exercise 02.4")),
    ("practice", put("## Solutions", "## Solutions", "## Answers")),
    ("practice", swap("count = ...", "2 + 1  # solution")),
    ("folded", not_folded),
    ("folded", put("run.finish", "run.finish(images=3)", "run.finish(images=3)" + "\nx = 1" * 12)),
    ("recap", put("## Recap", "- 3 things", "- three things")),
    ("recap", put("## Recap", "- none is square.", "")),
    ("recap", put("## Recap", "#accuracy", "#no-such-term")),
    ("recap", put("## Recap", "- A book.", "A book.")),
    ("recap", put("## Recap", "**Terms**", "**Words**")),
    ("recap", put("## Recap", "`second.json`, ")),
    ("recap", put("## Recap", "(03_after.ipynb)", "(04_later.ipynb)")),
    ("recap", put("## Recap", "Previous: [01 · Before](01_before.ipynb) · ")),
    ("recap", put("## Recap", "## Recap", "## Summary")),
    ("private", put("draw(3)", "draw(3)", "draw(3, '/home/me/file.png')")),
    ("private", put("draw(3)", "draw(3)", "draw(3, '../data/file.png')")),
    ("private", put("draw(3)", "draw(3)", "draw(3, '~/file.png')")),
    ("private", put("draw(3)", "draw(3)", r"draw(3, r'C:\Users\me')")),
    ("private", put("Three circles", "Three circles", "See /content/drive: three circles")),
    ("private", printing("run.finish", "Wrote /tmp/outputs/metrics.json\n")),
    ("quiet", error_output),
    ("quiet", stderr_output),
    ("executed", counts(1, 2, 4)),
    ("executed", counts(1, 2, None)),
    ("executed", counts(2, 1)),
    ("alt", figure()),
    ("alt", figure(**{"image/png": {"alt": "A figure"}})),
    ("alt", put("Three circles", "Three circles", "![](x.png) Three circles")),
    ("size", too_large),
    ("identifiers", same_ids),
    ("identifiers", lambda nb: nb.cells[5].pop("id")),
    ("identifiers", lambda nb: nb.cells[6].outputs[0].pop("text")),
    ("slides", lambda nb: at(nb, "draw(3)").metadata.pop("slideshow")),
    ("slides", lambda nb: at(nb, "draw(3)").metadata.update(slideshow={"slide_type": "first"})),
    ("rendered", printing("print(count", "4\n")),
    ("rendered", put("draw(3)", "draw(3)", "draw(4)")),
    ("rendered", lambda nb: at(nb, "print(count").outputs.clear()),
    ("rendered", lambda nb: nb.metadata.pop("rendered")),
]  # fmt: skip


def test_the_sample_breaks_no_rule():
    assert violations(sample(), NAME, AROUND) == []


@pytest.mark.parametrize(("rule", "damage"), BREACHES, ids=[f"{n}-{rule}" for n, (rule, _) in enumerate(BREACHES)])
def test_exactly_the_broken_rule_reports(rule, damage):
    nb = sample()
    damage(nb)
    if rule == "executed":  # as if the counts had been rendered so
        nb.metadata["rendered"] = {"fingerprint": render.fingerprint(nb)}
    elif rule != "rendered":
        stamp(nb)
    found = violations(nb, NAME, AROUND)
    assert {sentence.split(": ")[0] for sentence in found} == {rule}, found


@pytest.mark.parametrize("old, new", [(None, "https://github.com/a/b"), ("https://github.com/a/b", None),
                                      ("https://github.com/a/b", "https://github.com/a/c")])  # fmt: skip
def test_badges_and_bootstrap_follow_the_address(monkeypatch, old, new):
    nb = sample()
    address.address(nb, NAME, PROJECT | {"repository": old})
    monkeypatch.setattr(contract, "PROJECT", PROJECT | {"repository": new})
    found = violations(nb, NAME, AROUND)
    assert [sentence.split(": ")[0] for sentence in found] == ["badges", "bootstrap"]  # and `rendered` is content
    address.address(nb, NAME, contract.PROJECT)
    assert violations(nb, NAME, AROUND) == []


def test_every_rule_is_broken_once():
    assert {rule for rule, _ in BREACHES} == set(RULES)


@pytest.mark.parametrize("goals", [GOALS.rpartition("\n")[0], GOALS + "\n- one;\n- two;\n- three."])
def test_three_to_five_goals(goals):
    nb = sample()
    for cell in (nb.cells[1], nb.cells[-1]):
        cell.source = cell.source.replace(GOALS, goals)
    assert [sentence.split(": ")[0] for sentence in violations(nb, NAME, AROUND)] == ["goals"]


def test_median_of_long_cells():
    nb = sample()
    for cell in nb.cells:
        if cell.cell_type == "code" and not cell.metadata.get("tags") and "more" not in cell.source:
            cell.source += "\nx = 1" * 7
    nb.cells[7].source += 20 * WORDS
    stamp(nb)
    assert [sentence.split(": ")[0] for sentence in violations(nb, NAME, AROUND)] == ["short_cells"]


def test_partly_run_by_hand_is_refused():
    """What Jupyter leaves after one cell was run again: its count is higher, its output may differ."""
    nb = sample()
    at(nb, "draw(3)").execution_count = 99
    assert {sentence.split(": ")[0] for sentence in violations(nb, NAME, AROUND)} == {"executed", "rendered"}


# --- what notebooks owe each other


def three():
    series = {name: sample() for name in AROUND}
    for name, needs, makes in zip(AROUND, ("nothing but the data", "`first.json`", "`second.json`"),
                                  ("`first.json`", "`second.json`", "`third.json`"), strict=True):  # fmt: skip
        series[name].cells[1].source = f"**Needs** {needs}\n\n**Makes** {makes}\n\n**Time** x"
    return series


def test_three_samples_fit_together():
    assert series_violations(three()) == []


def test_needs_must_be_made_before():
    series = three()
    series["01_before"].cells[1].source = "**Needs** `second.json`\n\n**Makes** `first.json`"
    assert [found.split(": ")[0] for found in series_violations(series)] == ["needs"]


def test_a_file_has_one_maker():
    series = three()
    series["03_after"].cells[1].source = "**Needs** `second.json`\n\n**Makes** `first.json`"
    assert [found.split(": ")[0] for found in series_violations(series)] == ["makes"]


def test_numbers_have_no_gap():
    series = {name.replace("03", "04"): nb for name, nb in three().items()}
    assert [found.split(": ")[0] for found in series_violations(series)] == ["numbers"]
