"""Figures: one style, colour-blind safe, with alt text. Draws what others computed; computes nothing.

The functions return a Matplotlib figure, to be given to `show`.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from IPython.display import Image, display
from matplotlib import cycler, ticker
from matplotlib.figure import Figure

from helpers.files import atomic

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442"]
STYLE = Path(__file__).with_suffix(".mplstyle")


def set_style() -> None:
    """The look of every figure in the series."""
    plt.style.use(["default", STYLE])
    plt.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)


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
    # Notebooks are kept in git: a palette makes the file small. With more colours than that, a photograph is in it.
    if picture.getcolors(4096) is not None:
        picture = picture.quantize(256, dither=PIL.Image.Dither.NONE)
    with atomic(file) as partial:
        picture.save(partial, format="png", optimize=True)
    display(Image(Path(file).read_bytes(), format="png", metadata={"alt": alt}))


def image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int = 10,
    title: str = "",
    scale: float = 1.0,
    cmap: str | None = None,
) -> Figure:
    """Draws pictures in rows.

    Args:
        images: pictures (H, W) or (H, W, 3), uint8 or in 0–1. Single-channel ones are drawn dark on light.
        titles: a line of text above each picture.
        columns: pictures per row.
        scale: inches per picture.
        cmap: another colour map for single-channel pictures; "gray" draws them as a camera saw them.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    if titles is None and len({np.shape(image) for image in images}) == 1:
        return _mosaic(np.stack([np.squeeze(image) for image in images]), rows, columns, title, scale, cmap)
    height = scale * (1.28 if titles is not None else 1.0)
    size = (columns * scale, rows * height + (0.4 if title else 0))
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        image = np.squeeze(image)
        axis.imshow(image, **({} if image.ndim == 3 else {"vmin": 0, "vmax": _white(image), "cmap": cmap}))
        if titles is not None:
            axis.set_title(titles[i], fontsize=8, fontweight="normal", pad=3)
    fig.suptitle(title)
    return fig


def _mosaic(images: np.ndarray, rows: int, columns: int, title: str, scale: float, cmap: str | None) -> Figure:
    """Pictures of one shape as one large picture, which is many times quicker to draw than an axis for each."""
    side = max(2, images.shape[1] // 10)  # half the gap between two of them, in pixels
    empty = np.zeros((rows * columns - len(images), *images.shape[1:]), images.dtype)
    gaps = ((0, 0), (side, side), (side, side), (0, 0))[: images.ndim]
    tiles = np.pad(np.concatenate([images, empty]), gaps)
    high, wide, *channels = tiles.shape[1:]
    grid = tiles.reshape(rows, columns, high, wide, *channels).swapaxes(1, 2)
    size = (columns * scale, rows * scale * high / wide + (0.4 if title else 0))
    fig, axis = plt.subplots(figsize=size, layout="constrained")
    look = {} if channels else {"vmin": 0, "vmax": _white(images), "cmap": cmap}
    axis.imshow(grid.reshape(rows * high, columns * wide, *channels), **look)
    axis.axis("off")
    fig.suptitle(title)
    return fig


def _white(image: np.ndarray) -> int:
    """The value of full ink: 1 for pictures in 0–1, else 255."""
    return 1 if np.issubdtype(image.dtype, np.floating) and image.max() <= 1 else 255


def strips(rows: Mapping[str, Mapping[str, np.ndarray]], title: str = "", scale: float = 1.0) -> Figure:
    """Draws one row of pictures per entry. Explained in notebooks/06_custom_image_prediction.ipynb.

    Args:
        rows: label on the left → the steps of one picture as `images.preprocess` returns them: the same steps in the
            same order, whose names stand above the first row. Pictures uint8 (H, W), 0 black, 255 white.
        scale: inches per picture.
    """
    names = list(next(iter(rows.values())))
    size = (len(names) * scale, len(rows) * scale + (0.6 if title else 0.25))
    fig, axes = plt.subplots(len(rows), len(names), figsize=size, squeeze=False, layout="constrained")
    for line, (label, steps) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, steps.values(), strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axis.grid(False)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(label, fontsize=8)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name.replace(" ", "\n", 1), fontsize=8, fontweight="normal", pad=3)
    fig.suptitle(title)
    return fig


