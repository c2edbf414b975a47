"""What is right in the exercises of notebooks/03_baseline_cnn.ipynb."""

import numpy as np

from helpers.notebook.exercises import choice, exercise, is_number


@exercise("03.1", hint="The loss is minus the logarithm of the probability: once for 0.5, once for 0.99.")
def fallen(answer):
    """The fall of the loss from a probability of 0.5 to 0.99."""
    right = np.log(0.99 / 0.5)
    yield "It has fallen: count the fall as positive.", is_number(answer) and abs(answer + right) < 1e-3
    yield True, is_number(answer) and abs(answer - right) < 1e-3


@exercise("03.2", hint="The forward pass again, with the new weights: logits, softmax per image, cross-entropy, mean.")
def after_step(answer, some_x, some_y, slopes, num_classes):
    """The mean loss after one step of gradient descent."""
    logits = some_x @ (-0.5 * slopes)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = -np.log(p[np.arange(len(p)), some_y]).mean()
    rise = answer - np.log(num_classes) if is_number(answer) else np.nan
    yield "Softmax divided by the sum over all images at once: each row needs its own sum.", rise > 3
    yield "The loss has risen: a step downhill subtracts the gradient.", rise > 0
    yield True, is_number(answer) and abs(answer - right) < 1e-3


@exercise("03.3", hint="Eight of the nine weights are 0. Which of the nine pixels under the window shall come through?")
def shifted(answer, digit):
    """What the kernel of a shift to the left makes of the digit."""
    yield "A 3 × 3 kernel makes 26 × 26 of 28 × 28.", np.shape(answer) != (26, 26)
    yield "That leaves the picture in place.", np.allclose(answer, digit[1:-1, 1:-1])
    yield True, np.allclose(answer, digit[1:-1, 2:])


@exercise("03.4", hint="13 × 13 becomes 9 × 9 under a 5 × 5 window, and pooling drops the odd row and column.")
def parameters(answer):
    """The parameters of the network with filters of 5 × 5."""
    convolutions, last = 320 + 64 * (5 * 5 * 32 + 1), 129 * 10
    yield "Flatten gets fewer numbers now.", answer == convolutions + (5 * 5 * 64 + 1) * 128 + last
    yield True, is_number(answer) and answer == convolutions + (4 * 4 * 64 + 1) * 128 + last


@exercise("03.5", hint="keras.callbacks.EarlyStopping(patience=3) in a list, as the argument callbacks of fit.")
def stopped(answer):
    """A training that ends three epochs after its lowest validation loss."""
    losses = getattr(answer, "history", answer)["val_loss"]
    yield True, len(losses) == min(40, int(np.argmin(losses)) + 1 + 3)
    yield "It should stop 3 epochs after the lowest loss.", True


choice("03.6", right="acd", hint="Two statements follow from the experiment above, one from the experiment before it.")
