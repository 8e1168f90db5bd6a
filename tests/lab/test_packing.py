"""A study as one file: what was packed comes back, and nothing else comes of a file, whoever made it."""

from __future__ import annotations

import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_contents import GIVEN
from typer.testing import CliRunner

from overparam import Store, StoreError, Study, load_results
from overparam.cli import app
from overparam.lab import unpacking
from overparam.lab.archive import Archive
from overparam.lab.contents import Contents
from overparam.lab.packing import pack
from overparam.lab.store import checksum, sealed, unsealed
from overparam.lab.unpacking import MOST_BYTES, unpack

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("packing")
    Study.from_mapping({**GIVEN, "sweep": {"seed": [0]}}).run(folder, jobs=1, threads=1)
    return Store(folder, reading=True)


@pytest.fixture(scope="module")
def packed(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(store, "crit", tmp_path_factory.mktemp("packed") / "crit.zip").path


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.*")) if path.is_file()}


def results_in(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(root).items() if name.startswith(("steps", "probes", "failures"))}


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path: Path, content: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, into: Path, match: str, **options: Any) -> None:
    """Assert that unpacking is refused, in a sentence, and leaves no result and no file outside."""
    outside = {p for p in into.parent.rglob("*") if into not in p.parents}
    with pytest.raises(StoreError, match=match) as told:
        unpack(Store(into), path, **options)
    assert (
        "nothing was unpacked" in str(told.value) or "cannot be read" in str(told.value) or "is no packed" in str(told)
    )
    assert not results_in(into)
    assert not list((into / "studies").glob("*"))
    assert {p for p in into.parent.rglob("*") if into not in p.parents} | {into} == outside | {into}


def test_what_was_packed_comes_back(store: Store, packed: Path, tmp_path: Path) -> None:
    done = unpack(Store(tmp_path), packed)
    assert (done.new, done.there) == (4 + 4, 0)
    assert results_in(tmp_path) == results_in(store.root)
    assert load_results(tmp_path, "crit").frame.equals(load_results(store, "crit").frame)
    assert Contents(Store(tmp_path)).studies[0].complete
    assert Contents(Store(tmp_path)).unneeded() == set()
    again = pack(Store(tmp_path), "crit", tmp_path / "again.zip")
    assert again.path.read_bytes() == packed.read_bytes(), "the same study is the same file"
    assert Study.from_mapping({**GIVEN, "sweep": {"seed": [0]}}).run(tmp_path).facts["run"].startswith("0 steps run")


