"""Figures: one style, colour-blind safe, with alt text. Draws what others computed; computes nothing.

The functions return a Matplotlib figure, to be given to `show`.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from IPython.display import Image, display
from matplotlib import ticker
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from helpers.files import atomic
from helpers.notebook.style import COLOURS, SHARPNESS

CLASS_COLOURS = [*COLOURS[:7], "#6A3D9A", "#8A8A00", "#999999"]  # ten that stand out on white paper


def show(fig: Figure, file: Path, alt: str) -> None:
    """Saves a figure as PNG, displays it, and closes it.

    Args:
        fig: the figure.
        file: where to save it, such as `run.figure("name")`.
        alt: the alternative text: what the figure shows, for those who cannot see it.

    Raises:
        UserError: the file cannot be written.
    """
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    plt.close(fig)
    picture = PIL.Image.open(buffer).convert("RGB")
    picture = picture.quantize(256, dither=PIL.Image.Dither.NONE)  # notebooks are kept in git: a palette is small
    with atomic(file) as partial:
        picture.save(partial, format="png", optimize=True)
    width = round(picture.width / SHARPNESS)  # on the page; a projector and a good screen show the rest
    display(Image(Path(file).read_bytes(), format="png", width=width, metadata={"alt": alt}))


def image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int = 10,
    title: str = "",
    scale: float = 1.0,
    cmap: str | None = None,
    row_labels: Sequence | None = None,
) -> Figure:
    """Draws pictures in rows.

    Args:
        images: pictures (H, W) or (H, W, 3), uint8 or in 0–1. Single-channel ones are drawn dark on light. May be
            none, as where one looks for mistakes and there are none: then the figure says so.
        titles: a line of text above each picture; without, they have to be of one shape.
        columns: pictures per row.
        scale: inches per picture.
        cmap: another colour map for single-channel pictures; "gray" draws them as a camera saw them.
        row_labels: what stands to the left of each row, for pictures without titles.
    """
    if not len(images):
        images, titles, row_labels = [np.zeros((28, 28), np.uint8)], ["none"], None
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    if titles is None:
        stack = np.stack([np.squeeze(image) for image in images])
        return _mosaic(stack, rows, columns, title, scale, cmap, row_labels)
    size = (columns * scale, rows * (1.28 * scale) + (0.4 if title else 0))
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        image = np.squeeze(image)
        axis.imshow(image, cmap, vmin=0, vmax=_white(image))  # pictures in colour do without these
        axis.set_title(titles[i], fontsize=9, fontweight="normal", pad=3)
    fig.suptitle(title)
    return fig


def _mosaic(images, rows: int, columns: int, title: str, scale: float, cmap: str | None, row_labels) -> Figure:
    """Pictures of one shape as one large picture, which is many times quicker to draw than an axis for each."""
    side = max(2, images.shape[1] // 10)  # half the gap between two of them, in pixels
    empty = np.zeros((rows * columns - len(images), *images.shape[1:]), images.dtype)
    gaps = ((0, 0), (side, side), (side, side), (0, 0))[: images.ndim]
    tiles = np.pad(np.concatenate([images, empty]), gaps)
    high, wide, *channels = tiles.shape[1:]
    grid = tiles.reshape(rows, columns, high, wide, *channels).swapaxes(1, 2)
    size = (columns * scale, rows * scale * high / wide + (0.4 if title else 0))
    fig, axis = plt.subplots(figsize=size, layout="constrained")
    axis.imshow(grid.reshape(rows * high, columns * wide, *channels), cmap, vmin=0, vmax=_white(images))
    if row_labels is None:
        axis.axis("off")
    else:
        axis.set(xticks=[], yticks=(np.arange(rows) + 0.5) * high, yticklabels=row_labels)
        axis.tick_params(length=0)
        axis.grid(False)
        axis.spines[:].set_visible(False)
    fig.suptitle(title)
    return fig


def _white(image: np.ndarray) -> int:
    """The value of full ink: 1 for pictures in 0–1, else 255."""
    return 1 if np.issubdtype(image.dtype, np.floating) and image.max() <= 1 else 255


def labelled_rows(labels: Collection[str], columns: int, size: tuple, title: str, fontsize: int | None = None) -> tuple:
    """A figure of `size` inches and its axes (rows, columns) for pictures: bare, but for a label left of each row."""
    fig, axes = plt.subplots(len(labels), columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label, fontsize=fontsize)
    fig.suptitle(title)
    return fig, axes


def strips(rows: Mapping[str, Mapping[str, np.ndarray]], title: str = "", scale: float = 1.0) -> Figure:
    """Draws one row of pictures per entry. Explained in notebooks/06_custom_image_prediction.ipynb.

    Args:
        rows: label on the left → the steps of one picture as `images.preprocess` returns them: the same steps in the
            same order, whose names stand above the first row. Pictures uint8 (H, W), 0 black, 255 white.
        scale: inches per picture.
    """
    names = list(next(iter(rows.values())))
    size = (len(names) * scale, len(rows) * scale + (0.6 if title else 0.25))
    fig, axes = labelled_rows(rows, len(names), size, title, fontsize=9)
    for line, steps in zip(axes, rows.values(), strict=True):
        for axis, picture in zip(line, steps.values(), strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name.replace(" ", "\n", 1), fontsize=9, fontweight="normal", pad=3)
    return fig


def answers(
    pictures: Sequence[np.ndarray],
    probabilities: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """Draws each picture above the ten digits, each on a field as strong in colour as its probability.

    The fields are blue where the most probable digit is the true one, else orange. Explained in
    notebooks/06_custom_image_prediction.ipynb.

    Args:
        pictures: uint8 (H, W) or (H, W, 3), 0 black, 255 white.
        probabilities: (N, classes), 0 to 1.
        labels: the true classes.
        names: a line of text above each picture.
    """
    columns = 6
    rows = -(-len(pictures) // columns)
    fig = plt.figure(figsize=(1.36 * columns, 1.9 * rows + 0.3), layout="constrained")
    fig.get_layout_engine().set(hspace=0, h_pad=0.05)
    grid = fig.add_gridspec(3 * rows, columns, height_ratios=[6, 1, 0.4] * rows)  # the third is a gap
    for i, (picture, row, label, name) in enumerate(zip(pictures, probabilities, labels, names, strict=True)):
        above, below = (fig.add_subplot(grid[3 * (i // columns) + k, i % columns]) for k in (0, 1))
        small = PIL.Image.fromarray(picture).convert("RGB")
        small.thumbnail((110, 110))  # without the paper's grain, which makes large files
        above.imshow(small, interpolation="bicubic")
        above.set_title(name, fontsize=10, fontweight="normal", pad=4)
        colour = np.array(to_rgb(COLOURS[0] if row.argmax() == label else COLOURS[1]))
        strength = np.asarray(row)[None, :, None]
        below.imshow(0.96 * (1 - strength) + strength * colour, aspect="auto")
        for digit, probability in enumerate(row):
            look = {"color": "white", "fontweight": "bold"} if probability > 0.5 else {"color": "0.45"}
            below.text(digit, 0, str(digit), ha="center", va="center_baseline", fontsize=9, **look)
        for axis in (above, below):
            axis.axis("off")
    fig.suptitle(title)
    return fig


def learning_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], title: str = "Learning curves") -> Figure:
    """Draws accuracy and loss per epoch, training dashed, validation solid.

    Args:
        histories: name → Keras's `history.history`, with accuracy, val_accuracy, loss and val_loss.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, quantity, label in zip(axes, ("accuracy", "loss"), ("Accuracy (%)", "Cross-entropy (nats)"), strict=True):
        factor = 100 if quantity == "accuracy" else 1
        for colour, (name, history) in zip(COLOURS, histories.items(), strict=False):
            epochs = range(1, len(history["loss"]) + 1)
            prefix = f"{name}, " if len(histories) > 1 else ""
            for key, line, part in ((quantity, "--", "training"), (f"val_{quantity}", "-", "validation")):
                axis.plot(epochs, factor * np.array(history[key]), line, color=colour, label=prefix + part, marker=".")
        axis.set(xlabel="Epoch", ylabel=label, title=label.split(" (")[0])
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes[0].legend(loc="lower right", fontsize=9)
    fig.suptitle(title)
    return fig


