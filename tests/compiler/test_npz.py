"""The streaming .npz reader: memory that stays, and files that are damaged, odd or made to do harm."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith import npz as npz_module
from bitsmith.dataset import Dataset
from bitsmith.errors import DataError
from bitsmith.npz import HEADER_LIMIT, NpzFile

VECTOR = {"x": (16,)}
VALUES = np.arange(48, dtype=np.float32).reshape(3, 16)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npy_with_header(literal: bytes, elements: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    length = struct.pack("<H" if version == (1, 0) else "<I", len(literal))
    return b"\x93NUMPY" + bytes(version) + length + literal + elements


def save_members(path: Path, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
    return path


def read(path: Path) -> np.ndarray:
    return np.concatenate([batch["x"] for batch in Dataset.open(path, VECTOR).batches(2)])


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(path) in caught.value.where
    assert caught.value.fix
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


# Memory


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_peak_memory_does_not_grow_with_the_number_of_samples(tmp_path, dtype, save):
    batch_size, sample_bytes = 32, 3 * 32 * 32 * 4

    def stream(path: Path) -> int:
        return sum(len(batch["x"]) for batch in Dataset.open(path, {"x": (3, 32, 32)}).batches(batch_size))

    peaks = {}
    for samples in (256, 4096):
        path = tmp_path / f"{samples}.npz"
        values = np.zeros((samples, 3, 32, 32), dtype)  # mostly zeros: random values take long to compress
        values[:, 0, :4] = np.random.default_rng(0).integers(0, 256, (samples, 4, 32))
        save(path, x=values, mean=np.float32(127.5), std=np.float32(64))
        del values
        assert stream(path) == samples  # once before measuring, for what Python keeps from a first call
        peaks[samples] = peak_bytes(lambda path=path: stream(path))
    # The smaller file is shorter than the pieces that a file is read in; that is all the difference there is.
    assert peaks[4096] - peaks[256] < 2 * npz_module.CHUNK
    # Two batches (the one being read, and the one before, which is still held) as float32 and as stored.
    batches = batch_size * (2 * sample_bytes + 2 * 3 * 32 * 32 * np.dtype(dtype).itemsize)
    assert peaks[4096] < batches + 8 * npz_module.CHUNK


def test_taking_a_few_samples_reads_no_more(path):
    damaged = bytearray(npy(np.zeros((100_000, 16), np.float32)))
    save_members(path, zipfile.ZIP_STORED, x=bytes(damaged))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert len(next(Dataset.open(path, VECTOR).take(10).batches(10))["x"]) == 10
    assert "Bad CRC-32" in refusal(path)


# Files that are not there, or are something else


def test_absent(path):
    assert "No such file" in refusal(path)


def test_folder(tmp_path):
    assert "not a regular file" in refusal(tmp_path)


def test_no_zip_file(path):
    path.write_text("x = 1")
    assert "not a zip file" in refusal(path)


def test_empty_file(path):
    path.touch()
    assert "not a zip file" in refusal(path)


def test_one_npy_array(path):
    path.write_bytes(npy(VALUES))
    assert "one .npy array" in refusal(path)


def test_a_zip_of_no_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", "1,2")
    assert "it holds no arrays" in refusal(path)


def test_changed_while_in_use(path):
    np.savez(path, x=VALUES)
    dataset = Dataset.open(path, VECTOR)
    np.savez(path, x=VALUES[:2])
    for use in (lambda: next(dataset.batches(1)), dataset.sha256):
        with pytest.raises(DataError, match="changed while it was in use"):
            use()
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        dataset.sha256()


# Damage


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_truncated(path, kept):
    np.savez_compressed(path, x=np.random.default_rng(0).random((64, 16)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert "not a zip file" in refusal(path)


def test_corrupt_deflate_stream(path):
    np.savez_compressed(path, x=np.random.default_rng(0).random((640, 16)))
    content = bytearray(path.read_bytes())
    content[2000:2100] = b"\xff" * 100
    path.write_bytes(content)
    assert "not a readable .npz file" in refusal(path)


def test_checksum(path):
    save_members(path, zipfile.ZIP_STORED, x=npy(VALUES))
    content = path.read_bytes()
    assert content.count(VALUES[2].tobytes()) == 1
    path.write_bytes(content.replace(VALUES[2].tobytes(), VALUES[1].tobytes()))
    assert "Bad CRC-32" in refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@given(data=st.data())
def test_no_damage_passes_for_data(tmp_path_factory, save, data):
    path = tmp_path_factory.mktemp("damaged") / "data.npz"
    save(path, x=VALUES)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        values = read(path)
    except DataError:
        return
    assert np.array_equal(values, VALUES)


# Headers


@given(data=st.data())
def test_a_damaged_header_is_refused_or_read_as_numpy_reads_it(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "data.npz"
    content = bytearray(npy(VALUES))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 70))] = data.draw(
            st.sampled_from(list(b"(){}[],'\"0123456789<>|fiuOTFx :-\n"))
        )
    save_members(path, x=bytes(content))
    try:
        values = read(path)
    except DataError:
        return
    assert np.array_equal(values, np.load(path)["x"].astype(np.float32))


@pytest.mark.parametrize(
    "literal",
    [
        b"",
        b"1",
        b"{}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
        b"{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}",
        b"{'descr': (), 'fortran_order': False, 'shape': (3, 16)}",
        b"{'descr': '<q9', 'fortran_order': False, 'shape': (3, 16)}",
        b"{'descr': __import__('os'), 'fortran_order': False, 'shape': (3, 16)}",
        b"(" * 5000,
        b"-" * 9000 + b"1",
        b"\xff\xfe",
    ],
)
def test_a_header_that_is_none(path, literal):
    save_members(path, x=npy_with_header(literal, VALUES.tobytes()))
    assert "no .npy header" in refusal(path)


@pytest.mark.parametrize("version", [(2, 0), (3, 0), (9, 9)])
def test_versions_of_the_format(path, version):
    literal = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 16)}\n"
    save_members(path, x=npy_with_header(literal, VALUES.tobytes(), version))
    if version == (2, 0):
        assert np.array_equal(read(path), VALUES)
    else:
        assert f"version {version}" in refusal(path)


@pytest.mark.parametrize("length", [HEADER_LIMIT, 70_000, 100_000_000])
def test_a_long_header_is_not_read(path, length):
    literal = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 16)}".ljust(length)
    save_members(path, x=npy_with_header(literal, VALUES.tobytes(), (2, 0)))
    del literal
    peak = peak_bytes(lambda: refusal(path))
    assert peak < 2**20
    assert f"at most {HEADER_LIMIT} bytes" in refusal(path)


@pytest.mark.parametrize(
    "shape", ["(4, 16)", "(2, 16)", "(-3, -16)", "(10**30, 16)", "(1000000000000000000000000, 16)", "(0, 16)"]
)
def test_a_shape_that_is_not_that_of_the_elements(path, shape):
    literal = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
    save_members(path, x=npy_with_header(literal, VALUES.tobytes()))
    message = refusal(path)
    assert "but the file holds 192" in message or "no .npy header" in message


def test_pickles_are_never_loaded(path):
    class Harm:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    literal = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
    save_members(path, x=npy_with_header(literal, pickle.dumps(Harm())))
    assert "holds Python objects" in refusal(path)


# Zip files that no writer of arrays makes


def test_a_size_that_the_stream_does_not_hold(path):
    """A small file that declares gigabytes, in header and directory alike, ends before it fills them."""
    claimed = (10_000_000, 16)
    content = npy_with_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {claimed}}}".encode())
    save_members(path, zipfile.ZIP_DEFLATED, x=content + VALUES.tobytes())
    declared = len(content) + 10_000_000 * 16 * 4
    raw = bytearray(path.read_bytes())
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 24 : directory + 28] = struct.pack("<I", declared)
    path.write_bytes(raw)
    assert len(Dataset.open(path, VECTOR)) == 10_000_000
    assert peak_bytes(lambda: refusal(path)) < 2**20


def test_a_bomb_is_not_unpacked(path):
    """Zeros, packed a thousand to one: 10 MB would be 10 GB to read. Here the first of them say how many follow."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (160000000, 16)}"
    content = npy_with_header(header)
    size = len(content) + 160_000_000 * 16 * 4
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        member.write(content)
        for _ in range(64):
            member.write(bytes(2**20))
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    assert size > 2**32
    # Sizes beyond 32 bits stand in the directory's extra field.
    extra = struct.pack("<HHQ", 1, 8, size)
    name = entry + 46 + len("x.npy")
    raw[entry + 24 : entry + 28] = b"\xff" * 4
    raw[entry + 30 : entry + 32] = struct.pack("<H", len(extra))
    raw[name:name] = extra
    end = raw.index(b"PK\x05\x06")
    raw[end + 12 : end + 16] = struct.pack("<I", end - entry)
    path.write_bytes(raw)
    told = refusal(path)
    assert f"x claims {size:,} bytes, packed into 65," in told
    assert peak_bytes(lambda: refusal(path)) < 2**20


