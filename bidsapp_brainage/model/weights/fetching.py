"""Download of weights that a card describes: resumed, verified, never half there."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from bidsapp_brainage import __version__, io
from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.cards import ModelCard, load_card
from bidsapp_brainage.model.weights.files import WeightFile, weight_fault

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with (file, bytes there, bytes in all or None)."""

_BLOCK = 1 << 16
_TIMEOUT_S = 60.0
_PARTIAL = ".part"


def fetch(
    card: ModelCard,
    folder: Path,
    *,
    accept_licence: bool = False,
    progress: Progress | None = None,
) -> ModelCard:
    """Download what is missing of a model's weights, and put the card beside them.

    Files that are there already are verified and kept. An interrupted download leaves
    ``<file>.part``, from which the next call goes on where the server allows it. Proxies are
    those of the environment (``https_proxy`` ...).

    Parameters
    ----------
    card : ModelCard
    folder : Path
        The model gets a folder of its name in it.
    accept_licence : bool
        Whether the user accepts a non-commercial licence.
    progress : callable, optional

    Returns
    -------
    ModelCard
        The card in its new place.

    Raises
    ------
    UsageError
        The licence is non-commercial and was not accepted.
    ResourceError
        A file has no address, cannot be downloaded, or is not the one on the card.
    """
    if card.non_commercial and not accept_licence:
        raise UsageError(
            f"Model {card.name} is under a non-commercial licence: {card.licence}. "
            "If you accept it, add `accept_licence`."
        )
    place = Path(folder) / card.name
    try:
        place.mkdir(parents=True, exist_ok=True)
        for weight in card.weights:
            _fetch_file(card, weight, place / weight.path.name, progress)
        io.write_json(place / f"{card.name}.json", card.raw)
    except OSError as error:
        raise ResourceError(
            f"Model {card.name} cannot be kept in {place}: {error}. Give another `models_dir`."
        ) from error
    return load_card(place / f"{card.name}.json")


def _fetch_file(
    card: ModelCard, weight: WeightFile, final: Path, progress: Progress | None
) -> None:
    if final.is_file():
        if not (fault := weight_fault(weight, final)):
            return
        raise ResourceError(
            f"{final} is there but is not the file of model card {card.name}: {fault}. "
            "Remove it and fetch again."
        )
    if weight.url is None:
        raise ResourceError(
            f"Model card {card.name} has no address for {final.name}: there is nothing to fetch. "
            f"Copy the file to {final} if you have it."
        )
    partial = final.with_name(final.name + _PARTIAL)
    _download(weight, partial, progress)
    if fault := weight_fault(weight, partial):
        partial.unlink()
        raise ResourceError(
            f"What {weight.url} gave is not the file of model card {card.name}: {fault}. "
            "It was removed. The file may have been changed by its authors, or on the way."
        )
    partial.replace(final)


def _download(weight: WeightFile, partial: Path, progress: Progress | None) -> None:
    assert weight.url is not None
    start = partial.stat().st_size if partial.is_file() else 0
    if start and start == weight.size:
        return
    try:
        with _open(weight.url, start) as response:
            resumed = start > 0 and response.status == http.HTTPStatus.PARTIAL_CONTENT
            done = start if resumed else 0
            length = response.headers.get("Content-Length")
            total = weight.size if length is None else done + int(length)
            with partial.open("ab" if resumed else "wb") as stream:
                while block := response.read(_BLOCK):
                    stream.write(block)
                    done += len(block)
                    if progress is not None:
                        progress(partial.name.removesuffix(_PARTIAL), done, total)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return  # nothing is left to send; the checksum tells whether this is the file
        raise ResourceError(f"{weight.url} cannot be fetched: {error}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise ResourceError(
            f"The download of {weight.url} broke off ({error}): call fetch again, it goes on "
            "where it stopped. Behind a proxy set https_proxy."
        ) from error
    if total is not None and done < total:
        raise ResourceError(
            f"The download of {weight.url} broke off after {done} of {total} bytes: call fetch "
            "again, it goes on where it stopped."
        )


def _open(url: str, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"bidsapp-brainage/{__version__}"}
    if "/git/blobs/" in url:  # GitHub then sends the bytes, else JSON about them
        headers["Accept"] = "application/vnd.github.raw+json"
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
