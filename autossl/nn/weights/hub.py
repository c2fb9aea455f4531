"""Files of weights on the Hugging Face hub: from its cache on this machine, or downloaded because a user named them."""

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import huggingface_hub as hf
import timm
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError

from autossl.errors import UserError
from autossl.nn.networks import NAME
from autossl.nn.weights.known import HUB, pretrained

PART = r"\w[\w.-]*"  # no leading dot, so nothing leads out of the cache
REPOSITORY = re.compile(rf"(?P<repo>{PART}/{PART})(?:@(?P<revision>{PART}))?(?P<file>(?:/{PART})+)?")
CONFIG = "config.json"
FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")


class Place(NamedTuple):
    """A repository at a revision (None: its newest), and the files that may hold its weights, the best first."""

    repo: str
    revision: str | None
    files: tuple[str, ...]


def place(name: str) -> Place:
    """Where weights are: `name` is hub: and a tag of timm, or OWNER/REPOSITORY[@REVISION][/FILE].

    Raises UserError if it is neither.
    """
    text = name.removeprefix(HUB)
    found = REPOSITORY.fullmatch(text)
    if found is not None:
        file = found["file"]
        return Place(found["repo"], found["revision"], (file[1:],) if file else FILES)
    config = pretrained(text)
    if config is not None and config.hf_hub_id:
        repo, _, revision = config.hf_hub_id.partition("@")
        return Place(repo, revision or None, (config.hf_hub_filename,) if config.hf_hub_filename else FILES)
    close = ", ".join(timm.list_pretrained(f"{text.partition('.')[0]}*")[:4]) if NAME.fullmatch(text) else ""
    raise UserError(
        f"hub: with a pretrained tag of timm or OWNER/REPOSITORY was wanted, found {name!r}; give for example "
        f"hub:{close or 'resnet50.a1_in1k'} (autossl list weights)"
    )


def cached(at: Place, file: str | None = None) -> Path | None:
    """The file of weights (or another `file` of the repository) in the cache of this machine, without the network."""
    for name in at.files if file is None else (file,):
        found = hf.try_to_load_from_cache(at.repo, name, revision=at.revision)
        if isinstance(found, str):  # neither unknown nor known to be missing
            return Path(found)
    return None


def fetched(at: Place, name: str) -> Path:
    """The file of weights, downloaded into the cache with the config.json beside it, if there is one.

    Raises UserError, which calls the weights `name`, if that is impossible.
    """
    try:
        for file in (CONFIG, *at.files):
            with suppress(RemoteEntryNotFoundError):
                found = Path(hf.hf_hub_download(at.repo, file, revision=at.revision))
                if file != CONFIG:
                    return found
    except GatedRepoError:
        raise UserError(
            f"weights that may be downloaded were wanted, but --weights {name} ask for your consent; accept their "
            f"terms at https://huggingface.co/{at.repo} and log in with: hf auth login"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"a repository of the hub was wanted, but --weights {name} names none that is public ({at.repo}); "
            "mend the name, or log in with: hf auth login"
        ) from None
    except (OSError, RuntimeError) as fault:  # no network, no space, a proxy that refuses
        raise UserError(
            f"weights were wanted from the Hugging Face hub, but --weights {name} are neither in the cache "
            f"({constants.HF_HUB_CACHE}) nor could they be downloaded ({type(fault).__name__}); download them "
            "where there is a network, and copy the cache or give the file"
        ) from None
    raise UserError(
        f"weights were wanted in {at.repo}, but --weights {name} holds none of {', '.join(at.files)}; name the file: "
        f"{HUB}{at.repo}/FILE"
    )
