"""Where weights are, checked before anything large is imported or loaded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..documents import mapping, read_text, shown
from ..errors import MagCacheError

BASE, VISION = "hunyuanvideo-community/HunyuanVideo", "lllyasviel/flux_redux_bfl"
"""Where the text encoders and the VAE come from, and the encoder of the pictures, as diffusers' documentation has it."""
EXAMPLES = "lllyasviel/FramePackI2V_HY or lllyasviel/FramePack_F1_I2V_HY_20250503"
_PIPELINE = "HunyuanVideoFramepackPipeline"
_TRANSFORMERS = ("HunyuanVideoFramepackTransformer3DModel", "HunyuanVideoTransformer3DModelPacked")
"""diffusers' name of the class, and that in the published configurations."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_F1 = re.compile(r"(?<![a-z0-9])f1(?![a-z0-9])", re.IGNORECASE)
_MAX_BYTES = 2**20


class WeightsError(MagCacheError):
    """There are no weights of FramePack where the user says."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that are there."""

    place: str
    """A folder, or a repository of the Hugging Face hub."""
    whole: bool
    """Whether it holds a whole pipeline, not only the transformer."""

    @property
    def looks_like_f1(self) -> bool:
        """Whether the name says that it is FramePack F1; the weights themselves do not show it."""
        return _F1.search(self.place.replace("_", " ")) is not None


def find_weights(given: str) -> Weights:
    """A folder of this machine or a repository of the hub, by what is in it. Raises `WeightsError`."""
    folder = Path(given).expanduser()
    if given.strip() and folder.is_dir():
        return _weights(str(folder), _document(folder / "model_index.json"), _document(folder / "config.json"), _has_weights(folder))
    if folder.is_file():
        raise WeightsError(f"{given} is a file. Give the folder that it is in, with its config.json.")
    if not _HUB_ID.fullmatch(given):
        raise WeightsError(f"{given or 'An empty path'} does not exist. Give a folder with weights, or a repository such as {EXAMPLES}.")
    return _weights(given, _from_hub(given, "model_index.json"), _from_hub(given, "config.json"), has_weights=True)


def check_part(given: str, kind: str) -> None:
    """See that a folder or a repository with a part of the pipeline can be there. Raises `WeightsError`."""
    if not Path(given).expanduser().is_dir() and not _HUB_ID.fullmatch(given):
        raise WeightsError(f"{given} does not exist. Give a folder with the {kind}, or a repository of the Hugging Face hub.")


def _weights(place: str, index: dict[str, Any] | None, config: dict[str, Any] | None, has_weights: bool) -> Weights:
    if index is not None:
        if index.get("_class_name") != _PIPELINE:
            raise WeightsError(f"{place} holds a {shown(index.get('_class_name'))}; expected a {_PIPELINE}.")
        return Weights(place, whole=True)
    if config is None:
        raise WeightsError(f"{place} has neither a model_index.json nor a config.json. Give a folder with weights, or {EXAMPLES}.")
    if config.get("_class_name") not in _TRANSFORMERS:
        raise WeightsError(
            f"{place} holds a {shown(config.get('_class_name'))}; expected the transformer of FramePack ({_TRANSFORMERS[0]})."
        )
    if not has_weights:
        raise WeightsError(f"{place} has a config.json but no weights (*.safetensors). Was the download completed?")
    return Weights(place, whole=False)


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _document(path: Path) -> dict[str, Any] | None:
    """A JSON object; None if there is no such file."""
    if not path.is_file():
        return None
    try:
        return mapping(json.loads(read_text(path, _MAX_BYTES)))
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. Download it again.") from None


def _from_hub(repository: str, name: str) -> dict[str, Any] | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RemoteEntryNotFoundError, RepositoryNotFoundError

    try:
        return _document(Path(hf_hub_download(repository, name)))
    except RemoteEntryNotFoundError:
        return None
    except GatedRepoError:
        raise WeightsError(f"{repository} is only for people who asked for it. Ask on its page, then log in: hf auth login.") from None
    except RepositoryNotFoundError:
        raise WeightsError(f"{repository} is neither a folder nor a repository of the Hugging Face hub. Try {EXAMPLES}.") from None
    except (LocalEntryNotFoundError, OSError) as error:
        if _is_kept(repository):
            return None
        raise WeightsError(f"{repository} is no folder, and the Hugging Face hub could not be asked about it: {error}.") from None


def _is_kept(repository: str) -> bool:
    """Whether something of the repository was downloaded before, so that a missing file need not be asked for."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in ("model_index.json", "config.json"))
