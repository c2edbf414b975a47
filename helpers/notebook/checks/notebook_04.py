"""What is right in the exercises of notebooks/04_tuning.ipynb."""

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number


@exercise("04.1", hint="A logarithmic draw gives each power of ten the same share; a linear one goes by plain length.")
def shares(answer):
    """Of logarithmic and linear draws from 0.0001 to 0.1, those from 0.001 to 0.01."""
    logarithmic, linear = answer
    if not all(is_number(share) and 0 <= share <= 1 for share in (logarithmic, linear)):
        return "Give two numbers from 0 to 1."
    right = 1 / 3, 0.009 / 0.0999
    if np.allclose((linear, logarithmic), right, atol=0.004):
        return "The order is: logarithmic, then linear."
    if abs(logarithmic - 0.25) < 0.004:
        return "A quarter was right for the old range, which spans four powers of ten."
    return abs(logarithmic - right[0]) < 0.004 and abs(linear - right[1]) < 0.004


@exercise("04.2", hint="All n trials miss with probability 0.9 to the power of n; that must be 5 % at most.")
def needed(answer):
    """The smallest n with 1 - 0.9^n of at least 0.95."""
    if not is_number(answer) or answer != int(answer):
        return "Trials are counted in whole numbers."
    if answer == 28:
        return "With 28 trials the probability is 94.8 %."
    if answer > 29:
        return "That is enough, but fewer are enough too."
    return answer == 29


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
    if any(set(value) != {"seed", "batch_norm"} for value in values):
        return "Ask hp for the batch normalisation only, under the name batch_norm: all else stays the same."
    if len({(value["seed"], value["batch_norm"]) for value in values}) < 6:
        return "Six trials are wanted: three seeds, each with and without."
    if any(trial.score is None for trial in trials):
        return "Not every trial has ended: run grid.search."
    found = grid.get_best_models()[0].evaluate(x_val, y_val, batch_size=1000, verbose=0, return_dict=True)["accuracy"]
    if abs(found - max(trial.score for trial in trials)) > 1e-4:
        return "The accuracies are not those on the validation images."
    mean = {
        flag: np.mean([t.score for t in trials if bool(t.hyperparameters.values["batch_norm"]) is flag])
        for flag in (True, False)
    }
    right = mean[True] - mean[False]
    if not is_number(answer):
        return "The gain is one number."
    if abs(answer + right) < 1e-6 < abs(right):
        return "That is the loss: subtract the accuracy without from the accuracy with."
    return abs(answer - right) < 1e-6


@exercise("04.5", hint="Try binomtest(k, 30).pvalue for k = 15, 16, … and take the first k for which it is below 0.05.")
def uneven(answer):
    """The smallest k of 30 with a two-sided p-value below 0.05."""
    if not is_number(answer):
        return "Give one whole number."
    if answer == 20:
        return "20 would do if you had known beforehand which network is better; the test asks about both directions."
    return answer == 21


choice(
    "04.6",
    right="abd",
    hint="For each statement, ask whether repeating the colleague's search with that one thing mended could change the answer.",
)
