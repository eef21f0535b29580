"""The equations' font: STIX Math, of which only what an equation can hold is kept.

    python docs/_extensions/math_font.py STIXMath-Regular.otf docs/_static/skae-math.woff2

The Open Font License reserves the font's name, so that what is made of it has another. Needs
fonttools and brotli.
"""

import sys

from fontTools import subset

KEPT = (
    *range(0x20, 0x17F),  # Latin
    *range(0x2B0, 0x370),  # accents
    *range(0x370, 0x400),  # Greek
    *range(0x2010, 0x2070),  # dashes, quotes, primes
    *range(0x20D0, 0x20F0),
    *range(0x2100, 0x2150),  # letterlike symbols
    *range(0x2190, 0x2200),  # arrows
    *range(0x2200, 0x2400),  # operators; brackets and their pieces
    *range(0x27C0, 0x2800),
    *range(0x2A00, 0x2B00),
    *range(0x1D400, 0x1D800),  # italic, bold, calligraphic, double-struck
)
NAME, FULL = "skae Math", "skae Math, made of a part of STIX Math"


def main(source, target):
    options = subset.Options(
        flavor="woff2", layout_features=["ssty", "dtls", "flac"], name_IDs=["*"]
    )
    font = subset.load_font(source, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=KEPT)
    subsetter.subset(font)
    new = {1: NAME, 3: FULL, 4: FULL, 6: NAME.replace(" ", ""), 16: NAME}
    for record in [*font["name"].names]:
        if record.nameID in new:
            record.string = new[record.nameID]
    if "CFF " in font:
        cff = font["CFF "].cff
        cff.fontNames = [new[6]]
        cff.topDictIndex[0].FamilyName = NAME
        cff.topDictIndex[0].FullName = FULL
    subset.save_font(font, target, options)


if __name__ == "__main__":
    main(*sys.argv[1:])
