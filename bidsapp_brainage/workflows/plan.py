"""What the participant workflows need to know, found out once before any of them is built."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.names import resolution_label
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.inputs.channels import channels
from bidsapp_brainage.model.specs import OWN_SPACE, needs_segmentation, sees_raw_images
from bidsapp_brainage.settings import (
    FAST_MODEL,
    Processing,
    explanations,
    method_options,
    participant_correction,
    spaces,
)

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.registry import Atlas
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.bids.collect import Wanted
    from bidsapp_brainage.catalogue.cards import Method, Output
    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.segmentation.card import SegmentationCard
    from bidsapp_brainage.settings import Resources, Settings, SkullStrip

LOGGER = logging.getLogger("bidsapp_brainage")
WORKFLOW_NAME = "bidsapp_brainage_wf"
_SEGMENTED_TEMPLATES = "MNI152"


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

    @property
    def n_procs(self) -> int:
        """Processors of a stage that runs the network."""
        return 1 if self.use_gpu else self.n_threads

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
    processing : Processing
        Choices of the run.
    n_inputs : int
        Images, or parts of the brain, that the model sees.
    """

    processing: Processing = field(default_factory=Processing)
    n_inputs: int = 1

    @property
    def methods(self) -> tuple[Method, ...]:
        """Cards of the methods that run; none without explanation."""
        chosen = explanations(self.processing)
        attributions = [card for card in lookup.methods("attribution") if card.key in chosen]
        several = len(self.processing.occlusion_baseline) + len(attributions) > 1
        return tuple(
            card
            for card in METHODS
            if card.key in chosen
            or (chosen and card.chosen == "automatic" and card.fits(self.n_inputs)
                and (several or card.inputs == "several"))
        )  # fmt: skip

    @property
    def fill(self) -> str:
        """What replaces regions in the main table and the maps, in words for reports."""
        return lookup.baseline_title(self.processing.occlusion_baseline[0])

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Tables and maps that the methods make."""
        return tuple(output for card in self.methods for output in card.outputs)

    @property
    def fields(self) -> tuple[str, ...]:
        """What the workflow of the explanation hands out."""
        return ("labels_t1w", "map_grid", "map_t1w", *(output.key for output in self.outputs))

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """What each method reads beyond the common choices."""
        return {card.key: method_options(self.processing, card.key) for card in self.methods}

    def choices(self, method: Method) -> dict[str, Any]:
        """What the results of a method depend on beside image, model and atlas, for sidecars."""
        processing = self.processing
        choices: dict[str, Any] = {
            "Method": method.title,
            "Baselines": list(processing.occlusion_baseline),
            "NullParcels": processing.null_parcels,
            "RandomSeed": processing.random_seed,
        }
        if options := self.options[method.key]:
            choices["Options"] = options
        if method.reads_others:
            choices["Methods"] = [card.title for card in self.methods if card.is_read]
        return choices


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
        The model's template; the embedded one, which nothing reads, for a model of raw images.
    atlas : Atlas or None
        None leaves out the explanation.
    atlas_table : Path or None
        Label table of the atlas as TSV.
    atlas_template : TemplateFiles or None
        Template of the atlas where it is another one than the model's.
    grid : Path
        Empty image on the network's input grid.
    segmentation : SegmentationCard or None
        None leaves it out.
    segmentation_images : bool
        Whether it makes images in T1w space.
    extra_templates : tuple of TemplateFiles
        ``--output-spaces``.
    explanation : Explanation
        What is done with the atlas.
    fast_card : ModelCard or None
        Model of raw images that checks the prediction; None leaves out the check.
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
    segmentation: SegmentationCard | None = None
    segmentation_images: bool = True
    extra_templates: tuple[TemplateFiles, ...] = ()
    skull_strip: SkullStrip = "auto"
    explanation: Explanation = field(default_factory=Explanation)
    fast_card: ModelCard | None = None
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
        return resolution_label(float(self.card.input["resolution_mm"]))

    @property
    def grid_labels(self) -> dict[str, str]:
        """Entities of images on the network's grid."""
        own = self.card.input.get("template") == OWN_SPACE
        space = OWN_SPACE if own else self.template.name
        res = self.model_resolution
        return {"model": self.model_label, "space": space, "res": res}

    @property
    def prediction_tables(self) -> tuple[str, ...]:
        """Tables: of the age, of its distribution, of other targets, and of single modalities."""
        agedist = ("agedist",) if self.card.has_age_distribution else ()
        predictions = ("predictions",) if self.card.has_targets else ()
        several = ("modalities",) if len(channels(self.card.input)) > 1 else ()
        return ("brainage", *agedist, *predictions, *several)

    @property
    def segmentation_fields(self) -> tuple[str, ...]:
        """What is kept of the segmentation in T1w space, with the meaning of its labels."""
        made = self.segmentation is not None and self.segmentation_images
        return ("dseg_table", "dseg", "probseg_gm", "probseg_wm", "probseg_csf") if made else ()

    @property
    def atlas_entities(self) -> dict[str, Any]:
        """Entities that name the atlas; empty without atlas."""
        return {} if self.atlas is None else self.atlas.entities

    def explained(self, method: Method) -> dict[str, Any]:
        """What sidecars of the results of a method say about their origin."""
        assert self.atlas is not None
        choices = {**self.explanation.choices(method), "AtlasSHA256": self.atlas.digest}
        return {**self.provenance, "Explanation": choices}

    @property
    def provenance(self) -> dict[str, Any]:
        """What every table's sidecar says about its origin."""
        from bidsapp_brainage.model.provenance import model_facts

        return {
            "Model": model_facts(self.card),
            "Software": {"Name": "bidsapp_brainage", "Version": __version__},
            "BiasCorrection": self.bias_correction.split("/")[-1],
            "Device": self.compute.device.split(":")[0],
        }


