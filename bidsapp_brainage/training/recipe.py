"""What to train and how, as data: the card's fixed part and the optimiser's choices."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bidsapp_brainage import io
from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.options import Option, option, options_of

Loss = Literal["kl", "l1", "mse"]


@dataclass(frozen=True)
class Augmentation:
    """Bounds of the random changes made to training volumes (see ``augment.py``).

    Attributes
    ----------
    rotation_degrees, shift_voxels : float
        Largest rotation about, and shift along, each axis.
    log_scale : float
        Largest logarithm of the stretch along each axis.
    warp_voxels : float
        SD of a smooth random displacement.
    edge : float
        How far the mask's edge moves, as a change of the threshold (0.5) on the smoothed mask.
    curve : float
        SD of the logarithm of the slopes of the random intensity curve.
    bias_field : float
        SD of the logarithm of the smooth intensity field.
    noise : float
        Largest SD of the noise, in SDs of the brain's intensity.
    blur : float
        Largest weight of the smoothed image (0: none, 1: all).
    resolution : float
        Largest factor by which a volume is made coarser along one axis (1: none).
    atrophy : float
        Bound of a deformation like atrophy (wider ventricles and sulci) or its opposite, as the
        part by which the middle of the brain is stretched; for images in which fluid is dark.
    atrophy_years : float
        Years by which the age of a copy with the largest such deformation is raised; 0 keeps
        ages, so that the network learns to disregard the deformation.
    """

    rotation_degrees: float = 5.0
    shift_voxels: float = 1.5
    log_scale: float = 0.03
    warp_voxels: float = 0.6
    edge: float = 0.3
    curve: float = 0.35
    bias_field: float = 0.08
    noise: float = 0.15
    blur: float = 0.8
    resolution: float = 1.0
    atrophy: float = 0.0
    atrophy_years: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a training, but the data.

    Attributes
    ----------
    card : dict
        The fixed part of the model card: name, version, description, architecture, input,
        output, licence, citation.
    n_folds, seed : int
        Of the cross-validation; the shipped model is the ensemble of the folds' networks.
    scanner_column : str
        Column of the participants table that names the scanner: every scanner but the one with
        most people becomes a fold of its own, so that it is predicted by networks that never saw
        it. Empty: folds disregard scanners.
    n_seeds : int
        Networks per fold, alike but for their random numbers.
    epochs, batch_size : int
    learning_rate, weight_decay : float
        Of AdamW; the rate rises linearly in the first tenth and falls along a cosine.
    loss : str
        Of numbers: ``kl`` (divergence from soft labels over bins, Peng 2021), ``l1`` or ``mse``
        (of the mean of the bins, or of a scalar, in its unit). Classes take cross-entropy.
    label_sd : float
        SD (years) of the Gaussian that stands for a person's age (Peng 2021).
    mean_weight : float
        Weight of the absolute error of the mean age (in years) beside the loss.
    rank_weight, difference_weight : float
        Weights of the losses on ranks and on differences between people of a batch (Cheng 2021).
    refine_years : float
        Above 0, a second network learns to correct the first one's age, which it is told in steps
        of this many years (two stages, Cheng 2021).
    ema_decay : float
        Of the running average of the weights, which is what predicts.
    mixing : float
        Probability that a volume is mixed with one of another person of similar age; the age is
        mixed alike (C-Mixup, Yao 2022).
    mixing_years : float
        SD of the age difference of the two.
    copies : int
        Augmented copies per scan, made once and shared by all folds and epochs.
    validation_fraction : float
        Part of the training people (never of the test fold) held out for early stopping;
        0 trains for all epochs on everyone.
    patience : int
        Epochs without improvement on the validation people before stopping.
    bfloat16 : bool
        Mixed precision: convolve in bfloat16 (on a GPU, or a CPU with such units, twice as fast);
        weights stay float32.
    flip : bool
        Mirror half of the volumes left and right while training.
    freeze : int
        Blocks (a convolution or linear layer with its normalisation), counted from the input,
        that keep the weights they start with.
    unfreeze_every : int
        Epochs after which one more frozen block, the deepest first, is set free; 0: never.
    augmentation : Augmentation
    """

    card: dict[str, Any]
    n_folds: int = option(5, flags=("--folds",), help="of the cross-validation")
    seed: int = option(20250101, help="of all random numbers")
    scanner_column: str = option(
        "", metavar="NAME", help="leave out whole scanners, too: column that names them"
    )
    n_seeds: int = option(1, flags=("--seeds",), help="networks per fold")
    epochs: int = option(80, help="passes over the training people")
    batch_size: int = option(8, help="volumes per step")
    learning_rate: float = option(2e-3, metavar="RATE", help="largest, of AdamW")
    weight_decay: float = 1e-2
    loss: Loss = option("kl", help="of numbers")
    label_sd: float = 3.0
    mean_weight: float = 0.0
    rank_weight: float = option(0.0, metavar="WEIGHT", help="weight of the loss on ranks")
    difference_weight: float = option(
        0.0, metavar="WEIGHT", help="weight of the loss on differences of pairs"
    )
    refine_years: float = option(
        0.0,
        flags=("--refine",),
        metavar="YEARS",
        help="second stage that corrects an age rounded to YEARS",
    )
    ema_decay: float = 0.99
    mixing: float = 0.5
    mixing_years: float = 10.0
    copies: int = option(16, help="augmented copies per scan")
    validation_fraction: float = option(
        0.0, metavar="PART", help="of the training people, to stop early by"
    )
    patience: int = option(20, help="epochs without improvement before stopping")
    bfloat16: bool = True
    flip: bool = True
    freeze: int = option(0, help="blocks, counted from the input, that keep their weights")
    unfreeze_every: int = option(
        0, metavar="EPOCHS", help="free one frozen block, the deepest first, every so often"
    )
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Refuse what no training can do."""
        if self.loss not in get_args(Loss):
            raise ValueError(f"loss is one of {', '.join(get_args(Loss))}, not {self.loss!r}")
        small = [name for name in ("epochs", "batch_size", "n_seeds") if getattr(self, name) < 1]
        if small or self.n_folds < 2:
            raise ValueError(f"{', '.join(small) or 'n_folds'} is too small")

    @property
    def label(self) -> str:
        """The model's name, as in file names."""
        return str(self.card["name"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the network's input."""
        first, second, third = self.card["input"]["shape"]
        return int(first), int(second), int(third)

    def choices(self) -> dict[str, Any]:
        """Plain values of everything but the card."""
        facts = dataclasses.asdict(self)
        del facts["card"]
        return facts


def recipe_options() -> dict[str, Option]:
    """Fields of a recipe that the command line can change, by name."""
    return {item.name: item for item in options_of(Recipe, "training", "") if item.help}


def load_recipe(path: Path) -> Recipe:
    """Read a recipe: ``{"card": {...}, "training": {...}}``.

    Raises
    ------
    ResourceError
        The file is missing or no JSON, or a field is unknown or missing.
    """
    try:
        raw = io.parse_json(Path(path))
        training = dict(raw["training"])
        augmentation = Augmentation(**training.pop("augmentation", {}))
        return Recipe(card=raw["card"], augmentation=augmentation, **training)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResourceError(
            f"Recipe {path} cannot be used ({type(error).__name__}: {error}). "
            "docs/training.md lists its fields."
        ) from error


def bundled_recipe(name: str) -> Path:
    """Path of a recipe that comes with the package."""
    return Path(__file__).resolve().parent / "recipes" / f"{name}.json"
