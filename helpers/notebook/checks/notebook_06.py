"""What is right in the exercises of notebooks/06_custom_image_prediction.ipynb."""

import cv2
import numpy as np
from scipy.stats import binomtest

from helpers.notebook.exercises import choice, exercise, is_number


@exercise(
    "06.1",
    hint="prepare gives (28, 28); predict wants (1, 28, 28, 1) and pixels from 0 to 1; take row 0 of its answer.",
)
def chalk(answer, tuned, prepare, photos, first):
    """The ten probabilities of one picture."""
    image = prepare(photos[first["chalkboard"]])[None, ..., None]
    answer = np.asarray(answer, float)
    reason = f"Its shape is {answer.shape}; predict answers for a batch, and you want one row of it."
    yield reason, answer.shape != (10,)
    made_from = {
        True: image / 255,
        "Pixels go from 0 to 1 in training: divide by 255.": image.astype("float32"),
        "That is the negative: prepare has settled the polarity already.": 1 - image / 255,
    }
    for verdict, x in made_from.items():
        yield verdict, np.allclose(answer, tuned.predict(x, verbose=0)[0], atol=1e-4)


@exercise("06.2", hint="prepare(255 - photo) for each photo, one predict, argmax(axis=1); then compare with predicted.")
def same(answer, tuned, prepare, photos, predicted, y_true):
    """How many negatives get the answer of their photograph."""
    inverted = np.array([prepare(255 - photo) for photo in photos])
    again = tuned.predict(inverted[..., None] / 255, verbose=0).argmax(axis=1)
    yield False, not is_number(answer)
    yield True, answer == np.sum(again == predicted)
    reason = "You counted right answers; count the answers that stay the same, wrong ones included."
    yield reason, answer == np.sum(again == y_true)
    yield "Count the pictures; this looks like a share.", 0 < answer < 1


choice("06.3", right="bcd", hint="Look at what the network got: could anybody, or any network, read the digit in it?")


@exercise(
    "06.4", hint="hit & ~other is True where only the first is right; binomtest(one, one + other).pvalue does the rest."
)
def comparison(answer, hits):
    """The two counts of McNemar's test and its p-value."""
    mine, theirs = hits["simulated", "plain", "tuned"], hits["simulated", "plain", "shipped"]
    counts = int(np.sum(mine & ~theirs)), int(np.sum(theirs & ~mine))
    only_tuned, only_shipped, p_value = answer
    yield "Three numbers are wanted: two counts and a p-value.", not all(map(is_number, answer))
    given, whole = (only_tuned, only_shipped), (mine.sum(), theirs.sum())
    yield "Those are all that each reads correctly; leave out the pictures that both do.", given == whole
    yield "The two counts are in the wrong order.", given == counts[::-1] != counts
    yield False, given != counts
    yield True, abs(p_value - (binomtest(counts[0], sum(counts)).pvalue if sum(counts) else 1.0)) < 1e-6
    yield "The counts are right; the p-value is not that of the two-sided test.", True


@exercise(
    "06.5",
    hint="np.flatnonzero(condition) gives the places at which a condition on areas holds. Mind that areas[i] belongs to "
    "component i + 1: np.isin(parts, kept) looks for the numbers of components.",
)
def parts_accuracy(answer, tuned, find_ink, mnist_form, new_photos, digits, drawn, hits):
    """The accuracy on simulated photographs when every component of a tenth of the largest is kept."""
    yield "An accuracy is one number, from 0 to 1.", not is_number(answer)
    images = []
    for mask in map(find_ink, new_photos):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
        areas = stats[1:, cv2.CC_STAT_AREA]
        ink = 255 * np.isin(parts, 1 + np.flatnonzero(areas >= areas.max() / 10)).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(ink)
        images.append(mnist_form(ink[y : y + height, x : x + width]))
    answers = tuned.predict(np.array(images)[..., None] / 255, verbose=0).argmax(axis=1)
    yield True, abs(answer - np.mean(answers == digits.y_test[drawn])) < 1e-6
    largest_alone = hits["simulated", "plain", "tuned"].mean()
    yield "That is the accuracy with the largest part alone.", abs(answer - largest_alone) < 1e-6
    yield "An accuracy goes from 0 to 1.", answer > 1


choice(
    "06.6", right="bce", hint="Softmax divides 100 % among ten classes, and only the differences between logits count."
)
