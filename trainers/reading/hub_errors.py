"""What goes wrong while a data set is fetched, in words for the person.

Owns the sentences. Errors go by the names of their classes: importing those of `datasets` would load torch.
Refuses to ask the hub: whoever knows data sets with a similar name gives them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from prompts.errors import DataError

_LISTED = 20
_LONGEST = 200
_NO_SCRIPTS = "Dataset scripts are no longer supported"
_OFFLINE = {"OfflineModeIsEnabled", "TransportError", "LocalEntryNotFoundError", "ConnectionError", "TimeoutError"}
_NO_DATA = {"EmptyDatasetError", "DataFilesNotFoundError", "SchemaInferenceError"}


def explain(error: BaseException, name: str, similar: Sequence[str] = ()) -> DataError:
    """The error to raise for one of the libraries' own. `similar`: data sets that the person may have meant."""
    if isinstance(error, DataError):
        return error
    chain = list(_chain(error))
    kinds = {kind.__name__ for one in chain for kind in type(one).__mro__}
    said = "\n".join(map(str, chain))
    plain, config = name.partition(":")[::2]
    if any(getattr(one, "errno", None) == errno.ENOSPC for one in chain) or "Not enough disk space" in said:
        hint = "Free some space, or point TUNEWRIGHT_CACHE and HF_HOME at a larger disk."
        return DataError(f"The disk is full; {name} could not be fetched.", hint=hint)
    if "GatedRepoError" in kinds or "is a gated dataset" in said:
        hint = f"Accept them at {_page(plain)}, then run `hf auth login`."
        return DataError(f"{plain} asks you to accept its terms first.", hint=hint)
    if kinds & {"RepositoryNotFoundError", "DatasetNotFoundError"}:
        closest = _closest(plain, similar)
        hint = f"Did you mean {closest}?" if closest else "Check the spelling, or run `hf auth login` if it is private."
        return DataError(f"The hub has no data set {plain!r}.", hint=hint)
    if _NO_SCRIPTS in said:
        parquet = f"{_page(plain)}/tree/refs%2Fconvert%2Fparquet"
        hint = f"The hub often has such a data set as Parquet too: look at {parquet}, download the files and give them."
        return DataError(f"{plain} needs a program of its own to be read, and Tunewright runs none.", hint=hint)
    if kinds & _NO_DATA:
        hint = f"Look at its files at {_page(plain)}/tree/main, or choose another data set."
        return DataError(f"{plain} holds no files that can be read as a table.", hint=hint)
    if kinds & _OFFLINE:
        hint = "Connect once to download it, or give a file."
        return DataError(f"The data set {name!r} is not on this machine and the hub cannot be reached.", hint=hint)
    if "HfHubHTTPError" in kinds:
        return DataError(f"The hub refused to give {name}: {_reason(chain[0])}.", hint="Try again later.")
    if "DatasetGenerationError" in kinds:
        other = "another configuration" if config else f"a configuration ({plain}:NAME)"
        hint = f"Try {other}, or download one of its files from {_page(plain)}/tree/main and give that."
        return DataError(f"The files of {name} cannot be read as one table: {_reason(chain[-1])}.", hint=hint)
    what = f"{type(error).__name__}: {_reason(error)}"
    return DataError(f"{name} could not be fetched: {what}.", hint="Try again, or give a file.")


def several(name: str, configs: Sequence[str], usual: str | None) -> DataError:
    """A data set with several configurations, and none was named."""
    ordered = sorted(configs, key=lambda config: config != usual)
    hint = f"Write which one you mean, for example {name}:{ordered[0]}."
    return DataError(f"{name} has {len(configs)} configurations: {_list(ordered)}.", hint=hint)


def no_config(name: str, config: str, configs: Sequence[str]) -> DataError:
    """A configuration was named that the data set has not."""
    closest = _closest(config, configs)
    hint = f"Write {name}:{closest}." if closest else f"Write {name}:{configs[0]}, or another of them."
    return DataError(f"{name} has no configuration {config!r}; it has {_list(configs)}.", hint=hint)


def too_large(name: str, size: int, most: int) -> DataError:
    """A data set that is larger than what is fetched as a whole."""
    plain = name.partition(":")[0]
    return DataError(
        f"{name} has {size / (1 << 30):.1f} GiB; up to {most / (1 << 30):.0f} GiB are fetched.",
        hint=f"Download the files that you need from {_page(plain)}/tree/main and give those, or choose a smaller "
        f"configuration ({plain}:NAME).",
    )


def no_text(name: str, left_out: Iterable[str]) -> DataError:
    """A data set without one column of text, or without a row."""
    columns = ", ".join(left_out)
    what = f"holds no text, only {columns}" if columns else "holds no rows"
    return DataError(f"{name} {what}.", hint="Choose a data set with a column that goes in, and one with the answer.")


def _page(name: str) -> str:
    return f"https://huggingface.co/datasets/{name}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, as Python would show it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _closest(name: str, known: Sequence[str]) -> str:
    by_fold = {one.casefold(): one for one in known}
    close = get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.5)
    return by_fold[close[0]] if close else ""


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:_LONGEST].rstrip(" .:")
