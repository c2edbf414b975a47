"""What is right in the exercises of notebooks/04_tuning.ipynb."""

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number


@exercise("04.1", hint="A logarithmic draw gives each power of ten the same share; a linear one goes by plain length.")
def shares(answer):
    """Of logarithmic and linear draws from 0.0001 to 0.1, those from 0.001 to 0.01."""
    logarithmic, linear = answer
    are_shares = all(is_number(share) and 0 <= share <= 1 for share in (logarithmic, linear))
    yield "Give two numbers from 0 to 1.", not are_shares
    right = 1 / 3, 0.009 / 0.0999
    yield "The order is: logarithmic, then linear.", np.allclose((linear, logarithmic), right, atol=0.004)
    yield "A quarter was right for the old range, which spans four powers of ten.", abs(logarithmic - 0.25) < 0.004
    yield True, abs(logarithmic - right[0]) < 0.004 and abs(linear - right[1]) < 0.004


@exercise("04.2", hint="All n trials miss with probability 0.9 to the power of n; that must be 5 % at most.")
def needed(answer):
    """The smallest n with 1 - 0.9^n of at least 0.95."""
    yield "Trials are counted in whole numbers.", not is_number(answer) or answer != int(answer)
    yield "With 28 trials the probability is 94.8 %.", answer == 28
    yield "That is enough, but fewer are enough too.", answer > 29
    yield True, answer == 29


choice(
    "04.3",
    right="ac",
    hint="An importance belongs to one space and to the trials made in it. Which statement goes beyond both?",
)


@exercise(
    "04.4",
    hint="Only batch_norm and the seed are asked from hp. Then average the accuracies over the seeds, with and without; "
    "the gain is the difference of the two means. A gain that changes its sign from seed to seed is none.",
)
def gain(answer, grid, x_val, y_val):
    """Mean accuracy with batch normalisation minus without, of a finished grid of three seeds."""
    trials = list(grid.oracle.trials.values())
    values = [trial.hyperparameters.values for trial in trials]
    reason = "Ask hp for the batch normalisation only, under the name batch_norm: all else stays the same."
    yield reason, any(set(value) != {"seed", "batch_norm"} for value in values)
    different = {(value["seed"], value["batch_norm"]) for value in values}
    yield "Six trials are wanted: three seeds, each with and without.", len(different) < 6
    yield "Not every trial has ended: run grid.search.", any(trial.score is None for trial in trials)
    found = grid.get_best_models()[0].evaluate(x_val, y_val, batch_size=1000, verbose=0, return_dict=True)["accuracy"]
    scores = np.array([trial.score for trial in trials])
    yield "The accuracies are not those on the validation images.", abs(found - scores.max()) > 1e-4
    normalised = np.array([bool(value["batch_norm"]) for value in values])
    right = scores[normalised].mean() - scores[~normalised].mean()
    yield "The gain is one number.", not is_number(answer)
    reason = "That is the loss: subtract the accuracy without from the accuracy with."
    yield reason, abs(answer + right) < 1e-6 < abs(right)
    yield True, abs(answer - right) < 1e-6


@exercise("04.5", hint="Try binomtest(k, 30).pvalue for k = 15, 16, … and take the first k for which it is below 0.05.")
def uneven(answer):
    """The smallest k of 30 with a two-sided p-value below 0.05."""
    yield "Give one whole number.", not is_number(answer)
    reason = "20 would do if you had known beforehand which network is better; the test asks about both directions."
    yield reason, answer == 20
    yield True, answer == 21


choice(
    "04.6",
    right="abd",
    hint="For each statement, ask whether repeating the colleague's search with that one thing mended could change the answer.",
)
