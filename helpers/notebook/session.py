"""The one set-up call of every notebook."""

import random
import re
import warnings

import numpy as np

from helpers.console import quiet_stderr
from helpers.notebook import exercises, parameters
from helpers.notebook.run import Run
from helpers.notebook.style import set_style


def setup(name: str, namespace: dict[str, object], keras: bool = True) -> Run:
    """Prepares a notebook: checks its parameters, seeds all random numbers, and sets the style of figures.

    Python, NumPy and Keras are seeded with SEED, and TensorFlow's operations made deterministic.

    Args:
        name: the notebook's name without suffix.
        namespace: pass `globals()`; a whole number given for a fraction becomes a float there.
        keras: False leaves TensorFlow out, which saves several seconds.

    Returns:
        The run: the folder in which this notebook finds files and leaves its own.

    Raises:
        UserError: a parameter is unknown or has a bad value, or the run folder cannot be used.
    """
    # Every name in capitals: so misspelt ones show that papermill injected.
    given = {key: value for key, value in namespace.items() if re.fullmatch(r"[A-Z][A-Z0-9_]*", key)}
    values = parameters.check(given, name)
    namespace.update(values)
    exercises.variables = namespace
    run = Run(name, values["RUN"], values)
    if run.changed:
        changed = ", ".join(f"{key} = {value!r}" for key, value in run.changed.items())
        print(f"The text speaks of the default run; this one has {changed}.")
    # What later versions of a library will change is no reader's concern; Colab's pandas warns of it.
    warnings.filterwarnings("ignore", category=FutureWarning)
    set_style()
    random.seed(values["SEED"])
    np.random.seed(values["SEED"])
    if keras:
        with quiet_stderr():
            import keras as k
            import tensorflow as tf
        k.utils.set_random_seed(values["SEED"])
        tf.config.experimental.enable_op_determinism()
        # Several networks in one notebook are no mistake, but TensorFlow warns of tracing each of them.
        tf.get_logger().setLevel("ERROR")
    return run
