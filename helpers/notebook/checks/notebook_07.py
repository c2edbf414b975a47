"""What is right in the exercises of notebooks/07_faster_and_better.ipynb."""

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number


@exercise("07.1", hint="Amdahl's law: add up the parts, replace one of them by a tenth of it, add up again, divide.")
def amdahl(answer, report_parts):
    """How much faster a step becomes when one part takes a tenth of its time."""
    if not is_number(answer):
        return "A number is wanted."
    whole, forward = sum(report_parts.values()), report_parts["forward pass"]
    if np.isclose(answer, (whole - 0.9 * forward) / whole, rtol=1e-3):
        return "That is how much of the time is left; how many times as fast is it?"
    if np.isclose(answer, whole / (whole - forward), rtol=1e-3):
        return "That is the limit, for a forward pass that takes no time at all; yours takes a tenth."
    return np.isclose(answer, whole / (whole - 0.9 * forward), rtol=0.005)


@exercise("07.2", hint="Places of the output × weights of one filter, all its input maps included × number of filters.")
def multiplications(answer):
    """The multiplications of a convolution with padding."""
    if not is_number(answer):
        return "A number is wanted."
    told = {
        10 * 10 * 9 * 16 * 32: "That is the layer as it is; with padding the output has more places.",
        12 * 12 * 9 * 32: "Each filter looks at all maps of its input.",
        12 * 12 * 9 * 16: "There is more than one filter.",
        24 * 24 * 9 * 16 * 32: "Pooling comes before this layer: what size do its input maps have?",
        12 * 12 * 25 * 16 * 32: "The filters of this layer are 3 × 3.",
        9 * 16 * 32: "These are its weights; each is used at every place.",
    }
    return told.get(answer, answer == 12 * 12 * 9 * 16 * 32)


@exercise(
    "07.3",
    hint="`sgd(0.4)` of the cell above is this optimiser at a constant rate. Take the first 12,000 rows of both `x_train` "
    "and `y_train`; the cycle's number of steps is their number divided by `batch_size`, rounded up. In the default run "
    "the rate that falls gets 96.8 %, the constant one 95.9: the high rate covers the ground, the fall settles.",
)
def fall(answer, cycle, fast, x_train, batch_size):
    """Two networks trained on 12,000 images: at a constant rate, and along one cycle."""
    if cycle is ...:
        return "The second network, along one cycle, is still open."
    for name, model, scheduled in (("constant", answer, False), ("cycle", cycle, True)):
        settings = model.optimizer.get_config()
        if model.count_params() != fast.count_params():
            return f"`{name}` is not a fast_network."
        is_sgd = settings["name"].lower().startswith("sgd")
        if not is_sgd or not np.isclose(settings["momentum"], 0.9) or not settings["nesterov"]:
            return f"`{name}` was not trained by SGD with momentum 0.9 and Nesterov."
        rate = settings["learning_rate"]
        if scheduled != isinstance(rate, dict):
            return f"The learning rate of `{name}` is {'constant' if scheduled else 'not constant'}."
        if not np.isclose(rate["config"]["warmup_target"] if scheduled else rate, 0.4):
            return f"The learning rate of `{name}` is not 0.4."
        steps = -(-min(12000, len(x_train)) // batch_size)
        if int(model.optimizer.iterations) != steps:
            return f"`{name}` was trained for {int(model.optimizer.iterations)} steps, not {steps}."
        if scheduled and rate["config"]["decay_steps"] + rate["config"]["warmup_steps"] != steps:
            return "The cycle has to end with the training: give `one_cycle` the number of steps."
    return True


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
    if answer.shape != alone.shape:
        return f"An array of shape {alone.shape} is wanted, one row of probabilities per image."

    def same(other):
        """Whether the answer is these probabilities, within rounding."""
        return np.allclose(answer, other, atol=1e-3)

    if same(alone):
        return "That is the image alone."
    if same(left_right):
        return "That is the mirror image alone."
    if same(alone + left_right):
        return "That is the sum; probabilities add up to 1."
    if same((alone + upside_down) / 2):
        return "You turned the images upside down."
    return same((alone + left_right) / 2)


@exercise(
    "07.6",
    hint="`ablation['mean']` and `ablation['sd']` are columns: subtract the first mean from all, divide by the square root, "
    "take `.abs()`. By luck: with so few seeds, one difference in nine or so exceeds 2 standard errors.",
)
def beyond_two(answer, ablation):
    """The rows of the ablation that lie more than two standard errors from the whole recipe."""
    if isinstance(answer, str) or not all(isinstance(name, str) for name in answer):
        return "A list of names is wanted."
    difference, sd = ablation["mean"] - ablation["mean"].iloc[0], ablation["sd"]
    both = np.sqrt(sd**2 + sd.iloc[0] ** 2)
    right = set(ablation.index[(difference / both * np.sqrt(3)).abs() > 2])
    given = set(answer)
    if given == right:
        return len(list(answer)) == len(given)
    if given == set(ablation.index[(difference / both).abs() > 2]):
        return "You left out the 3: the error of a mean is smaller than the scatter of single runs."
    if given == {name for name in right if difference[name] < 0}:
        return "A row that is better without something counts, too."
    return False
