"""Sphinx's settings for the site. tools/make_site.py puts the sources together and starts Sphinx: make site."""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

project = "Handwritten digits"
extensions = ["myst_nb"]
suppress_warnings = ["myst.header"]  # an exercise may stand one level deeper than the text before it

nb_execution_mode = "off"  # outputs are those of `make render`, or of a run
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # as GitHub makes them; the notebooks and the glossary link to these

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_search_summary = False  # it reads pages over the network, which a page opened from a file may not
html_show_sphinx = False
html_show_copyright = False
html_favicon = "favicon.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # search stands in the sidebar
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def _formula(translator, node, block: bool) -> None:
    """Writes a formula as MathML, which browsers draw by themselves: no script, nothing to fetch."""
    # A column of numbers and other blocks scroll on their own where a phone is narrower.
    opening, closing = ('<div class="formula" tabindex="0">', "</div>") if block else ("", "")
    translator.body.append(opening + tex2mathml(node.astext(), as_block=block) + closing)
    raise SkipNode


def setup(app) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda translator, node: _formula(translator, node, block=False), None),
        block_renderers=(lambda translator, node: _formula(translator, node, block=True), None),
    )
