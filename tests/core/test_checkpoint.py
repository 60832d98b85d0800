import json
from pathlib import Path

import pytest
import torch
from torch import nn

from flexlam.core import checkpoint
from flexlam.core.checkpoint import copy_bundle, load_weights, read_bundle, write_bundle
from flexlam.core.errors import CheckpointError

TENSORS = {"model": {"weight": torch.arange(64.0).view(8, 8), "count": torch.tensor(3)}}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "b", "thing", {"size": 8}, TENSORS, {"parents": {"data": "x"}}, {"README.md": "card"})
    return tmp_path / "b"


def test_what_is_written_is_read(bundle: Path) -> None:
    got = read_bundle(bundle, "thing")
    assert (got.config, got.state) == ({"size": 8}, {"parents": {"data": "x"}})
    assert got.tensors.keys() == {"model"}
    for name, tensor in TENSORS["model"].items():
        assert torch.equal(got.tensors["model"][name], tensor)
        assert got.tensors["model"][name].dtype == tensor.dtype
    assert (bundle / "README.md").read_text() == "card"


def test_tensors_of_every_layout_and_precision(tmp_path: Path) -> None:
    tensors = {"transposed": torch.arange(6.0).view(2, 3).T, "half": torch.ones(3).bfloat16(), "empty": torch.ones(0)}
    write_bundle(tmp_path / "b", "thing", {}, {"model": tensors})
    got = read_bundle(tmp_path / "b", "thing").tensors["model"]
    assert all(torch.equal(got[name], tensors[name]) and got[name].dtype == tensors[name].dtype for name in tensors)


def test_the_hash_names_the_content(tmp_path: Path) -> None:
    def written(name: str, config: dict, tensors: dict, state: dict | None = None) -> str:
        digest = write_bundle(tmp_path / name, "thing", config, tensors, state)
        assert read_bundle(tmp_path / name, "thing").hash == digest
        return digest

    first = written("a", {"size": 8}, TENSORS)
    assert written("b", {"size": 8}, TENSORS) == first
    changed = {"model": {**TENSORS["model"], "count": torch.tensor(4)}}
    others = {
        written("c", {"size": 9}, TENSORS),
        written("d", {"size": 8}, changed),
        written("e", {"size": 8}, TENSORS, {"parents": {}}),
    }
    assert len({first, *others}) == 4


def test_a_copy_is_the_same_model_and_texts_are_no_part_of_it(bundle: Path, tmp_path: Path) -> None:
    first = read_bundle(bundle, "thing").hash
    copy_bundle(bundle, tmp_path / "copy", {"README.md": "another card"})
    assert read_bundle(tmp_path / "copy", "thing").hash == first
    assert (tmp_path / "copy" / "README.md").read_text() == "another card"
    (tmp_path / "copy" / "README.md").write_text("edited on the Hub")
    assert read_bundle(tmp_path / "copy", "thing").hash == first
    (bundle / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated"):
        copy_bundle(bundle, tmp_path / "damaged")


@pytest.mark.parametrize("name", ["bundle.json", "manifest.json", "model.safetensors"])
def test_truncation_is_found(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    for keep in (0, 1, len(data) // 2, len(data) - 2):
        (bundle / name).write_bytes(data[:keep])
        with pytest.raises(CheckpointError, match=r"damaged|truncated") as caught:
            read_bundle(bundle, "thing")
        assert str(bundle) in str(caught.value)


@pytest.mark.parametrize("name", ["bundle.json", "manifest.json", "model.safetensors"])
def test_a_flipped_bit_is_never_taken_for_good_content(bundle: Path, name: str) -> None:
    good = read_bundle(bundle, "thing")
    data = (bundle / name).read_bytes()
    for position in range(0, len(data), max(1, len(data) // 150)):
        for bit in (0, 5, 7):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            (bundle / name).write_bytes(bytes(damaged))
            try:
                got = read_bundle(bundle, "thing")
            except CheckpointError as error:
                assert str(bundle) in str(error)
            else:  # a flip in the white space of the manifest changes nothing
                assert name == "manifest.json" and got.hash == good.hash


@pytest.mark.parametrize("name", ["bundle.json", "manifest.json", "model.safetensors"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}.*is missing|{name} is missing"):
        read_bundle(bundle, "thing")


def test_a_missing_folder_and_a_file_are_told_apart_from_damage(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint folder"):
        read_bundle(tmp_path / "nowhere", "thing")
    with pytest.raises(CheckpointError, match="There is no checkpoint folder"):
        read_bundle(bundle / "bundle.json", "thing")


def test_another_kind_is_refused(bundle: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a thing; expected a translator"):
        read_bundle(bundle, "translator")


def test_an_unknown_format_version_is_refused_with_those_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 99)
    write_bundle(tmp_path / "b", "thing", {}, TENSORS)
    with pytest.raises(CheckpointError, match=r"version 99; this flexlam .* reads 1"):
        read_bundle(tmp_path / "b", "thing")


@pytest.mark.parametrize("manifest", ["[]", "{}", '"x"', "null"])
def test_a_manifest_that_lists_nothing_vouches_for_nothing(bundle: Path, manifest: str) -> None:
    (bundle / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged"):
        read_bundle(bundle, "thing")


@pytest.mark.parametrize("header", ["[]", "{}", "3"])
def test_a_foreign_header_is_refused(bundle: Path, header: str) -> None:
    (bundle / "bundle.json").write_text(header)
    with pytest.raises(CheckpointError, match="format version None"):
        read_bundle(bundle, "thing")


def test_an_interrupted_write_keeps_the_old_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_bundle(bundle, "thing").hash

    def broken(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "file_hash", broken)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(bundle, "thing", {"size": 9}, TENSORS)
    monkeypatch.undo()
    assert read_bundle(bundle, "thing").hash == before
    assert [path.name for path in bundle.parent.iterdir()] == ["b"]


def test_weights_are_widened(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    load_weights(module, {"weight": torch.ones(2, 3).bfloat16(), "bias": torch.zeros(2).bfloat16()}, tmp_path)
    assert module.weight.dtype == torch.float32 and module.weight.eq(1).all()


@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": torch.ones(2, 3)},
        {"weight": torch.ones(3, 2), "bias": torch.ones(2)},
        {"weight": torch.ones(2, 3), "bias": torch.ones(2), "more": torch.ones(1)},
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, tensors: dict) -> None:
    with pytest.raises(CheckpointError, match="does not fit its own configuration"):
        load_weights(nn.Linear(3, 2), tensors, tmp_path)


def test_json_in_the_folder_is_plain(bundle: Path) -> None:
    header = json.loads((bundle / "bundle.json").read_text())
    assert (header["format"], header["format_version"], header["kind"]) == ("flexlam", 1, "thing")
    assert set(json.loads((bundle / "manifest.json").read_text())) == {"bundle.json", "model.safetensors"}
