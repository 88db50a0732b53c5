"""Makes the fonts in which the report's figure is written in Japanese and Chinese: Noto Sans, with only the letters that are needed.

    python tools/make_fonts.py noto-sans-jp-japanese-400-normal.woff2 noto-sans-sc-chinese-simplified-400-normal.woff2

Both files come with the npm packages `@fontsource/noto-sans-jp` and `@fontsource/noto-sans-sc` 5.3.0 (folder `files`), their licence,
the SIL Open Font License 1.1, lies beside the fonts. Run it when a text of the catalogs has changed; it needs fontTools and brotli.
"""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

TEXTS = Path(__file__).parents[1] / "magcache" / "comfyui" / "texts"
ALWAYS = string.ascii_letters + string.digits + string.punctuation + " ·×…"


def letters_of(language: str) -> set[str]:
    """Every letter that a figure in this language can hold."""
    catalog: dict[str, str] = json.loads((TEXTS / f"{language}.json").read_text(encoding="utf-8"))
    return set(ALWAYS).union(*catalog.values())


def make(source: Path, language: str) -> Path:
    """Write the letters of a language of the font `source`. Raises `ValueError` if it lacks one."""
    letters = letters_of(language)
    options = subset.Options(layout_features=[], hinting=False, notdef_outline=True, name_IDs=[0, 1, 2, 13, 14], glyph_names=False)
    font = TTFont(source, recalcTimestamp=False)
    if missing := sorted(letter for letter in letters if ord(letter) not in font.getBestCmap()):
        raise ValueError(f"{source} lacks {''.join(missing)!r}; take another font, or other words.")
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(letters))
    subsetter.subset(font)
    font.flavor = None
    path = TEXTS / f"{language}.ttf"
    font.save(path)
    return path


if __name__ == "__main__":
    for argument, language in zip(sys.argv[1:], ("ja", "zh"), strict=True):
        make(Path(argument), language)