def make_plan(settings: Settings, home: Path, compute: Compute | None = None) -> RunPlan:
    """Find and check everything that the run needs, before any image is touched.

    Parameters
    ----------
    settings : Settings
    home : Path
        TemplateFlow home, already in ``TEMPLATEFLOW_HOME``.
    compute : Compute, optional
        How a network is run, where that is not found out here but by each worker.

    Raises
    ------
    UsageError, ResourceError, DataError
        A model, weight, template, atlas or device that is missing or unusable.
    """
    from bidsapp_brainage.atlas.registry import load_atlas
    from bidsapp_brainage.atlas.templates import EMBEDDED_TEMPLATE, get_template, templates_of
    from bidsapp_brainage.imaging.network_input import write_network_grid
    from bidsapp_brainage.model.bias_correction import resolve_bias_correction
    from bidsapp_brainage.model.cards import find_card
    from bidsapp_brainage.model.weights.files import verify_weights

    processing, resources = settings.processing, settings.resources
    card = find_card(processing.model, processing.models_dir)
    check_level(card, processing.level)
    verify_weights(card)
    bias_correction = participant_correction(processing.bias_correction)
    resolve_bias_correction(bias_correction, card)
    raw = sees_raw_images(card.input)
    space = card.input["template"]
    template = get_template(EMBEDDED_TEMPLATE if space == OWN_SPACE else space)
    work_dir = settings.execution.work_dir.absolute() / WORKFLOW_NAME
    shared = work_dir / "shared"
    atlas = atlas_table = atlas_template = None
    if chosen := explanations(processing):
        check_methods(chosen, card)
        atlas = load_atlas(processing.atlas, atlases_dir=processing.atlases_dir, home=home)
        atlas_table = atlas.write_table(shared)
        if atlas.template != template.name:
            atlas_template = get_template(atlas.template)
    return RunPlan(
        output_dir=settings.output_dir.absolute(),
        work_dir=work_dir,
        card=card,
        card_path=card.path,
        template=template,
        grid=write_network_grid(shared / f"{card.name}_grid.nii.gz", card.input, template.mask),
        atlas=atlas,
        atlas_table=atlas_table,
        atlas_template=atlas_template,
        segmentation=None if raw else find_run_segmentation(card),
        fast_card=find_fast_card(card, processing.models_dir) if processing.fast_check else None,
        segmentation_images=processing.level == "full",
        extra_templates=templates_of(spaces(processing), besides=template.name),
        skull_strip=processing.skull_strip,
        explanation=_explanation(processing, card),
        bias_correction=bias_correction,
        sloppy=processing.sloppy,
        seed=processing.random_seed,
        compute=compute or find_compute(resources),
        run_uuid=settings.execution.run_uuid or "run",
    )


