"""What every block of section `training` answers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from descbench.config.base import Block


class TrainingBase(Block):
    """What all trainings answer.

    Attributes:
        stage: that runs it.
    """

    stage: ClassVar[str] = "train_checkpoint"

    @model_validator(mode="after")
    def _some_epoch_is_validated(self) -> TrainingBase:
        if self.validation is not None and self.validation.every > self.epochs:
            raise ValueError(
                f"validation.every {self.validation.every} is more than the {self.epochs} epochs: none is validated"
            )
        return self

    @property
    def datasets(self) -> tuple[str, ...]:
        """Datasets that it learns from, that of the validation included."""
        return ()

    @property
    def patch_parts(self) -> tuple[tuple[str, str], ...]:
        """Patch sets, each with a part, that it learns from, those of the validation included."""
        return ()

    @property
    def learned_features(self) -> tuple[str, ...]:
        """Features whose keypoints it learns from."""
        return ()
