import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.data.npz import NpzRows, any_shapes, npz_shapes, read_npz


@pytest.fixture(params=[np.savez, np.savez_compressed])
def file(request, tmp_path):
    path = tmp_path / "a.npz"
    request.param(path, rows=np.arange(60, dtype=np.int32).reshape(10, 2, 3), few=np.arange(3))
    return path


def test_shapes_come_from_headers(file):
    assert npz_shapes(file) == {"rows": (10, 2, 3), "few": (3,)}
    assert any_shapes(file.parent) == npz_shapes(file)


def test_rows_are_read_forward_and_from_the_start_again(file):
    rows, whole = NpzRows(file, "rows"), np.load(file)["rows"]
    for first, count in ((0, 3), (3, 2), (7, 3), (2, 4), (9, 1)):
        assert np.array_equal(np.stack(list(rows.rows(first, count))), whole[first : first + count])
    assert np.array_equal(read_npz(file, "few"), np.arange(3))


def test_rows_beyond_the_end_are_an_error(file):
    with pytest.raises(DataError, match=r"a\.npz cannot be read \(the file ends early\)"):
        list(NpzRows(file, "rows").rows(8, 4))
    with pytest.raises(DataError, match=r"no array"):
        NpzRows(file, "missing")
    with pytest.raises(DataError, match=r"no array"):
        read_npz(file, "missing")


def test_damage_is_told(file):
    data = file.read_bytes()
    for damaged in (b"", b"no zip at all", data[: len(data) // 2], data[:200] + b"\0" * 100 + data[300:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.npz cannot be read"):
            list(NpzRows(file, "rows").rows(0, 10))
    assert any_shapes(file.parent) in ({}, {"rows": (10, 2, 3), "few": (3,)})


def test_python_objects_are_never_loaded(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, rows=np.array([{}], object))
    for read in (lambda: npz_shapes(path), lambda: read_npz(path, "rows"), lambda: NpzRows(path, "rows")):
        with pytest.raises(DataError, match="cannot be read"):
            read()
