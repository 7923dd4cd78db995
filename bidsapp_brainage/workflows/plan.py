"""What the participant workflows need to know, found out once before any of them is built."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.names import bids_uri, derivative_path
from bidsapp_brainage.settings import explanations

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.registry import Atlas
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.settings import Baseline, Processing, Resources, Settings, SkullStrip

LOGGER = logging.getLogger("bidsapp_brainage")
WORKFLOW_NAME = "bidsapp_brainage_wf"
#: Methods of explanation that are no occlusion.
ATTRIBUTIONS = ("lrp", "ig", "noise")


@dataclass(frozen=True)
class Compute:
    """How a network is run.

    Attributes
    ----------
    device : str
        ``cpu`` or ``cuda:N``.
    batch_size : int or None
        Occluded volumes per forward pass; None lets the engine choose.
    n_threads : int
        Threads of one stage.
    n_gpus : int
        How many devices, from `device` on, the scans are spread over.
    """

    device: str = "cpu"
    batch_size: int | None = None
    n_threads: int = 1
    n_gpus: int = 1

    @property
    def use_gpu(self) -> bool:
        """Whether nipype must count a GPU slot."""
        return self.device != "cpu"

    def for_scan(self, place: int) -> Compute:
        """The same with the device of the scan in this place of the order."""
        if not self.use_gpu or self.n_gpus < 2:
            return self
        first = int(self.device.partition(":")[2] or 0)
        return replace(self, device=f"cuda:{first + place % self.n_gpus}")


@dataclass(frozen=True)
class Explanation:
    """How predictions are explained.

    Attributes
    ----------
    methods : tuple of str
        Of ``--explain``; empty without explanation.
    baselines : tuple of {"background", "mean", "blur", "template"}
        What replaces a region; the first is that of the main table.
    null_parcels : int
        Random parcels of each size that regions are compared with.
    cube_mm : float
        Edge of the cubes.
    permutations : int
        Orders of regions for Shapley values.
    seed : int
        Of parcels and orders.
    """

    methods: tuple[str, ...] = ("occlusion",)
    baselines: tuple[Baseline, ...] = ("background", "blur")
    null_parcels: int = 50
    cube_mm: float = 8.0
    permutations: int = 20
    seed: int = 0

    @property
    def extra(self) -> tuple[str, ...]:
        """Methods beyond the occlusion of regions."""
        return tuple(method for method in self.methods if method != "occlusion")

    @property
    def attributions(self) -> tuple[str, ...]:
        """Methods of other families."""
        return tuple(method for method in self.methods if method in ATTRIBUTIONS)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that the explanation makes beside that of the regions."""
        several = len(self.baselines) + len(self.attributions) > 1
        compared = ("agreement",) if several else ()
        rest = tuple(method for method in self.extra if method != "cubes")
        return ("groups", "baselines", "controls", *compared, *rest)

    @property
    def maps(self) -> tuple[str, ...]:
        """Maps on the network's grid that the explanation makes beside that of the regions."""
        cubes = ("cubes",) if "cubes" in self.methods else ()
        return (*cubes, *(f"{method}_map" for method in self.attributions))

    @classmethod
    def of(cls, processing: Processing) -> Explanation:
        """Choices of a run."""
        return cls(
            methods=tuple(explanations(processing)),
            baselines=processing.occlusion_baseline,
            null_parcels=processing.null_parcels,
            cube_mm=processing.cube_mm,
            permutations=processing.shapley_permutations,
            seed=processing.random_seed,
        )


