"""The one set-up call of every notebook."""

import random

import numpy as np

from helpers.console import quiet_stderr
from helpers.notebook import parameters, plots
from helpers.notebook.run import Run


def setup(name: str, namespace: dict[str, object], keras: bool = True) -> Run:
    """Prepares a notebook and returns its run.

    Checks the parameters in `namespace` (pass `globals()`), seeds Python, NumPy and Keras with SEED, makes
    TensorFlow's operations deterministic, keeps its start-up messages off the page and sets the plot style.
    With `keras=False` TensorFlow is not imported, which saves several seconds.
    Raises UserError for an unknown parameter or a bad value.
    """
    values = parameters.check(parameters.from_namespace(namespace), name)
    namespace.update(values)  # a whole number given for a fraction becomes a float
    run = Run(name, values["RUN"], values)
    plots.set_style()
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
