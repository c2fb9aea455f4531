"""Settings of a study that is never trained, for tests of its folder."""

from autossl.record.config import StudyConfig

TOY = StudyConfig(
    adaptation="auto", time_limit=600.0, space="auto", backbone="test_resnet", image_size=16, modality="auto",
    workers=1, device="cpu", precision="fp32", seed=0, methods=("simclr",), study_name="toy",
)  # fmt: skip
