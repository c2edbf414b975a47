"""What is right in the exercises of notebooks/10_beyond_mnist.ipynb."""

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, recall_score

from helpers.notebook.exercises import choice, exercise, is_number

MORE_RECALL = 2.0  # percentage points that a remedy gains at least


@exercise(
    "10.1",
    hint="said = answers['baseline']['others']; np.mean(said[other_y == k] == k) is the recall of class k. Which k has "
    "the smallest?",
)
def hardest(answer, answers, other_y):
    """The class of the other people's digits with the baseline's smallest recall."""
    said = answers["baseline"]["others"]
    yield "One class is wanted, a number from 0 to 9.", not is_number(answer)
    classes = range(int(other_y.max()) + 1)
    recall = [np.mean(said[other_y == k] == k) for k in classes]
    precision = [np.mean(other_y[said == k] == k) if (said == k).any() else 1.0 for k in classes]
    yield f"There is no class {answer}.", answer not in classes
    yield True, recall[int(answer)] == min(recall)
    reason = "That class has the smallest precision: of all that are read so, the smallest share is right."
    yield reason, precision[int(answer)] == min(precision)


choice(
    "10.2",
    right="acd",
    hint="For a and b, compare the two curves of the small network at one example and at fifty. "
    "For c, think of which images `rates` has seen. For d, ask what was frozen. For e, look at the error bars.",
)


@exercise(
    "10.3",
    hint="A dense layer from 32 numbers to 32 has 32 · 32 weights and 32 biases. Query, key and value have one each, and "
    "one more follows the heads.",
)
def parameters(answer, transformer):
    """The parameters of one attention layer of the transformer."""
    yield "One number is wanted.", not is_number(answer)
    right = transformer().get_layer("attention_0").count_params()
    yield True, answer == right
    yield "That leaves out the dense layer that brings the heads together.", answer == 3 * right // 4
    yield "Each of the dense layers has biases, too.", answer == right - 128
    yield "That is the number of both blocks.", answer == 2 * right


@exercise(
    "10.4",
    hint="Repeat the rare images with rare_x.repeat(times, axis=0), labels likewise, and train "
    "network(standardise=True, warp=True) on them for twice as many epochs.",
)
def rare_class(answer, rare, judged, predicted, val_x, val_y):
    """A model with a better recall of the rare class than without a remedy, and no worse macro F1."""
    yield "A trained model is wanted.", not hasattr(answer, "predict")
    said = predicted(answer, val_x)
    yield "The model does not answer with one class per image.", said.shape != val_y.shape
    plain = pd.DataFrame({key: row for key, row in judged.items() if key[0] == "as it is"}).T.mean()
    recall = 100 * recall_score(val_y, said, labels=[rare], average="macro", zero_division=0)
    f1 = 100 * f1_score(val_y, said, average="macro")
    wanted = plain[f"recall of the {rare}"] + MORE_RECALL
    yield f"Its recall of the {rare} is {recall:.1f} %; at least {wanted:.1f} % is wanted.", recall < wanted
    yield True, f1 >= plain["macro F1"]
    yield f"Its macro F1 of {f1:.1f} % is below that of the row as it is.", True


@exercise(
    "10.5",
    hint="evaluation.images_to_human(evaluation.risk_coverage(own['sure'], own['right']), 0.995) counts the fields; "
    "divide by len(own).",
)
def share_for_a_person(answer, results, evaluation):
    """The share of fields that a person must see for 99.5 % right among the rest."""
    own = results["with checks"]
    yield "One share is wanted, from 0 to 1.", not is_number(answer)

    def share(table, wanted):
        """Of all fields in a table of results, what a person must see."""
        return evaluation.images_to_human(evaluation.risk_coverage(table["sure"], table["right"]), wanted) / len(table)

    right = share(own, 0.995)
    yield True, abs(answer - right) <= 1e-4
    multiples = abs(answer - 100 * right), abs(answer - len(own) * right)
    yield "A share is wanted, from 0 to 1.", min(multiples) <= 1e-2
    yield "That is the share for 99.9 %.", abs(answer - share(own, 0.999)) <= 1e-4
    without_checks = share(results["digits alone"], 0.995)
    yield "That is the share without checks.", abs(answer - without_checks) <= 1e-4
