"""What is right in the exercises of notebooks/09_edge_deployment.ipynb."""

import functools

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number

ROOM = 3_000  # parameters of the student in exercise 09.4


@exercise(
    "09.1",
    hint="As with 8 bits, but the largest weight becomes 7: scale = np.abs(w).max() / 7. Round w / scale, then multiply "
    "by the scale again.",
)
def four_bits(answer, w):
    """The kernel after rounding to the whole numbers from -7 to 7, as floats again."""
    given, scale = np.asarray(answer, dtype="float64"), np.abs(w).max() / 7
    yield f"An array of the shape {w.shape} is wanted; the shape is {given.shape}.", given.shape != w.shape
    whole = np.round(w / scale)
    reason = "These are the whole numbers; multiply by the scale to get weights back."
    yield reason, np.allclose(given, whole, atol=1e-5)
    to_8 = np.round(w * 8 / np.abs(w).max()) * np.abs(w).max() / 8
    yield "The largest weight should become 7, not 8.", np.allclose(given, to_8, atol=0.01 * scale)
    levels = len(np.unique(np.round(given / scale, 4)))
    yield "There are more than 15 different values: is everything rounded?", levels > 15
    yield True, np.allclose(given, whole * scale, atol=0.01 * scale)


@exercise(
    "09.2",
    hint="raw = functools.partial(calibration, 255 * x_train[:200]) goes where calibration went: export(tuned, **integer, "
    "representative_dataset=raw). Then share_right(classify(…, x_val), y_val), with x_val as it is.",
)
def careless(answer, export, classify, share_right, calibration, integer, tuned, lite, x_train, x_val, y_val):
    """The accuracy of the network that was calibrated on pictures from 0 to 255."""
    yield "One accuracy is wanted, from 0 to 1.", not is_number(answer)
    raw = functools.partial(calibration, 255 * x_train[:200])
    file = export(tuned, **integer, representative_dataset=raw)
    yield True, abs(answer - share_right(classify(file, x_val), y_val)) <= 0.002
    usual = share_right(classify(lite["int8"], x_val), y_val)
    yield "That is the accuracy after calibration with 0 to 1.", abs(answer - usual) <= 0.002
    reason = "That is the accuracy on pictures from 0 to 255; in use they go from 0 to 1."
    yield reason, abs(answer - share_right(classify(file, 255 * x_val), y_val)) <= 0.002


choice(
    "09.3",
    right="abd",
    hint="For a and c, compare the columns bytes and gzip, and ask what a runtime does with a 0 that it multiplies by. "
    "For d, look at how the scale is computed. For e, look at what `calibration` hands over.",
)


@exercise(
    "09.4",
    hint="build_student takes the numbers of maps, and count_params() tells what they cost: a 3×3 convolution from m maps "
    "to n has 9·m·n weights, so the last two cost most. Then train(small, said, distillation).",
)
def small_student(answer, by_labels, num_classes, x_val, y_val):
    """A trained network of at most ROOM parameters, nearly as accurate as the student trained on labels."""
    yield "A Keras network is wanted.", not hasattr(answer, "predict")
    size = answer.count_params()
    yield f"It has {size:,} parameters, more than {ROOM:,}.", size > ROOM
    found, wanted = (
        np.mean(model.predict(x_val, batch_size=500, verbose=0).argmax(axis=1) == y_val)
        for model in (answer, by_labels)
    )
    yield f"It should answer with {num_classes} logits.", answer.output_shape != (None, num_classes)
    yield True, found >= wanted - 0.03
    yield f"It reads {found:.1%} of the validation images; by_labels reads {wanted:.1%}.", True
