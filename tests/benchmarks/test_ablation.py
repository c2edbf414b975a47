"""benchmarks.ablation: nothing finished is lost, and what notebooks read is whole or not touched."""

import pytest

from benchmarks import ablation
from helpers.files import read_json, write_json
from tools import trainings


@pytest.fixture
def trained(monkeypatch, outputs):
    """The trainings that were asked for; each ends at once, until `limit` of them have."""
    monkeypatch.setattr(ablation, "FILE", outputs / "ablation.json")
    asked = []

    def train_all(function, items, args, data=()):
        for item in items:
            if len(asked) == args.limit:
                raise KeyboardInterrupt
            asked.append(item)
            yield (
                item,
                {"val_accuracy": 0.9 + int(item[-1]) / 100, "accuracy": 1.0, "mnist_c/fog": 0.5, "mnist_c/mean": 0.6},
            )

    def options(parser):
        parser.add_argument("--limit", type=int)

    monkeypatch.setattr(trainings, "train_all", train_all)
    monkeypatch.setattr(trainings, "add_training_options", options)
    return asked


def test_an_interrupted_measurement_goes_on_and_leaves_the_file_alone(trained):
    write_json(ablation.FILE, {"rows": {}, "old": True})
    assert ablation.main(["--seeds", "2", "--limit", "5"]) == 130
    assert len(trained) == 5 and read_json(ablation.FILE)["old"]
    assert ablation.main(["--seeds", "2"]) == 0
    assert len(trained) == len(set(trained)) == 2 * len(ablation.VARIANTS)
    found = read_json(ablation.FILE)
    assert found["seeds"] == 2 and found["train_images"] == 54_000 and set(found["variants"]) == set(ablation.VARIANTS)
    assert found["variants"]["plain"]["val_accuracy"]["mean"] == pytest.approx(0.905)
    assert found["variants"]["plain"]["mnist_c"]["fog"] == {"mean": 0.5, "sd": 0.0}


def test_what_is_shipped_counts_as_trained(trained):
    ablation.main(["--seeds", "1"])
    (ablation.paths.outputs() / "ablation" / "rows.json").unlink()
    ablation.main(["--seeds", "2"])
    assert len(trained) == len(set(trained)) == 2 * len(ablation.VARIANTS)


def test_what_another_recipe_made_is_made_again(trained, monkeypatch):
    ablation.main(["--seeds", "1"])
    (ablation.paths.outputs() / "ablation" / "rows.json").unlink()
    monkeypatch.setattr(ablation, "EPOCHS", ablation.EPOCHS + 1)
    ablation.main(["--seeds", "1"])
    assert len(trained) == 2 * len(ablation.VARIANTS)
