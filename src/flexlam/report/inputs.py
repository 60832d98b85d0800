"""What a report needs of results.json and of a look at the codes; everything beyond is passed over."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flexlam.core.errors import ConfigError

SCHEMA_VERSIONS = (1,)
NEEDED_BASELINES = ("previous_action", "idm", "k0", "shuffled")


class _Lenient(BaseModel):
    """Further keys are welcome; a needed one that is missing or of the wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def parse(cls, values: Any, where: str) -> Self:
        """Check plain values.

        Raises:
            ConfigError: names every key that is missing or has a bad value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"  {'.'.join(map(str, item['loc'])) or '(top level)'}: {item['msg']}." for item in error.errors()]
            raise ConfigError(f"No report can be made from {where}:\n" + "\n".join(lines)) from error


class Score(_Lenient):
    """How well actions are told, on held-out transitions; what was not measured is None."""

    action_loss: float | None = None
    """Cross-entropy in nats (squared error for continuous actions)."""
    action_loss_stderr: float | None = None
    action_accuracy: float | None = None
    """Share from 0 to 1."""
    action_accuracy_stderr: float | None = None
    psnr: float | None = None
    """Of the decoded frames, dB."""
    psnr_stderr: float | None = None
    ssim: float | None = None
    ssim_stderr: float | None = None


class PrefixScore(Score):
    """One prefix length."""

    k: int = Field(ge=0)
    bits: float
    """Nominal capacity of k slots."""


class PrefixRow(PrefixScore):
    """One prefix length with everything that a report shows."""

    psnr: float
    action_loss: float


class Comparison(_Lenient):
    """The full code against a baseline, paired by the draw of the labels."""

    loss_difference: float
    """The baseline's action loss minus the full code's: positive where codes help."""
    stderr: float | None = None
    in_stderrs: float | None = None
    num_draws: int


class Results(_Lenient):
    """results.json of a demo."""

    schema_version: int
    kind: str
    command: str | list[str]
    created: str
    config_hash: str
    data_hash: str
    parent_hashes: dict[str, str | None] = {}
    machine: dict[str, Any]
    rows: list[PrefixRow] = Field(min_length=2)
    baselines: dict[str, Score]
    translator: str
    decoder: str
    num_labels: int
    tasks: list[str] = []
    num_draws: int | None = None
    num_actions: int | None = None
    num_test: int | None = None
    action_names: list[str] = []
    comparisons: dict[str, Comparison] = {}
    copied: Score | None = Field(default=None, alias="copy")
    """What the present frame scores as a guess of the next one."""
    versions: dict[str, str] = {}

    @classmethod
    def load(cls, values: Any) -> Self:
        """Check the values of results.json; rows come out in order of k.

        Raises:
            ConfigError: an unknown schema version, or needed values that are missing or bad.
        """
        results = cls.parse(values, "results.json")
        if results.schema_version not in SCHEMA_VERSIONS:
            raise ConfigError(
                f"results.json has schema version {results.schema_version}; this report reads "
                f"{', '.join(map(str, SCHEMA_VERSIONS))}. Measure again with this version of flexlam."
            )
        missing = [name for name in NEEDED_BASELINES if name not in results.baselines]
        if missing:
            raise ConfigError(
                f"No report can be made from results.json: baselines lacks {', '.join(missing)}; "
                f"expected {', '.join(NEEDED_BASELINES)}."
            )
        baselines = results.baselines | ({"copy": results.copied} if results.copied else {})
        rows = sorted(results.rows, key=lambda row: row.k)
        return results.model_copy(update={"rows": rows, "baselines": baselines})

    @property
    def full(self) -> PrefixRow:
        """The longest prefix."""
        return self.rows[-1]


class Slot(_Lenient):
    """How one slot is used; slots count from 1."""

    slot: int
    codes_used: int
    perplexity: float
    bits: float


class HealthSummary(_Lenient):
    """What bottleneck/health.py says of the codes."""

    verdict: str
    reason: str
    slots: list[Slot] = Field(min_length=1)
    bits_used: float
    bits_nominal: float
    prefix_curve: dict[int, float] = {}
    shuffle_ratio: float | None = None


BASELINE_NAMES = {
    "previous_action": "previous action, all labels",
    "previous_action_same_labels": "previous action, same labels",
    "repeat_previous": "repeat the previous action",
    "idm": "inverse dynamics (IDM)",
    "idm_previous_action": "inverse dynamics + previous action",
    "k0": "no latent action, k = 0",
    "shuffled": "shuffled codes",
    "copy": "copy the present frame",
    "majority": "most frequent action",
}


def baseline_name(key: str) -> str:
    """Words for a baseline."""
    return BASELINE_NAMES.get(key, key.replace("_", " "))