def confusion_matrix(
    matrix: np.ndarray,
    labels: Sequence,
    title: str = "Confusion matrix",
    xlabel: str = "Predicted class",
    ylabel: str = "True class",
) -> Figure:
    """Draws counts by true class (rows) and predicted class (columns); blanks are zeros.

    Only what lies off the diagonal is coloured: a good classifier's mistakes would be invisible beside its hits.
    Explained in notebooks/05_evaluation.ipynb.
    """
    import seaborn  # here, because most notebooks do without it

    matrix = np.asarray(matrix)
    mistakes = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    text = np.where(matrix == 0, "", matrix.astype(str))
    fig, axis = plt.subplots(figsize=(6.4, 5.4), layout="constrained")
    seaborn.heatmap(
        mistakes, annot=text, fmt="", cmap="Oranges", square=True, linewidths=0.5, linecolor="0.9",
        xticklabels=labels, yticklabels=labels, cbar=False, ax=axis,
    )  # fmt: skip
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axis.grid(False)
    axis.tick_params(length=0, labelrotation=0)
    return fig


def dots(table, title: str, xlabel: str, ylabel: str) -> Figure:
    """Draws a data frame: one line per row, its values as dots along it, one colour per column, each a little lower.

    Explained in notebooks/08_robustness.ipynb.
    """
    fig, axis = plt.subplots(figsize=(8, 0.9 + 0.3 * len(table)), layout="constrained")
    places = np.arange(len(table))
    for shift, (name, column) in zip(np.linspace(0.27, -0.27, table.shape[1]), table.items(), strict=True):
        axis.plot(column, places + shift, "o", markersize=5, label=name)
    for place in places[1:]:
        axis.axhline(place - 0.5, color="0.9", linewidth=0.8)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel, yticks=places, yticklabels=table.index)
    axis.grid(False, axis="y")
    fig.legend(loc="outside right upper")
    return fig


