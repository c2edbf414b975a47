"""What is right in the exercises of notebooks/08_robustness.ipynb."""

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number


@exercise(
    "08.1",
    hint="table['report'] - table['baseline'] is the lead of the plain network, as a fraction: 10 points are 0.1. "
    "Keep the rows where it is larger, and take their index.",
)
def plain_wins(answer, table):
    """The corruptions on which the report's network leads by more than 10 points."""
    lead = (table["report"] - table["baseline"]).drop("clean")
    yield "A list of names is wanted.", isinstance(answer, str)
    given = {str(name).removesuffix(" *").replace(" ", "_") for name in answer}  # as in the table, or as in the figure
    yield True, given == set(lead.index[lead > 0.1])
    yield "These are the ones where the baseline leads.", given == set(lead.index[lead < -0.1])
    yield "On some of these it leads by less than 10 points.", given == set(lead.index[lead > 0])


@exercise(
    "08.2",
    hint="The convolution multiplies each weight by the pixel under it and adds up. If all pixels are 0.5, the sum over "
    "rows, columns and channels in is 0.5 times the sum of the weights: one number per map.",
)
def answer_of_paper(answer, kernel):
    """What the first convolution makes of grey paper, 0.5 everywhere."""
    sums = kernel.sum(axis=(0, 1, 2))
    if np.shape(answer) == (kernel.shape[2], kernel.shape[3]):
        answer = np.sum(answer, axis=0)
    shape = np.shape(answer)
    yield f"One number for each of the {len(sums)} maps is wanted; the shape is {shape}.", shape != sums.shape
    yield "That is the answer to paper of brightness 1.", np.allclose(answer, sums, atol=1e-6)
    yield True, np.allclose(answer, 0.5 * sums, atol=1e-4)


@exercise(
    "08.3",
    hint="copy = adaptable(baseline); copy(changed['brightness'][few_y == 1], training=True); then its accuracy on all "
    "of changed['brightness'].",
)
def one_class(answer, adaptable, accuracy, baseline, adapted, table, changed, few_y):
    """The accuracy under brightness with the statistics of the 1s alone."""
    yield "One accuracy is wanted, from 0 to 1.", not is_number(answer)
    x, ones = changed["brightness"], few_y == 1
    copy = adaptable(baseline)
    copy(x[ones], training=True)
    yield True, abs(answer - accuracy(copy, x, few_y)) <= 0.002
    all_classes, as_trained = (scores.loc["brightness", "baseline"] for scores in (adapted, table))
    yield "That is the accuracy after adapting to all classes.", abs(answer - all_classes) <= 0.002
    reason = "That is the accuracy as trained. Was the copy shown the 1s with training=True?"
    yield reason, abs(answer - as_trained) <= 0.002
    of_ones = accuracy(copy, x[ones], few_y[ones])
    yield "That is the accuracy on the 1s alone; all pictures are wanted.", abs(answer - of_ones) <= 0.002


choice(
    "08.4",
    right="ac",
    hint="For a and b, compare rows of the ablation that differ in one thing. For c, ask what adaptation has changed and "
    "what not. For d and e, look for one network, or one row of a figure, that contradicts.",
)


@exercise(
    "08.5",
    hint="accepted = p.max(axis=1) > 0.99; hit = p.argmax(axis=1) == few_y (not right: that name is taken). A mean of "
    "True and False is a share, and hit[accepted] are those of the accepted ones.",
)
def accepted_in_the_fog(answer, p, few_y):
    """Share of the pictures with confidence above 0.99, and the share of wrong ones among them."""
    accepted, right = p.max(axis=1) > 0.99, p.argmax(axis=1) == few_y
    share, wrong = answer
    are_numbers = is_number(share) and is_number(wrong)
    yield "Two numbers are wanted: (share accepted, share of these that is wrong).", not are_numbers
    yield "Shares lie between 0 and 1.", max(share, wrong) > 1
    expected = np.mean(~right[accepted]) if accepted.any() else 0.0
    yield False, not abs(share - accepted.mean()) <= 1e-3  # so NaN is wrong, too
    yield True, abs(wrong - expected) <= 1e-3
    of_all = np.mean(accepted & ~right)
    yield "The second number is a share of all pictures; it should be one of the accepted.", abs(wrong - of_all) <= 1e-3
    yield "The second number is the share that is right.", abs(wrong - (1 - expected)) <= 1e-3


@exercise(
    "08.6",
    hint="gradient(network, x, target) says how to make the loss of the answer 3 larger. You want it smaller: step "
    "against the sign. Then clip to 0..1. Several small steps, as in pgd, are allowed and work better.",
)
def targeted(answer, victims, network, gradient, target):
    """Images within 0.1 of the victims, at least as many of them read as the target as after one step towards it."""
    x, _ = victims
    moved = np.asarray(answer)
    yield f"Images of the shape {x.shape} are wanted; the shape is {moved.shape}.", moved.shape != x.shape
    yield "Some pixel has changed by more than 0.1.", np.abs(moved - x).max() > 0.1 + 1e-4
    yield "Some pixels lie outside 0 to 1.", moved.min() < 0 or moved.max() > 1
    one_step = np.clip(x - 0.1 * np.sign(gradient(network, x, target)), 0, 1)
    before, wanted, found = (
        np.mean(network.predict(images, verbose=0)["logits"].argmax(axis=1) == target)
        for images in (x, one_step, moved)
    )
    yield "Fewer images than before are read as a 3: the step goes the wrong way.", found < before
    yield True, found >= wanted
    yield f"Read as a 3: {found:.0%}. One step of the right kind reaches {wanted:.0%}.", True
