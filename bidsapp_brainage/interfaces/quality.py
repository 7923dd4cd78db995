"""Adapter for the quality metrics of one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface

if TYPE_CHECKING:
    from bidsapp_brainage.imaging.quality import Opinions


class _QualityInputSpec(StageInputSpec):
    conformed = File(exists=True, mandatory=True, desc="conformed T1w")
    corrected = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask = File(exists=True, mandatory=True, desc="brain mask")
    affine = File(exists=True, mandatory=True, desc="affine from template to T1w")
    template = File(exists=True, mandatory=True, desc="template T1w")
    template_mask = File(exists=True, mandatory=True, desc="brain mask of the template")
    facts = traits.Dict(mandatory=True, desc="what Conform found")
    age = traits.Either(None, traits.Float(), usedefault=True, desc="chronological age in years")
    sex = traits.Str("n/a", usedefault=True, desc="F or M")
    segmentation = traits.Dict(desc="what Segment found; undefined without segmentation")
    given = traits.Dict(desc="what CompareGiven found; undefined without given files")


class _QualityOutputSpec(TraitedSpec):
    table = File(exists=True, desc="one row of quality metrics with the decision")


class MeasureQuality(StageInterface):
    """Measure image and registration; see :mod:`bidsapp_brainage.imaging.quality`."""

    stage = "quality metrics"
    input_spec = _QualityInputSpec
    output_spec = _QualityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import pandas as pd

        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.quality import quality_metrics
        from bidsapp_brainage.imaging.registration import registration_quality
        from bidsapp_brainage.imaging.transforms import read_affine

        names = ("conformed", "corrected", "mask", "template", "template_mask")
        images = {name: io.load_nifti(Path(getattr(self.inputs, name))) for name in names}
        registration = registration_quality(
            images["corrected"],
            images["mask"],
            images["template"],
            images["template_mask"],
            read_affine(Path(self.inputs.affine)),
        )
        row = quality_metrics(
            images["conformed"],
            images["corrected"],
            images["mask"],
            self.inputs.facts,
            registration,
            self._opinions(),
            age=self.inputs.age,
            sex=self.inputs.sex,
        )
        self._results["table"] = self._file(runtime, "qc.tsv")
        io.write_tsv(Path(self._results["table"]), pd.DataFrame([row]))
        return runtime

    def _opinions(self) -> Opinions:
        given = (self.inputs.segmentation, self.inputs.given)
        return cast(
            "Opinions", {k: v for each in given if isdefined(each) for k, v in each.items()}
        )