def answers(
    pictures: Sequence[np.ndarray],
    probabilities: np.ndarray,
    labels: Sequence[int | None],
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Draws each picture above a bar chart of its class probabilities. Explained in notebooks/06_custom_image_prediction.ipynb.

    Args:
        pictures: uint8 (H, W), 0 black, 255 white.
        probabilities: (N, classes), drawn from 0 to 1.
        labels: the true classes. The highest bar is blue where it is the true class, orange where it is not, black
            where the label is None.
        columns: pictures per row.
    """
    classes = probabilities.shape[1]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    fig = plt.figure(figsize=(1.35 * columns + 0.3, 2 * rows + 0.5), layout="constrained")
    grid = fig.add_gridspec(2 * rows, columns, height_ratios=[1.2, 0.8] * rows)
    for i, (picture, bars, label) in enumerate(zip(pictures, probabilities, labels, strict=True)):
        above = fig.add_subplot(grid[2 * (i // columns), i % columns])
        above.imshow(picture, cmap="gray", vmin=0, vmax=255)
        above.axis("off")
        best = int(bars.argmax())
        colour = COLOURS[6] if label is None else COLOURS[0] if best == label else COLOURS[1]
        axis = fig.add_subplot(grid[2 * (i // columns) + 1, i % columns])
        axis.bar(range(classes), bars, color=[colour if k == best else "0.7" for k in range(classes)])
        axis.set(xticks=range(classes), yticks=[0, 1], ylim=(0, 1))
        axis.tick_params(labelsize=6, length=2, pad=1)
        axis.set_ylabel("Probability" if i % columns == 0 else "", fontsize=7)
    fig.supxlabel("Class", fontsize=8)
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
    axes[0].legend(loc="lower right", fontsize=8)
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
    """Draws a data frame: one line per row, its values as dots along it, one colour per column.

    Explained in notebooks/05_evaluation.ipynb.
    """
    fig, axis = plt.subplots(figsize=(8, 0.9 + 0.22 * len(table)), layout="constrained")
    for colour, (name, column) in zip(COLOURS, table.items(), strict=False):
        axis.plot(column, range(len(table)), "o", color=colour, label=name)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel, yticks=range(len(table)), yticklabels=table.index)
    axis.legend(fontsize=8)
    return fig


def heat_map(table, title: str, xlabel: str, ylabel: str) -> Figure:
    """Draws the numbers of a data frame, 0 to 100, on colours from dark (50 or less) to bright; NaN stays blank.

    Explained in notebooks/05_evaluation.ipynb.
    """
    fig, axis = plt.subplots(figsize=(6, 0.6 + 0.28 * len(table)), layout="constrained")
    axis.imshow(table, cmap="viridis", vmin=50, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        if np.isfinite(value):
            colour = "black" if value > 75 else "white"
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel, xticks=range(table.shape[1]), xticklabels=table.columns,
             yticks=range(len(table)), yticklabels=table.index)  # fmt: skip
    axis.grid(False)
    return fig


def reliability(tables: Mapping[str, tuple], title: str = "Reliability diagram") -> Figure:
    """Draws accuracy against confidence by bin, in percent. Explained in notebooks/05_evaluation.ipynb.

    Args:
        tables: name of a classifier → two tables of `evaluation.reliability`: clean images (solid), corrupted (dashed).
    """
    fig, axis = plt.subplots(figsize=(5.4, 4.2), layout="constrained")
    axis.plot([0, 100], [0, 100], color="black", linewidth=1, label="perfect calibration")
    for colour, (name, pair) in zip(COLOURS, tables.items(), strict=False):
        for line, what, bins in zip(("-", "--"), ("clean", "corrupted"), pair, strict=True):
            values = 100 * bins["confidence"], 100 * bins["accuracy"]
            axis.plot(*values, line, marker=".", color=colour, label=f"{name}, {what}")
    axis.set(title=title, xlabel="Confidence, mean of a bin (%)", ylabel="Accuracy in that bin (%)")
    axis.legend(fontsize=7)
    return fig


def overlays(pictures: np.ndarray, rows: Mapping[str, np.ndarray], titles: Sequence[str], title: str = "") -> Figure:
    """Draws pictures (N, H, W) under heat maps (N, H, W), 0 to 1: one row of pictures per entry of `rows`.

    Explained in notebooks/05_evaluation.ipynb.
    """
    size = (0.8 * len(pictures), 1.05 * len(rows) + 0.3)
    fig, axes = plt.subplots(len(rows), len(pictures), figsize=size, squeeze=False, layout="constrained")
    for line, (label, maps) in zip(axes, rows.items(), strict=True):
        for axis, picture, heat in zip(line, pictures, maps, strict=True):
            axis.imshow(picture)
            axis.imshow(heat, cmap="Oranges", vmin=0, vmax=1, alpha=0.8 * heat)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        line[0].set_ylabel(label)
    for axis, text in zip(axes[0], titles, strict=True):
        axis.set_title(text, fontsize=9, fontweight="normal")
    fig.suptitle(title)
    return fig


def embedding(points: np.ndarray, labels: np.ndarray, marked: np.ndarray, title: str, legend: str) -> Figure:
    """Draws points (N, 2) as the number of their class; those in the mask `marked` (N,) are circled.

    Explained in notebooks/05_evaluation.ipynb.
    """
    fig, axis = plt.subplots(figsize=(6, 5), layout="constrained")
    for label in np.unique(labels):
        own = points[labels == label]
        axis.scatter(*own.T, s=17, marker=f"${label}$", color=COLOURS[label % 7], linewidths=0.2)
    axis.scatter(*points[marked].T, s=120, facecolors="none", edgecolors="black", linewidths=1.5, label=legend)
    axis.set(title=title, xlabel="First coordinate (no unit)", ylabel="Second coordinate (no unit)")
    axis.legend(fontsize=8)
    return fig


def error_bars(panels: Mapping[str, tuple], title: str, ylabel: str) -> Figure:
    """Draws one panel per entry, its name below: x, y, and y's lower and upper bounds, each of shape (N,).

    Explained in notebooks/05_evaluation.ipynb.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(10, 3), sharey=True, squeeze=False, layout="constrained")
    for axis, (name, (x, y, low, high)) in zip(axes[0], panels.items(), strict=True):
        axis.errorbar(x, y, np.abs([np.subtract(y, low), np.subtract(high, y)]), fmt="o-", capsize=4)
        axis.set(xlabel=name)
    axes[0, 0].set_ylabel(ylabel)
    fig.suptitle(title)
    return fig
