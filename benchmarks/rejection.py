"""How well digits are told from non-digits: python -m benchmarks.rejection.

Makes digits and non-digits anew, from MNIST TEST digits and with its own random seed, and compares:

    max_softmax  the largest probability
    energy       log Σ exp of the logits
    gate         the shipped gate (tools/fit_gate.py)
    held out     a gate fitted without the family it is tested on: what to expect of non-digits nobody thought of

AUROC is the probability that a digit scores above a non-digit, once for 28×28 arrays and once for pictures that go
through `images.find_candidates` (those in which it finds no digit are refused anyway, and left out here). Prints the
table, the share of digits refused, and the accuracy on the most confident test digits; writes
outputs/reference/rejection.json.
"""

import argparse
import sys
import time

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from helpers import data, paths
from helpers.console import command
from helpers.errors import UserError
from helpers.evaluation.confidence import accuracy_at_coverage, risk_coverage
from helpers.files import write_json
from helpers.notebook.run import environment
from helpers.predict.confidence import SCORES, Calibration, gate, gate_inputs, softmax
from helpers.predict.network import load
from tools import nondigits
from tools.fit_gate import Layers, digit_examples, fit_layers, other_examples, photographed, prepared
from tools.trainings import at_least_1

COLUMNS = ("max_softmax", "energy", "gate", "held out")
SEED = 2024  # not that of the fit
REFUSED = (0.001, 0.003, 0.005, 0.01, 0.02, 0.05)  # shares of digits at which the share of non-digits is told
COVERED = (1.0, 0.99, 0.97, 0.95, 0.9)  # shares of digits, the most confident ones, whose accuracy is told


def scores(answer: tuple, calibration: Calibration, without: Layers | None = None) -> dict[str, np.ndarray]:
    """The scores (N,) by column of what the network answered for N images, logits and features."""
    found = {name: SCORES[name](*answer, calibration) for name in COLUMNS[:3]}
    return found | ({"held out": gate(gate_inputs(*answer), without)} if without else {})


def auroc(digits: dict, others: dict) -> dict[str, float]:
    """The AUROC of each column, from scores of digits and of others."""
    truth = np.repeat([1, 0], [len(digits["gate"]), len(others["gate"])])
    return {name: float(roc_auc_score(truth, np.concatenate([digits[name], others[name]]))) for name in others}


def family(name: str, digits: nondigits.Digits, network, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of a family as arrays, and as read in pictures: two of uint8 (N, 28, 28)."""
    rng = np.random.default_rng([SEED, *name.encode()])
    draw, whole = nondigits.FAMILIES[name]
    plain = nondigits.negatives(name, count, digits, rng)
    drawn = (draw(rng, digits) for _ in range(count // 4))
    return plain, prepared(drawn if whole else photographed(plain[: count // 8], rng), network)


def by_family(network, calibration: Calibration, size: int, count: int) -> tuple[dict, dict, dict]:
    """Tables of AUROC for arrays and pictures, and the scores of all digits and of all others, pooled."""
    mnist = data.load()
    digits = nondigits.Digits(mnist.x_test, mnist.y_test)
    material = nondigits.Digits(*data.reference_split(mnist)[0])
    positive = digit_examples(network, material, size, seed=0)
    negative = other_examples(network, material, size, seed=0)
    rng = np.random.default_rng(SEED)
    chosen = mnist.x_test[rng.permutation(len(mnist.x_test))[: 2 * count]]
    pictures = prepared(photographed(chosen, rng), network)
    answered = {"array": network(mnist.x_test), "picture": network(pictures)}
    tables, pooled = {"array": {}, "picture": {}}, []
    for name in nondigits.FAMILIES:
        without = fit_layers(positive, np.concatenate([x for other, x in negative.items() if other != name]))
        for way, x in zip(answered, family(name, digits, network, count), strict=True):
            if len(x):
                others = scores(network(x), calibration, without)
                tables[way][name] = auroc(scores(answered[way], calibration, without), others)
                pooled += [others] if way == "array" else []
        row = "  ".join(f"{tables[way].get(name, {}).get(c, np.nan):8.4f}" for way in tables for c in COLUMNS)
        print(f"{name:20}{row}", flush=True)
    everything = {c: np.concatenate([others[c] for others in pooled]) for c in COLUMNS[:3]}
    return tables, {way: scores(answer, calibration) for way, answer in answered.items()}, everything


def coverage(network, calibration: Calibration) -> dict[str, float]:
    """Accuracy on the MNIST test digits of which the network is most confident, by their share."""
    mnist = data.load()
    probabilities = softmax(network(mnist.x_test)[0], calibration.temperature)
    curve = risk_coverage(probabilities.max(axis=1), probabilities.argmax(axis=1) == mnist.y_test)
    return {str(share): accuracy_at_coverage(curve, share) for share in COVERED}


@command
def main(argv: list[str] | None = None) -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rejection", description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=at_least_1, default=3000, help="examples for the held-out fits (default: 3000)")
    parser.add_argument("--count", type=at_least_1, default=160, help="images of each family (default: 160)")
    args = parser.parse_args(argv)
    started = time.perf_counter()
    network = load()
    calibration = Calibration.load(network.path.parent, network)
    if calibration.score != "gate":
        raise UserError("There is no gate beside the model: 'python -m tools.train_shipped --refit' makes one.")
    titles = "".join(f"{c:>10}" for c in COLUMNS)
    print(f"{'AUROC':20}{'arrays':^40}{'pictures':^40}\n{'family':18}{titles}{titles}")
    tables, digits, others = by_family(network, calibration, args.size, args.count)
    mean = {way: {c: float(np.mean([r[c] for r in t.values()])) for c in COLUMNS} for way, t in tables.items()}
    print(f"{'mean':20}" + "  ".join(f"{mean[way][c]:8.4f}" for way in tables for c in COLUMNS))
    refused = {way: float(np.mean(found["gate"] < calibration.threshold)) for way, found in digits.items()}
    roc = {}
    for c in COLUMNS[:3]:
        truth = np.repeat([0, 1], [len(digits["array"][c]), len(others[c])])
        x, y, _ = roc_curve(truth, -np.concatenate([digits["array"][c], others[c]]))
        roc[c] = {str(share): float(np.interp(share, x, y)) for share in REFUSED}
    covered = coverage(network, calibration)
    print("digits refused: " + ", ".join(f"{share:.2%} ({way}s)" for way, share in refused.items()))
    shares = ", ".join(f"{v:.1%} at {float(k):.1%}" for k, v in roc["gate"].items())
    print(f"non-digits refused at a share of digits refused: {shares}")
    print("accuracy on the most confident: " + ", ".join(f"{float(k):.0%}: {v:.2%}" for k, v in covered.items()))
    values = {
        "seed": SEED, "images_per_family": args.count, "size": args.size, "auroc": tables, "auroc_mean": mean,
        "digits_refused": refused, "others_refused_at_digits_refused": roc, "accuracy_at_coverage": covered,
        "seconds": time.perf_counter() - started,
    }  # fmt: skip
    write_json(paths.REFERENCE / "rejection.json", values | environment())


if __name__ == "__main__":
    sys.exit(main())
