"""What a report needs of results.json and of a look at the codes; everything beyond is passed over."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

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
    predicted_action_loss: float | None = None
    """On codes that the sequence model predicted, where `action_loss` is on codes of the real transition."""
    predicted_action_loss_stderr: float | None = None
    predicted_action_accuracy: float | None = None
    predicted_action_accuracy_stderr: float | None = None
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


class Comparison(_Lenient):
    """The full code against a baseline, paired by the draw of the labels."""

    loss_difference: float
    """The baseline's action loss minus the full code's: positive where codes help."""
    stderr: float | None = None
    in_stderrs: float | None = None
    num_draws: int


class ReturnScore(_Lenient):
    """Return of one method, a mean over episodes."""

    return_: float = Field(alias="return")
    return_stderr: float | None = None
    normalised: float | None = None
    """(R - random) / (expert - random); None where the task has no reference."""
    normalised_stderr: float | None = None
    episode_returns: list[float] = []


class ReturnRow(ReturnScore):
    """Return of the agent at one prefix length."""

    k: int = Field(ge=0)


class ReturnComparison(_Lenient):
    """The full code's return minus a baseline's, paired by the seed of the episode."""

    difference: float
    stderr: float | None = None
    in_stderrs: float | None = None
    num_episodes: int
    which: str | None = None
    """The baseline that was the best of a group."""


class TaskReturns(_Lenient):
    """Everything that acted in one task; rows come out in order of k."""

    task: str
    num_episodes: int
    reference: dict[str, Any] | None = None
    rows: list[ReturnRow] = Field(min_length=1)
    baselines: dict[str, ReturnScore] = {}
    comparisons: dict[str, ReturnComparison] = {}

    @field_validator("rows")
    @classmethod
    def _in_order(cls, rows: list[ReturnRow]) -> list[ReturnRow]:
        return sorted(rows, key=lambda row: row.k)

    @property
    def full(self) -> ReturnRow:
        """The longest prefix."""
        return self.rows[-1]


class Returns(_Lenient):
    """How the agent acts; `rule` says how codes and actions are drawn, for all methods alike."""

    num_labels: int
    rule: dict[str, Any] = {}
    translator: str = ""
    tasks: list[TaskReturns] = Field(min_length=1)


class LatencyRow(_Lenient):
    """Milliseconds of a decision at one prefix length."""

    k: int = Field(ge=0)
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    parts_ms: dict[str, float] = {}
    """Means of the parts, in their order."""


class LatencyFit(_Lenient):
    """Milliseconds as c + b k."""

    c_ms: float
    b_ms: float
    fitted_on: list[int] = []


class Latency(_Lenient):
    """How long decisions take; rows come out in order of k."""

    rows: list[LatencyRow] = Field(min_length=1)
    fit: LatencyFit | None = None
    num_warmup: int | None = None
    num_steps: int | None = None
    num_samples: int | None = None

    @field_validator("rows")
    @classmethod
    def _in_order(cls, rows: list[LatencyRow]) -> list[LatencyRow]:
        return sorted(rows, key=lambda row: row.k)


class Results(_Lenient):
    """results.json of a demo; or of a model alone, without anything about labels."""

    schema_version: int
    kind: str
    command: str | list[str]
    created: str
    config_hash: str
    data_hash: str
    parent_hashes: dict[str, str | None] = {}
    machine: dict[str, Any]
    rows: list[PrefixRow] = Field(min_length=2)
    baselines: dict[str, Score] = {}
    translator: str = ""
    decoder: str
    num_labels: int = 0
    tasks: list[str] = []
    num_draws: int | None = None
    num_actions: int | None = None
    num_test: int | None = None
    action_names: list[str] = []
    comparisons: dict[str, Comparison] = {}
    copied: Score | None = Field(default=None, alias="copy")
    """What the present frame scores as a guess of the next one."""
    versions: dict[str, str] = {}
    returns: Returns | None = None
    latency: Latency | None = None

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
        if missing and results.aligned:
            raise ConfigError(
                f"No report can be made from results.json: baselines lacks {', '.join(missing)}; "
                f"expected {', '.join(NEEDED_BASELINES)}."
            )
        if results.aligned and not (results.num_labels and results.translator):
            raise ConfigError("No report can be made from results.json: it names no translator or no num_labels.")
        baselines = results.baselines | ({"copy": results.copied} if results.copied else {})
        rows = sorted(results.rows, key=lambda row: row.k)
        return results.model_copy(update={"rows": rows, "baselines": baselines})

    @property
    def aligned(self) -> bool:
        """Whether codes were translated to actions."""
        return any(row.action_loss is not None for row in self.rows)

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


# What acts without the codes, with the same labels, and with more than them; tables keep the order.
RETURN_GROUPS = {
    "controls": {
        "random": "random actions",
        "constant": "best constant action",
        "marginal": "recorded action marginal",
        "markov": "Markov chain on the previous action",
        "k0": "agent, k = 0",
        "shuffled": "agent, shuffled codes",
    },
    "same labels": {
        "cloning_same_labels": "behaviour cloning, same labels",
        "idm_cloning": "IDM pseudo-labels, then cloning",
    },
    "ceilings": {
        "cloning": "behaviour cloning, all labels",
        "recorded": "recorded behaviour",
        "expert": "scripted expert",
    },
}
BLIND_CONTROLS = ("constant", "marginal", "markov")
RETURN_NAMES = {name: words for group in RETURN_GROUPS.values() for name, words in group.items()}


def return_name(key: str, which: str | None = None) -> str:
    """Words for whoever acts; `which` says which of a group it was."""
    if key == "best_blind":
        return "best blind control" + (f": {return_name(which)}" if which else "")
    return RETURN_NAMES.get(key, key.replace("_", " "))
