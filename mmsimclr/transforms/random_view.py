"""One random view of an image, repeatable as the views of MultiView are."""

from __future__ import annotations

from collections.abc import Sequence

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.views import MultiView, Step


@TRANSFORMS.register_module()
class RandomView(MultiView):
    """Run random transforms on ``img``, seeded by run, epoch and image as :class:`MultiView` does.

    A pipeline that ends in :class:`PackImage` is then the same whatever the number of workers and ranks,
    and after a resume.

    Args:
        transforms: One pipeline: a list of transforms or of their configs.
    """

    def __init__(self, transforms: Sequence[Step]) -> None:
        super().__init__(transforms, num_views=1)

    def transform(self, results: dict) -> dict:
        """Replace ``img`` by its view."""
        results = super().transform(results)
        results['img'], = results['img']
        return results
