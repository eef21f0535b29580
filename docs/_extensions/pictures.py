"""Pictures of the gallery: for who can't see them, the heading that they stand under."""

import re
from itertools import pairwise
from pathlib import Path

from sphinx_gallery.scrapers import matplotlib_scraper


def scrape(block, block_vars, gallery_conf):
    """What Matplotlib has drawn in a block of code, as the gallery's own scraper finds it."""
    found = matplotlib_scraper(block, block_vars, gallery_conf)
    lines = Path(block_vars["src_file"]).read_text("utf-8").splitlines()[: block[2]]
    headings = [line[2:] for line, under in pairwise(lines) if under.startswith("# --")]
    if not headings:
        return found
    return re.sub(r":alt: .*", lambda _: f":alt: {headings[-1]}", found)
