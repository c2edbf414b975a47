"""Classical machine-learning classifiers, compared on equal terms. Explained in notebooks/05_evaluation.ipynb."""

import pickle
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from helpers.errors import UserError
from helpers.evaluation.metrics import scores

Part = tuple[np.ndarray, np.ndarray]


def classical_models(seed: int = 0) -> dict[str, ClassifierMixin]:
    """Six unfitted classifiers with settings for pixels in 0..1."""
    return {
        # Few neighbours, weighted by distance: about 97 % with all of MNIST.
        "KNN": KNeighborsClassifier(n_neighbors=4, weights="distance"),
        # With the hinge loss, a linear SVM, one class against the rest; stochastic gradient descent is fast.
        "SVM (linear)": SGDClassifier(loss="hinge", alpha=3e-4, average=True, max_iter=20, tol=None, random_state=seed),
        # gamma="scale" adapts to the variance of the pixels, so it suits other data sets too.
        "SVM (RBF)": SVC(C=10, gamma="scale", cache_size=500),
        "Decision tree": DecisionTreeClassifier(random_state=seed),
        "Random forest": RandomForestClassifier(n_estimators=200, random_state=seed),
        # 784 pixels and ten classes make a round expensive: few rounds at a high rate, and coarse grey levels.
        "Gradient boosting": HistGradientBoostingClassifier(
            learning_rate=0.25, max_iter=40, max_leaf_nodes=15, max_bins=16, early_stopping=False, random_state=seed
        ),
    }


def compare_classifiers(
    models: Mapping[str, ClassifierMixin], train: Part, test: Part, shifted: Mapping[str, Part] | None = None
) -> pd.DataFrame:
    """Fits each model on one core, times it and scores it; the given models stay unfitted.

    Args:
        models: unfitted classifiers by name.
        train: (images, labels); images of any shape are flattened, and uint8 is scaled to 0..1.
        test: the same, for the scores.
        shifted: further test sets, such as corrupted images.

    Returns:
        One row per model: train_images, accuracy with its 95 % interval accuracy_low and accuracy_high, f1_macro,
        fit_seconds, predict_seconds (all test images), model_bytes (pickled), and with `shifted` the mean accuracy on
        these, shifted_accuracy.

    Raises:
        UserError: if a part is empty, or images and labels do not match.
    """
    (x_train, y_train), (x_test, y_test) = _flat(train, "train"), _flat(test, "test")
    if x_train.shape[1] != x_test.shape[1]:
        sizes = f"{x_train.shape[1]} pixels, test images {x_test.shape[1]}"
        raise UserError(f"Training images have {sizes}: bring them to one size.")
    further = [_flat(part, name) for name, part in (shifted or {}).items()]
    rows = {}
    # One thread each: comparable times, and the threads of boosting do not stall on a busy machine.
    with threadpool_limits(limits=1):
        for name, model in models.items():
            start = time.perf_counter()
            fitted = clone(model).fit(x_train, y_train)
            fit_end = time.perf_counter()
            predicted = fitted.predict(x_test)
            predict_end = time.perf_counter()
            found = scores(y_test, predicted)
            rows[name] = {
                "train_images": len(x_train),
                **{column: found[column] for column in ("accuracy", "accuracy_low", "accuracy_high", "f1_macro")},
                "fit_seconds": fit_end - start,
                "predict_seconds": predict_end - fit_end,
                "model_bytes": len(pickle.dumps(fitted)),
            }
            if further:
                rows[name]["shifted_accuracy"] = float(np.mean([np.mean(fitted.predict(x) == y) for x, y in further]))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _flat(part: Part, name: str) -> Part:
    """Images as rows of float32 pixels, checked against their labels."""
    x, y = (np.asarray(array) for array in part)
    if len(x) == 0 or x.ndim < 2 or y.shape != (len(x),):
        raise UserError(
            f"The {name} part has images of shape {x.shape} and labels of shape {y.shape}: expected one label per image."
        )
    rows = x.reshape(len(x), -1).astype("float32")
    return rows / 255 if x.dtype == np.uint8 else rows, y