@dataclass(frozen=True)
class RunPlan:
    """Resources and choices of one run, checked and located.

    Attributes
    ----------
    output_dir, work_dir : Path
        Root of the derivatives; scratch folder.
    card, card_path : ModelCard, Path
        The model.
    template : TemplateFiles
        The model's template.
    atlas : Atlas or None
        None leaves out the explanation.
    atlas_table : Path or None
        Label table of the atlas as TSV.
    atlas_template : TemplateFiles or None
        Template of the atlas where it is another one than the model's.
    grid : Path
        Empty image on the network's input grid.
    extra_templates : tuple of TemplateFiles
        ``--output-spaces``.
    explanation : Explanation
        What is done with the atlas.
    """

    output_dir: Path
    work_dir: Path
    card: ModelCard
    card_path: Path
    template: TemplateFiles
    grid: Path
    atlas: Atlas | None = None
    atlas_table: Path | None = None
    atlas_template: TemplateFiles | None = None
    extra_templates: tuple[TemplateFiles, ...] = ()
    skull_strip: SkullStrip = "auto"
    explanation: Explanation = Explanation()
    bias_correction: str = "model"
    sloppy: bool = False
    seed: int = 0
    compute: Compute = Compute()
    run_uuid: str = "run"

    @property
    def model_label(self) -> str:
        """Label of the model in file names."""
        return self.card.name

    @property
    def model_resolution(self) -> str:
        """``res-`` label of the network's grid."""
        return spacing_label(float(self.card.input["resolution_mm"]))

    @property
    def atlas_entities(self) -> dict[str, Any]:
        """Entities that name the atlas; empty without atlas."""
        if self.atlas is None:
            return {}
        scale = self.atlas.scale
        return {
            "atlas": self.atlas.name,
            "seg": self.atlas.seg,
            "scale": None if scale is None else str(scale),
        }

    @property
    def provenance(self) -> dict[str, Any]:
        """What every table's sidecar says about its origin."""
        from bidsapp_brainage.model.cards import file_sha256

        card = self.card
        return {
            "Model": {
                "Name": card.name,
                "Version": card.version,
                "WeightsSHA256": [
                    weight.sha256 or file_sha256(weight.path) for weight in card.weights
                ],
                "AgeRange": list(card.age_range),
                "License": card.licence,
                **_cohort(card),
            },
            "Software": {"Name": "bidsapp_brainage", "Version": __version__},
            "BiasCorrection": self.bias_correction.split("/")[-1],
            "Device": self.compute.device.split(":")[0],
        }


def _cohort(card: ModelCard) -> dict[str, Any]:
    """The people that the model was trained on, as far as the card tells."""
    trained = {
        "Name": card.training.get("cohort"),
        "NumberOfPeople": card.training.get("n_people"),
        "AgeMean": card.training.get("age_mean"),
        "AgeSD": card.training.get("age_sd"),
    }
    facts = {"TrainingCohort": {key: value for key, value in trained.items() if value is not None}}
    line = card.bias_correction
    if line is not None and line.residual_sd is not None:
        facts["ExpectedPrediction"] = {
            "Slope": line.slope,
            "Intercept": line.intercept,
            "ResidualSD": line.residual_sd,
            "Source": line.source,
        }
    return {key: value for key, value in facts.items() if value}


@dataclass(frozen=True)
class Destination:
    """Where the outputs of one scan go.

    Attributes
    ----------
    output_dir : Path
        Root of the derivatives.
    entities : tuple of (str, str)
        Of the scan; empty for files about no participant.
    source : str
        BIDS URI of the raw image.
    """

    output_dir: Path
    entities: tuple[tuple[str, str], ...] = ()
    source: str = ""

    def path(self, *, suffix: str, extension: str = ".nii.gz", **more: Any) -> Path:
        """Path of one output."""
        return derivative_path(
            self.output_dir, self.entities, suffix=suffix, extension=extension, **more
        )

    def uri(self, *, suffix: str, extension: str = ".nii.gz", **more: Any) -> str:
        """BIDS URI of one output."""
        return bids_uri(self.path(suffix=suffix, extension=extension, **more), self.output_dir)


def make_plan(settings: Settings, home: Path) -> RunPlan:
    """Find and check everything that the run needs, before any image is touched.

    Parameters
    ----------
    settings : Settings
    home : Path
        TemplateFlow home, already in ``TEMPLATEFLOW_HOME``.

    Raises
    ------
    UsageError, ResourceError, DataError
        A model, weight, template, atlas or device that is missing or unusable.
    """
    from bidsapp_brainage.atlas.registry import load_atlas
    from bidsapp_brainage.atlas.templates import get_template
    from bidsapp_brainage.model import cards

    processing, resources = settings.processing, settings.resources
    card = cards.find_card(processing.model, processing.models_dir)
    _ = card.age_head  # a model of other things is refused here, not in the first node
    cards.verify_weights(card)
    cards.resolve_bias(processing.bias_correction, card)
    template = get_template(card.input["template"])
    atlas = None
    if chosen := explanations(processing):
        check_libraries(chosen)
        atlas = load_atlas(processing.atlas, atlases_dir=processing.atlases_dir, home=home)
    work_dir = settings.execution.work_dir.absolute() / WORKFLOW_NAME
    return RunPlan(
        output_dir=settings.output_dir.absolute(),
        work_dir=work_dir,
        card=card,
        card_path=card.folder / f"{card.name}.json",
        template=template,
        grid=_write_grid(card, template, work_dir),
        atlas=atlas,
        atlas_table=_write_atlas_table(atlas, work_dir),
        atlas_template=_foreign_template(atlas, template),
        extra_templates=_extra_templates(processing.output_spaces, template.name),
        skull_strip=processing.skull_strip,
        explanation=Explanation.of(processing),
        bias_correction=processing.bias_correction,
        sloppy=processing.sloppy,
        seed=processing.random_seed,
        compute=_compute(resources),
        run_uuid=settings.execution.run_uuid or "run",
    )


