"""What a page carries compressed: text as gzip in base64, which the browser unpacks."""

from __future__ import annotations

import base64
import contextlib
import gzip
import zlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from overparam.errors import SpecError
from overparam.files import write_file
from overparam.folders import writable_cache_folder
from overparam.report.figures import vega_lite_version


def packed(text: str) -> str:
    """Return a text as gzip in base64, the same bits for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


@lru_cache(maxsize=1)
def library() -> str:
    """Return Vega-Embed with Vega and Vega-Lite in it as one packed script (0.4 MB), from the vl-convert package.

    Bundling takes seconds, so it is kept in the cache folder.
    """
    kept = writable_cache_folder() / f"vega-{vega_lite_version()}-{version('vl-convert-python')}.js.gz"
    try:
        packet = kept.read_bytes()
        whole = bool(gzip.decompress(packet))  # which checks it
    except (OSError, EOFError, zlib.error):
        whole = False
    if not whole:
        import vl_convert

        script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_lite_version())
        packet = gzip.compress(script.encode(), 9, mtime=0)
        _keep(kept, packet)
    return base64.b64encode(packet).decode()


def _keep(path: Path, packet: bytes) -> None:
    with contextlib.suppress(SpecError):  # a full disk costs the next page its seconds
        write_file(path, packet)
