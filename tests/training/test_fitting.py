"""helpers.training.fitting: schedules, and a training that is interrupted and resumed as if it had not been."""

import keras
import numpy as np
import pytest

from helpers.errors import UserError
from helpers.models import augment
from helpers.training.fitting import fit, one_cycle, shuffled_batches


def part(n, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    x = rng.random((n, 28, 28, 1)).astype("float32") * 0.1
    x[np.arange(n), labels, :, 0] = 1
    return x, keras.utils.to_categorical(labels, 10)


def build():
    """Everything that holds a state: batch normalisation, dropout and augmentation with random numbers of their own."""
    keras.utils.set_random_seed(3)
    steps = [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(4, 3, strides=2),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, activation="softmax"),
    ]
    return keras.Sequential(steps), keras.Sequential(
        [augment.RandomWarp(15.0, 0.08, 0.15, 15.0, 0.8), augment.RandomStroke()]
    )


def run(file, epochs=4, stop_after=None, ahead=False):
    """Trains with a checkpoint; interrupted after an epoch where one is named. Returns model and history.

    Augmentation stands in front of the model or, with `ahead`, in the input pipeline.
    """

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == stop_after:
                raise KeyboardInterrupt

    model, front = build()
    optimizer = keras.optimizers.SGD(one_cycle(0.05, 200, 32, epochs), momentum=0.9)
    history = fit(
        model, part(200), part(60, 1), epochs, 32, callbacks=[Interrupt()], optimizer=optimizer, checkpoint=file,
        seed=5, augmentation=augment.prepare(front) if ahead else front,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("ahead", [False, True])
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, ahead):
    whole, history = run(tmp_path / "whole.npz", ahead=ahead)
    file = tmp_path / "interrupted é.npz"
    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(file, stop_after=stop, ahead=ahead)
    resumed, resumed_history = run(file, ahead=ahead)
    assert resumed_history == history and len(history["val_loss"]) == 4
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again, _ = run(file, ahead=ahead)  # a finished one is only loaded
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_images_are_prepared_again_in_each_batch_and_epoch():
    x, y = np.zeros((8, 28, 28, 1), "float32"), np.zeros((8, 10), "float32")
    noise = augment.prepare(keras.Sequential([augment.RandomNoise(0.5)]))
    batches = [x for x, _ in shuffled_batches((x, y), 4, 1, 0, 2, noise).as_numpy_iterator()]
    assert len({batch.tobytes() for batch in batches}) == len(batches) == 4
    later = [x for x, _ in shuffled_batches((x, y), 4, 1, 1, 2, noise).as_numpy_iterator()]
    assert all(np.array_equal(a, b) for a, b in zip(batches[2:], later, strict=True))


def test_another_seed_gives_another_order():
    def order(seed, first=0, last=2):
        batches = shuffled_batches((np.arange(10.0), np.arange(10.0)), 4, seed, first, last)
        return np.concatenate([x for x, _ in batches.as_numpy_iterator()])

    both = order(1)
    assert sorted(both[:10]) == sorted(both[10:]) == list(range(10)) and (both[:10] != both[10:]).any()
    assert np.array_equal(order(1, first=1), both[10:]) and not np.array_equal(order(2), both)


def test_a_damaged_or_foreign_checkpoint_is_one_sentence(tmp_path):
    file = tmp_path / "state.npz"
    run(file, epochs=2)
    whole = file.read_bytes()
    with pytest.raises(UserError, match="belongs to another training: delete it"):
        run(file, epochs=3)
    for damaged in (whole[: len(whole) // 2], b"", b"no checkpoint"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"state\.npz is damaged: delete it to start"):
            run(file, epochs=2)


def test_a_loss_that_is_not_a_number_is_not_kept(tmp_path):
    model, _ = build()
    poisoned = part(64)[0] * np.nan, part(64)[1]
    file = tmp_path / "state.npz"
    with pytest.raises(UserError, match="the loss is not a number"):
        fit(model, poisoned, None, 2, 32, checkpoint=file)
    assert not file.exists()


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing():
    schedule = one_cycle(0.4, images=1000, batch_size=100, epochs=10, warmup=0.3)
    rates = np.array([float(schedule(step)) for step in range(101)])
    assert rates.argmax() == 30 and rates[30] == pytest.approx(0.4) and rates[0] == pytest.approx(0.4 / 25)
    assert (np.diff(rates[:31]) > 0).all() and (np.diff(rates[30:]) < 0).all() and rates[100] < 1e-6
    copy = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert float(copy(50)) == pytest.approx(rates[50])
    assert float(one_cycle(0.4, 1000, 100, 10, warmup=0)(0)) == pytest.approx(0.4)


def test_fit_takes_label_smoothing_and_no_validation():
    model, _ = build()
    history = fit(model, part(64), None, epochs=1, label_smoothing=0.1)
    assert set(history) == {"accuracy", "loss"}
