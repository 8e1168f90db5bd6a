from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import struct
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from overparam.errors import DataError
from overparam.worlds import cache_folder, data_folders, files, load_dataset
from overparam.worlds.builtin import FILES
from overparam.worlds.files import RemoteFile

NAMES = [file.name for file in FILES["mnist"]]


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def mnist_files(seed: int = 0) -> dict[str, bytes]:
    """Four small files in MNIST's form, not compressed."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape, top in zip(NAMES, [(12, 4, 4), (12,), (5, 4, 4), (5,)], [256, 10, 256, 10], strict=True):
        made[name] = idx(rng.integers(0, top, shape, np.uint8))
    return made


def write(folder: Path, contents: dict[str, bytes], packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / (name if packed else name.removesuffix(".gz"))
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


class Server:
    """A server on the loopback interface: what it has, and what was asked for."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.cut = False
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                content = outer.contents.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write((content or b"")[: 10 if outer.cut else None])

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def serve(self, folder: str, contents: dict[str, bytes]) -> None:
        self.contents |= {f"/{folder}/{name}": gzip.compress(content) for name, content in contents.items()}

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def public(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """MNIST's addresses are two folders of the server, and its checksums those of the small files."""
    folders = (f"{server.url}/first/", f"{server.url}/second/")
    monkeypatch.setitem(
        FILES,
        "mnist",
        [RemoteFile(name, hashlib.sha256(content).hexdigest(), folders) for name, content in mnist_files().items()],
    )
    return server


def cached() -> list[str]:
    folder = cache_folder() / "mnist"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_registered_files_say_where_they_are_and_what_they_hold() -> None:
    for dataset, remote in FILES.items():
        for file in remote:
            assert len(bytes.fromhex(file.sha256)) == 32, dataset
            assert file.folders
            assert all(folder.startswith("http") and folder.endswith("/") for folder in file.folders)


def test_order_of_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.DATA, os.pathsep.join([str(tmp_path / "b"), "", str(tmp_path / "c")]))
    monkeypatch.setattr(files, "SYSTEM_FOLDERS", (tmp_path / "system",))
    assert data_folders(tmp_path / "a") == [tmp_path / name for name in ("a", "b", "c", "system")]
    places = ["a/mnist", "a", "b/mnist", "b", "c/mnist", "c", "system/mnist", "system", "cache/mnist"]
    digests = []
    for number, place in reversed(list(enumerate(places))):  # each new place comes before those filled so far
        write(tmp_path / place, mnist_files(number))
        digests.append(_fresh(tmp_path / "a"))
    assert len(set(digests)) == len(places)


def _fresh(folder: Path | None = None) -> str:
    """Load MNIST anew, past the memory of the process."""
    from overparam.worlds.builtin import mnist

    return mnist(folder).digest()


def test_compressed_or_not_is_the_same_data(tmp_path: Path) -> None:
    one = load_dataset("mnist", write(tmp_path / "one", mnist_files()))
    other = load_dataset("mnist", write(tmp_path / "other/mnist", mnist_files(), packed=False).parent)
    assert one.digest() == other.digest()
    assert one.train_inputs.shape == (12, 1, 4, 4)
    assert one.classes == 10


