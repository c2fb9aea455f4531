"""Files of weights on the Hugging Face hub: from its cache on this machine, or downloaded because a user named them."""

from contextlib import suppress
from pathlib import Path

import huggingface_hub as hf
import timm
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError

from autossl.errors import UserError
from autossl.nn.known_weights import HUB
from autossl.nn.networks import NAME
from autossl.nn.weights.told import repository
from autossl.nn.weights_here import CONFIG, Place, parsed


def place(name: str) -> Place:
    """Where weights are: `name` is hub: and a tag of timm, or OWNER/REPOSITORY[@REVISION][/FILE].

    Raises UserError if it is neither.
    """
    text = name.removeprefix(HUB)
    found = parsed(text) or parsed(repository(text))
    if found is not None:
        return found
    close = ", ".join(timm.list_pretrained(f"{text.partition('.')[0]}*")[:4]) if NAME.fullmatch(text) else ""
    raise UserError(
        f"hub: with a pretrained tag of timm or OWNER/REPOSITORY was wanted, found {name!r}; give for example "
        f"hub:{close or 'resnet50.a1_in1k'} (autossl list weights)"
    )


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