def reliability(panels: Mapping[str, Mapping[str, tuple]], title: str = "Reliability diagram") -> Figure:
    """Draws accuracy against confidence by bin, in percent, one panel for each kind of images.

    Explained in notebooks/08_robustness.ipynb.

    Args:
        panels: kind of images → name of a classifier → mean confidence and accuracy of the bins, 0 to 1.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(10, 3.8), squeeze=False, layout="constrained")
    for axis, (kind, classifiers) in zip(axes[0], panels.items(), strict=True):
        lowest = 100 * min(np.min(pair) for pair in classifiers.values())
        axis.plot([lowest, 100], [lowest, 100], color="black", linewidth=1, label="promise kept")
        for name, pair in classifiers.items():
            axis.plot(*(100 * np.asarray(pair)), marker=".", markersize=8, label=name)
        axis.set(title=kind, xlabel="Confidence, mean of a bin (%)", ylabel="Accuracy in that bin (%)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    fig.suptitle(title)
    return fig


def overlays(pictures: np.ndarray, rows: Mapping[str, np.ndarray], titles: Sequence[str], title: str = "") -> Figure:
    """Draws pictures (N, H, W) under heat maps (N, H, W), 0 to 1: one row of pictures per entry of `rows`.

    Explained in notebooks/08_robustness.ipynb.
    """
    size = (0.8 * len(pictures), 0.9 * len(rows) + 0.45)
    fig, axes = labelled_rows(rows, len(pictures), size, title)
    for line, maps in zip(axes, rows.values(), strict=True):
        for axis, picture, heat in zip(line, pictures, maps, strict=True):
            axis.imshow(picture)
            axis.imshow(heat, cmap="Oranges", vmin=0, vmax=1, alpha=0.8 * heat)
    for axis, text in zip(axes[0], titles, strict=True):
        axis.set_title(text, fontsize=9, fontweight="normal")
    return fig


def class_points(axis, points: np.ndarray, labels: np.ndarray) -> None:
    """Draws points (N, 2) as the number of their class, ten classes in ten colours.

    Explained in notebooks/01_exploration.ipynb.
    """
    for label in np.unique(labels):
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        axis.scatter(*points[labels == label].T, s=36, marker=f"${label}$", color=colour, linewidths=0.2)


def timeline(milestones: Mapping[int, str], results, title: str, ylabel: str) -> Figure:
    """Draws milestones by year above published results. Explained in notebooks/01_exploration.ipynb.

    Args:
        milestones: year → what happened; a new line where the text breaks.
        results: a data frame with the columns year, error (drawn on a logarithmic scale), method and features (one
            colour each); the column side tells on which side of its dot the method stands, left or right.
    """
    fig, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(9.5, 6.4), layout="constrained", height_ratios=(1, 2.3)
    )
    for i, (year, text) in enumerate(milestones.items()):
        height = (1, 2.2)[i % 2]
        above.plot([year, year], [0, height], color="0.6", linewidth=1, zorder=1)
        above.plot(year, 0, "o", color="black")
        above.text(year, height, f"{year}\n{text}", ha="center", va="bottom", fontsize=9, linespacing=1.1)
    above.axhline(0, color="black", linewidth=1)
    years = min(milestones) - 5, results["year"].max() + 12  # for the texts
    above.set(xlim=years, ylim=(-0.2, 3.4), yticks=[], title=title)
    above.tick_params(bottom=False)
    above.spines[["left", "bottom"]].set_visible(False)
    above.grid(False)
    for colour, (features, group) in zip(COLOURS, results.groupby("features", sort=False), strict=False):
        below.plot(group["year"], group["error"], "o", color=colour, label=features)
    for row in results.itertuples():
        way = 1 if row.side == "right" else -1
        below.annotate(
            row.method, (row.year, row.error), (7 * way, 0), textcoords="offset points",
            ha="left" if way > 0 else "right", va="center", fontsize=9,
        )  # fmt: skip
    below.set(yscale="log", xlabel="Year", ylabel=ylabel)
    below.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    below.legend(title="Features", loc="upper left")
    return fig
