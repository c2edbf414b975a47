"""The look of every figure in the series; `setup` sets it."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib import cycler

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442"]
SHARPNESS = 2  # pixels saved for each on the page: savefig.dpi over figure.dpi


def set_style() -> None:
    """Applies style.mplstyle and the colours."""
    plt.style.use(["default", Path(__file__).with_suffix(".mplstyle")])
    plt.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)
