"""What a release stands on, as a list that programs read (CycloneDX): one of the core, and one of each extra.

pip is asked what it would install, with the digests of all that; nothing is installed for it.  A list tells what the
release was made beside: whoever installs it later may get newer ones.
"""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SHORT = 100
"""Characters of a licence that was told as free text, at the most; longer ones are whole licences."""


class Part(NamedTuple):
    """A package of a list."""

    name: str
    version: str
    licence: str
    sha256: str
    requires: tuple[str, ...]
    """What its metadata ask for, whatever the extras."""


def resolve(wheel: Path, extra: str | None) -> list[Part]:
    """All that pip would install for a wheel with an extra; the wheel is among it."""
    what = f'torrelque{f"[{extra}]" if extra else ""} @ {wheel.resolve().as_uri()}'
    options = ['--quiet', '--disable-pip-version-check', '--dry-run', '--ignore-installed', '--report', '-']
    told = subprocess.run([sys.executable, '-m', 'pip', 'install', *options, what], check=True, stdout=subprocess.PIPE)
    return read_report(json.loads(told.stdout))


def read_report(report: Mapping[str, Any]) -> list[Part]:
    """The packages of a report of pip."""
    parts = []
    for one in report['install']:
        told = one['metadata']
        licence = told.get('license_expression') or told.get('license') or ''
        parts.append(Part(
            canonicalize_name(told['name']), told['version'], licence if len(licence) <= SHORT else '',
            one['download_info']['archive_info']['hashes']['sha256'], tuple(told.get('requires_dist', ())),
        ))  # fmt: skip
    return parts


def edges_of(parts: Iterable[Part], extra: str | None) -> dict[str, set[str]]:
    """Which package needs which, from the release on; extras of packages are followed where they are asked for."""
    known = {part.name: part for part in parts}
    edges: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    ahead = [('torrelque', ''), *([('torrelque', extra)] if extra else [])]
    while ahead:
        name, asked = ahead.pop()
        if (name, asked) in seen:
            continue
        seen.add((name, asked))
        needed = edges.setdefault(name, set())
        for requirement in map(Requirement, known[name].requires):
            if requirement.marker is None or requirement.marker.evaluate({'extra': asked}):
                other = canonicalize_name(requirement.name)
                needed |= {other} - {name}
                ahead += [(other, one) for one in ('', *requirement.extras)]
    return edges


def demanded(tree: Path, extra: str | None) -> set[str]:
    """The packages that ``setup.cfg`` itself demands for an extra, on this Python."""
    parser = configparser.ConfigParser()
    parser.read(tree / 'setup.cfg', 'utf-8')
    sections = [parser['options']['install_requires']]
    found: set[str] = set()
    if extra:
        sections.append(parser['options.extras_require'][extra])
    for line in '\n'.join(sections).splitlines():
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        own = requirement.name == 'torrelque'
        found |= {name for one in requirement.extras for name in demanded(tree, one)} if own else set()
        found |= set() if own else {canonicalize_name(requirement.name)}
    return found


def write(parts: Sequence[Part], extra: str | None, epoch: int, path: Path) -> None:
    """Write the list; of the same packages and the same second it has the same bytes.

    :raises ValueError: it is none by the schema.
    """
    edges = edges_of(parts, extra)
    made = {part.name: _component(part) for part in parts if part.name in edges}
    root = made.pop('torrelque')
    root.type = ComponentType.LIBRARY
    bom = Bom(components=made.values(), serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f'{extra}{sorted(parts)}'))
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, timezone.utc)
    for name, needed in edges.items():
        bom.register_dependency(root if name == 'torrelque' else made[name], [made[one] for one in needed])
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise ValueError(f'{path.name} is no CycloneDX: {wrong}')
    path.write_text(text + '\n', 'utf-8')


def _component(part: Part) -> Component:
    licences = [LicenseFactory().make_from_string(part.licence)] if part.licence else ()
    purl = PackageURL('pypi', name=part.name, version=part.version)
    return Component(
        name=part.name, version=part.version, purl=purl, bom_ref=str(purl), licenses=licences,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)],
    )  # fmt: skip


def lacking(path: Path, tree: Path, extra: str | None) -> set[str]:
    """What ``setup.cfg`` demands and a list does not have."""
    found = json.loads(path.read_text('utf-8'))
    return demanded(tree, extra) - {one['name'] for one in found.get('components', ())}