def test_archives_in_archives_are_not_opened(path, tmp_path):
    inner = tmp_path / "inner.npz"
    np.savez(inner, x=VALUES)
    save_members(path, x=inner.read_bytes())
    assert "no .npy header" in refusal(path)


def test_arrays_too_large_to_load_whole(path, monkeypatch):
    np.savez_compressed(path, x=np.asfortranarray(VALUES), y=np.zeros((3, 1000)))
    monkeypatch.setattr(npz_module, "WHOLE_LIMIT", 1000)
    with pytest.raises(DataError, match="24000 bytes cannot be loaded whole"):
        Dataset.open(path, VECTOR).labels()
    assert np.array_equal(read(path), VALUES)
    monkeypatch.setattr(npz_module, "WHOLE_LIMIT", VALUES.nbytes - 1)
    assert "in Fortran order cannot be loaded whole" in refusal(path)
    assert "numpy.ascontiguousarray(x)" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(path, compression):
    save_members(path, compression, x=npy(VALUES))
    assert "a method that numpy never writes" in refusal(path)


def test_encrypted(path):
    save_members(path, x=npy(VALUES))
    raw = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(header) + flags] |= 1
    path.write_bytes(raw)
    assert "encrypted" in refusal(path)


def test_headers_can_be_looked_at_without_reading_the_elements(path):
    np.savez(path, x=VALUES, y=np.arange(3, dtype=np.int8))
    source = NpzFile(path)
    assert source.keys == ("x", "y")
    assert (source.header("x").shape, source.header("y").dtype) == ((3, 16), np.int8)
