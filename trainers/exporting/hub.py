"""What goes to the Hugging Face hub, and sending it. Never imports torch.

Owns the list of files and the repository. Sends only where that was asked for in so many words; a new repository is
private unless `public` was asked for, and one that is public already is not written to without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prompts.errors import RunError
from trainers.exporting.records import ExportReport, Order, Upload


def planned(order: Order, report: ExportReport) -> Upload:
    """What would be sent. Asks the network nothing."""
    return Upload(repo=order.repo, private=not order.public, files=report.files)


def push(order: Order, report: ExportReport, folder: Path, api: Any = None) -> Upload:
    """Send the files of `report` out of `folder`. `api` is an HfApi of one's own.

    Raises `RunError` where the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of the HTTP library that it stands on
        HfHubHTTPError,
        HTTPError,
        LocalTokenNotFoundError,
    )

    api = api or HfApi()
    try:
        api.create_repo(order.repo, repo_type="model", private=not order.public, exist_ok=True)
        private = bool(api.repo_info(order.repo, repo_type="model").private)
        if not private and not order.public:
            raise RunError(
                f"{order.repo} is there already, and everybody can read it.",
                hint="Say --public if that is meant, or choose another name.",
            )
        told = api.upload_folder(
            folder_path=folder,
            repo_id=order.repo,
            repo_type="model",
            allow_patterns=[file.path for file in report.files],
            commit_message=f"Tunewright run {report.run}",
        )
    except LocalTokenNotFoundError as error:
        raise RunError("Nobody is logged in to the hub.", hint="Run `hf auth login`, or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        raise RunError(
            f"The hub refused {order.repo}: {_told(error)}.", hint="Is the name yours, and may your token write?"
        ) from error
    except (OSError, HTTPError) as error:
        raise RunError(f"The hub cannot be reached: {error}.", hint="Nothing is lost: try again later.") from error
    return Upload(repo=order.repo, private=private, files=report.files, pushed=True, url=str(told))


def _told(error: Any) -> str:
    said = str(getattr(error, "server_message", "") or error).strip().splitlines() or ["no reason given"]
    return said[-1].rstrip(".")
