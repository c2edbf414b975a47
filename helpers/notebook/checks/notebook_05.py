"""What is right in the exercises of notebooks/05_evaluation.ipynb."""

from collections import Counter

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number


@exercise(
    "05.1",
    hint="Try images in range(10_000, 200_000, 1000): wilson(0.995 * images, images) gives low and high. The first whose "
    "high - low is at most 0.001 is the answer. Half the width takes four times the images.",
)
def images_for_a_narrow_interval(answer, wilson):
    """The smallest multiple of 1,000 whose interval at 99.5 % is at most 0.001 wide."""
    yield "A multiple of 1,000 images is wanted.", not is_number(answer) or answer < 2000 or answer % 1000
    yield "With so few images the interval is still wider than 0.001.", np.ptp(wilson(0.995 * answer, answer)) > 0.001
    fewer = answer - 1000
    yield True, np.ptp(wilson(0.995 * fewer, fewer)) > 0.001
    yield "Fewer images suffice.", True


choice(
    "05.2",
    right="ad",
    hint="A p-value is computed as if both were equally good, for these two trained networks. "
    "As for e: is 260 heads in 410 tosses as easily luck as 26 in 41? Try binomtest(260, 410).pvalue.",
)


@exercise(
    "05.3",
    hint="np.diag(matrix) holds the true positives. A row of the matrix is a true class: its sum is TP + FN, which recall "
    "divides by. A column is an answer: its sum is TP + FP. F1 is 2 TP over the sum of both.",
)
def scores_by_hand(answer, matrix, class_precision, class_recall):
    """Precision, recall and F1 of every class."""
    hits, images, answers = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    recall, precision = hits / np.maximum(images, 1), hits / np.maximum(answers, 1)
    per_class = all(np.shape(part) == hits.shape for part in (class_precision, class_recall, answer))
    yield f"Three arrays of {len(hits)} numbers are wanted, one per class.", not per_class
    swapped = np.allclose(class_precision, recall) and not np.allclose(recall, precision)
    yield "Precision and recall are swapped: which sum counts the images of a class?", swapped
    both_right = np.allclose(class_recall, recall) and np.allclose(class_precision, precision)
    yield "Precision or recall is wrong.", not both_right
    yield True, np.allclose(answer, 2 * hits / np.maximum(images + answers, 1), rtol=0, atol=1e-12)
    is_mean = np.allclose(answer, (recall + precision) / 2, rtol=0, atol=1e-12)
    yield "That is the arithmetic mean of both; F1 is the harmonic one.", is_mean


@exercise(
    "05.4",
    hint="precision_recall_curve returns recalls for each of thresholds and one more: recalls[:-1] >= 0.98 picks those that "
    "will do, and .max() the highest. Then say yes where scores['logistic regression'] reaches it.",
)
def precision_at_high_recall(answer, val_score, y_val, scores, is_8):
    """Precision and recall on the test images at the highest threshold with a recall of 0.98 on validation images."""

    def measured(score, truth):
        """Precision and recall on the test images at the highest threshold that finds 98 % of `truth` by `score`."""
        positives = np.sort(score[truth])[::-1]
        recalls = np.arange(1, len(positives) + 1) / len(positives)
        yes = scores["logistic regression"] >= positives[np.flatnonzero(recalls >= 0.98)[0]]
        return np.sum(yes & is_8) / max(np.sum(yes), 1), np.sum(yes & is_8) / max(np.sum(is_8), 1)

    yield "A pair is wanted: precision and recall.", np.shape(answer) != (2,)
    right = measured(val_score, y_val == 8)
    yield True, np.allclose(answer, right, rtol=0, atol=1e-6)
    yield "Precision comes first.", np.allclose(answer, right[::-1], rtol=0, atol=1e-6)
    on_test = measured(scores["logistic regression"], is_8)
    yield "That threshold was chosen on the test images.", np.allclose(answer, on_test, rtol=0, atol=1e-6)


choice(
    "05.5",
    right="bd",
    hint="Ask of each plan: did a test figure decide anything, be it a change, a choice or which images count? "
    "The maximum of five is a choice, too.",
)


@exercise(
    "05.6",
    hint="np.roll(x_small, 1, axis=1) moves every image down by a pixel, -1 moves it up; axis=2 moves it sideways. "
    "np.concatenate joins the five arrays; np.tile(y_small, 5) repeats the labels in the same order.",
)
def shifted_copies(answer, x_small, y_small, more_x, more_y, more_svm, x_val, y_val):
    """The SVM's accuracy on 2,000 validation images after it has learned from five copies of each image."""
    five_of_each = (5 * len(x_small), *x_small.shape[1:]), (5 * len(x_small),)
    reason = "more_x and more_y hold five copies of each image: as it is, and moved up, down, left and right."
    yield reason, (np.shape(more_x), np.shape(more_y)) != five_of_each

    def counted(images, labels):
        """How often each pair of image and label occurs, without the rim: what comes in there may be blank or wrapped round."""
        return Counter((image[1:-1, 1:-1].tobytes(), int(label)) for image, label in zip(images, labels, strict=True))

    moves = [np.roll(x_small, step, axis) for axis in (1, 2) for step in (-1, 1)]
    right = counted(np.concatenate([x_small, *moves]), np.tile(y_small, 5))
    yield "The copies, or the labels beside them, are not the right ones.", counted(more_x, more_y) != right
    yield "The accuracy is a number.", not is_number(answer)
    rows = x_val[:2000].reshape(len(x_val[:2000]), -1) / 255
    yield True, abs(answer - np.mean(more_svm.predict(rows) == y_val[:2000])) < 1e-9
