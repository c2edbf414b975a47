"""Diagrams of what notebooks/03_baseline_cnn.ipynb explains. Each function returns a figure for `plots.show`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.notebook.plots import labelled_rows
from helpers.notebook.style import COLOURS


def parts(sizes: Mapping[str, int], title: str) -> Figure:
    """Draws one bar, cut to scale into named parts of a data set."""
    fig, axis = plt.subplots(figsize=(7, 1.4), layout="constrained")
    left = 0
    for colour, (name, size) in zip(COLOURS, sizes.items(), strict=False):
        axis.barh(0, size, left=left, color=colour, edgecolor="white")
        axis.text(left + size / 2, 0.55, f"{name}\n{size:,}", ha="center", va="bottom")
        left += size
    axis.set(xlabel="Images", yticks=[], ylim=(-0.5, 1.5), title=title)
    axis.grid(False)
    return fig


def convolution(picture: np.ndarray, kernel: np.ndarray, result: np.ndarray, at: tuple[int, int]) -> Figure:
    """Draws a picture (H, W), a kernel and the feature map it gives; the window whose map pixel is `at` is framed."""
    widths = (picture.shape[1], 12, result.shape[1])
    fig, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained", width_ratios=widths)
    strongest, largest = np.abs(kernel).max(), np.abs(result).max()
    axes[0].imshow(picture)
    axes[1].imshow(kernel, cmap="RdBu", vmin=-1.5 * strongest, vmax=1.5 * strongest)
    axes[2].imshow(result, cmap="RdBu", vmin=-largest, vmax=largest)
    for (row, column), weight in np.ndenumerate(kernel):
        axes[1].text(column, row, weight, ha="center", va="center")
    for axis, side in ((axes[0], len(kernel)), (axes[2], 1)):
        corner = at[1] - 0.5, at[0] - 0.5
        axis.add_patch(plt.Rectangle(corner, side, side, fill=False, edgecolor=COLOURS[1], linewidth=3))
    for axis, name, shown in zip(axes, ("picture", "filter", "feature map"), (picture, kernel, result), strict=True):
        axis.set_title(f"{name}, {shown.shape[0]} × {shown.shape[1]}")
        axis.axis("off")
    fig.suptitle("A convolution: nine pixels become one number")
    return fig


def signed(rows: Mapping[str, Sequence[np.ndarray]], title: str) -> Figure:
    """Draws rows of weights (H, W): blue positive, red negative, each on a scale of its own. Keys label the rows."""
    columns = max(map(len, rows.values()))
    fig, axes = labelled_rows(rows, columns, (9, 0.4 + 1.02 * len(rows)), title)
    for line, images in zip(axes, rows.values(), strict=True):
        for axis, image in zip(line, images, strict=False):
            strongest = np.abs(image).max()
            axis.imshow(image, cmap="RdBu", vmin=-strongest, vmax=strongest)
    return fig


def network(names: Sequence[str], shapes: Sequence[tuple[int, ...]], title: str) -> Figure:
    """Draws layers from left to right: height is a map's side, width the number of maps; vectors are bars.

    Layers of one kind, which is the first word of their name, have one colour.
    """
    fig, axis = plt.subplots(figsize=(9, 2.6), layout="constrained")
    kinds = list(dict.fromkeys(name.split()[0] for name in names))
    for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        side, depth = (shape[0], shape[2]) if len(shape) == 3 else (shape[0] ** 0.75, 1)
        width = 0.12 + depth / 110
        corner = i - width / 2, -side / 2
        axis.add_patch(plt.Rectangle(corner, width, side, color=COLOURS[kinds.index(name.split()[0])], alpha=0.75))
        axis.text(i, -22, f"{name}\n{' × '.join(map(str, shape))}", ha="center", va="top")
    axis.set(xlim=(-0.6, len(names) - 0.4), ylim=(-36, 22), title=title)
    axis.axis("off")
    return fig
