"""helpers.notebook.plots: what a run with other parameters may hand it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers.notebook import plots


@pytest.mark.parametrize("titles", [None, []])
def test_a_grid_of_no_pictures_says_so(titles):
    fig = plots.image_grid(np.zeros((0, 28, 28), np.uint8), titles, title="Mistakes")
    [axis] = fig.axes
    assert axis.get_title() == "none"
    plt.close(fig)


def test_a_short_row_of_a_grid_stays_empty():
    fig = plots.image_grid([np.full((5, 4), 255, np.uint8)] * 5, list("abcde"), columns=3)
    assert [axis.get_title() for axis in fig.axes] == [*"abcde", ""]
    plt.close(fig)
