"""Weight files that a user downloaded by other means: recognised by content, put in place."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsapp_brainage import io
from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.cards import ModelCard, bundled_folder, load_card
from bidsapp_brainage.model.weights.files import WeightFile, weight_fault


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes
    ----------
    card : ModelCard
        In its new place.
    placed : tuple of (Path, Path)
        Each file of the user, and where its copy lies now.
    missing : tuple of str
        Names of the card's weights that are still not there.
    """

    card: ModelCard
    placed: tuple[tuple[Path, Path], ...]
    missing: tuple[str, ...]


def import_weights(
    card: ModelCard, files: Sequence[Path], folder: Path, *, accept_licence: bool = False
) -> Imported:
    """Copy weight files to where a card expects them, byte by byte.

    A file is recognised by its content, whatever its name is. Nothing is copied unless every file
    belongs to the card.

    Parameters
    ----------
    card : ModelCard
    files : sequence of Path
    folder : Path
        Of fetched models: one that came with the app gets a folder of its name there. The
        weights of any other card go beside it.
    accept_licence : bool
        Whether the user accepts a non-commercial licence.

    Raises
    ------
    UsageError
        A file does not exist, or the licence is non-commercial and was not accepted.
    ResourceError
        A file is none of those on the card, or the place cannot be written to.
    """
    if card.non_commercial and not accept_licence:
        raise UsageError(
            f"Model {card.name} is under a non-commercial licence: {card.licence}. "
            "If you accept it, add `accept_licence`."
        )
    chosen = [(Path(file), _recognised(card, Path(file))) for file in files]
    shipped = card.folder == bundled_folder()
    place = folder / card.name if shipped else card.folder
    placed = []
    try:
        for file, weight in chosen:
            final = place / weight.path.name
            if not (final.exists() and final.samefile(file)):
                with io.atomic_path(final) as temporary:
                    shutil.copyfile(file, temporary)
            placed.append((file, final))
        if shipped:
            io.write_json(place / f"{card.name}.json", card.raw)
            card = load_card(place / f"{card.name}.json")
    except OSError as error:
        raise ResourceError(
            f"Model {card.name} cannot be kept in {place}: {error}. Give another `models_dir`."
        ) from error
    missing = tuple(w.path.name for w in card.weights if not w.path.is_file())
    return Imported(card, tuple(placed), missing)


def _recognised(card: ModelCard, file: Path) -> WeightFile:
    """The entry of the card that a file is."""
    if not file.is_file():
        raise UsageError(f"{file} does not exist, or is no file.")
    faults = {}
    for weight in card.weights:
        if not (fault := weight_fault(weight, file)):
            return weight
        faults[weight.path.name] = fault
    named = {file.name: faults[file.name]} if file.name in faults else faults
    reasons = "; ".join(f"as {name}: {fault}" for name, fault in named.items())
    raise ResourceError(
        f"{file} is no weight file of model card {card.name} ({reasons}). Nothing was copied, and "
        "files are never converted: download the very file that the card names "
        f"(brainage-model show {card.name}), or write a card for this one."
    )
