"""What the rows stand for, and what is known of them from the training examples."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hashfed.errors import HashfedError
from hashfed.models.protocol import INPUT, OUTPUT

Count = Annotated[int, Field(ge=0)]


class LabelNames(BaseModel):
    """Labels and features.

    The counts are those of the training examples: they make the values of features and the weights of the
    propensity-scored metrics, wherever examples are.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    labels: tuple[str, ...] | None = Field(strict=False)
    """Names, where there are any."""
    features: tuple[str, ...] | None = Field(strict=False)
    """Likewise."""
    examples: Count
    """Of the training file."""
    label_counts: tuple[Count, ...] = Field(strict=False, min_length=1)
    """How many of these have each label."""
    documents: Count
    """Examples that are trained on."""
    feature_documents: tuple[Count, ...] = Field(strict=False, min_length=1)
    """How many of these have each feature."""

    @property
    def sizes(self) -> dict[str, int]:
        """See ``RowNames``."""
        return {OUTPUT: len(self.label_counts), INPUT: len(self.feature_documents)}

    def text(self, label: int) -> str:
        """A label's name, or its number."""
        return str(label) if self.labels is None or label >= len(self.labels) else self.labels[label]

    def to_json(self) -> str:
        """All of it."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "LabelNames":
        """From what ``to_json`` wrote.

        Raises:
            HashfedError: where it is no such text.

        """
        try:
            found = cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            at = ".".join(str(part) for part in problem["loc"]) or "no readable names of labels"
            raise HashfedError(f"{at}: {problem['msg'].lower()}") from None
        for name, texts, most in (
            ("labels", found.labels, found.sizes[OUTPUT]),
            ("features", found.features, found.sizes[INPUT]),
        ):
            if texts is not None and len(texts) > most:
                raise HashfedError(f"{name}: {len(texts):,} names: must be at most {most:,}")
        return found
