"""What a run has found as web pages, made from templates/: executed notebooks and their index; how numbers are written."""

import re
from pathlib import Path

import jinja2
from nbconvert import HTMLExporter

from helpers.files import read_json, write_text

FOLDER = Path(__file__).with_name("templates")
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip


def number(value: float, name: str = "accuracy") -> str:
    """A metric as text, by its name: accuracies in percent, times in seconds."""
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    if name.endswith("_seconds"):
        return f"{value:,.0f} s"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


TEMPLATES.filters["number"] = number


def write_page(notebook: Path, folder: Path) -> Path:
    """Writes an executed notebook as one HTML file into `folder`; links between notebooks lead to their pages."""
    template = (FOLDER / "notebook.html.j2").read_text(encoding="utf-8")
    # The classic template keeps alternative texts, which the default one drops.
    body, _ = HTMLExporter(template_name="classic", raw_template=template).from_filename(str(notebook))
    page = folder / f"{notebook.stem}.html"
    write_text(page, re.sub(r'href="([\w-]+)\.ipynb"', r'href="\1.html"', body))  # not those of other sites
    return page


def write_index(folder: Path, names: list[str]) -> Path:
    """Writes html/index.html of a run: each notebook with a page, and its metrics."""
    page = folder / "html" / "index.html"
    there = [name for name in names if page.with_name(f"{name}.html").exists()]
    metrics = {name: read_json(folder / "metrics" / f"{name}.json") for name in there}
    write_text(page, TEMPLATES.get_template("index.html.j2").render(run=folder.name, notebooks=metrics))
    return page