def test_on_the_command_line(store: Store, tmp_path: Path) -> None:
    common = ["--store", str(store.root), "-o", str(tmp_path / "one.zip")]
    result = CliRunner().invoke(app, ["store", "pack", "crit", *common])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/one.zip\n")
    assert "is there already" in CliRunner().invoke(app, ["store", "pack", "crit", *common]).stderr
    result = CliRunner().invoke(app, ["store", "unpack", str(tmp_path / "one.zip"), "--store", str(tmp_path / "new")])
    assert result.exit_code == 0
    assert "8 results unpacked, 0 were there already" in result.stdout
    result = CliRunner().invoke(app, ["store", "unpack", str(store.root), "--store", str(tmp_path / "new")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_a_result_that_is_there_stays(store: Store, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "runs")
    node = load_results(store, "crit").frame["fingerprint"][0]
    here = Store(tmp_path / "runs")
    body = {**here.numbers("steps", node), "made": "another time"}
    here.remove("steps", node)
    here.write("steps", node, {k: v for k, v in body.items() if k != "tensors"}, {"checkpoint": b"other weights"})
    before = files(here.root)
    assert unpack(here, packed).new == 0
    assert files(here.root) == before
    here.mark_damaged("steps", node, "for once")
    assert unpack(here, packed).new == 1, "what was found damaged is none"
    assert here.numbers("steps", node)["made"] != "another time"


def test_stopped_in_the_middle_it_goes_on(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, left = unpacking._copy, [3]

    def dying(*given: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return copy(*given)

    monkeypatch.setattr(unpacking, "_copy", dying)
    with pytest.raises(KeyboardInterrupt):
        unpack(Store(tmp_path), packed)
    here = Store(tmp_path)
    there = [result for result in Contents(here).inventory.sizes if here.verify(*result)]
    assert len(there) == len(Contents(here).inventory.sizes) == 3
    monkeypatch.undo()
    done = unpack(here, packed)
    assert (done.new, done.there) == (5, 3)


def test_what_is_not_complete_or_damaged_is_left_out(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "runs")
    here = Store(tmp_path / "runs")
    gone, hurt = load_results(store, "crit").frame["fingerprint"].to_list()
    here.remove("steps", gone)
    path = next(path for path in (here.root / "steps").rglob(f"{hurt}*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    found = pack(here, "crit", tmp_path / "part.zip")
    assert (found.results, len(found.damaged)) == (6, 1)
    assert "left out" in found.damaged[0]
    assert unpack(Store(tmp_path / "new"), found.path).new == 6


# Files that somebody made by hand


def link(archive: zipfile.ZipFile) -> None:
    about = zipfile.ZipInfo("steps/aa/" + "a" * 32 + ".json")
    about.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(about, "/etc/passwd")


def named(name: str) -> Callable[[zipfile.ZipFile], None]:
    return lambda archive: archive.writestr(name, b"x")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("add", "match"),
    [
        (link, "link"),
        (named("/etc/passwd"), "no name of a result"),
        (named("../outside.json"), "no name of a result"),
        (named("steps/aa/../../../outside.json"), "no name of a result"),
        (named("steps\\aa\\" + "a" * 32 + ".json"), "no name of a result"),
        (named("C:/outside.json"), "no name of a result"),
        (named("steps/aa/" + "b" * 32 + ".json"), "no name of a result"),
        (named("steps/aa/"), "no file"),
        (named("journals/" + "a" * 32 + "/x.safetensors"), "no name of a result"),
        (named("in-use/a.json"), "no name of a result"),
        (named("steps/aa/" + "a" * 32 + ".json\n"), "no name of a result"),
        (named("steps/aa/" + "a" * 32 + ".damaged"), "no name of a result"),
        (named("overparam-store.json"), "twice"),
        (named("studies/other@" + "0" * 12 + "/000001.json"), "2 records"),
        (named("probes/aa/" + "a" * 32 + ".json"), "does not need"),
    ],
)
def test_names_that_may_not_be_there(add: Any, match: str, packed: Path, tmp_path: Path) -> None:
    shutil.copy(packed, tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "bad.zip", "a") as archive:
        add(archive)
    refused(tmp_path / "bad.zip", tmp_path / "runs", match)


def test_a_name_cut_by_a_zero_byte(packed: Path, tmp_path: Path) -> None:
    good = b"probes/aa/" + b"a" * 32 + b".json"
    with zipfile.ZipFile(shutil.copy(packed, tmp_path / "bad.zip"), "a") as archive:
        archive.writestr(good.decode() + "_x", b"x")
    content = (tmp_path / "bad.zip").read_bytes().replace(good + b"_x", good + b"\0x")
    (tmp_path / "bad.zip").write_bytes(content)
    refused(tmp_path / "bad.zip", tmp_path / "runs", "no name of a result")


def test_too_large(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        size = sum(member.file_size for member in archive.infolist())
    refused(packed, tmp_path / "runs", "are allowed", max_bytes=size - 1)
    assert unpack(Store(tmp_path / "runs"), packed, max_bytes=size).new == 8


def test_a_bomb(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overparam.lab.archive.LARGEST", 1_000_000)
    with zipfile.ZipFile(shutil.copy(packed, tmp_path / "bomb.zip"), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("probes/aa/" + "a" * 32 + ".json", bytes(1_000_001))
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    refused(tmp_path / "bomb.zip", tmp_path / "runs", "too much for numbers")
    with zipfile.ZipFile(shutil.copy(packed, tmp_path / "weights.zip"), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"steps/aa/{'a' * 32}.{'b' * 32}.safetensors", bytes(300_000))
    refused(tmp_path / "weights.zip", tmp_path / "runs2", "in a way that is not allowed")


def test_a_size_that_is_a_lie(packed: Path, tmp_path: Path) -> None:
    """The table of contents says that a member is smaller than it is."""
    (tmp_path / "bad.zip").write_bytes(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith(".safetensors"))
    content = bytearray(packed.read_bytes())
    place = content.rindex(member.filename.encode()) - 46  # its entry at the end of the file
    content[place + 24 : place + 28] = (member.file_size - 8).to_bytes(4, "little")
    (tmp_path / "bad.zip").write_bytes(content)
    refused(tmp_path / "bad.zip", tmp_path / "runs", "damaged|does not match|bytes")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(content)
    refused(tmp_path / "bad.zip", tmp_path / "runs", "is no packed study")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "none.zip", tmp_path / "runs", "cannot be read")


def resealed(change: Callable[[dict[str, Any]], Any]) -> Callable[[str, bytes], bytes]:
    def act(key: str, content: bytes) -> bytes:
        body = unsealed(key, content)
        change(body)
        return sealed(key, body)

    return act


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        ("steps", lambda body: body.pop("kept"), "kept"),
        ("steps", lambda body: body.update(kept=10**30), "kept"),
        ("steps", lambda body: body.update(parent="../x"), "parent"),
        ("steps", lambda body: body.update(curve={"loss": ["high"]}), "curve"),
        ("steps", lambda body: body.update(facts={}), "seconds"),
        ("steps", lambda body: body["tensors"].clear(), "do not name"),
        ("steps", lambda body: body["tensors"]["checkpoint"].update(bytes=1), "bytes"),
        ("steps", lambda body: body["network"]["network"].update(name="os:system"), "names code .* os:system"),
        ("probes", lambda body: body.update(values={"test_accuracy": [1]}), "values"),
        ("probes", lambda body: body.update(layers=[]), "layers"),
        ("probes", lambda body: body.update(values=dict.fromkeys(body["values"], "high")), "no table can be made"),
        ("studies", lambda body: body["rows"].clear(), "rows"),
        ("studies", lambda body: body["rows"][0].update(node="0" * 32), "another study"),
        ("studies", lambda body: body["rows"][0]["coordinates"].update(seed="many"), "another study"),
        ("studies", lambda body: body.update(name="../x"), "another study"),
        ("studies", lambda body: body.update(spec="{"), "not valid YAML"),
        ("studies", lambda body: body.update(about={"paper": 3}), "paper"),
        ("studies", lambda body: body.update(further=1), "not what this overparam writes"),
    ],
)
def test_numbers_of_another_form(kind: str, change: Any, match: str, packed: Path, tmp_path: Path) -> None:
    content = members(packed)
    key = [name for name in content if name.startswith(kind) and name.endswith(".json")][-1]
    content[key] = resealed(change)(key, content[key])
    refused(written(tmp_path / "bad.zip", content), tmp_path / "runs", match)


def test_another_networks_code_is_allowed_by_name_only(packed: Path, tmp_path: Path) -> None:
    content = members(packed)
    for key in [name for name in content if name.startswith("steps") and name.endswith(".json")]:
        content[key] = resealed(lambda body: body["network"]["network"].update(name="os:system"))(key, content[key])
    bad = written(tmp_path / "bad.zip", content)
    refused(bad, tmp_path / "runs", "allow that")
    assert unpack(Store(tmp_path / "runs"), bad, own_code=True).new == 8


def test_a_constraint_that_would_be_imported(packed: Path, tmp_path: Path) -> None:
    content = members(packed)
    weights = next(name for name in content if name.endswith(".safetensors"))
    start, _, end = weights.split(".")
    body = content.pop(weights)
    length = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["overparam"])
    next(iter(facts["constraints"].values()))["kind"] = "antigravity:fly"
    header["__metadata__"]["overparam"] = json.dumps(facts)
    told = json.dumps(header).encode()
    other = len(told).to_bytes(8, "little") + told + body[8 + length :]
    content[f"{start}.{checksum(other)}.{end}"] = other
    about = {"checkpoint": {"bytes": len(other), "checksum": checksum(other)}}
    content[f"{start}.json"] = resealed(lambda b: b.update(tensors=about))(f"{start}.json", content[f"{start}.json"])
    refused(written(tmp_path / "bad.zip", content), tmp_path / "runs", "antigravity:fly")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_bit_that_fell_over(place: float, bit: int, store: Store, packed: Path, tmp_path: Path) -> None:
    """Either it is noticed, and nothing is written, or it stood where nothing was said, and all is as it was."""
    content = bytearray(packed.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path, into = tmp_path / "bad.zip", tmp_path / "runs"
    path.write_bytes(content)
    shutil.rmtree(into, ignore_errors=True)
    try:
        unpack(Store(into), path)
    except StoreError:
        assert not results_in(into)
    else:
        assert results_in(into) == results_in(store.root)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(length=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off(length: float, packed: Path, tmp_path: Path) -> None:
    content = packed.read_bytes()
    (tmp_path / "bad.zip").write_bytes(content[: int(length * len(content))])
    with pytest.raises(StoreError):
        unpack(Store(tmp_path / "runs"), tmp_path / "bad.zip")
    assert not results_in(tmp_path / "runs")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    names=st.lists(
        st.one_of(
            st.text(min_size=1, max_size=60),
            st.from_regex(r"(steps|probes)/[0-9a-f]{2}/[0-9a-f.]{30,40}(json|safetensors)", fullmatch=True),
        ),
        max_size=4,
    )
)
def test_an_archive_of_anything(names: list[str], tmp_path: Path) -> None:
    """Names of any kind raise nothing but a sentence."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in dict.fromkeys(names):
            try:
                archive.writestr(name, b"{}")
            except (UnicodeEncodeError, ValueError):
                continue
    (tmp_path / "any.zip").write_bytes(buffer.getvalue())
    with pytest.raises(StoreError):
        Archive(tmp_path / "any.zip", MOST_BYTES)
