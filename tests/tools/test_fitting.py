"""tools.fitting: schedules, and a training that is interrupted and resumed as if it had not been."""

import keras
import numpy as np
import pytest

from helpers.errors import UserError
from helpers.models.augment import RandomWarp
from tools.distortions import RandomNoise, RandomStroke, prepare
from tools.fitting import WARMUP, fit, one_cycle, shuffled_batches


def part(n):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n)
    x = rng.integers(0, 26, (n, 28, 28, 1), np.uint8)
    x[np.arange(n), labels, :, 0] = 255  # row number `label` is white: easy to learn
    return x, keras.utils.to_categorical(labels, 10)


def build(rate):
    """Everything that holds a state: batch normalisation, dropout with random numbers of its own, momentum."""
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
    model = keras.Sequential(steps)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "categorical_crossentropy", metrics=["accuracy"])
    return model


def run(file, epochs=4, stop_after=None):
    """Trains with augmentation and a checkpoint; interrupted after an epoch where one is named. Model and history."""

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == stop_after:
                raise KeyboardInterrupt

    model = build(one_cycle(0.05, 200, 32, epochs))
    steps = RandomWarp(15.0, 0.08, 0.15, 15.0, 0.8), RandomStroke()
    change = prepare(keras.Sequential(steps))
    return model, fit(model, part(200), epochs, 32, 5, change, (Interrupt(),), file)


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path):
    whole, history = run(tmp_path / "whole.npz")
    file = tmp_path / "interrupted é.npz"
    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(file, stop_after=stop)
    resumed, resumed_history = run(file)
    assert resumed_history == history and set(history) == {"accuracy", "loss"} and len(history["loss"]) == 4
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again, _ = run(file)  # a finished one is only loaded
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_images_are_prepared_again_in_each_batch_and_epoch():
    x, y = np.zeros((8, 28, 28, 1), np.uint8), np.zeros((8, 10), "float32")
    noise = prepare(keras.Sequential([RandomNoise(0.5)]))
    batches = [x for x, _ in shuffled_batches((x, y), 4, 1, 0, 2, noise).as_numpy_iterator()]
    assert len({batch.tobytes() for batch in batches}) == len(batches) == 4
    later = [x for x, _ in shuffled_batches((x, y), 4, 1, 1, 2, noise).as_numpy_iterator()]
    assert all(np.array_equal(a, b) for a, b in zip(batches[2:], later, strict=True))


def test_another_seed_gives_another_order():
    def order(seed, first=0, last=2):
        batches = shuffled_batches((np.zeros(10, np.uint8), np.arange(10)), 4, seed, first, last)
        return np.concatenate([y for _, y in batches.as_numpy_iterator()])

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
    file = tmp_path / "state.npz"
    with pytest.raises(
        UserError, match="Training stopped in epoch 1: the loss is not a number; lower the learning rate"
    ):
        fit(build(0.1), part(64), 2, 32, 0, lambda images, seed: images * np.nan, checkpoint=file)
    assert not file.exists()


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing():
    schedule, top = one_cycle(0.4, images=1000, batch_size=100, epochs=10), round(100 * WARMUP)
    rates = np.array([float(schedule(step)) for step in range(101)])
    assert rates.argmax() == top and rates[top] == pytest.approx(0.4) and rates[0] == pytest.approx(0.4 / 25)
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all() and rates[100] < 1e-6
    copy = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert float(copy(50)) == pytest.approx(rates[50])
    assert float(one_cycle(0.4, 100, 100, 1)(0)) == pytest.approx(0.4)  # a single step has no time to rise


def test_fit_learns_and_returns_plain_numbers():
    history = fit(build(0.02), part(200), 8, 32, 0)
    assert all(len(values) == 8 and type(values[0]) is float for values in history.values())
    assert history["loss"][-1] < history["loss"][0] and history["accuracy"][-1] > history["accuracy"][0]
