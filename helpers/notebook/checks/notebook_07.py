"""What is right in the exercises of notebooks/07_faster_and_better.ipynb."""

import functools

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number


@exercise("07.1", hint="Amdahl's law: add up the parts, replace one of them by a tenth of it, add up again, divide.")
def amdahl(answer, report_parts):
    """How much faster a step becomes when one part takes a tenth of its time."""
    yield "A number is wanted.", not is_number(answer)
    whole, forward = sum(report_parts.values()), report_parts["forward pass"]
    left = whole - 0.9 * forward
    reason = "That is how much of the time is left; how many times as fast is it?"
    yield reason, np.isclose(answer, left / whole, rtol=1e-3)
    reason = "That is the limit, for a forward pass that takes no time at all; yours takes a tenth."
    yield reason, np.isclose(answer, whole / (whole - forward), rtol=1e-3)
    yield True, np.isclose(answer, whole / left, rtol=0.005)


@exercise("07.2", hint="Places of the output × weights of one filter, all its input maps included × number of filters.")
def multiplications(answer):
    """The multiplications of a convolution with padding."""
    yield "A number is wanted.", not is_number(answer)
    yield True, answer == 12 * 12 * 9 * 16 * 32
    yield "That is the layer as it is; with padding the output has more places.", answer == 10 * 10 * 9 * 16 * 32
    yield "Each filter looks at all maps of its input.", answer == 12 * 12 * 9 * 32
    yield "There is more than one filter.", answer == 12 * 12 * 9 * 16
    yield "Pooling comes before this layer: what size do its input maps have?", answer == 24 * 24 * 9 * 16 * 32
    yield "The filters of this layer are 3 × 3.", answer == 12 * 12 * 25 * 16 * 32
    yield "These are its weights; each is used at every place.", answer == 9 * 16 * 32


@exercise(
    "07.3",
    hint="`sgd(0.4)` of the cell above is this optimiser at a constant rate. Take the first 12,000 rows of both `x_train` "
    "and `y_train`; the cycle's number of steps is their number divided by `batch_size`, rounded up. In the default run "
    "the rate that falls gets 96.8 %, the constant one 95.9: the high rate covers the ground, the fall settles.",
)
def fall(answer, cycle, fast, x_train, batch_size):
    """Two networks trained on 12,000 images: at a constant rate, and along one cycle."""
    yield "The second network, along one cycle, is still open.", cycle is ...
    for name, model, scheduled in (("constant", answer, False), ("cycle", cycle, True)):
        settings = model.optimizer.get_config()
        yield f"`{name}` is not a fast_network.", model.count_params() != fast.count_params()
        is_sgd = settings["name"].lower().startswith("sgd")
        as_asked = is_sgd and np.isclose(settings["momentum"], 0.9) and settings["nesterov"]
        yield f"`{name}` was not trained by SGD with momentum 0.9 and Nesterov.", not as_asked
        rate = settings["learning_rate"]
        found = "constant" if scheduled else "not constant"
        yield f"The learning rate of `{name}` is {found}.", scheduled != isinstance(rate, dict)
        highest = rate["config"]["warmup_target"] if scheduled else rate
        yield f"The learning rate of `{name}` is not 0.4.", not np.isclose(highest, 0.4)
        steps, done = -(-min(12000, len(x_train)) // batch_size), int(model.optimizer.iterations)
        yield f"`{name}` was trained for {done} steps, not {steps}.", done != steps
        planned = rate["config"]["decay_steps"] + rate["config"]["warmup_steps"] if scheduled else steps
        yield "The cycle has to end with the training: give `one_cycle` the number of steps.", planned != steps
    yield True, True


choice(
    "07.4",
    right="bc",
    hint="a: compare keras.io's network with the report's, in parameters and in multiplications. d: how much do three "
    "seeds of one and the same recipe scatter?",
)


@exercise("07.5", hint="`images[:, :, ::-1]` mirrors an array of images; then two calls of `predict`, and `np.mean`.")
def mirror(answer, better, x_val):
    """The mean probabilities of each image and its mirror image."""
    images = x_val[:1000]
    alone, left_right, upside_down = (
        better.predict(view, verbose=0) for view in (images, images[:, :, ::-1], images[:, ::-1])
    )
    answer = np.asarray(answer)
    reason = f"An array of shape {alone.shape} is wanted, one row of probabilities per image."
    yield reason, answer.shape != alone.shape
    same = functools.partial(np.allclose, answer, atol=1e-3)
    yield "That is the image alone.", same(alone)
    yield "That is the mirror image alone.", same(left_right)
    yield "That is the sum; probabilities add up to 1.", same(alone + left_right)
    yield "You turned the images upside down.", same((alone + upside_down) / 2)
    yield True, same((alone + left_right) / 2)


@exercise(
    "07.6",
    hint="`ablation['mean']` and `ablation['sd']` are columns: subtract the first mean from all, divide by the square root, "
    "take `.abs()`. By luck: with so few seeds, one difference in nine or so exceeds 2 standard errors.",
)
def beyond_two(answer, ablation):
    """The rows of the ablation that lie more than two standard errors from the whole recipe."""
    are_names = not isinstance(answer, str) and all(isinstance(name, str) for name in answer)
    yield "A list of names is wanted.", not are_names
    difference, sd = ablation["mean"] - ablation["mean"].iloc[0], ablation["sd"]
    both = np.sqrt(sd**2 + sd.iloc[0] ** 2)
    right = set(ablation.index[(difference / both * np.sqrt(3)).abs() > 2])
    given = set(answer)
    yield len(list(answer)) == len(given), given == right
    without_3 = set(ablation.index[(difference / both).abs() > 2])
    yield "You left out the 3: the error of a mean is smaller than the scatter of single runs.", given == without_3
    worse = {name for name in right if difference[name] < 0}
    yield "A row that is better without something counts, too.", given == worse
