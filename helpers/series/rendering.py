"""What the series writes for people: the templates of its pages, and how numbers are written."""

from pathlib import Path

import jinja2

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True,
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip


def number(value: float, name: str = "accuracy") -> str:
    """A metric as text, by its name: accuracies in percent, times in seconds."""
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    if name.endswith("_seconds"):
        return f"{value:,.0f} s"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


TEMPLATES.filters["number"] = number
