"""Windows: how long samples become model inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitsmith.errors import DataError
from bitsmith.windows import Window, input_batches, open_samples, windows_per_sample

CLIP = np.arange(2 * 12, dtype=np.float32).reshape(2, 12)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    path = tmp_path / "clips.npz"
    np.savez(path, x=CLIP)
    return path


@pytest.mark.parametrize(("text", "size", "stride"), [("6:3", 6, 3), ("4", 4, 4), ("5:12", 5, 12)])
def test_windows_are_every_stride_and_leave_out_what_does_not_fill_one(
    clips: Path, text: str, size: int, stride: int
) -> None:
    window = Window.parse(text)
    dataset = open_samples(clips, {"input": (size,)}, window)
    starts = range(0, 12 - size + 1, stride)
    expected = np.stack([[clip[start : start + size] for start in starts] for clip in CLIP])
    found = np.concatenate([batch["input"] for batch in input_batches(dataset, {"input": (size,)}, window, 64)])
    assert np.array_equal(found, expected)
    assert windows_per_sample(dataset, window) == len(starts)


def test_without_a_window_each_sample_is_one_input(clips: Path) -> None:
    dataset = open_samples(clips, {"input": (12,)}, None)
    (batch,) = input_batches(dataset, {"input": (12,)}, None, 64)
    assert np.array_equal(batch["input"], CLIP[:, np.newaxis])
    assert windows_per_sample(dataset, None) == 1


def test_windows_take_the_shape_of_the_input(clips: Path) -> None:
    window = Window(6, 6)
    dataset = open_samples(clips, {"input": (2, 3)}, window)
    (batch,) = input_batches(dataset, {"input": (2, 3)}, window, 64)
    assert batch["input"].shape == (2, 2, 2, 3)
    assert batch["input"].ravel().tolist() == CLIP.ravel().tolist()


@pytest.mark.parametrize("text", ["", "0", "-4:2", "4:0", "four", "4:2:1"])
def test_a_window_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is no window"):
        Window.parse(text)


def test_a_window_must_be_the_size_of_the_one_input_and_fit_a_sample(clips: Path) -> None:
    with pytest.raises(DataError, match="a window of 4 elements for a model input"):
        open_samples(clips, {"input": (5,)}, Window(4, 1))
    with pytest.raises(DataError, match="hold no window of 13"):
        open_samples(clips, {"input": (13,)}, Window(13, 1))
    with pytest.raises(DataError, match="2 inputs"):
        open_samples(clips, {"a": (4,), "b": (4,)}, Window(4, 1))
