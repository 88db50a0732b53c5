"""Texts for people. Each is a plain English `str` that remembers how it was made, so that a host can say it in another language.

A catalog maps English templates, and the separators between parts, to those of another language. What it lacks is said in English.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Catalog = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Language:
    """A language in which texts can be said."""

    code: str
    """Such as `ja`."""
    catalog: Catalog = field(default_factory=dict[str, str])
    font: Path | None = None
    """A font with every letter of the catalog; None if any font has them."""

    def said(self, text: str) -> str:
        """`text` in this language, if it is a `Text`."""
        return str(said(text, self.catalog))


ENGLISH = Language("en")


class Text(str):
    """The English text that `template` makes of `values`, by the rules of `str.format`."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, /, **values: object) -> Text:
        known = {name: _meant(value) for name, value in values.items()}
        text = str.__new__(cls, template.format(**known) if known else template)
        text.template, text.values = template, known
        return text

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        return (self.template,), dict(self.values)

    def said(self, catalog: Catalog) -> str:
        """The text in the language of `catalog`."""
        template = catalog.get(self.template, self.template)
        return template.format(**{name: said(value, catalog) for name, value in self.values.items()}) if self.values else template


class _Joined(Text):
    """Texts one after the other, with what stands between them."""

    __slots__ = ("parts", "separator")

    parts: tuple[str, ...]
    separator: str

    def __new__(cls, separator: str, parts: tuple[str, ...], /) -> _Joined:
        text = str.__new__(cls, separator.join(parts))
        text.template, text.values = "", {}
        text.parts, text.separator = parts, separator
        return text

    def __getnewargs_ex__(self) -> tuple[tuple[str, tuple[str, ...]], dict[str, object]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (self.separator, self.parts), {}

    def said(self, catalog: Catalog) -> str:
        return catalog.get(self.separator, self.separator).join(str(said(part, catalog)) for part in self.parts)


def joined(parts: Iterable[str], separator: str = " ") -> Text:
    """The parts that are not empty, one after the other: sentences, unless `separator` is another one."""
    return _Joined(separator, tuple(part for part in parts if part))


def counted(count: int, one: str, many: str, /, **values: object) -> Text:
    """The text of the template `one` if `count` is 1, else of `many`. Both may name `count`."""
    return Text(one if count == 1 else many, count=count, **values)


def said(value: object, catalog: Catalog) -> object:
    """`value` in the language of `catalog` if it is a `Text`, else unchanged."""
    return value.said(catalog) if isinstance(value, Text) else value


def _meant(value: object) -> object:
    """What stands in a text for `value`: for an error its message, so that the error itself is not kept."""
    if not isinstance(value, BaseException):
        return value
    first = value.args[0] if value.args else None
    return first if isinstance(first, Text) and len(value.args) == 1 else str(value)