def find_fast_card(card: ModelCard, folder: Path | None = None) -> ModelCard | None:
    """The model of raw images that checks the ages of a model; None where it cannot.

    `folder` is that of the user's models.
    """
    from bidsapp_brainage.model.cards import find_card

    if sees_raw_images(card.input) or not card.main_head.quantity.is_age:
        return None
    return find_card(FAST_MODEL, folder)


def check_level(card: ModelCard, level: str) -> None:
    """Refuse a model that sees other images than the level makes.

    Raises
    ------
    UsageError
        A model of prepared images at ``--level fast``, or one of raw images at another level.
    """
    if sees_raw_images(card.input) and level != "fast":
        raise UsageError(f"Model {card.name} sees raw images: give `level` fast with it.")
    if level == "fast" and not sees_raw_images(card.input):
        raise UsageError(
            f"Model {card.name} sees registered brains, which `level` fast does not make: leave "
            f"`model` out ({FAST_MODEL} is taken), or give `level` full or minimal."
        )


def _explanation(processing: Processing, card: ModelCard) -> Explanation:
    """How predictions of a model are explained.

    Raises
    ------
    UsageError
        A method or a baseline is for models of one image, and the model sees several.
    """
    seen = channels(card.input)
    refused = [key for key in explanations(processing) if not lookup.method(key).fits(len(seen))]
    if refused:
        raise UsageError(
            f"`explain` {' '.join(refused)} is for models of one image, and {card.name} sees "
            f"{len(seen)} ({', '.join(channel.name for channel in seen)}): leave it out."
        )
    if len(seen) > 1 and "template" in processing.occlusion_baseline:
        raise UsageError(
            f"`occlusion_baseline` template is one image, and model {card.name} sees "
            f"{len(seen)}: choose another baseline."
        )
    return Explanation(processing, len(seen))


def wanted_images(settings: Settings) -> Wanted:
    """Modalities that the model of a run sees.

    Raises
    ------
    UsageError, ResourceError
        There is no such model, or its card is broken.
    """
    from bidsapp_brainage.bids.collect import Wanted
    from bidsapp_brainage.model.cards import find_card
    from bidsapp_brainage.model.inputs.channels import modalities

    spec = find_card(settings.processing.model, settings.processing.models_dir).input
    return Wanted(modalities(spec), spec.get("any_subset", False))


def find_run_segmentation(card: ModelCard) -> SegmentationCard | None:
    """The segmentation of the run: the one that the model sees tissue from, or the embedded one.

    All templates called MNI152 are alike enough for it; models of other templates go without.

    Raises
    ------
    ResourceError
        The segmentation is missing or broken, or the model needs one and its template has none.
    """
    from bidsapp_brainage.segmentation.card import find_segmentation
    from bidsapp_brainage.segmentation.prepare import segmentation_name

    template = card.input["template"]
    if template.startswith(_SEGMENTED_TEMPLATES):
        return find_segmentation(segmentation_name(card.input))
    if needs_segmentation(card.input):
        raise ResourceError(
            f"Model {card.name} sees tissue from a segmentation, which knows the templates "
            f"{_SEGMENTED_TEMPLATES}* only, not {template}: correct input.template of its card."
        )
    LOGGER.warning("No segmentation: it needs a model of an MNI152 template, not %s.", template)
    return None


def check_methods(methods: Iterable[str], card: ModelCard) -> None:
    """Miss a library, or a network of another kind, before any image is touched.

    Parameters
    ----------
    methods : iterable of str
        Of ``--explain``.
    card : ModelCard

    Raises
    ------
    MissingExecutableError
        A method needs a library that is not installed.
    UsageError
        A method explains networks of another architecture only.
    """
    from bidsapp_brainage.explain.methods import library

    identity = card.architecture["id"]
    for key in methods:
        method = lookup.method(key)
        if method.architecture not in ("", identity):
            raise UsageError(
                f"`explain` {key} is for models of the architecture {method.architecture}, and "
                f"{card.name} is of {identity}: choose another `model`, or leave {key} out."
            )
        for name in method.needs:
            library(name, key)


def find_compute(resources: Resources) -> Compute:
    """Resolve the device of this machine and say which one it is.

    Raises
    ------
    UsageError
        A GPU was asked for by name and is not there.
    """
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
