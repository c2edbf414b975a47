"""How well digits are told from everything else: python benchmarks/rejection.py.

Makes digits and non-digits anew, from MNIST TEST digits and with chance of its own, and compares three scores:

    max_softmax  the largest probability
    energy       log Σ exp of the logits
    gate         the shipped gate (helpers/rejection.py)
    held out     a gate fitted without the family it is tested on: what to expect of something never thought of

AUROC is the chance that a digit scores above a non-digit, once for 28×28 arrays and once for pictures that go through
`images.find_candidates` (those in which no digit is found are refused anyway, and left out here). Prints the table, the
share of digits refused, and the accuracy on the most confident test digits; writes outputs/reference/rejection.json.
"""

import argparse
import sys
import time

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from helpers import data, paths
from helpers.errors import UserError
from helpers.evaluation.confidence import accuracy_at_coverage, risk_coverage
from helpers.files import write_json
from helpers.notebook.run import environment
from helpers.predict.confidence import SCORES, Calibration, gate, gate_inputs, softmax
from helpers.predict.network import load
from tools import nondigits
from tools.fit_gate import Layers, digit_examples, other_examples, photographed, read, train

COLUMNS = ("max_softmax", "energy", "gate", "held out")
SEED = 2024  # not that of the fit


def scores(network, x: np.ndarray, calibration: Calibration, without: Layers | None) -> dict:
    """The scores (N,) of images uint8 (N, 28, 28) by column."""
    logits, features = network(x)
    found = {name: SCORES[name](logits, features, calibration) for name in COLUMNS[:3]}
    if without is not None:
        found["held out"] = gate(gate_inputs(logits, features), without)
    return found


def auroc(digits: dict, others: dict) -> dict[str, float]:
    """The AUROC of each column, from scores of digits and of others."""
    n = len(others["gate"])
    truth = np.repeat([1, 0], [len(digits["gate"]), n])
    return {name: float(roc_auc_score(truth, np.concatenate([digits[name], others[name]]))) for name in others}


def family(name: str, digits: nondigits.Digits, network, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of a family as arrays, and as read in pictures: two of uint8 (N, 28, 28)."""
    rng = np.random.default_rng([SEED, *name.encode()])
    draw, whole = nondigits.FAMILIES[name]
    plain = nondigits.negatives(name, count, digits, rng)
    if whole:
        pictures = (draw(rng, digits) for _ in range(count // 4))
    else:
        pictures = photographed(plain[: count // 8], rng)
    return plain, read(pictures, network)


def by_family(network, calibration: Calibration, size: int, count: int) -> tuple[dict, dict, dict]:
    """Tables of AUROC for arrays and pictures, and the scores of all digits and of all others, pooled."""
    mnist = data.load()
    digits = nondigits.Digits(mnist.x_test, mnist.y_test)
    part, _ = data.split(mnist.x_train, mnist.y_train, 6000, 0)
    material = nondigits.Digits(*part)
    positive = digit_examples(network, material, size, seed=0)
    negative = other_examples(network, material, size, seed=0)
    rng = np.random.default_rng(SEED)
    chosen = mnist.x_test[rng.permutation(len(mnist.x_test))[: 2 * count]]
    shown = {"array": mnist.x_test, "picture": read(photographed(chosen, rng), network)}
    tables = {"array": {}, "picture": {}}
    pooled = []
    for name in nondigits.FAMILIES:
        without = train(positive, np.concatenate([x for other, x in negative.items() if other != name]))
        for way, x in zip(shown, family(name, digits, network, count), strict=True):
            if len(x):
                others = scores(network, x, calibration, without)
                tables[way][name] = auroc(scores(network, shown[way], calibration, without), others)
                pooled += [others] if way == "array" else []
        row = "  ".join(f"{tables[way].get(name, {}).get(c, np.nan):8.4f}" for way in tables for c in COLUMNS)
        print(f"{name:20}{row}", flush=True)
    everything = {c: np.concatenate([others[c] for others in pooled]) for c in COLUMNS[:3]}
    return tables, {way: scores(network, x, calibration, None) for way, x in shown.items()}, everything


def coverage(network, calibration: Calibration) -> dict[str, float]:
    """Accuracy on the share of MNIST test digits of which the network is most confident."""
    mnist = data.load()
    probabilities = softmax(network(mnist.x_test)[0], calibration.temperature)
    curve = risk_coverage(probabilities.max(axis=1), probabilities.argmax(axis=1) == mnist.y_test)
    return {str(share): accuracy_at_coverage(curve, share) for share in (1.0, 0.99, 0.97, 0.95, 0.9)}


def main() -> int:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=3000, help="examples for the held-out fits (default: 3000)")
    parser.add_argument("--count", type=int, default=160, help="images of each family (default: 160)")
    arguments = parser.parse_args()
    started = time.perf_counter()
    try:
        network = load()
        calibration = Calibration.load(network.path.parent)
        if calibration.score != "gate":
            raise UserError("There is no gate beside the model: python -m helpers.reference makes one.")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    titles = "".join(f"{c:>10}" for c in COLUMNS)
    print(f"{'AUROC':20}{'arrays':^40}{'pictures':^40}\n{'family':18}{titles}{titles}")
    tables, digits, others = by_family(network, calibration, arguments.size, arguments.count)
    mean = {way: {c: float(np.mean([r[c] for r in t.values()])) for c in COLUMNS} for way, t in tables.items()}
    print(f"{'mean':20}" + "  ".join(f"{mean[way][c]:8.4f}" for way in tables for c in COLUMNS))
    refused = {way: float(np.mean(found["gate"] < calibration.threshold)) for way, found in digits.items()}
    roc = {}
    for c in COLUMNS[:3]:
        truth = np.repeat([0, 1], [len(digits["array"][c]), len(others[c])])
        x, y, _ = roc_curve(truth, -np.concatenate([digits["array"][c], others[c]]))
        roc[c] = {str(share): float(np.interp(share, x, y)) for share in (0.001, 0.003, 0.005, 0.01, 0.02, 0.05)}
    covered = coverage(network, calibration)
    print("digits refused: " + ", ".join(f"{share:.2%} ({way}s)" for way, share in refused.items()))
    print(
        "others refused where so many digits are: "
        + ", ".join(f"{float(k):.1%}: {v:.1%}" for k, v in roc["gate"].items())
    )
    print("accuracy on the most confident: " + ", ".join(f"{float(k):.0%}: {v:.2%}" for k, v in covered.items()))
    write_json(
        paths.REFERENCE / "rejection.json",
        {
            "seed": SEED, "images_per_family": arguments.count, "size": arguments.size, "auroc": tables,
            "auroc_mean": mean, "digits_refused": refused, "others_refused_at_digits_refused": roc,
            "accuracy_at_coverage": covered, "seconds": time.perf_counter() - started, **environment(),
        },
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