def test_a_dataset_is_read_once_per_process(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", mnist_files())
    assert load_dataset("mnist", folder) is load_dataset("mnist", folder)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        folder = write(tmp_path / str(number), mnist_files())
        path = folder / name
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(DataError, match=f"{name}: cannot be read .* replace the file"):
            load_dataset("mnist", folder)
    folder = write(tmp_path / "count", mnist_files() | {NAMES[1]: idx(np.zeros(11, np.uint8))})
    with pytest.raises(DataError, match=f"{NAMES[1]}: 11 labels for 12 images"):
        load_dataset("mnist", folder)
    folder = write(tmp_path / "label", mnist_files() | {NAMES[3]: idx(np.full(5, 10, np.uint8))})
    with pytest.raises(DataError, match=r"labels must be in \[0, 10\)"):
        load_dataset("mnist", folder)
    folder = write(tmp_path / "swapped", mnist_files() | {NAMES[0]: mnist_files()[NAMES[1]]})
    with pytest.raises(DataError, match=f"{NAMES[0]}: not an IDX file"):
        load_dataset("mnist", folder)


def test_download(public: Server) -> None:
    public.serve("first", mnist_files())
    data = load_dataset("mnist")
    assert data.train_inputs.numpy().tobytes() == mnist_files()[NAMES[0]][16:]
    assert public.asked == [f"/first/{name}" for name in NAMES]
    assert cached() == sorted(NAMES)
    assert _fresh() == data.digest()
    assert len(public.asked) == 4


def test_the_second_address_serves_what_the_first_does_not(public: Server) -> None:
    public.serve("first", mnist_files(seed=1))  # of the right form, but other data
    public.serve("second", mnist_files())
    data = load_dataset("mnist")
    assert data.train_inputs.numpy().tobytes() == mnist_files()[NAMES[0]][16:]
    assert len(public.asked) == 8


def test_a_mirror_replaces_the_addresses(public: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    public.serve("first", mnist_files())
    public.serve("mine/mnist", mnist_files())
    monkeypatch.setenv(files.MIRROR, f"{public.url}/mine/")
    load_dataset("mnist")
    assert public.asked == [f"/mine/mnist/{name}" for name in NAMES]


def test_the_checksum_of_an_archive_is_that_of_the_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz"):
        pass
    packed, name = buffer.getvalue(), "cifar-10-python.tar.gz"
    server.contents[f"/{name}"] = packed
    remote = RemoteFile(name, hashlib.sha256(packed).hexdigest(), (f"{server.url}/",))
    monkeypatch.setitem(FILES, "cifar-10", [remote])
    with pytest.raises(DataError, match="lacks the CIFAR-10 batches data_batch_1, "):
        load_dataset("cifar-10")
    assert (cache_folder() / "cifar-10" / name).read_bytes() == packed


def test_a_wrong_checksum_is_refused_and_the_file_removed(public: Server) -> None:
    public.serve("first", mnist_files(seed=1))
    with pytest.raises(DataError, match=r"wrong checksum: SHA-256 \w+ and not .*the server answered 404") as told:
        load_dataset("mnist")
    assert cached() == []
    for hint in ("looked in", str(cache_folder()), "/first/train-images", "/second/", "OVERPARAM_DATA"):
        assert hint in str(told.value)


def test_a_transfer_cut_short_is_refused(public: Server) -> None:
    public.serve("first", mnist_files())
    public.cut = True
    with pytest.raises(DataError, match=r"tried to download http://127.0.0.1:\d+/first/train-images"):
        load_dataset("mnist")
    assert cached() == []


def test_a_download_goes_on_where_it_stopped(public: Server) -> None:
    all_files = mnist_files()
    public.serve("first", {name: all_files[name] for name in NAMES[:2]})
    with pytest.raises(DataError, match=f"cannot find {NAMES[2]} of the dataset 'mnist'"):
        load_dataset("mnist")
    assert cached() == sorted(NAMES[:2])
    public.serve("first", all_files)
    public.asked.clear()
    load_dataset("mnist")
    assert public.asked == [f"/first/{name}" for name in NAMES[2:]]


def test_no_connection(public: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public.close()
    monkeypatch.setenv(files.DATA, str(tmp_path / "mine"))
    with pytest.raises(DataError, match=r"looked in \S+mine/mnist, \S+mine, .*\(no connection\)"):
        load_dataset("mnist")
    monkeypatch.setenv(files.MIRROR, "no-address")
    with pytest.raises(DataError, match=r"no-address/mnist/train-images-idx3-ubyte.gz \(MissingSchema\)"):
        load_dataset("mnist")


def test_a_cache_that_cannot_be_written_costs_time_only(
    public: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public.serve("first", mnist_files())
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(files.CACHE, str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"cannot write to the cache folder .*file/mnist \(.*OVERPARAM_CACHE"):
        data = load_dataset("mnist")
    assert data.train_inputs.numpy().tobytes() == mnist_files()[NAMES[0]][16:]


def test_a_full_cache_costs_time_only(public: Server) -> None:
    public.serve("first", mnist_files())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.warns(UserWarning, match=r"cannot write to the cache folder"):
            data = load_dataset("mnist")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert data.train_inputs.numpy().tobytes() == mnist_files()[NAMES[0]][16:]
    assert NAMES[0] not in cached()


def test_a_damaged_file_in_the_cache_is_downloaded_again(public: Server) -> None:
    public.serve("first", mnist_files())
    write(cache_folder() / "mnist", {NAMES[0]: mnist_files(seed=1)[NAMES[0]]})
    (cache_folder() / "mnist" / NAMES[1]).write_bytes(b"damaged")
    data = load_dataset("mnist")
    assert data.train_inputs.numpy().tobytes() == mnist_files()[NAMES[0]][16:]
    assert data.remarks == ()


# what files are, by checksum


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST's and Fashion-MNIST's files have the checksums of small ones, of seeds 0 and 1."""
    for seed, name in enumerate(("mnist", "fashion-mnist")):
        remote = [RemoteFile(n, hashlib.sha256(c).hexdigest(), ("http://x/",)) for n, c in mnist_files(seed).items()]
        monkeypatch.setitem(FILES, name, remote)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("packed", [True, False])
def test_files_of_another_dataset_are_refused(tmp_path: Path, packed: bool) -> None:
    folder = write(tmp_path / "x", mnist_files(), packed)
    assert load_dataset("mnist", folder).remarks == ()
    with pytest.raises(DataError, match=rf"x/{NAMES[0][:-3]}.*: has the content of {NAMES[0]} of the dataset 'mnist'"):
        load_dataset("fashion-mnist", folder)
    write(folder, {name: mnist_files(1)[name] for name in NAMES[:3]}, packed)
    with pytest.raises(DataError, match=rf"{NAMES[3][:-3]}.*: has the content .* the dataset 'mnist'"):
        load_dataset("fashion-mnist", folder)


@pytest.mark.usefixtures("published")
def test_test_files_in_the_place_of_training_files_are_refused(tmp_path: Path) -> None:
    mine = mnist_files()
    folder = write(tmp_path / "x", {**mine, NAMES[0]: mine[NAMES[2]], NAMES[1]: mine[NAMES[3]]})
    with pytest.raises(DataError, match=rf"has the content of {NAMES[2]} of .* cannot be {NAMES[0]} of 'mnist'"):
        load_dataset("mnist", folder)


@pytest.mark.usefixtures("published")
def test_unknown_files_are_used_and_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", {**mnist_files(), NAMES[2]: mnist_files(5)[NAMES[2]]})
    data = load_dataset("mnist", folder)
    assert data.remarks == (f"not the published files, by their checksums, but used as they are: {folder / NAMES[2]}",)
    assert data.digest() != load_dataset("mnist", write(tmp_path / "y", mnist_files())).digest()


def test_the_cache_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(files.CACHE)
    assert cache_folder().is_absolute()
    assert "overparam" in cache_folder().parts
