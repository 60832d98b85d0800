"""Models on the Hugging Face Hub: a name there becomes a folder here, and the other way round."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from flexlam.core.errors import CheckpointError, ConfigError, OutputError

SCHEME = "hf://"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_hub_name(name: str) -> bool:
    """Whether it could be OWNER/NAME on the Hub."""
    return _NAME.fullmatch(name) is not None


def model_folder(place: str | Path) -> Path:
    """The folder of a model: a local path, or "hf://OWNER/NAME", with "@REVISION" perhaps, which is fetched.

    Raises:
        ConfigError: it begins with hf:// and names no repository, or huggingface_hub is not installed.
        CheckpointError: there is no such repository or revision, or the Hub cannot be reached.
    """
    if not (isinstance(place, str) and place.startswith(SCHEME)):
        return Path(place)
    name, _, revision = place.removeprefix(SCHEME).partition("@")
    return fetch(name, revision or None)


def fetch(name: str, revision: str | None = None) -> Path:
    """Fetch the repository OWNER/NAME into the Hub's cache, unless it lies there; a tag, branch or commit as revision.

    Raises:
        ConfigError: this is no such name, or huggingface_hub is not installed.
        CheckpointError: there is no such repository or revision, or the Hub cannot be reached.
    """
    if not is_hub_name(name):
        raise ConfigError(f"{name!r} names no model on the Hub; expected OWNER/NAME.")
    with _explained(f"The model {name}{f'@{revision}' if revision else ''} cannot be fetched", CheckpointError):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, revision=revision))


def push(folder: Path, name: str, private: bool | None = None, message: str = "Upload a flexlam model") -> str:
    """Upload a folder as the repository OWNER/NAME, which is made if need be; returns the address of the commit.

    What the repository holds beside is left there. The token is that of `hf auth login` or HF_TOKEN.

    Raises:
        ConfigError: this is no such name, or huggingface_hub is not installed.
        OutputError: no token, no permission, or the Hub cannot be reached.
    """
    if not is_hub_name(name):
        raise ConfigError(f"{name!r} can be no repository on the Hub; give OWNER/NAME.")
    with _explained(f"{folder} cannot be uploaded as {name}", OutputError):
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message=message).commit_url)


@contextlib.contextmanager
def _explained(what: str, error_class: type[CheckpointError] | type[OutputError]) -> Iterator[None]:
    """Errors of huggingface_hub as ours."""
    try:
        import huggingface_hub.errors as hub
    except ImportError as error:
        raise ConfigError(f'{what}: this needs huggingface_hub. pip install "flexlam[hub]"') from error
    try:
        yield
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError, hub.GatedRepoError) as error:
        why = "there is no such repository or revision, or you may not see it"
        raise error_class(f"{what}: {why}. Check the name, and log in if it is private (hf auth login).") from error
    except (hub.HfHubHTTPError, hub.LocalTokenNotFoundError) as error:
        raise error_class(f"{what}: {_first_line(error)} Log in with a token that may (hf auth login).") from error
    except (OSError, hub.HTTPError, hub.HFValidationError) as error:
        raise error_class(f"{what}: {_first_line(error)} Check the name and the connection.") from error


def _first_line(error: BaseException) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith(".") else f"{line}."