def check_libraries(methods: Iterable[str]) -> None:
    """Miss a library before any image is touched.

    Parameters
    ----------
    methods : iterable of str
        Of ``--explain``.

    Raises
    ------
    MissingExecutableError
        A method needs a library that is not installed.
    """
    from bidsapp_brainage.explain.gradients import captum_attr

    for method in methods:
        if method in ("lrp", "ig"):
            captum_attr(method)


def spacing_label(spacing: float) -> str:
    """``res-`` label of a voxel size in mm: ``1``, ``2``, ``1p5``."""
    return f"{spacing:g}".replace(".", "p")


def image_spacing(path: Path) -> float:
    """Largest voxel edge of an image in mm, to a tenth."""
    import nibabel as nib

    return round(float(max(nib.load(path).header.get_zooms()[:3])), 1)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for this process and its children, and put them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _compute(resources: Resources) -> Compute:
    """Resolve the device and say which one it is."""
    from bidsapp_brainage.model.device import resolve_device

    device, message = resolve_device(resources.device)
    level = logging.WARNING if message.startswith("Warning") else logging.INFO
    LOGGER.log(level, message.removeprefix("Warning: "))
    return Compute(
        device,
        batch_size=1 if resources.low_mem else resources.batch_size,
        n_threads=resources.omp_nthreads,
        n_gpus=resources.n_gpus,
    )


def _foreign_template(atlas: Atlas | None, template: TemplateFiles) -> TemplateFiles | None:
    from bidsapp_brainage.atlas.templates import get_template

    if atlas is None or atlas.template == template.name:
        return None
    return get_template(atlas.template)


def _extra_templates(spaces: tuple[str, ...], model_template: str) -> tuple[TemplateFiles, ...]:
    """Templates of ``--output-spaces``, without the model's own; ``NAME[:res-N]``."""
    from bidsapp_brainage.atlas.templates import get_template

    found = {}
    for space in spaces:
        name, *modifiers = space.split(":")
        wanted = [part.removeprefix("res-") for part in modifiers if part.startswith("res-")]
        if name != model_template:
            resolution = int(wanted[0]) if wanted else None
            found[name] = get_template(name, resolution=resolution)
    return tuple(found.values())


def _write_atlas_table(atlas: Atlas | None, work_dir: Path) -> Path | None:
    """Write the label table where the nodes can read it; the content is in the name."""
    from bidsapp_brainage import io

    if atlas is None:
        return None
    digest = hashlib.sha256(atlas.table.to_csv(index=False).encode()).hexdigest()[:16]
    path = work_dir / "shared" / f"{digest}_dseg.tsv"
    io.write_tsv(path, atlas.table)
    return path


def _write_grid(card: ModelCard, template: TemplateFiles, work_dir: Path) -> Path:
    """Write an empty image on the card's grid, the reference for resampling.

    Where the network's box is centred on each brain, this one is centred on the template's.
    """
    import nibabel as nib
    import numpy as np

    from bidsapp_brainage import io
    from bidsapp_brainage.imaging.network_input import card_grid

    grid = card_grid(card.input)
    if card.input.get("crop", "fixed") == "brain":
        mask = io.load_nifti(template.mask)
        voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
        middle = mask.affine @ np.append((voxels.min(axis=0) + voxels.max(axis=0)) / 2, 1.0)
        affine = grid.affine.copy()
        affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
        grid = nib.Nifti1Image(np.asarray(grid.dataobj), affine)
    path = work_dir / "shared" / f"{card.name}_grid.nii.gz"
    io.save_nifti(grid, path)
    return path
