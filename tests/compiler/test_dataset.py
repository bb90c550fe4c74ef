"""Datasets: what fits a model comes out as float32 in order, what does not is refused by name."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitsmith import dataset as dataset_module
from bitsmith.dataset import Dataset
from bitsmith.errors import DataError

IMAGE = {"image": (3, 4, 5)}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(**arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        np.savez_compressed(path, **arrays)
        return path

    return write


def images(samples: int = 7, dtype: str = "float32") -> np.ndarray:
    return (np.arange(samples * 60).reshape(samples, 3, 4, 5) % 251).astype(dtype)


def streamed(dataset: Dataset, batch_size: int = 3) -> dict[str, np.ndarray]:
    batches = list(dataset.batches(batch_size))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


# What fits


@pytest.mark.parametrize("key", ["x", "image"])
def test_a_single_input_may_be_called_x_or_by_its_name(save, key):
    assert np.array_equal(streamed(Dataset.open(save(**{key: images()}), IMAGE))["image"], images())


def test_the_name_of_the_input_goes_before_x(save):
    dataset = Dataset.open(save(x=images() + 1, image=images()), IMAGE)
    assert np.array_equal(streamed(dataset)["image"], images())


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_have_the_size_asked_for_but_the_last(save, batch_size):
    dataset = Dataset.open(save(x=images()), IMAGE)
    sizes = [len(batch["image"]) for batch in dataset.batches(batch_size)]
    assert len(dataset) == sum(sizes) == 7
    assert all(size == min(batch_size, 7) for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size


@given(
    stored=hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", "<f2", "u1", "i1", ">i2", "<u4", "<i8"]).map(np.dtype),
        st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3)),
        # Every element of this range is a value of each of the dtypes.
        elements=st.integers(0, 100),
    ),
    fortran=st.booleans(),
    compressed=st.booleans(),
    batch_size=st.integers(1, 10),
)
def test_every_dtype_and_layout_gives_what_numpy_loads(tmp_path_factory, stored, fortran, compressed, batch_size):
    path = tmp_path_factory.mktemp("data") / "data.npz"
    write = np.savez_compressed if compressed else np.savez
    write(path, x=np.asfortranarray(stored) if fortran else stored)
    batches = [batch["x"] for batch in Dataset.open(path, {"x": stored.shape[1:]}).batches(batch_size)]
    assert all(batch.dtype == np.float32 and batch.flags.c_contiguous for batch in batches)
    assert np.array_equal(np.concatenate(batches), np.load(path)["x"].astype(np.float32))


def test_values_are_rounded_to_float32_as_numpy_rounds_them(save):
    wide = np.random.default_rng(0).standard_normal((7, 3, 4, 5))
    assert np.array_equal(streamed(Dataset.open(save(x=wide), IMAGE))["image"], wide.astype(np.float32))


def test_mean_and_std_turn_stored_values_into_inputs(save):
    mean = np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1)
    std = np.array([58.395, 57.12, 57.375], np.float32).reshape(1, 3, 1, 1)
    dataset = Dataset.open(save(x=images(dtype="uint8"), mean=mean, std=std), IMAGE)
    assert np.array_equal(streamed(dataset)["image"], (images() - mean) / std)


def test_several_inputs_go_in_lock_step(save):
    left, right = images(), np.arange(14, dtype=np.int16).reshape(7, 2)
    dataset = Dataset.open(save(right=right, left=left), {"left": (3, 4, 5), "right": (2,)})
    for start, batch in zip(range(0, 7, 2), dataset.batches(2), strict=True):
        assert np.array_equal(batch["left"], left[start : start + 2])
        assert np.array_equal(batch["right"], right[start : start + 2])


def test_labels_and_other_arrays_keep_their_dtype(save):
    names = np.array(list("abcdefg"))
    dataset = Dataset.open(save(x=images(), y=np.arange(7, dtype=np.int64), ids=names), IMAGE)
    assert dataset.has_labels
    assert dataset.labels().dtype == np.int64
    assert dataset.labels().tolist() == list(range(7))
    assert dataset.array("ids").tolist() == list("abcdefg")


def test_y_may_be_an_input_and_is_then_no_label(save):
    dataset = Dataset.open(save(y=images()), {"y": (3, 4, 5)})
    assert not dataset.has_labels
    assert np.array_equal(streamed(dataset)["y"], images())


def test_take_shortens_inputs_and_labels(save):
    dataset = Dataset.open(save(x=images(), y=np.arange(7)), IMAGE).take(4)
    assert len(dataset) == 4
    assert dataset.labels().tolist() == [0, 1, 2, 3]
    assert np.array_equal(streamed(dataset)["image"], images()[:4])
    assert len(dataset.take(100)) == 4


def test_arrays_in_memory_follow_the_rules_of_files(save):
    arrays = {"x": images(dtype="uint8"), "y": np.arange(7), "mean": np.float32(4), "std": np.float32(2)}
    from_file = Dataset.open(save(**arrays), IMAGE)
    for in_memory in (Dataset.from_arrays(arrays, IMAGE), Dataset.from_arrays(arrays)):
        (mine,), (theirs,) = streamed(in_memory).values(), streamed(from_file).values()
        assert np.array_equal(mine, theirs)
        assert np.array_equal(in_memory.labels(), from_file.labels())
    with pytest.raises(DataError, match="the model takes samples of shape"):
        Dataset.from_arrays(arrays, {"image": (3, 4, 6)})


def test_batches_of_arrays_in_memory_are_copies():
    mine = images()
    dataset = Dataset.from_arrays({"x": mine, "mean": np.float32(1), "std": np.float32(2)})
    for batch in dataset.batches(4):
        batch["x"][:] = 0
    assert np.array_equal(mine, images())


def test_the_hash_is_that_of_the_file(save):
    path = save(x=images())
    assert Dataset.open(path, IMAGE).sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_hash_of_arrays_depends_on_names_dtypes_shapes_and_elements_only():
    def hashed(**arrays: Any) -> str:
        return Dataset.from_arrays(arrays).sha256()

    x, y = images(), np.arange(7)
    same = {hashed(x=x, y=y), hashed(y=y, x=x), hashed(x=np.asfortranarray(x), y=y)}
    assert len(same) == 1
    others = {hashed(x=x, y=y + 1), hashed(z=x, y=y), hashed(x=x.astype("f8"), y=y), hashed(x=x[:, 0], y=y)}
    assert len(others) == 4
    assert not same & others


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20_cifar10.eval", (3, 32, 32)),
        ("dscnn_kws.calib", (1, 49, 10)),
        ("autoencoder_ad.eval", (25600,)),
        ("mnist_cnn.eval", (1, 28, 28)),
        ("mobilenetv1_025_vww.eval", (3, 96, 96)),
    ],
)
def test_shared_models_data_is_what_numpy_loads(model_file, name, shape):
    path = model_file(f"{name}.npz")
    dataset = Dataset.open(path, {"input": shape})
    with np.load(path) as loaded:
        expected = loaded["x"].astype(np.float32)
        if "mean" in loaded:
            expected = (expected - loaded["mean"]) / loaded["std"]
        assert dataset.has_labels == ("y" in loaded)
        assert not dataset.has_labels or np.array_equal(dataset.labels(), loaded["y"])
    first = 0
    for batch in dataset.batches(33):
        assert np.array_equal(batch["input"], expected[first : first + 33])
        first += len(batch["input"])
    assert first == len(expected)


# What does not fit


def refusal(path: Path, inputs: dict[str, tuple[int, ...]], batch_size: int = 3) -> str:
    """What opening and reading the data says, which must be an error that states where and what to do."""
    with pytest.raises(DataError) as caught:
        for _ in Dataset.open(path, inputs).batches(batch_size):
            pass
    assert str(path) in caught.value.where
    assert caught.value.fix
    return str(caught.value)


def test_a_missing_key_is_named_with_those_that_are_there(save):
    message = refusal(save(imag=images(), other=images()), IMAGE)
    assert "no array named 'image' or 'x'; it holds imag, other" in message
    assert "may be the one named 'imag'" in message


def test_several_inputs_are_each_needed_by_name(save):
    message = refusal(save(x=images(), left=images()), {"left": (3, 4, 5), "right": (2,)})
    assert "no array named 'right'; it holds x, left" in message


@pytest.mark.parametrize(
    ("shape", "expected", "advice"),
    [
        ((7, 4, 5, 3), (3, 4, 5), "x.transpose(0, 3, 1, 2)"),
        ((7, 32, 32, 3), (3, 32, 32), "x.transpose(0, 3, 1, 2)"),
        ((7, 3, 32, 32), (32, 32, 3), "x.transpose(0, 2, 3, 1)"),
        ((7, 28, 28), (1, 28, 28), "x.reshape(7, 1, 28, 28)"),
        ((7,), (1,), "x.reshape(7, 1)"),
        ((3, 4, 5), (3, 4, 5), "x[numpy.newaxis]"),
        ((7, 3, 4, 6), (3, 4, 5), "as the model was trained"),
        ((), (3,), "as the model was trained"),
    ],
)
def test_a_wrong_shape_states_both_and_how_to_fit(save, shape, expected, advice):
    message = refusal(save(x=np.zeros(shape, np.float32)), {"x": expected})
    assert f"samples of shape {expected}" in message
    assert f"found {shape}" in message
    assert advice in message


def test_the_advised_transposition_is_right(save):
    advice = refusal(save(x=images().transpose(0, 2, 3, 1)), IMAGE)
    axes = re.search(r"transpose\((.*?)\)", advice)
    assert axes is not None
    repaired = images().transpose(0, 2, 3, 1).transpose([int(axis) for axis in axes[1].split(",")])
    assert np.array_equal(repaired, images())


def test_no_samples(save):
    assert "no samples" in refusal(save(x=images(0)), IMAGE)


def test_different_numbers_of_samples(save):
    arrays = {"left": images(7), "right": np.zeros((6, 2), np.float32)}
    message = refusal(save(**arrays), {"left": (3, 4, 5), "right": (2,)})
    assert "left has 7, right has 6" in message


@pytest.mark.parametrize("labels", [np.arange(6), np.int64(3)])
def test_labels_that_are_not_one_per_sample(save, labels):
    message = refusal(save(x=images(), y=labels), IMAGE)
    assert "x has 7, y has 6" in message or "y: a single value" in message


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity"), (1e300, "too large")]
)
@pytest.mark.parametrize("sample", [0, 5])
@pytest.mark.parametrize("normalized", [False, True])
def test_a_value_that_is_not_finite_is_placed(save, value, said, sample, normalized):
    x = images(dtype="float64")
    x[sample, 1, 2, 3] = value
    x[6] = np.nan
    statistics = {"mean": np.ones((1, 3, 1, 1)), "std": np.ones((1, 3, 1, 1))} if normalized else {}
    message = refusal(save(x=x, **statistics), IMAGE)
    assert f"sample {sample}." in message
    assert said in message
    assert "data.npz, x:" in message


@pytest.mark.parametrize("values", [np.full((7, 2), "a"), np.ones((7, 2), complex), np.ones((7, 2), bool)])
def test_inputs_that_are_no_real_numbers(save, values):
    assert f"dtype {values.dtype} is not real numbers" in refusal(save(x=values), {"x": (2,)})


def test_named_fields_are_no_real_numbers(save):
    assert "is not real numbers" in refusal(save(x=np.zeros(7, [("a", "f4"), ("b", "i4")])), {"x": (2,)})


@pytest.mark.parametrize(
    ("statistics", "said"),
    [
        ({"mean": 0.0}, "mean without std"),
        ({"std": 1.0}, "std without mean"),
        ({"mean": 0.0, "std": np.array([1.0, 0, 1]).reshape(1, 3, 1, 1)}, "zero, negative or too small"),
        ({"mean": 0.0, "std": -1.0}, "zero, negative or too small"),
        ({"mean": 0.0, "std": 1e-300}, "zero, negative or too small"),
        ({"mean": np.nan, "std": 1.0}, "mean: a NaN"),
        ({"mean": 0.0, "std": np.inf}, "std: a NaN, or a value too large"),
        ({"mean": np.zeros(3), "std": 1.0}, "mean.reshape(1, -1, 1, 1)"),
        ({"mean": 0.0, "std": np.ones((7, 1, 1, 1))}, "shape (7, 1, 1, 1) does not broadcast"),
        ({"mean": np.zeros((1, 1, 1, 1, 1)), "std": 1.0}, "does not broadcast"),
        ({"mean": "0", "std": 1.0}, "not real numbers"),
    ],
)
def test_mean_and_std_that_make_no_sense(save, statistics, said):
    assert said in refusal(save(x=images(), **statistics), IMAGE)


def test_mean_and_std_for_one_of_several_inputs(save):
    arrays = {"left": images(), "right": images(), "mean": 0.0, "std": 1.0}
    message = refusal(save(**arrays), {"left": (3, 4, 5), "right": (3, 4, 5)})
    assert "which of the inputs left, right" in message


def test_labels_that_are_absent_or_no_numbers(save):
    with pytest.raises(DataError, match="no labels"):
        Dataset.open(save(x=images()), IMAGE).labels()
    with pytest.raises(DataError, match="not real numbers"):
        Dataset.open(save(x=images(), y=np.array(list("abcdefg"))), IMAGE).labels()
    with pytest.raises(DataError, match="NaN in sample 2"):
        Dataset.open(save(x=images(), y=np.array([0, 0, np.nan, 0, 0, 0, 0])), IMAGE).labels()


def test_other_arrays_that_do_not_fit(save):
    dataset = Dataset.open(save(x=images(), ids=np.arange(8), when=np.zeros(7, "M8[s]")), IMAGE)
    with pytest.raises(DataError, match="8 rows for 7 samples"):
        dataset.array("ids")
    with pytest.raises(DataError, match="it holds x, ids, when"):
        dataset.array("id")
    with pytest.raises(DataError, match="not real numbers"):
        dataset.array("when")


def test_sizes_below_one(save):
    dataset = Dataset.open(save(x=images()), IMAGE)
    with pytest.raises(DataError, match="0 samples"):
        dataset.take(0)
    with pytest.raises(DataError, match="a batch of 0 samples"):
        dataset.batches(0)


def test_a_batch_too_large_to_hold(save, monkeypatch):
    sample_bytes = 60 * (1 + 4)
    monkeypatch.setattr(dataset_module, "BATCH_LIMIT", 3 * sample_bytes)
    dataset = Dataset.open(save(x=images(dtype="uint8")), IMAGE)
    with pytest.raises(DataError, match="at most 3 samples"):
        dataset.batches(4)
    assert len(next(dataset.batches(3))["image"]) == 3


def test_arrays_in_memory_that_are_no_arrays_of_numbers():
    with pytest.raises(DataError, match="arrays in memory, x: not an array"):
        Dataset.from_arrays({"x": [[1, 2], [3]]})
    with pytest.raises(DataError, match="holds Python objects"):
        Dataset.from_arrays({"x": np.array([None, 1])})
    with pytest.raises(DataError, match="no array for a model input"):
        Dataset.from_arrays({"y": np.arange(3)})
    with pytest.raises(DataError, match="it holds x"):
        Dataset.from_arrays({"x": [[1.0]]}).array("ids")
