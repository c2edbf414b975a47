"""Makes the website from the executed notebooks: python -m tools.make_site [--run NAME].

Without a run it shows the notebooks as they are committed, in outputs/site/; with one, what that run found, in
outputs/NAME/site/. Demo and slides are part of it. Nothing is executed, and the pages need no server and no network.
Sphinx builds them with the settings in docs/conf.py from a folder of sources that is laid out like the project.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from mdit_py_plugins.anchors.index import slugify

from helpers import paths
from helpers.console import checking, command
from helpers.errors import UserError
from helpers.evaluation.corruptions import CORRUPTIONS
from helpers.files import write_text
from helpers.notebook import parameters
from helpers.series import model_card, runs
from tools import make_demo, make_slides
from tools.address import README, TEMPLATES, project
from tools.render import exercise, has, kept_results

SETTINGS = paths.ROOT / "docs"
COPIED = ("CONTRIBUTING.md", "LICENSE", "data/README.md", "docs/teaching.md", "outputs/reference/results.png")
KEPT = ("demo", "slides")  # in the site's folder, made by others
FOLDED = {  # tag of a cell: what a click on its place says
    "bootstrap": "Show how the notebook finds its helpers",
    "parameters": "Show the parameters",
    "injected-parameters": "Show the parameters of this run",
    "solution": "Show the solution",
    "nbval-check-output": "Show the facts that are checked",
    "book-keeping": "Show the book-keeping",
}


def with_links(text: str, names: list[str]) -> str:
    """Markdown whose links lead to these notebooks with the site's anchors; to others they become plain words.

    The anchor of a heading is MyST's, as on GitHub; Jupyter's keep capitals and punctuation.
    """

    def link(match: re.Match) -> str:
        words, place, name, heading = match.groups()
        anchor = f"#{slugify(heading)}" if heading else ""
        return f"[{words}]({place or ''}{name}.ipynb{anchor})" if name in names else words

    return re.sub(r"\[([^\[\]]*)\]\((notebooks/)?([\w-]+)\.ipynb(?:#([^)]+))?\)", link, text)


def prepare(nb: nbformat.NotebookNode, name: str, names: list[str]) -> None:
    """Makes a notebook a page, in place: a link to its slides; machinery and solutions marked to be opened by a click.

    `names` are the notebooks of the site.
    """
    nb.cells[0].source += f'\n\n<p class="actions"><a href="../slides/{name}.html">Slides</a></p>'
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, names)
        for tag, prompt in FOLDED.items():
            if has(cell, tag):
                number = exercise(cell.source) if tag == "solution" else None
                prompt += f" of {number}" if number else ""
                cell.metadata.tags.append("hide-cell")
                hide = prompt.replace("Show", "Hide")
                cell.metadata["mystnb"] = {"code_prompt_show": prompt, "code_prompt_hide": hide}


def sections(readme: str) -> dict[str, str]:
    """The README's text by its headings of the second level; what stands before the first is under ""."""
    top, *rest = re.split(r"^## ", readme, flags=re.MULTILINE)
    return {"": top} | {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in rest}


def shipped_card() -> str:
    """The model card of the shipped network, with the head that Hugging Face reads, from outputs/reference/."""
    found = kept_results("calibration", "robustness", "custom_images", "lines", "rejection")
    own = found["robustness"]["networks"]["reference"]
    corrupted = sorted(((name, own["mean"][f"accuracy/{name}"]) for name in CORRUPTIONS), key=lambda pair: pair[1])
    template = TEMPLATES.get_template("model_card_shipped.md.j2")
    return template.render(found, about=project(), own=own, corrupted=corrupted)


def collect(folder: Path, notebooks: list[Path], card: str) -> None:
    """Writes the sources of the site into an empty folder."""
    names = [path.stem for path in notebooks]
    for path in notebooks:
        nb = nbformat.read(path, as_version=4)
        prepare(nb, path.stem, names)
        write_text(folder / "notebooks" / path.name, nbformat.writes(nb))
    glossary = (paths.NOTEBOOKS / "glossary.md").read_text(encoding="utf-8")
    write_text(folder / "notebooks" / "glossary.md", with_links(glossary, names))
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths.ROOT / name, folder / name)
    parts = sections(with_links(README.read_text(encoding="utf-8"), names))
    intro, _, install = parts[""].partition("```sh\n")
    for page in ("index", "use"):
        write_text(folder / f"{page}.md", TEMPLATES.get_template(f"{page}.md.j2").render(
            intro=intro, install=install, sections=parts, names=names))  # fmt: skip
    write_text(folder / "model_card.md", card)
    write_text(folder / "model_card_shipped.md", shipped_card())


def build(sources: Path, folder: Path) -> None:
    """Lets Sphinx make the pages. Raises UserError where it warns, of a link to nowhere for instance."""
    from sphinx.cmd.build import build_main

    options = ["-q", "--fail-on-warning", "--keep-going", "-c", SETTINGS, "-d", sources.parent / "doctrees"]
    if build_main([str(option) for option in (*options, sources, folder)]):
        raise UserError("The site has faults, which the lines above name: mend the text, or tell who wrote it.")


def make(folder: Path, notebooks: list[Path], card: str, model: Path | None) -> None:
    """Writes the site of these notebooks into a folder, in place of an earlier one.

    Args:
        folder: where it goes. A demo that stands there stays as it is.
        notebooks: executed ones.
        card: the text of the model card of their run.
        model: the network that the demo shows from inside, if there is no demo yet.
    """
    with tempfile.TemporaryDirectory() as work:
        sources, built = Path(work) / "sources", Path(work) / "site"
        collect(sources, notebooks, card)
        build(sources, built)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if old.name not in KEPT:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.copytree(built, folder, dirs_exist_ok=True)
    if not (folder / "demo" / "index.html").exists():
        make_demo.make(folder / "demo", model)
    make_slides.make(folder / "slides", notebooks)


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_site", description=__doc__.partition("\n")[0])
    parser.add_argument("--run", metavar="NAME", help="show this run (default: the committed notebooks)")
    run = parser.parse_args(argv).run
    source, folder, results = paths.NOTEBOOKS, paths.outputs() / "site", paths.REFERENCE
    model = make_demo.newest_report()
    if run:
        with checking():
            parameters.check({"RUN": run}, "--run")
        results = paths.outputs() / run
        source, folder, model = results / "executed", results / "site", results / "models" / make_demo.REPORT
    notebooks = sorted(source.glob("[0-9]*.ipynb"))
    if not notebooks:
        raise UserError(f"{paths.display(source)} holds no executed notebook: run the series first.")
    make(folder, notebooks, model_card.text_of(results), model if model and model.exists() else None)
    if run:
        runs.write_list()  # it links to the site now
    print(f"{paths.display(folder)}/index.html shows {len(notebooks)} notebooks; open it in a browser.")


if __name__ == "__main__":
    raise SystemExit(main())
