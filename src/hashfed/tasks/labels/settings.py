"""How files of labels become examples."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hashfed.settings import HOME_EXPANDED
from hashfed.tasks.settings import TaskSettings

PARTITION_CLIENTS, CONCENTRATION, PARTITION_SEED = 100, 0.5, 0


class LabelFileSettings(TaskSettings):
    """Sets of features with sets of labels."""

    source: Annotated[str, HOME_EXPANDED] = "train.txt"
    """File of the training examples, in the text format of the XC repository (.gz too)."""
    test: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """File of the test examples, in the same format; needed with evaluation.clients test."""
    client_ids: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """File whose line i names the client of training example i; none: examples are divided among clients."""
    label_names: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """File with the name of each label, a line each."""
    feature_names: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """File with the name of each feature, a line each: such as words, that hashfed predict then takes."""
    labels: int | None = Field(None, ge=1, le=2**31 - 1)
    """n, number of labels, at least those of the files; none: as many."""
    values: Literal["raw", "tf-idf"] = "raw"
    """What a model reads of a feature: its value in the file; or, where these are counts, (1 + log tf)·idf
    with each example at length 1."""
    loss: Literal["softmax", "binary"] = "softmax"
    """softmax: an example's labels share the probability evenly; binary: each label is a yes or no of its
    own."""
    partition_clients: int = Field(PARTITION_CLIENTS, ge=1)
    """Without client_ids: clients that the training examples are divided among."""
    concentration: float = Field(CONCENTRATION, gt=0, le=1e6)
    """Without client_ids: α of the Dirichlet distribution around the labels' shares; the smaller, the more
    clients differ."""
    partition_seed: int = Field(PARTITION_SEED, ge=0)
    """Without client_ids: of the division, which is the same for every seed of a run."""

    size_setting: ClassVar[str] = "labels"
    names_file: ClassVar[str] = "labels.json"
    places: ClassVar[tuple[str, ...]] = ("source", "test", "client_ids", "label_names", "feature_names")

    @property
    def counted(self) -> bool:
        """Whether values in files must be counts."""
        return self.values == "tf-idf"

    @model_validator(mode="after")
    def _check_division(self) -> "LabelFileSettings":
        if self.client_ids is not None:
            usual = {
                "partition_clients": PARTITION_CLIENTS,
                "concentration": CONCENTRATION,
                "partition_seed": PARTITION_SEED,
            }
            for name, value in usual.items():
                if getattr(self, name) != value:
                    raise ValueError(
                        f"{name} = {getattr(self, name)}: has no effect with data.client_ids, which says "
                        "whose each example is"
                    )
        return self
