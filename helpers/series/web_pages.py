"""Executed notebooks as web pages, with alt texts kept and solutions folded."""

import html
import re
from pathlib import Path

from nbconvert import HTMLExporter

from helpers.files import read_json, write_text

# The classic template keeps alt texts, which the default one drops.
TEMPLATE = """
{%- extends 'index.html.j2' -%}
{% block codecell %}
{%- if 'solution' in cell.metadata.get('tags', []) -%}
<details><summary style="margin-left: 14ex; display: list-item; cursor: pointer">Solution</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{% endblock codecell %}
"""


def write_page(notebook: Path, folder: Path) -> Path:
    """Writes an executed notebook as one HTML file into `folder`; links between notebooks lead to their pages."""
    body, _ = HTMLExporter(template_name="classic", raw_template=TEMPLATE).from_filename(str(notebook))
    page = folder / f"{notebook.stem}.html"
    write_text(page, re.sub(r'href="([\w-]+)\.ipynb"', r'href="\1.html"', body))  # not those of other sites
    return page


def write_index(folder: Path, names: list[str]) -> Path:
    """Writes html/index.html of a run: each notebook with a page, and its metrics."""
    rows = []
    for name in names:
        if not (folder / "html" / f"{name}.html").exists():
            continue
        metrics = read_json(folder / "metrics" / f"{name}.json")
        items = "".join(f"<li>{html.escape(key)}: {_readable(value)}</li>" for key, value in metrics.items())
        rows.append(
            f'<h2><a href="{name}.html">{html.escape(name)}</a></h2><details><summary>{len(metrics)} metrics</summary><ul>{items}</ul></details>'
        )
    style = "body{font:16px/1.5 system-ui,sans-serif;max-width:45rem;margin:2rem auto;padding:0 1rem}h2{font-size:1.1rem;margin-bottom:0}"
    page = folder / "html" / "index.html"
    write_text(
        page,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Run {html.escape(folder.name)}</title><style>{style}</style>'
        f"<h1>Run {html.escape(folder.name)}</h1>{''.join(rows)}</html>\n",
    )
    return page


def _readable(value: object) -> str:
    """A metric as a reader wants it: five digits at most after the point."""
    return f"{value:.5g}" if isinstance(value, float) else html.escape(str(value))
