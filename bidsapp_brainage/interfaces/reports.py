"""Adapters for the figures of the individual report (SVG files)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface


class _FigureOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="figure")


class _MaskFigureInputSpec(StageInputSpec):
    image = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True, desc="on the grid of the image")
    modality = traits.Str("T1w", usedefault=True, desc="of the image")


class MaskFigure(StageInterface):
    """Contours of the brain mask; see :func:`.overlays.plot_mask`."""

    input_spec = _MaskFigureInputSpec
    output_spec = _FigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.reports.figures.overlays import plot_mask

        self._results["out_file"] = self._file(runtime, "mask.svg")
        plot_mask(
            Path(self.inputs.image),
            Path(self.inputs.mask),
            Path(self._results["out_file"]),
            modality=self.inputs.modality,
        )
        return runtime


class _SegmentationFigureInputSpec(StageInputSpec):
    t1w = File(exists=True, mandatory=True)
    dseg = File(exists=True, mandatory=True, desc="regions on the grid of the T1w")
    table = File(exists=True, mandatory=True, desc="index and color of the regions")


class SegmentationFigure(StageInterface):
    """Regions in colours; see :func:`.overlays.plot_segmentation`."""

    input_spec = _SegmentationFigureInputSpec
    output_spec = _FigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.reports.figures.overlays import plot_segmentation

        self._results["out_file"] = self._file(runtime, "dseg.svg")
        plot_segmentation(
            Path(self.inputs.t1w),
            Path(self.inputs.dseg),
            Path(self.inputs.table),
            Path(self._results["out_file"]),
        )
        return runtime


class _RegistrationFigureInputSpec(StageInputSpec):
    t1w = File(exists=True, mandatory=True, desc="T1w on the template's grid")
    t1w_mask = File(exists=True, mandatory=True, desc="its brain mask, on the same grid")
    template = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True, desc="brain mask of the template")


class _RegistrationFigureOutputSpec(TraitedSpec):
    before = File(exists=True, desc="template")
    after = File(exists=True, desc="participant")


class RegistrationFigure(StageInterface):
    """Template and participant; see :func:`.overlays.plot_registration`."""

    input_spec = _RegistrationFigureInputSpec
    output_spec = _RegistrationFigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.reports.figures.overlays import Head, plot_registration

        self._results["before"] = self._file(runtime, "before.svg")
        self._results["after"] = self._file(runtime, "after.svg")
        plot_registration(
            Head(Path(self.inputs.template), Path(self.inputs.mask)),
            Head(Path(self.inputs.t1w), Path(self.inputs.t1w_mask)),
            Path(self._results["before"]),
            Path(self._results["after"]),
        )
        return runtime


class _InputFigureInputSpec(StageInputSpec):
    volume = File(exists=True, mandatory=True, desc="the network's input")
    modality = traits.Str("T1w", usedefault=True, desc="of the image")


class InputFigure(StageInterface):
    """What the network saw; see :func:`.overlays.plot_model_input`."""

    input_spec = _InputFigureInputSpec
    output_spec = _FigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.reports.figures.overlays import plot_model_input

        self._results["out_file"] = self._file(runtime, "input.svg")
        plot_model_input(
            Path(self.inputs.volume), Path(self._results["out_file"]), modality=self.inputs.modality
        )
        return runtime


class _AgeFigureInputSpec(StageInputSpec):
    brainage = File(exists=True, mandatory=True)
    agedist = File(exists=True, desc="missing for models that answer with a number")
    model_facts = traits.Dict(mandatory=True, desc="object Model of the tables' sidecars")


class AgeFigure(StageInterface):
    """Age distribution; see :mod:`bidsapp_brainage.reports.figures.age`."""

    input_spec = _AgeFigureInputSpec
    output_spec = _FigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.model.provenance import TrainingCohort
        from bidsapp_brainage.reports.figures.age import plot_age_distribution

        self._results["out_file"] = self._file(runtime, "agedist.svg")
        plot_age_distribution(
            Path(self.inputs.brainage),
            Path(self.inputs.agedist) if isdefined(self.inputs.agedist) else None,
            TrainingCohort.from_model(self.inputs.model_facts),
            Path(self._results["out_file"]),
        )
        return runtime


class _MapFigureInputSpec(StageInputSpec):
    map_file = File(exists=True, mandatory=True, desc="contribution map")
    background = File(exists=True, mandatory=True, desc="anatomical image on the same grid")
    fill = traits.Str(mandatory=True, desc="what replaces regions, in words")
    model_facts = traits.Dict(desc="of sidecars: tells what is explained")


class MapFigure(StageInterface):
    """A map of effects; see :func:`.overlays.plot_occlusion`."""

    input_spec = _MapFigureInputSpec
    output_spec = _FigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.catalogue.quantity import Quantity
        from bidsapp_brainage.reports.figures.overlays import plot_occlusion

        self._results["out_file"] = self._file(runtime, "occlusionmap.svg")
        plot_occlusion(
            Path(self.inputs.map_file),
            Path(self.inputs.background),
            Path(self._results["out_file"]),
            fill=self.inputs.fill,
            about=Quantity.from_model(self.inputs.model_facts),
        )
        return runtime


class _AgesFigureInputSpec(StageInputSpec):
    map_file = File(exists=True, mandatory=True, desc="ages in years, 0 where there is none")
    background = File(exists=True, mandatory=True, desc="anatomical image on the same grid")


class AgesFigure(StageInterface):
    """A map of ages; see :func:`.overlays.plot_ages`."""

    input_spec = _AgesFigureInputSpec
    output_spec = _FigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.reports.figures.overlays import plot_ages

        self._results["out_file"] = self._file(runtime, "ages.svg")
        plot_ages(
            Path(self.inputs.map_file),
            Path(self.inputs.background),
            Path(self._results["out_file"]),
        )
        return runtime


class _RegionsFigureInputSpec(StageInputSpec):
    labels = File(exists=True, mandatory=True, desc="atlas on the grid of the background")
    table = File(exists=True, mandatory=True, desc="contributions of the regions")
    baselines = File(exists=True, desc="contributions with every baseline")
    background = File(exists=True, mandatory=True, desc="anatomical image")
    fill = traits.Str(mandatory=True, desc="what replaces regions, in words")
    model_facts = traits.Dict(desc="of sidecars: tells what is explained")


class RegionsFigure(StageInterface):
    """The strongest regions; see :func:`.regions.plot_regions`."""

    input_spec = _RegionsFigureInputSpec
    output_spec = _FigureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.catalogue.quantity import Quantity
        from bidsapp_brainage.reports.figures.regions import plot_regions

        self._results["out_file"] = self._file(runtime, "occlusionmap.svg")
        plot_regions(
            Path(self.inputs.labels),
            Path(self.inputs.table),
            Path(self.inputs.baselines) if isdefined(self.inputs.baselines) else None,
            Path(self.inputs.background),
            Path(self._results["out_file"]),
            fill=self.inputs.fill,
            about=Quantity.from_model(self.inputs.model_facts),
        )
        return runtime
