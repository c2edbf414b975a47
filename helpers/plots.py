"""Figures: one style, colour-blind safe, with alt text. Draws what others computed; computes nothing."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display
from matplotlib.figure import Figure

from helpers.runs import atomic

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442"]
DPI = 90


def set_style() -> None:
    """The look of every figure in the series."""
    plt.rcParams.update(matplotlib.rcParamsDefault | {"backend": matplotlib.get_backend()})
    plt.rcParams.update({
        "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "figure.dpi": DPI,
        "figure.figsize": (7, 3.6),
        "figure.titlesize": 12,
        "figure.titleweight": "bold",
        "font.size": 10,
        "grid.alpha": 0.3,
        "image.cmap": "gray_r",
        "legend.frameon": False,
        "savefig.bbox": "tight",
        "savefig.facecolor": "white",
    })  # fmt: skip


def show(fig: Figure, file: Path, alt: str) -> None:
    """Saves a figure as PNG to `file` and displays it with the alternative text `alt`; closes it."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI)
    plt.close(fig)
    with atomic(file) as partial:
        partial.write_bytes(buffer.getvalue())
    display(Image(buffer.getvalue(), format="png", metadata={"alt": alt}))


def image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int = 10,
    title: str = "",
    scale: float = 1.0,
) -> Figure:
    """Pictures in rows of `columns`, each with an optional line of text above; `scale` is inches a picture.

    Single-channel pictures are drawn dark on light, colour ones as they are.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = scale * (1.28 if titles is not None else 1.0)
    fig, axes = plt.subplots(
        rows, columns, figsize=(columns * scale, rows * height + (0.4 if title else 0)), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        image = np.squeeze(image)
        if image.ndim == 3:
            axis.imshow(image)
        else:
            axis.imshow(image, vmin=0, vmax=1 if np.issubdtype(image.dtype, np.floating) and image.max() <= 1 else 255)
        if titles is not None:
            axis.set_title(titles[i], fontsize=8, fontweight="normal", pad=3)
    if title:
        fig.suptitle(title)
    return fig


def learning_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], title: str = "Learning curves") -> Figure:
    """Accuracy and loss by epoch, training dashed and validation solid, one colour a history.

    A history is Keras's dictionary of lists: accuracy, val_accuracy, loss, val_loss.
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
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
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
    """Counts by true class (rows) and predicted class (columns); blanks are zeros.

    Only what lies off the diagonal is coloured: a good classifier's mistakes would be invisible beside its hits.
    Explained in notebooks/05_evaluation.ipynb.
    """
    import seaborn  # here, because most notebooks do without it

    matrix = np.asarray(matrix)
    mistakes = np.ma.masked_array(matrix, np.eye(len(matrix), dtype=bool)).filled(0)
    text = np.where(matrix == 0, "", matrix.astype(str))
    fig, axis = plt.subplots(figsize=(6.4, 5.4), layout="constrained")
    seaborn.heatmap(
        mistakes, annot=text, fmt="", cmap="Oranges", square=True, linewidths=0.5, linecolor="0.9",
        xticklabels=labels, yticklabels=labels, cbar_kws={"label": "Count off the diagonal"}, ax=axis,
    )  # fmt: skip
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axis.tick_params(length=0, labelrotation=0)
    return fig
