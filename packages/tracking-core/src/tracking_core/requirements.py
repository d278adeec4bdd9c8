"""Whether what an installed package needs is installed, in a version that it takes.

Its metadata is read with `packaging`, which is there wherever something was installed with care for
versions; where it is not, nothing is said. It is imported when a class is loaded, not earlier.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import NamedTuple

from tracking_core.__about__ import __version__

__all__ = ["CORE", "Unmet", "canonical", "metadata_field", "unmet_requirements"]

CORE = "tracking-core"


class Unmet(NamedTuple):
    """A requirement that this installation does not meet; its text is a sentence.

    Attributes:
        package: whose requirement it is, with its version.
        needs: the requirement, such as ``"wandb>=0.31"``.
        distribution: what is required, by its canonical name.
        installed: the version that is there; None if nothing is.
    """

    package: str
    needs: str
    distribution: str
    installed: str | None

    def __str__(self) -> str:
        found = (
            "it is not installed" if self.installed is None else f"{self.installed} is installed"
        )
        return f"{self.package} needs {self.needs}, and {found}"


def unmet_requirements(package: Distribution) -> list[Unmet]:
    """What `package` declares to need and does not find, extras aside.

    A requirement, a version or metadata that can't be read are passed over: whether the package
    works is seen when it is used.
    """
    try:
        from packaging.requirements import Requirement
        from packaging.version import Version
    except ImportError:
        return []
    try:
        declared = package.requires or []
    except Exception:  # there is no metadata: not every Python answers with None
        return []
    whose = f"{metadata_field(package, 'Name')} {metadata_field(package, 'Version')}"
    unmet = []
    for text in declared:
        try:
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            requirement.marker = None
            name = canonical(requirement.name)
            installed = _installed_version(name)
            fits = installed is not None and requirement.specifier.contains(
                Version(installed), prereleases=True
            )
            if not fits:
                unmet.append(Unmet(whose, str(requirement), name, installed))
        except ValueError:  # InvalidRequirement, InvalidVersion and their like
            continue
    return unmet


def canonical(name: str) -> str:
    """The one spelling of a distribution's name: ``Comet.ML`` is ``comet-ml``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata_field(package: Distribution, name: str) -> str:
    """What the metadata of `package` says under `name`; empty where it says nothing."""
    try:
        metadata = package.metadata
    except Exception:  # there is none, as above
        return ""
    if name not in metadata:
        return ""
    return metadata[name]


def _installed_version(name: str) -> str | None:
    """The version of `name`, None where it is not installed; "" where its metadata is gone."""
    if name == CORE:
        return __version__  # what runs, whatever an editable installation has noted
    try:
        return metadata_field(distribution(name), "Version")
    except PackageNotFoundError:
        return None
