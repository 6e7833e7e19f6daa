"""What an app has: names and versions, its own and those of the apps it includes.

Laws: a name means one thing; included apps are looked into each time, so what they gain later is there too.
Who calls it: `_app.py`. Read next: `_app.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import attrs
from packaging.version import InvalidVersion, Version

from trioflow._ambient import OWN
from trioflow._util import shown
from trioflow.app._definitions import ActivityDefinition, OrchestrationDefinition
from trioflow.errors import ConfigurationError, UnregisteredError


def parse_version(text: str) -> Version:
    """A version that can be compared; raises ConfigurationError."""
    try:
        return Version(text)
    except (InvalidVersion, TypeError):
        raise ConfigurationError(f"{shown(text)} is not a version; write something like '1.2.0'") from None


def _check_not_own(name: str, noun: str) -> None:
    if name.startswith(OWN):
        raise ConfigurationError(f"{name!r} is a name of trioflow's own; give the {noun} another name=")


@attrs.define(eq=False)
class Registry:
    """The names of one app."""

    owner: str  # the app's name, for messages
    activities: dict[str, ActivityDefinition[Any, Any]] = attrs.field(factory=dict)
    orchestrations: dict[str, dict[str, OrchestrationDefinition[Any, Any]]] = attrs.field(factory=dict)
    used: dict[str, str] = attrs.field(factory=dict)  # name -> the version for executions that have none
    included: list[tuple[str, Registry]] = attrs.field(factory=list)  # (prefix, registry), in the order of inclusion

    # -- adding

    def add_activity(self, definition: ActivityDefinition[Any, Any]) -> None:
        """Take a name; raises ConfigurationError if it is taken."""
        _check_not_own(definition.name, "activity")
        if definition.name in self.activities:
            raise ConfigurationError(
                f"app {self.owner!r} has an activity {definition.name!r} already; give one of them another name="
            )
        self.activities[definition.name] = definition

    def add_orchestration(self, definition: OrchestrationDefinition[Any, Any]) -> None:
        """Take a name and version; raises ConfigurationError if they are taken."""
        _check_not_own(definition.name, "orchestration")
        versions = self.orchestrations.get(definition.name, {})
        number = parse_version(definition.version)
        same = next((version for version in versions if parse_version(version) == number), None)
        if same is not None:
            raise ConfigurationError(
                f"app {self.owner!r} has an orchestration {definition.name!r} {same} already; "
                f"give one of them another name= or version="
            )
        self.orchestrations[definition.name] = {**versions, definition.version: definition}

    def include(self, other: Registry, prefix: str) -> None:
        """Take another app's names behind a prefix; raises ConfigurationError for a cycle or a clash."""
        if any(registry is self for _, registry in other.walk()):
            raise ConfigurationError(f"app {self.owner!r} cannot include {other.owner!r}, which includes it")
        self.included.append((prefix, other))
        seen: dict[tuple[str, ...], Any] = {}
        for key, definition in self.definitions():
            if seen.setdefault(key, definition) is not definition:  # the same one may come by two ways
                self.included.pop()
                raise ConfigurationError(f"app {self.owner!r} would have {' '.join(key)} twice; include with prefix=")

    # -- finding

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Registry]]:
        """This registry and all below it, with the prefix of their names."""
        yield prefix, self
        for inner, registry in self.included:
            yield from registry.walk(prefix + inner)

    def definitions(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """All definitions, included ones too, as ((noun, name[, version]), definition)."""
        for prefix, registry in self.walk():
            for name, activity in registry.activities.items():
                yield ("activity", prefix + name), activity
            for name, versions in registry.orchestrations.items():
                for version, orchestration in versions.items():
                    yield ("orchestration", prefix + name, version), orchestration

    def find_activity(self, name: str) -> ActivityDefinition[Any, Any]:
        """The activity of that name; raises UnregisteredError that suggests near ones."""
        if name in self.activities:
            return self.activities[name]
        for prefix, registry in self.walk():
            if name.startswith(prefix) and name[len(prefix) :] in registry.activities:
                return registry.activities[name[len(prefix) :]]
        raise self._unregistered("activity", name)

    def find_orchestration(self, name: str, version: str | None) -> OrchestrationDefinition[Any, Any]:
        """The orchestration of that name: the exact version, or the one to be used. Raises UnregisteredError."""
        own = self.orchestrations.get(name, {})
        if version in own:  # nearly every one that has begun
            return own[version]
        if version is None and len(own) == 1 and not self.included:  # nearly every one that begins
            return next(iter(own.values()))
        versions = {
            number: definition
            for prefix, registry in self.walk()
            if name.startswith(prefix)
            for number, definition in registry.orchestrations.get(name[len(prefix) :], {}).items()
        }
        if not versions:
            raise self._unregistered("orchestration", name, version)
        if version is None:
            version = self._used(name) or max(versions, key=parse_version)
        if version in versions:
            return versions[version]
        have = ", ".join(sorted(versions, key=parse_version))
        raise UnregisteredError(
            f"app {self.owner!r} has no version {version} of orchestration {name!r}; it has {have}",
            kind="orchestration",
            name=name,
            version=version,
        )

    def _used(self, name: str) -> str | None:
        """The version that somebody said to use; the outermost app counts."""
        said = (registry.used.get(name[len(prefix) :]) for prefix, registry in self.walk() if name.startswith(prefix))
        return next(filter(None, said), None)

    def prefix_of(self, other: Registry) -> str | None:
        """The prefix of another app's names in this one; None if it is not part of it."""
        return next((prefix for prefix, registry in self.walk() if registry is other), None)

    def _unregistered(self, noun: str, name: str, version: str | None = None) -> UnregisteredError:
        names = [key[1] for key, _ in self.definitions() if key[0] == noun]
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"register it with @app.{noun}"
        return UnregisteredError(
            f"app {self.owner!r} has no {noun} {name!r}; {hint}", kind=noun, name=name, version=version
        )
