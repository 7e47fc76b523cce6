"""The style sheet, the script and the icon: three small files, read once.

Their addresses carry the SHA-256 of their bytes, so that browsers may keep them for ever and never show an old one.

This module is the only one that reads ``web/static``.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Assets:
    """The files of ``folder`` by name."""

    def __init__(self, folder: Path | None = None) -> None:
        found = sorted((folder or Path(__file__).parent / "static").iterdir())
        self._files = {path.name: path.read_bytes() for path in found if path.suffix in _TYPES}
        self._marks = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in self._files.items()}

    def address(self, name: str) -> str:
        """Where a browser finds the file, for a template."""
        return f"/static/{name}?v={self._marks[name]}"

    def routes(self) -> list[HTTPRouteHandler]:
        """``GET /static/<name>``."""

        @get("/static/{name:str}", sync_to_thread=False)
        def asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
            data = self._files.get(name)
            if data is None:
                raise NotFoundException
            mark = f'"{self._marks[name]}"'
            is_current = request.query_params.get("v") == self._marks[name]
            keep = "public, max-age=31536000, immutable" if is_current else "no-cache"
            headers = {"etag": mark, "cache-control": keep}
            if mark in request.headers.get("if-none-match", ""):
                return Response(b"", status_code=304, headers=headers)
            return Response(data, media_type=_TYPES[Path(name).suffix], headers=headers)

        return [asset]
