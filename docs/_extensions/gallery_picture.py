"""Pictures of the gallery, in the pages that are about what they show.

    .. gallery-picture:: plot_denoising 1
       :alt: Digits with noise, and the same digits without it

       Noise is removed from digits.

shows the first picture that `examples/plot_denoising.py` draws, with a caption that links to its
page. Where the gallery is built without running its examples, there is the caption alone.
"""

from docutils import nodes
from sphinx.directives.patches import Figure
from sphinx.util import logging

logger = logging.getLogger(__name__)


class GalleryPicture(Figure):
    """Show a picture of the gallery: the script, and the number of its picture."""

    required_arguments = 2

    def run(self):
        env, (script, number) = self.state.document.settings.env, self.arguments
        if "alt" not in self.options:
            raise self.error("a picture of the gallery needs an :alt:")
        uri = f"/gallery/images/sphx_glr_{script}_{int(number):03}.png"
        _, path = env.relfn2path(uri)
        env.note_dependency(path)  # the page is read again when the example has run
        if self.content:
            self.content[-1] += f" Example: :doc:`/gallery/{script}`."
        if env.srcdir.joinpath(uri[1:]).exists():
            self.arguments = [uri]
            return super().run()
        if env.config.sphinx_gallery_conf["plot_gallery"]:
            logger.warning(
                "%s draws no picture %s", script, number, location=self.get_location()
            )
        without = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, without)
        return without.children


def setup(app):
    app.add_directive("gallery-picture", GalleryPicture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
